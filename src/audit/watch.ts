/**
 * The audit that goes on: pass after pass over the records that may have changed, and a line for each change.
 *
 * W1 A pass looks at: what is unsettled; what was unsettled in the pass before; what was accepted since; what is broken.
 *    A settled record changes only by an operator's retry or write-off, and by late answers, which the next whole audit sees.
 * W2 Bounded: RECORDS_MAX records a pass, as many ids, FOUND_MAX findings. What is more is said, not kept.
 */
import type { AuditScope } from '../persistence/contract.js'
import { StoreUnavailable } from '../persistence/contract.js'
import type { AuditReport, AuditSummary, Finding } from './contract.js'
import type { AuditDeps } from './pass.js'
import { auditLines, OUTAGE_GAP_MS } from './pass.js'

export type WatchLine =
  | ({ type: 'finding' } & Finding)
  /** It was broken in the pass before and is not any more. */
  | ({ type: 'mended' } & Finding)
  | ({ type: 'progress'; total: number | null } & AuditSummary)
  /** The database could not be asked; the next pass tries again. */
  | { type: 'away'; message: string }
  | ({ type: 'pass'; at: string } & Omit<AuditReport, 'at'>)

export const RECORDS_MAX = 50_000
export const FOUND_MAX = 10_000
/** Records that were accepted while the pass before was read are read again. */
const OVERLAP_MS = 60_000

export type WatchOptions = {
  source?: string
  everyMs: number
  allBlobs: boolean
  /** What the first pass looks at: everything, or what was accepted in the last `recentMs`, and is unsettled. */
  first: 'all' | { recentMs: number }
  signal: AbortSignal
  sleep(ms: number, signal: AbortSignal): Promise<void>
  pause?: (records: number) => Promise<void>
}

const keyOf = ({ invariant, record, step, attempt, expected }: Finding): string =>
  JSON.stringify([invariant, record, step, attempt, expected])

const countBroken = (open: ReadonlyMap<string, Finding>): { [invariant: string]: number } => {
  const broken: { [invariant: string]: number } = {}
  for (const { invariant } of open.values()) broken[invariant] = (broken[invariant] ?? 0) + 1
  return broken
}

type State = { open: Map<string, Finding>; unsettled: Set<string>; since: Date | null }
type Sums = { records: number; unsettled: number; ms: number; truncated: boolean }

/** Goes on until `signal` aborts, also when the database is away for a while. */
export async function* watchLines(deps: AuditDeps, options: WatchOptions): AsyncGenerator<WatchLine> {
  const state: State = { open: new Map(), unsettled: new Set(), since: null }
  while (!options.signal.aborted) {
    try {
      yield* onePass(deps, options, state)
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
      yield { type: 'away', message: error.message }
    }
    await options.sleep(options.everyMs, options.signal)
  }
}

const scopesOf = ({ first, source }: WatchOptions, since: Date | null, now: Date): AuditScope[] => {
  const of = source === undefined ? {} : { source }
  if (since === null && first === 'all') return [{ kind: 'all', ...of }]
  const from = since ?? new Date(now.getTime() - (first as { recentMs: number }).recentMs)
  return [
    { kind: 'unsettled', limit: RECORDS_MAX, ...of },
    { kind: 'accepted-since', since: from, limit: RECORDS_MAX, ...of },
  ]
}

async function* onePass(deps: AuditDeps, options: WatchOptions, state: State): AsyncGenerator<WatchLine> {
  const { now } = await deps.reader.time(OUTAGE_GAP_MS)
  const seen = new Set<string>()
  const unsettled = new Set<string>()
  const found = new Map<string, Finding>()
  const sums: Sums = { records: 0, unsettled: 0, ms: 0, truncated: false }
  const isWhole = state.since === null && options.first === 'all'
  const isNew = (id: string) => !seen.has(id)
  const looked = (id: string, settled: boolean) => {
    // Of everything, each is read once: nothing needs to be kept of it.
    if (seen.size < RECORDS_MAX) seen.add(id)
    else if (!isWhole) sums.truncated = true
    if (settled) return
    if (unsettled.size < RECORDS_MAX) unsettled.add(id)
    else sums.truncated = true
  }
  const left = () => [...new Set([...state.unsettled, ...[...state.open.values()].map(({ record }) => record)])]
  const scopes: (() => AuditScope)[] = [
    ...scopesOf(options, state.since, now).map((scope) => () => scope),
    // W1: known only once the others were read.
    () => ({ kind: 'ids', ids: left().filter(isNew) }),
  ]
  for (const scope of scopes) {
    for await (const line of auditLines(deps, { ...options, scope: scope(), wants: isNew, looked })) {
      if (line.type === 'progress') yield line
      if (line.type === 'end') {
        sums.records += line.records
        sums.unsettled += line.unsettled
        sums.ms += line.ms
      }
      if (line.type !== 'finding') continue
      const { type: _type, ...finding } = line
      if (found.size < FOUND_MAX) found.set(keyOf(finding), finding)
      else sums.truncated = true
      if (!state.open.has(keyOf(finding))) yield line
    }
    if (options.signal.aborted) return
  }
  for (const [key, finding] of state.open) if (!found.has(key)) yield { type: 'mended', ...finding }
  Object.assign(state, { open: found, unsettled, since: new Date(now.getTime() - OVERLAP_MS) })
  yield { type: 'pass', at: now.toISOString(), ...sums, open: found.size, broken: countBroken(found) }
}
