/** What the audit looks for and what it says. A finding names places, counts and states, never content. */
import type { PayloadOf, PipelineByVersion } from '../machines/replay.js'
import type { RecordDocument } from '../machines/record.js'
import type { AuditTime } from '../persistence/contract.js'

/** Stable names: in exit reports, metrics and docs/audit.md. */
export const INVARIANT_NAMES = [
  'document-parses',
  'blobs-exist',
  'results-are-whole',
  'unsettled-has-timer',
  'wake-at-is-earliest',
  'settles-in-time',
  'settled-is-quiet',
  'charges-are-exact',
  'charge-has-result',
  'result-has-success',
  'discarded-has-success',
  'settled-attempts-closed',
  'attempts-in-order',
  'attempt-has-intent',
  'doubt-has-bound',
  'history-contiguous',
  'history-replays',
  'simulated-stays-inside',
] as const
export type InvariantName = (typeof INVARIANT_NAMES)[number]

/** One place where an invariant does not hold. */
export type Fault = { step?: string; attempt?: number; expected: string; found: string }
export type Finding = Fault & { invariant: InvariantName; record: string }

/** What one record is judged by. `time` is from before the record was read. */
export type AuditView = {
  time: AuditTime
  pipelines: PipelineByVersion
  /** Outputs that lie in blobs, for guards; without it, those that are inline. */
  payloadOf?: PayloadOf
}

export type Invariant = {
  name: InvariantName
  /** What holds, in one sentence. */
  says: string
  /** The promise that rests on it. */
  promise: string
  check(doc: RecordDocument, view: AuditView): Fault[]
}

export type AuditSummary = {
  records: number
  /** Of them, those that were not settled. */
  unsettled: number
  /** Of them, those whose history was played again; the others are of a version that the config does not have. */
  replayed: number
  notReplayed: { unknownVersion: number; tooLarge: number }
  /** Blobs that were looked for. */
  blobs: number
  findings: number
  /** Findings by invariant; only those that are broken. */
  broken: { [invariant: string]: number }
  ms: number
}

/** What the audit in the background found in its last pass, for monitors. */
export type AuditReport = {
  at: Date
  /** Of the pass; `open` findings are of this pass or earlier ones and not mended. */
  records: number
  unsettled: number
  open: number
  broken: { [invariant: string]: number }
  /** There were more records than one pass looks at. */
  truncated: boolean
  ms: number
}

/** One line of an audit's stream. */
export type AuditLine =
  | ({ type: 'progress'; total: number | null } & AuditSummary)
  | ({ type: 'finding' } & Finding)
  | ({ type: 'end'; ok: boolean } & AuditSummary)
