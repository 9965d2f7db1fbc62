/**
 * Everything between "a step waits for this provider" and its intent in the draft: is the provider up, can the request
 * be built, is there money. What may not start is held with a reason and a time, or falls back (never half-done).
 *
 * B1 The intent is the last thing that is decided: after it only the save stands between the record and the call (P5).
 * B2 The lease counts from after the request was built: building may take long for large inputs.
 * B3 An answer in hand never waits for it: in the save of an answer, a start that is not ready in FUSE_MS is left to a
 *    hint of its own.
 */
import { nextIntent } from '../machines/decide.js'
import type { Draft } from '../machines/draft.js'
import type { AttemptStarted, RecordEvent, StepHeld } from '../machines/events.js'
import type { Gate, Hold, ReservedCall } from '../providers/gate.js'
import type { Clock } from './contract.js'
import type { Prepare, Prepared } from './prepare.js'
import { within } from './within.js'

export type StartingDeps = {
  prepare: Prepare
  gate: Gate
  clock: Clock
  apply(draft: Draft, event: RecordEvent): Promise<boolean>
}

/**
 * Null when nothing was started; then the draft may hold a STEP_HELD instead. `step`: only this one may start, and the
 * save holds an answer (B3).
 */
export type Start = (
  draft: Draft,
  provider: string,
  onAbandon: (undo: () => void) => void,
  step?: string,
) => Promise<{ step: string; prepared: Prepared } | null>

const HELD_MS_MIN = 5_000

/** Building from what is in memory takes less than a millisecond, a reservation a few. */
const FUSE_MS = 100

type Ready = { prepared: Prepared; broke: Hold | null }
const NOT_READY = { prepared: null, broke: null }

export const createStart = ({ prepare, gate, clock, apply }: StartingDeps): Start => {
  /** The request, and the money for it. Never rejects where `reserve` doesn't. */
  const getReady = async (doc: Draft['doc'], compiled: Draft['compiled'], waiting: AttemptStarted): Promise<Ready> => {
    const { step, provider, attempt } = waiting
    const prepared = await prepare(doc, compiled, waiting)
    if (!prepared.ok) return { prepared, broke: null }
    const spendMax = prepared.built?.spendMax ?? compiled.terms[provider]?.spendMax ?? null
    return { prepared, broke: await gate.reserve({ step, provider, attempt, doc, spendMax }) }
  }
  const giveBackLate = (ready: Promise<Ready>, call: ReservedCall) =>
    ready.then(
      ({ prepared, broke }) => void (prepared.ok && !broke && gate.settle(call, null)),
      () => undefined,
    )
  return async (draft, provider, onAbandon, only) => {
    const waiting = nextIntent(draft, provider)
    if (!waiting || (only !== undefined && waiting.step !== only)) return null
    const { step } = waiting
    const down = gate.hold(provider)
    if (down) {
      // What this process alone has just found is short; records told of it would be told again at once.
      const until = new Date(Math.max(down.until.getTime(), clock.now().getTime() + HELD_MS_MIN))
      await apply(draft, heldBy({ ...down, until }, waiting, down.code === 'provider-down' ? 'fall-back' : 'wait'))
      return null
    }
    const call = { step, attempt: waiting.attempt, provider }
    const ready = getReady(draft.doc, draft.compiled, waiting)
    const { prepared, broke } = (only === undefined ? await ready : await within(ready, FUSE_MS, clock)) ?? NOT_READY
    if (!prepared) {
      void giveBackLate(ready, { ...call, record: draft.doc._id })
      return null
    }
    if (broke) {
      await apply(draft, heldBy(broke, waiting, broke.until <= clock.now() ? 'give-up' : 'wait'))
      return null
    }
    if (prepared.ok) onAbandon(() => gate.settle({ ...call, record: draft.doc._id }, null))
    draft.decider = { ...draft.decider, at: clock.now() } // B2
    const intent: AttemptStarted = {
      ...nextIntent(draft, provider)!,
      ...(prepared.ok && { request: prepared.request }),
      ...(prepared.ok && prepared.built?.spendMax && { spendMax: prepared.built.spendMax }),
    }
    return (await apply(draft, intent)) ? { step, prepared } : null
  }
}

const heldBy = (
  { code, message, until }: Hold,
  { step, provider }: AttemptStarted,
  course: StepHeld['course'],
): StepHeld => ({
  type: 'STEP_HELD',
  step,
  provider,
  code,
  message,
  until: until.toISOString(),
  course,
})
