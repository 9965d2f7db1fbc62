/**
 * The record: one unit of submitted work and its whole life, as one document.
 *
 * Owns the document's shape. Does not own how it is stored (src/persistence) nor who changes it
 * (src/worker). Everything here is plain data that survives a round trip through BSON and JSON,
 * except dates, which are `Date` in memory and in MongoDB and ISO strings in JSON.
 */
import type { RecordEvent } from './events.js'

export const RECORD_STATUSES = ['processing', 'completed', 'rejected', 'cancelled', 'investigation'] as const
export type RecordStatus = (typeof RECORD_STATUSES)[number]
/** Nothing automatic will happen any more. */
export type SettledStatus = Exclude<RecordStatus, 'processing'>

/** `uncertain`: the call may have been executed; nobody knows (yet). */
export type Outcome = 'succeeded' | 'failed' | 'uncertain'

/**
 * Where a failure stands with respect to the provider's work:
 * `not-executed` certainly did not run; `executed` ran and answered with an error; `partial` ran and
 * its result is unusable (truncated, or fails the step's schema); `unknown` may have run.
 */
export type FailureKind = 'not-executed' | 'executed' | 'partial' | 'unknown'

/** What enters a record about a failure. Matched by `code` after a reload, never by class. */
export type RecordError = { code: string; message: string; kind: FailureKind; attempt?: number }

/** What a provider bills us for one attempt. `amount` is a decimal string, never a float. */
export type Spend = { amount: string; currency: string; basis: 'reported' | 'estimated' | 'upper-bound' }

/** What the customer owes under one charge key. `amount` is a decimal string. */
export type Charge = { amount: string; currency: string; at: Date; attempt: number | null; simulated?: boolean }

/**
 * Content held inline as text (JSON text, or base64 of bytes), or named by the blob that holds it. Never as a BSON value:
 * a key such as `$ne`, `a.b` or `__proto__` must not become a field name. `bytes` is the length of the content itself.
 */
export type Payload =
  { inline: string; sha256: string; bytes: number } | { blob: string; sha256: string; bytes: number }

/** The same payload where only its identity is kept (history, discarded results of great size). */
export type PayloadRef = { sha256: string; bytes: number; blob?: string }

/** Facts about one wire call that help a person: HTTP status, provider's request id, model. Never content. */
export type Evidence = { [name: string]: string | number | boolean | null }

/** What a provider says that a call used. Whole numbers but for `seconds`; more names may come with an adapter. */
export type Usage = {
  inputTokens?: number
  cachedInputTokens?: number
  outputTokens?: number
  pages?: number
  seconds?: number
  [unit: string]: number | undefined
}

/** The bytes that an attempt sends, named by their hash; `blob` holds them where they can't be built again. */
export type FrozenRequest = { sha256: string; blob?: string }

export type Attempt = {
  /** 1-based, never restarted. */
  n: number
  generation: number
  provider: string
  /** The provider cost nothing when the attempt was made, whatever a later config says. */
  free?: boolean
  model?: string
  requestKey: string
  /** Null while the attempt is open. */
  outcome: Outcome | null
  startedAt: Date
  /** Latest time at which the request may be handed to the network. */
  sendBy: Date
  endedAt: Date | null
  spend: Spend | null
  /** Absent for calls of which no request was built. */
  request?: FrozenRequest
  /** What this call may cost at most, where that is known better than by its provider's terms. */
  spendMax?: { amount: string; currency: string }
  /** The provider's own id of the call, known before its end: a job's, or of a stream's first event. */
  handle?: string
  usage?: Usage
  /** How far a running call has come, as last told. */
  progress?: { at: Date; outputTokens?: number; fraction?: number }
  /** A later paid call was made, or may have to be made, while this one may have been executed. */
  possibleDuplicate?: boolean
  error: RecordError | null
  evidence: Evidence | null
}

export type StepResult = { attempt: number; at: Date; payload: Payload }
export type DiscardedResult = {
  attempt: number
  generation: number
  at: Date
  payload: Payload | PayloadRef
  reason: string
}

export type StepRecord = {
  attempts: Attempt[]
  result: StepResult | null
  discarded: DiscardedResult[]
  /** A late answer that arrived in investigation; an operator may make it the result. */
  candidate: StepResult | null
}

/** A durable timer. `event` is delivered to the machine when `dueAt` has passed. */
export type Timer = {
  id: string
  event: string
  dueAt: Date
  /** `call` timers guard work that may be running outside; an outage never shifts them. */
  guards: 'call' | 'wait'
}

/** A step that waits for a slot at a provider. */
export type QueueEntry = {
  provider: string
  step: string
  readyAt: Date
  /** Why it may not start before `readyAt`. */
  held?: { code: string; message: string }
}

export type HistoryEntry = {
  version: number
  /** Fresh for each save: finding it again proves that an unconfirmed save was ours. */
  writer: string
  at: Date
  event: RecordEvent
  from: string
  to: string
  /** Who caused it: `worker:<id>`, `sweeper:<id>`, `ingest:<adapter>`, `operator:<name>`. */
  by: string
  /** Steps that were entered with a result already there: it was returned, nothing was called (P3). */
  reused?: string[]
}

/** A fact for others, in order per record, kept until each sink has it. */
export type OutboxEntry = {
  seq: number
  type: string
  at: Date
  data: { [name: string]: unknown }
  sent: { [sink: string]: Date }
  /** For sinks that forget: when the attempts began of which nobody knows whether they arrived. */
  sending?: { [sink: string]: { first: Date; last: Date } }
}

export type RecordInput = {
  mediaType: string
  fileName: string | null
  /** Up to INLINE_BYTES_MAX inline (JSON text, or base64 of bytes), else a blob. */
  payload: Payload
  encoding: 'json' | 'base64' | 'blob'
}

export type RecordDocument = {
  _id: string
  source: string
  /** The submission's idempotency key; null when none was given. */
  key: string | null
  contentHash: string
  pipeline: string
  pipelineVersion: string
  metadata: { [name: string]: string }
  simulated: boolean
  acceptedAt: Date
  via: string

  version: number
  status: RecordStatus
  generation: number
  snapshot: unknown
  timers: Timer[]
  wakeAt: Date | null
  queue: QueueEntry[]
  settlesBy: Date
  settledAt: Date | null
  /** Outages up to here have been added to timers and settlesBy. */
  outagesUntil: Date
  /** Why it was rejected, cancelled or sent to investigation. */
  reason: RecordError | null

  input: RecordInput
  steps: { [step: string]: StepRecord }
  charges: { [key: string]: Charge }
  history: HistoryEntry[]
  outbox: OutboxEntry[]
  /** 0..255, from the id: lets sweepers share the work without talking. */
  shard: number
}

/** The fields of a document that a save may replace whole. */
export type MutableFields = Pick<
  RecordDocument,
  | 'status'
  | 'generation'
  | 'snapshot'
  | 'timers'
  | 'wakeAt'
  | 'queue'
  | 'settlesBy'
  | 'settledAt'
  | 'outagesUntil'
  | 'reason'
  | 'pipelineVersion'
>

/** Inline limit for inputs and results, in bytes. Above it the payload is a blob. */
export const INLINE_BYTES_MAX = 64 * 1024
/** No document grows past this; pipelines that could are refused when they are compiled. */
export const DOCUMENT_BYTES_MAX = 4 * 1024 * 1024

export const isSettled = (status: RecordStatus): status is SettledStatus => status !== 'processing'
