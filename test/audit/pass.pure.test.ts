/** One pass on the memory twin: outputs in blobs, progress, the end of a broken-off pass, and the leader's budget. */
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { createBackgroundAudit } from '../../src/audit/background.js'
import type { AuditLine } from '../../src/audit/contract.js'
import { auditLines } from '../../src/audit/pass.js'
import type { AuditDeps, AuditOptions } from '../../src/audit/pass.js'
import type { Compiled } from '../../src/machines/compile.js'
import type { OwnChart } from '../../src/machines/record-machine.js'
import { stepState } from '../../src/machines/step-state.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { createMemoryRecordAudit } from '../../src/persistence/memory-record-audit.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import type { MemoryRecords } from '../../src/persistence/memory-records.js'
import { live, succeeded } from '../machines/life.js'
import { compile, noon, pipeline, record, step } from '../machines/pipelines.js'
import { compiledOfTests, waiting } from './audited-records.js'

const rig = (compiled: Compiled) => {
  const records: MemoryRecords = new Map()
  const blobs = createMemoryBlobStore()
  const deps: AuditDeps = {
    reader: createMemoryRecordAudit(records, { blobs, time: () => ({ now: noon, outages: [] }) }),
    blobs,
    pipelines: (version) => (version === compiled.version ? compiled : undefined),
    nowMs: () => 0,
  }
  return { store: createMemoryRecordStore({ records }), blobs, deps }
}

const run = async (deps: AuditDeps, options: Partial<AuditOptions> = {}) => {
  const lines: AuditLine[] = []
  const signal = options.signal ?? new AbortController().signal
  for await (const line of auditLines(deps, { scope: { kind: 'all' }, allBlobs: true, ...options, signal }))
    lines.push(line)
  return { lines, end: lines.at(-1) as AuditLine & { type: 'end' } }
}

const at = (name: string) => stepState(name, { description: name, done: '#completed', exhausted: 'investigation' })
/** Where it goes after reading is decided by what was read. */
const chooses: OwnChart = {
  initial: 'read',
  states: {
    read: { ...at('read'), onDone: [{ guard: 'isOdd', target: 'extract' }, { target: '#completed' }] },
    extract: at('extract'),
  },
  guards: { isOdd: ({ read }) => (read as { from: number } | undefined)?.from === 1 },
  delaysMs: {},
}
const choosing = compile(pipeline([step('read'), step('extract')]), chooses)

describe('outputs that lie in blobs', () => {
  const withBlob = async (bytes: number, isKept: boolean) => {
    const { store, blobs, deps } = rig(choosing)
    const put = await blobs.put(Readable.from([Buffer.from('{"from":1}')]), { bytesMax: 100 })
    const life = live(choosing, record(choosing))
    const result = { blob: put.id, sha256: put.sha256, bytes }
    life.doesWith({ outputs: { read: { from: 1 } } }, succeeded(life.starts('free'), { result }))
    expect(life.state).toBe('extract.ready')
    if (!isKept) await blobs.remove(put.id)
    await store.insert([life.doc])
    return run(deps)
  }

  it('are read for guards, so that the history can be played again', async () => {
    const { end } = await withBlob(10, true)
    expect(end).toMatchObject({ ok: true, replayed: 1, findings: 0, blobs: 1 })
  })

  it('are not read past the limit; that is counted, and no finding', async () => {
    const { end } = await withBlob(9 * 1024 * 1024, true)
    expect(end).toMatchObject({ ok: true, replayed: 0, notReplayed: { unknownVersion: 0, tooLarge: 1 } })
  })

  it('that are gone are a finding, and no divergence', async () => {
    const { end } = await withBlob(10, false)
    expect(end).toMatchObject({ ok: false, replayed: 0, broken: { 'blobs-exist': 1 } })
  })
})

describe('a pass', () => {
  const many = (n: number) => Array.from({ length: n }, (_, index) => waiting(`r-${index}`))

  it('says how far it is once a second', async () => {
    const { store, deps } = rig(compiledOfTests)
    await store.insert(many(300))
    let ms = 0
    const { lines } = await run({ ...deps, nowMs: () => (ms += 400) })
    const progress = lines.filter((line) => line.type === 'progress')
    // A look at the clock every 20 records, 400 ms apart, and one more when it is told how far it is.
    expect(progress.map(({ records }) => records)).toEqual([60, 120, 180, 240, 300])
    expect(progress[0]).toMatchObject({ total: 300, findings: 0 })
  })

  it('that is broken off ends with what it has, and is not ok', async () => {
    const { store, deps } = rig(compiledOfTests)
    await store.insert(many(300))
    const enough = new AbortController()
    const { end } = await run(deps, { signal: enough.signal, pause: async () => enough.abort() })
    expect(end).toMatchObject({ type: 'end', ok: false, records: 100, findings: 0 })
  })
})

describe('the audit in the background', () => {
  it('keeps to its budget, and stops in the middle when another process leads', async () => {
    const { store, deps } = rig(compiledOfTests)
    await store.insert(Array.from({ length: 1_000 }, (_, n) => waiting(`r-${n}`)))
    let ms = 0
    let asked = 0
    let read = 0
    const slept: number[] = []
    const reader: AuditDeps['reader'] = {
      ...deps.reader,
      async *read(scope, signal) {
        for await (const rows of deps.reader.read(scope, signal)) {
          read += rows.length
          yield rows
        }
      },
    }
    let over = () => {}
    const stopped = new Promise<void>((resolve) => (over = resolve))
    const background = createBackgroundAudit({
      audit: { ...deps, reader },
      recordsPerSecond: 10,
      // Led once, lost when it is renewed; asked again after that.
      leads: () => {
        asked += 1
        if (asked === 3) over()
        return Promise.resolve(asked === 1)
      },
      report: () => Promise.reject(new Error('A pass that was broken off was reported.')),
      clock: {
        monotonicMs: () => ms,
        async sleep(forMs) {
          ms += forMs
          slept.push(forMs)
          await new Promise((resolve) => setImmediate(resolve))
        },
      },
      log: { error: () => {}, warn: (_facts, message) => slept.push(-message.length), info: () => {} },
    })
    background.start()
    await stopped
    await background.close()
    // 100 records at 10 a second, three times until the lease is renewed.
    expect(slept.slice(0, 3)).toEqual([10_000, 10_000, 10_000])
    expect(slept.every((forMs) => forMs > 0)).toBe(true)
    expect(read).toBe(300)
  })
})
