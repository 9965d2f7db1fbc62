/** Records that have lived through something, with the pipeline they are pinned to: whole, until a test breaks them. */
import { join } from 'node:path'
import { CONFIG_MODULES } from '../../src/cli/config-modules.js'
import { loadConfig } from '../../src/config/load-config.js'
import { compileConfig } from '../../src/config/pipelines.js'
import type { RecordDocument } from '../../src/machines/record.js'
import type { CallSucceeded } from '../../src/machines/events.js'
import { call, live, payload, succeeded, uncertain } from '../machines/life.js'
import type { Call } from '../machines/life.js'
import { noon, record, sha256 } from '../machines/pipelines.js'

export const CONFIG = join(import.meta.dirname, '../fixtures/audit.config.ts')

/** As whoever audits with this config has it. */
export const compiledOfTests = compileConfig(await loadConfig(CONFIG, CONFIG_MODULES)).byName('audited')!

/** With the hash of what it holds, as a worker stores it. */
const answered = (of: Call, change: Partial<CallSucceeded> = {}) => {
  const { inline, bytes } = payload({ from: of.attempt })
  return succeeded(of, { result: { inline, bytes, sha256: sha256(inline) }, ...change })
}

const request = { sha256: 'a'.repeat(64) }
const thawed = (doc: RecordDocument): RecordDocument => structuredClone(doc)
const begun = (id: string, change: Partial<RecordDocument> = {}) =>
  live(compiledOfTests, record(compiledOfTests, { _id: id, ...change }))
const started = (n: number) =>
  ({
    type: 'ATTEMPT_STARTED',
    ...call('read', n),
    provider: 'paid',
    requestKey: `key-${n}`,
    sendBy: noon.toISOString(),
    request,
  }) as const

/** One doubt, then a result for each step, and a late answer. */
export const completed = (id = 'completed'): RecordDocument => {
  const life = begun(id)
  life.does(started(1))
  life.does(uncertain(call('read', 1)))
  life.skips(120_000).does({ type: 'xstate.after.quarantine of read.record.read.uncertain' })
  life.does(started(2))
  life.does(answered(call('read', 2)))
  life.does(answered(call('read', 1)))
  life.starts('free')
  life.does(answered(call('extract', 1), { charge: { amount: '0.10', currency: 'EUR' } }))
  if (life.doc.status !== 'completed') throw new Error(`The record is ${life.doc.status} in ${life.state}.`)
  return thawed(life.doc)
}

/** In the quarantine of its first call, which may have been executed. */
export const doubted = (id = 'doubted'): RecordDocument => {
  const life = begun(id)
  life.does(started(1))
  life.does(uncertain(call('read', 1)))
  return thawed(life.doc)
}

export const waiting = (id = 'waiting'): RecordDocument => thawed(begun(id).doc)

export const simulated = (id = 'simulated'): RecordDocument => {
  const life = begun(id, { simulated: true, outbox: [] })
  life.does(started(1))
  life.does(answered(call('read', 1)))
  return thawed(life.doc)
}
