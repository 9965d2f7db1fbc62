/**
 * `demo`: a service of its own, the samples that come with the package submitted over HTTP as anybody would, each record's
 * way live, and what came of it. Says whether every record ended as it should.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SAMPLES_DIR } from '../../config/load-config.js'
import { createRecordsStore, rowOf } from '../../live/records-store.js'
import type { LiveRecord } from '../../live/shapes.js'
import { createApiClient, type ApiClient } from '../api-client.js'
import { startDev, type DevService } from '../dev-service.js'
import { EXIT, type ExitCode } from '../exit-codes.js'
import { followRecords, type FollowEnd } from '../follow.js'
import { printJson, type Io } from '../io.js'
import type { Lifetime } from '../lifetime.js'
import { showLive } from '../live-view.js'
import { outputLines } from '../record-text.js'
import type { Session } from '../session.js'
import { between, durationText, safeText } from '../text.js'
import { upload } from '../upload.js'
import { workerText } from '../worker-process.js'
import { outputsOf } from './records.js'
import { welcome } from './dev.js'

const PIPELINE = 'referral'
const PRICE = '0.40 EUR'
const SAMPLE = /\.(png|jpe?g|tiff?|pdf)$/i

export type DemoOptions = { once: boolean; json: boolean; timeoutMs: number; dataStays: boolean }
export type DemoEnd = { exitCode: ExitCode; next: 'close' | 'stay' }

/** A directory that goes when the demo ends: after everything that is opened later. */
export const temporaryData = (lifetime: Lifetime): Promise<string> =>
  lifetime.open(
    () => mkdtemp(join(tmpdir(), 'endstate-demo-')),
    (dir) => rm(dir, { recursive: true, force: true }),
  )

export const demo = async (io: Io, session: Session, options: DemoOptions): Promise<DemoEnd> => {
  const { once, json, timeoutMs } = options
  let say = io.note
  const service = await startDev({ ...session, cwd: io.cwd, say: io.note, onWorker: (event) => say(workerText(event)) })
  const client = createApiClient({ url: service.url, source: null })
  io.note(`Endstate runs at ${service.url}, its worker is process ${service.worker.pid()}. Submitting the samples.`)

  const samples = (await readdir(SAMPLES_DIR)).filter((name) => SAMPLE.test(name)).sort()
  const store = createRecordsStore({ recordsMax: samples.length + 1 })
  const view = showLive(io, store, { json: false, lines: json })
  say = view.note
  const submitted: Sample[] = []
  let end: FollowEnd
  try {
    for (const name of samples) {
      const { id } = await upload(client.target, { file: join(SAMPLES_DIR, name), pipeline: PIPELINE, key: null })
      submitted.push({ name, id })
      store.trigger.recordSeen({ record: (await client.record(id)).live })
    }
    const ids = submitted.map(({ id }) => id)
    end = await followRecords(client, store, ids, { timeoutMs, signal: session.lifetime.signal })
  } finally {
    view.close()
    say = io.note
  }
  const endings = await Promise.all(submitted.map((sample) => endingOf(client, sample)))
  report(io, service, endings, { ...options, end })
  const asExpected = endings.every(({ problems }) => problems.length === 0)
  const exitCode = asExpected ? EXIT.ok : end === 'timed-out' ? EXIT.notSettled : EXIT.failed
  return { exitCode, next: once || exitCode !== EXIT.ok ? 'close' : 'stay' }
}

type Sample = { name: string; id: string }
type Ending = {
  name: string
  raw: unknown
  record: LiveRecord
  outputs: { [step: string]: unknown }
  problems: string[]
}

const endingOf = async (client: ApiClient, { name, id }: Sample): Promise<Ending> => {
  const { raw, live } = await client.record(id)
  const outputs = await outputsOf(client, live)
  return { name, raw, record: live, outputs, problems: unexpected(name, live, outputs) }
}

/** What should have come of a sample: `broken…` is no picture, `blank…` has nothing to extract, all others are referrals. */
const unexpected = (name: string, record: LiveRecord, outputs: { [step: string]: unknown }): string[] => {
  const { charges } = rowOf(record)
  const { fields } = (outputs['extract'] ?? {}) as { fields?: unknown[] }
  const status = name.startsWith('broken') ? 'rejected' : 'completed'
  const costs = name.startsWith('blank') || name.startsWith('broken') ? '' : PRICE
  const problems: string[] = []
  if (record.status !== status) problems.push(`it is ${record.status}, not ${status}`)
  if (charges.join(', ') !== costs)
    problems.push(`the charges are ${charges.join(', ') || 'none'}, not ${costs || 'none'}`)
  if (status === 'completed' && (fields?.length ?? 0) > 0 !== (costs !== ''))
    problems.push(`${fields?.length ?? 0} fields were found`)
  return problems
}

type Outcome = DemoOptions & { end: FollowEnd }

const report = (io: Io, service: DevService, endings: readonly Ending[], outcome: Outcome): void => {
  if (outcome.json) {
    const records = endings.map(({ name, raw, problems }) => ({
      file: name,
      asExpected: problems.length === 0,
      problems,
      record: raw,
    }))
    printJson(io, { ok: endings.every(({ problems }) => problems.length === 0), url: service.url, records })
  } else {
    for (const ending of endings) for (const line of endingText(ending)) io.out(line)
  }
  if (outcome.end === 'timed-out') io.note(`Not all records had settled after ${durationText(outcome.timeoutMs)}.`)
  for (const { name, problems } of endings)
    if (problems.length > 0) io.note(`${name}: unexpected, ${problems.join('; ')}.`)
  if (!outcome.once && !outcome.json) for (const line of welcome(service, outcome)) io.out(line)
}

const endingText = ({ name, record, outputs }: Ending): string[] => {
  const { charges } = rowOf(record)
  const took = record.settledAt === null ? '' : ` after ${durationText(between(record.acceptedAt, record.settledAt))}`
  const why = record.reason === null ? '' : `: ${safeText(record.reason.message)}`
  return [
    '',
    `${safeText(name)}  ${record.status}${took}, charged ${charges.join(', ') || 'nothing'}${why}`,
    ...('extract' in outputs ? outputLines(outputs['extract']).map((line) => `  ${line}`) : []),
  ]
}
