/**
 * What a call's end says about its provider, and when failures mean that it is down. Pure but for what it remembers.
 *
 * - D1 Only failures that say nothing about the input count: no connection, no answer, 5xx. An answer of any other kind,
 *   also a refusal, shows that the provider is there.
 * - D2 Failures of one record, or of two, never open a breaker: RECORDS_MIN different ones are needed, so that a poisoned
 *   record that is tried again and again can't keep others out.
 * - D3 What this process ended itself counts for nothing.
 */
import type { CallReport } from '../gate.js'

export type Meaning = 'down' | 'up' | 'refused' | 'full' | 'nothing'

/** D3: codes of the call layer and the worker for ends that are our own. */
const OWN_ENDS: ReadonlySet<string> = new Set([
  'call-stopped',
  'input-unavailable',
  'request-not-built',
  'stopped-with-answer',
  'bad-answer',
  'bad-handle',
])
/** Too fast. */
const REFUSED: ReadonlySet<string> = new Set(['http-429', 'rate-limited', 'quota-exceeded'])
/** No room now: wait, but the rate is not to blame. */
const FULL: ReadonlySet<string> = new Set(['http-529', 'at-capacity', 'overloaded', 'busy'])
/** Statuses of requests that were answered; 408 is the server's own "no answer". */
const ANSWERED = /^http-(?!408)[1-4]\d\d$/

export const meaningOf = ({ outcome, kind, code }: Pick<CallReport, 'outcome' | 'kind' | 'code'>): Meaning => {
  if (outcome === 'succeeded' || outcome === 'accepted') return 'up'
  if (code !== null && OWN_ENDS.has(code)) return 'nothing'
  if (code !== null && REFUSED.has(code)) return 'refused'
  if (code !== null && FULL.has(code)) return 'full'
  if (kind === 'executed' || kind === 'partial') return 'up'
  if (code !== null && ANSWERED.test(code)) return 'up'
  return kind === 'unknown' || kind === 'not-executed' ? 'down' : 'nothing'
}

/** So many in a row … */
export const IN_ROW = 5
/** … of at least so many records … */
export const RECORDS_MIN = 3
/** … within this time; deadlines may be long. */
const IN_ROW_MS = 10 * 60_000
/** Or half of at least ROLLING_MIN calls within ROLLING_MS, of RECORDS_ROLLING_MIN records. */
const ROLLING_MS = 30_000
const ROLLING_MIN = 20
const RECORDS_ROLLING_MIN = 8
const REMEMBERED_MAX = 200

type Remembered = { record: string; down: boolean; atMs: number }

export type FailureWatch = {
  /** Takes note of a call's end; true when the provider is to be taken for down. */
  note(record: string, meaning: Meaning, nowMs: number): boolean
  forget(): void
}

export const createFailureWatch = (): FailureWatch => {
  let ends: Remembered[] = []
  const recordsOf = (some: readonly Remembered[]) => new Set(some.map(({ record }) => record)).size
  const inRow = () => {
    const lastUp = ends.findLastIndex(({ down }) => !down)
    const row = ends.slice(lastUp + 1)
    return row.length >= IN_ROW && recordsOf(row) >= RECORDS_MIN
  }
  const rolling = (nowMs: number) => {
    const recent = ends.filter(({ atMs }) => nowMs - atMs < ROLLING_MS)
    const down = recent.filter((end) => end.down)
    return recent.length >= ROLLING_MIN && down.length * 2 >= recent.length && recordsOf(down) >= RECORDS_ROLLING_MIN
  }
  return {
    note(record, meaning, nowMs) {
      if (meaning === 'nothing') return false
      ends.push({ record, down: meaning === 'down', atMs: nowMs })
      if (ends.length > REMEMBERED_MAX) ends.shift()
      if (meaning !== 'down') return false
      ends = ends.filter(({ atMs }) => nowMs - atMs < IN_ROW_MS)
      return inRow() || rolling(nowMs)
    },
    forget() {
      ends = []
    },
  }
}
