/**
 * The events a record's machine takes. Facts, in SCREAMING_SNAKE. Time, ids and answers come in with
 * them, because the machine has no clock and no randomness. Each event about a call names its step,
 * attempt and generation, and guards check all three.
 */
import type { Charge, Evidence, FrozenRequest, Payload, PayloadRef, RecordError, Spend, Usage } from './record.js'

/** One attempt of one step in one generation. */
export type CallRef = { step: string; attempt: number; generation: number }

export type AttemptStarted = CallRef & {
  type: 'ATTEMPT_STARTED'
  provider: string
  requestKey: string
  /** ISO time after which the request must not be sent any more. */
  sendBy: string
  /** Absent when the request could not be built: nothing will be sent. */
  request?: FrozenRequest
  /** What this call may cost at most, where that is known better than by the provider's terms. */
  spendMax?: { amount: string; currency: string }
}

/** The provider took the call as a job; its result will be fetched by `handle`. */
export type CallAccepted = CallRef & {
  type: 'CALL_ACCEPTED'
  handle: string
  evidence: Evidence | null
  /** When the provider thinks that asking is worth it. */
  pollAfterMs?: number
}

/** A running call told its id or how far it is. It decides nothing. */
export type CallProgressed = CallRef & {
  type: 'CALL_PROGRESSED'
  handle: string | null
  progress: { outputTokens?: number; fraction?: number } | null
}

/** The provider knows of no such call. Certain only once it can no longer arrive. */
export type CallMissed = CallRef & { type: 'CALL_MISSED'; evidence: Evidence | null }

/** Someone trusted says that there is news of a job: ask now instead of at the next poll. */
export type CallNudged = CallRef & { type: 'CALL_NUDGED' }

/** A step that waits for a slot may not start: its provider is down, or money has run out. */
export type StepHeld = {
  type: 'STEP_HELD'
  step: string
  provider: string
  code: string
  message: string
  /** ISO time until which it waits, with `wait`. */
  until: string
  course: 'wait' | 'fall-back' | 'give-up'
}

export type CallSucceeded = CallRef & {
  type: 'CALL_SUCCEEDED'
  result: Payload | PayloadRef
  /** What the customer owes for this result; null when nothing. */
  charge: Pick<Charge, 'amount' | 'currency'> | null
  spend: Spend | null
  evidence: Evidence | null
  usage?: Usage
}

/** The provider certainly produced no usable result. */
export type CallFailed = CallRef & {
  type: 'CALL_FAILED'
  error: RecordError
  /** Another try at the same provider may help. */
  retryable: boolean
  /** The input itself can never be processed: the record is rejected. */
  rejects: boolean
  /** Pause before the next try, drawn by the worker (jitter, Retry-After); capped by the step. */
  backoffMs: number
  spend: Spend | null
  evidence: Evidence | null
  usage?: Usage
}

/** Nobody knows whether the provider ran it. */
export type CallUncertain = CallRef & {
  type: 'CALL_UNCERTAIN'
  error: RecordError
  spend: Spend | null
  evidence: Evidence | null
  usage?: Usage
}

/** The worker held a durable intent, but sendBy passed before the request could leave. */
export type CallNotSent = CallRef & { type: 'CALL_NOT_SENT' }

/** The answer is here, but the record can't hold it. The payload is kept as a blob when it could be. */
export type ResultUnstorable = CallRef & {
  type: 'RESULT_UNSTORABLE'
  result: PayloadRef | null
  error: RecordError
  spend: Spend | null
}

export type OperatorEvent =
  { type: 'CANCEL'; reason: string } | { type: 'RETRY'; reason: string } | { type: 'WRITE_OFF'; reason: string }

/** Events that change the document but that no machine decides about. */
export type BookkeepingEvent =
  | { type: 'RECORD_ACCEPTED' }
  | { type: 'OUTAGE_OBSERVED'; from: string; to: string; shiftMs: number }
  | { type: 'PIPELINE_CHANGED'; from: string; to: string }
  | { type: 'SETTLED_BY_FORCE'; error: RecordError; snapshot: unknown }

/** A timer that has fired: `xstate.after.<delay>.<state>`. */
export type TimerFired = { type: `xstate.after.${string}` }

/** An event of a hand-written machine, delivered through the API. */
export type CustomEvent = { type: 'CUSTOM'; name: string; data: unknown }

export type CallEvent =
  | AttemptStarted
  | CallAccepted
  | CallProgressed
  | CallMissed
  | CallNudged
  | CallSucceeded
  | CallFailed
  | CallUncertain
  | CallNotSent
  | ResultUnstorable
export type RecordEvent = CallEvent | StepHeld | OperatorEvent | BookkeepingEvent | TimerFired | CustomEvent

/** Types that a pipeline's author can't use for own events: their meaning is fixed, and operators' events need rights. */
const BUILT_IN_EVENT_TYPES: ReadonlySet<string> = new Set<Exclude<RecordEvent['type'], TimerFired['type']>>([
  'ATTEMPT_STARTED',
  'CALL_ACCEPTED',
  'CALL_PROGRESSED',
  'CALL_MISSED',
  'CALL_NUDGED',
  'STEP_HELD',
  'CALL_SUCCEEDED',
  'CALL_FAILED',
  'CALL_UNCERTAIN',
  'CALL_NOT_SENT',
  'RESULT_UNSTORABLE',
  'CANCEL',
  'RETRY',
  'WRITE_OFF',
  'RECORD_ACCEPTED',
  'OUTAGE_OBSERVED',
  'PIPELINE_CHANGED',
  'SETTLED_BY_FORCE',
  'CUSTOM',
])

/** `xstate.` events are timers and XState's own; `*` is its wildcard. */
export const isOwnEventType = (type: string): boolean =>
  type !== '' && type !== '*' && !type.startsWith('xstate.') && !BUILT_IN_EVENT_TYPES.has(type)
