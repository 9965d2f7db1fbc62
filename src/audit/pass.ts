/**
 * One pass of the audit over a live database, as a stream of lines: findings as they are found, progress every second,
 * the sums at the end. Reads only.
 *
 * P1 Bounded: one batch of records, of one record's blobs at most OUTPUT_BYTES_MAX, and counts by name are held.
 * P2 It shares its process: every RECORDS_AT_ONCE records others get their turn; `pause` may slow it down further.
 */
import { hash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { PayloadOf, PipelineByVersion } from '../machines/replay.js'
import type { Payload, PayloadRef, RecordDocument } from '../machines/record.js'
import { isSettled } from '../machines/record.js'
import type { AuditRow, AuditScope, AuditTime, BlobStore, RecordAudit } from '../persistence/contract.js'
import { BlobMissing } from '../persistence/contract.js'
import type { AuditLine, AuditSummary, Finding } from './contract.js'
import { canReplay } from './history.js'
import { findingsIn } from './invariants.js'

/** Without a beat of any worker for longer, nothing runs; as the workers' own heartbeats have it. */
export const OUTAGE_GAP_MS = 5_000
const PROGRESS_MS = 1_000
const RECORDS_AT_ONCE = 20
/** Outputs that are read from blobs to play one record's guards again. */
const OUTPUT_BYTES_MAX = 8 * 1024 * 1024
/** Without `allBlobs`, one record in this many is looked at for its blobs. */
const BLOB_SAMPLE = 16

export type AuditDeps = {
  reader: RecordAudit
  blobs: Pick<BlobStore, 'get'>
  pipelines: PipelineByVersion
  /** Monotonic. */
  nowMs(): number
}

export type AuditOptions = {
  scope: AuditScope
  allBlobs: boolean
  signal: AbortSignal
  /** Called after each batch; resolves when it may go on. */
  pause?: (records: number) => Promise<void>
  /** Leaves out records that have been judged already. */
  wants?: (id: string) => boolean
  looked?: (id: string, settled: boolean) => void
}

type Tally = Omit<AuditSummary, 'ms'> & { startedMs: number }

const newTally = (startedMs: number): Tally => ({
  records: 0,
  unsettled: 0,
  replayed: 0,
  notReplayed: { unknownVersion: 0, tooLarge: 0 },
  blobs: 0,
  findings: 0,
  broken: {},
  startedMs,
})

const summaryOf = ({ startedMs, ...tally }: Tally, nowMs: number): AuditSummary => ({
  ...tally,
  notReplayed: { ...tally.notReplayed },
  broken: { ...tally.broken },
  ms: Math.round(nowMs - startedMs),
})

const count = (tally: Tally, finding: Finding): void => {
  tally.findings += 1
  tally.broken[finding.invariant] = (tally.broken[finding.invariant] ?? 0) + 1
}

/** Throws StoreUnavailable. Ends early, with `ok: false`, when `signal` aborts. */
export async function* auditLines(deps: AuditDeps, options: AuditOptions): AsyncGenerator<AuditLine> {
  const { reader, nowMs } = deps
  const { scope, signal } = options
  const tally = newTally(nowMs())
  const total = await reader.count(scope)
  let toldMs = tally.startedMs
  // Read anew for each batch, before it: an outage that ended meanwhile is known by then.
  let time = await reader.time(OUTAGE_GAP_MS)
  for await (const read of reader.read(scope, signal)) {
    const rows = read.filter(({ id }) => options.wants?.(id) ?? true)
    for (const { id, doc } of rows) options.looked?.(id, doc !== null && isSettled(doc.status))
    for (let at = 0; at < rows.length && !signal.aborted; at += RECORDS_AT_ONCE) {
      for (const row of rows.slice(at, at + RECORDS_AT_ONCE))
        for (const finding of await judge(deps, row, time, tally)) {
          count(tally, finding)
          yield { type: 'finding', ...finding }
        }
      // P2
      await nextTurn()
      if (nowMs() - toldMs < PROGRESS_MS) continue
      toldMs = nowMs()
      yield { type: 'progress', total, ...summaryOf(tally, toldMs) }
    }
    for (const finding of await missingBlobs(deps, rows, options.allBlobs, tally)) {
      count(tally, finding)
      yield { type: 'finding', ...finding }
    }
    await options.pause?.(rows.length)
    if (signal.aborted) break
    time = await reader.time(OUTAGE_GAP_MS)
  }
  yield { type: 'end', ok: tally.findings === 0 && !signal.aborted, ...summaryOf(tally, nowMs()) }
}

const judge = async (deps: AuditDeps, row: AuditRow, time: AuditTime, tally: Tally): Promise<Finding[]> => {
  tally.records += 1
  const { doc, faults, id } = row
  if (!doc || faults.length > 0)
    // Nothing else can be said of it.
    return faults.map((found) => ({ invariant: 'document-parses', record: id, expected: 'a record document', found }))
  if (!isSettled(doc.status)) tally.unsettled += 1
  return [...altered(doc), ...(await judged(deps, doc, time, tally))]
}

/** What is inline is what was answered. Blobs carry their own hash, which every read compares. */
const altered = (doc: RecordDocument): Finding[] =>
  Object.entries(doc.steps).flatMap(([step, { result, candidate, discarded }]) =>
    [result, candidate, ...discarded].flatMap((kept): Finding[] => {
      if (!kept || !('inline' in kept.payload)) return []
      const { inline, sha256 } = kept.payload
      const found = hash('sha256', inline, 'hex')
      const of = { invariant: 'results-are-whole', record: doc._id, step, attempt: kept.attempt } as const
      return found === sha256 ? [] : [{ ...of, expected: `content of ${sha256}`, found: `content of ${found}` }]
    }),
  )

const judged = async (deps: AuditDeps, doc: RecordDocument, time: AuditTime, tally: Tally): Promise<Finding[]> => {
  const view = { time, pipelines: deps.pipelines }
  if (!canReplay(doc, view)) tally.notReplayed.unknownVersion += 1
  else {
    const outputs = await outputsOf(deps, doc)
    if (outputs !== null) {
      tally.replayed += 1
      return findingsIn(doc, { ...view, payloadOf: outputs })
    }
    tally.notReplayed.tooLarge += 1
    return findingsIn(doc, view).filter(({ invariant }) => invariant !== 'history-replays')
  }
  return findingsIn(doc, view)
}

const textOf = (payload: Payload | PayloadRef, fromBlobs: ReadonlyMap<string, string>): string | undefined => {
  if ('inline' in payload) return payload.inline
  return payload.blob === undefined ? undefined : fromBlobs.get(payload.blob)
}

const parsed = (text: string | undefined): unknown => {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as unknown)
  } catch {
    return undefined
  }
}

/** What guards read; null where it is more than P1 allows, or not there. */
const outputsOf = async ({ blobs, pipelines }: AuditDeps, doc: RecordDocument): Promise<PayloadOf | null> => {
  const texts = new Map<string, string>()
  const payloadOf: PayloadOf = (_step, payload) => parsed(textOf(payload, texts))
  if (!pipelines(doc.pipelineVersion)?.needsOutputs) return payloadOf
  const kept = Object.values(doc.steps)
    .flatMap(({ result, candidate, discarded }) => [result, candidate, ...discarded])
    .flatMap((place) => (place && 'blob' in place.payload && place.payload.blob !== undefined ? [place.payload] : []))
  if (kept.reduce((sum, { bytes }) => sum + bytes, 0) > OUTPUT_BYTES_MAX) return null
  for (const { blob } of kept) {
    const text = await readText(blobs, blob!)
    if (text === null) return null
    texts.set(blob!, text)
  }
  return payloadOf
}

/** Null where it is not there, or longer than it may be. */
const readText = async (blobs: Pick<BlobStore, 'get'>, id: string): Promise<string | null> => {
  const parts: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const part of blobs.get(id)) {
      bytes += part.length
      if (bytes > OUTPUT_BYTES_MAX) return null
      parts.push(part)
    }
  } catch (error) {
    if (error instanceof BlobMissing) return null
    throw error
  }
  return Buffer.concat(parts).toString('utf8')
}

const missingBlobs = async (
  { reader }: AuditDeps,
  rows: readonly AuditRow[],
  all: boolean,
  tally: Tally,
): Promise<Finding[]> => {
  const looked = rows.filter(({ doc, blobs }) => blobs.length > 0 && (all || (doc?.shard ?? 0) % BLOB_SAMPLE === 0))
  const named = [...new Set(looked.flatMap(({ blobs }) => blobs))]
  if (named.length === 0) return []
  tally.blobs += named.length
  const missing = await reader.missingBlobs(named)
  return looked.flatMap(({ id, blobs }) =>
    blobs
      .filter((blob) => missing.has(blob))
      .map((blob): Finding => ({ invariant: 'blobs-exist', record: id, expected: `the blob ${blob}`, found: 'none' })),
  )
}
