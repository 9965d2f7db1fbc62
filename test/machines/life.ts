/**
 * A record's life on the pure functions: load, decide, save, one event at a time, at a time of the test's choosing.
 * Every loaded document is frozen to its depth first, so that a decision that changes it throws (D1).
 */
import type { Compiled } from '../../src/machines/compile.js'
import { applyEvent, dueTimers, nextIntent, observeOutages } from '../../src/machines/decide.js'
import type { Delivery } from '../../src/machines/decide.js'
import type { CallIntent, DraftSave, Errand } from '../../src/machines/draft.js'
import { closeDraft, openDraft } from '../../src/machines/draft.js'
import type { CallFailed, CallSucceeded, RecordEvent } from '../../src/machines/events.js'
import type { Attempt, FailureKind, RecordDocument } from '../../src/machines/record.js'
import { stateLabel } from '../../src/machines/advance.js'
import { noon, record } from './pipelines.js'

export const freeze = <T>(value: T): T => {
  if (value !== null && typeof value === 'object' && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) freeze(inner)
  }
  return value
}

export type Call = { step: string; attempt: number; generation: number }

export const call = (step: string, attempt: number, generation = 1): Call => ({ step, attempt, generation })

export const payload = (output: unknown) => {
  const inline = JSON.stringify(output)
  return { inline, sha256: `sha of ${inline}`, bytes: inline.length }
}

export const succeeded = (of: Call, change: Partial<CallSucceeded> = {}): CallSucceeded => ({
  type: 'CALL_SUCCEEDED',
  ...of,
  result: payload({ from: of.attempt }),
  charge: { amount: '0.40', currency: 'EUR' },
  spend: { amount: '0.01', currency: 'EUR', basis: 'reported' },
  evidence: null,
  ...change,
})

export const failed = (of: Call, change: Partial<CallFailed> & { kind?: FailureKind } = {}): CallFailed => {
  const { kind = 'executed', ...rest } = change
  const error = { code: 'broken', message: 'It broke.', kind }
  const base = { retryable: true, rejects: false, backoffMs: 1_000, spend: null, evidence: null }
  return { type: 'CALL_FAILED', ...of, error, ...base, ...rest }
}

export const uncertain = (of: Call): RecordEvent => ({
  type: 'CALL_UNCERTAIN',
  ...of,
  error: { code: 'timeout', message: 'No answer came.', kind: 'unknown' },
  spend: null,
  evidence: null,
})

export const notSent = (of: Call): RecordEvent => ({ type: 'CALL_NOT_SENT', ...of })

export const accepted = (of: Call, handle = `job-${of.attempt}`): RecordEvent => ({
  type: 'CALL_ACCEPTED',
  ...of,
  handle,
  evidence: null,
})

export const missed = (of: Call): RecordEvent => ({ type: 'CALL_MISSED', ...of, evidence: null })

export const progressed = (of: Call, handle: string | null = `stream-${of.attempt}`): RecordEvent => ({
  type: 'CALL_PROGRESSED',
  ...of,
  handle,
  progress: { outputTokens: 10 },
})

export const held = (
  step: string,
  provider: string,
  course: 'wait' | 'fall-back' | 'give-up',
  until: Date,
): RecordEvent => ({
  type: 'STEP_HELD',
  step,
  provider,
  code: 'provider-down',
  message: 'The provider is down.',
  until: until.toISOString(),
  course,
})

export const unstorable = (of: Call): RecordEvent => ({
  type: 'RESULT_UNSTORABLE',
  ...of,
  result: { sha256: 'big', bytes: 9_000_000, blob: 'b1' },
  error: { code: 'result-unstorable', message: 'The storage refuses the result.', kind: 'executed' },
  spend: { amount: '0.02', currency: 'EUR', basis: 'reported' },
})

export const operator = (type: 'CANCEL' | 'RETRY' | 'WRITE_OFF', reason = `Asked to ${type}.`): RecordEvent => ({
  type,
  reason,
})

export type Life = {
  readonly doc: RecordDocument
  readonly at: Date
  readonly state: string
  readonly saves: readonly DraftSave[]
  /** The calls that the last save asks for. */
  readonly calls: readonly CallIntent[]
  /** The questions, and the wishes to end a job, that the last save asks for. */
  readonly errands: readonly Errand[]
  /** Applies events in one save at the current time. Answers whether anything changed. */
  does(...events: RecordEvent[]): boolean
  doesWith(delivery: Delivery, ...events: RecordEvent[]): boolean
  /** Saves the intent of the step that waits at this provider, and answers its call. */
  starts(provider?: string): Call
  /** An answer and the next intent in one save. */
  fuses(answer: RecordEvent, provider: string, delivery?: Delivery): boolean
  /** Time passes; timers fire when they are due, as a worker would deliver them, `lateMs` late. */
  passes(ms: number, lateMs?: number): Life
  /** Time passes and nobody delivers anything. */
  skips(ms: number): Life
  observes(...outages: { from: Date; to: Date }[]): boolean
  /** The same record, for another future. */
  fork(): Life
  attempt(step: string, n: number): Attempt
}

type Writing = Parameters<typeof applyEvent>[0]

export const live = (compiled: Compiled, from: RecordDocument = record(compiled), since = noon): Life => {
  let doc = freeze(from)
  let at = since
  let calls: readonly CallIntent[] = []
  let errands: readonly Errand[] = []
  const saves: DraftSave[] = []

  const turn = (change: (draft: Writing) => void): boolean => {
    const decider = { at, by: 'worker:test', writer: `w${doc.version}`, facts: true }
    const draft = openDraft(compiled, doc, decider)
    change(draft)
    const closed = closeDraft(draft)
    if (!closed) return false
    doc = freeze(closed.next)
    calls = draft.calls
    errands = draft.errands
    saves.push(closed.save)
    return true
  }
  const apply = (events: readonly RecordEvent[], delivery: Delivery = {}) =>
    turn((draft) => {
      for (const event of events) applyEvent(draft, event, delivery)
    })

  const self: Life = {
    get doc() {
      return doc
    },
    get at() {
      return at
    },
    get state() {
      return stateLabel((doc.snapshot as { value: unknown }).value)
    },
    saves,
    get calls() {
      return calls
    },
    get errands() {
      return errands
    },
    does: (...events) => apply(events),
    doesWith: (delivery, ...events) => apply(events, delivery),
    starts: (provider = doc.queue[0]?.provider ?? '') => {
      const saved = turn((draft) => {
        const intent = nextIntent(draft, provider)
        if (intent) applyEvent(draft, intent)
      })
      const [first] = calls
      if (!saved || !first) throw new Error(`No step waits at "${provider}"; the record is in ${self.state}.`)
      return call(first.step, first.attempt, first.generation)
    },
    fuses: (answer, provider, delivery = {}) =>
      turn((draft) => {
        applyEvent(draft, answer, delivery)
        const intent = nextIntent(draft, provider)
        if (intent) applyEvent(draft, intent)
      }),
    passes: (ms, lateMs = 0) => {
      const until = new Date(at.getTime() + ms)
      for (;;) {
        const due = doc.wakeAt && new Date(Math.max(doc.wakeAt.getTime() + lateMs, at.getTime()))
        if (!due || due > until) break
        at = due
        apply(dueTimers(doc, at))
      }
      at = until
      return self
    },
    skips: (ms) => {
      at = new Date(at.getTime() + ms)
      return self
    },
    observes: (...outages) => turn((draft) => void observeOutages(draft, outages)),
    fork: () => live(compiled, doc, at),
    attempt: (step, n) => {
      const found = doc.steps[step]?.attempts.find((each) => each.n === n)
      if (!found) throw new Error(`Step "${step}" has no attempt ${n}.`)
      return found
    },
  }
  return self
}

/** The timer event whose name contains this text, of those in the document. */
export const timer = (doc: RecordDocument, name: string): RecordEvent & { type: `xstate.after.${string}` } => {
  const found = doc.timers.find(({ event }) => event.includes(name))
  if (!found) throw new Error(`No timer "${name}" is in the document: ${doc.timers.map(({ id }) => id).join(', ')}`)
  return { type: found.event as `xstate.after.${string}` }
}
