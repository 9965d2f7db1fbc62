/**
 * Decides what an event does to a record. Pure: the worker loads, decides here, saves, and only then acts.
 *
 * D3 A fact may be applied twice without effect (`known`), a timer only if the document still holds it and it is due.
 * D4 A record that its machine cannot advance is settled by force, without a machine.
 */
import { advance, contextOf, stateLabel } from './advance.js'
import type { MachineAction } from './advance.js'
import { closeByForce } from './attempts.js'
import { budgetOf } from './budgets.js'
import type { CompiledPipeline } from './compiled.js'
import type { Decider, Draft, DraftSave } from './draft.js'
import { factAfter, settleDerived } from './draft.js'
import type { AttemptStarted, CallProgressed, RecordEvent } from './events.js'
import { isOwnEventType } from './events.js'
import { refOnly, writeAction } from './record-actions.js'
import type { DeliveredEvent } from './record-machine.js'
import type { Attempt, HistoryEntry, RecordDocument, RecordError, Timer } from './record.js'
import { isSettled } from './record.js'

/** What comes with an event but is not kept in the history. */
export type Delivery = { outputs?: { [step: string]: unknown } }

const asTimer = (draft: Draft, action: Extract<MachineAction, { kind: 'set-timer' }>): Timer => ({
  id: action.id,
  event: action.event,
  dueAt: new Date(draft.decider.at.getTime() + action.delayMs),
  guards: draft.compiled.callTimers.has(action.event) ? 'call' : 'wait',
})

export const carryOut = (draft: Draft, event: RecordEvent, actions: readonly MachineAction[]): void => {
  for (const action of actions) {
    const { doc } = draft
    if (action.kind === 'document') writeAction(draft, event, action.name, action.step, action.status)
    else {
      doc.timers = doc.timers.filter(({ id }) => id !== action.id)
      if (action.kind === 'set-timer') doc.timers = [...doc.timers, asTimer(draft, action)]
    }
  }
}

/** Large content stays where it is; the history names it by its hash. */
const forHistory = (event: RecordEvent): RecordEvent =>
  event.type === 'CALL_SUCCEEDED' ? { ...event, result: refOnly(event.result) } : event

export const addHistory = (draft: Draft, event: RecordEvent, from: string): void => {
  const { doc, decider } = draft
  doc.version += 1
  draft.history.push({
    version: doc.version,
    writer: decider.writer,
    at: decider.at,
    event: forHistory(event),
    from,
    to: stateLabel(draft.snapshot.value),
    by: decider.by,
    ...(draft.reused.length > 0 && { reused: draft.reused }),
  })
  draft.reused = []
}

/** It tells no id and no number that is not there already. */
const isOldNews = ({ handle, progress }: Attempt, told: CallProgressed): boolean => {
  const { outputTokens = 0, fraction = 0 } = told.progress ?? {}
  const isFurther = outputTokens > (progress?.outputTokens ?? 0) || fraction > (progress?.fraction ?? 0)
  return (told.handle === null || told.handle === handle) && !isFurther
}

/** D3: this answer has been taken already, or is about an attempt that this record never made. */
const isKnown = (doc: RecordDocument, event: RecordEvent): boolean => {
  if (!('attempt' in event) || event.type === 'ATTEMPT_STARTED') return false
  const attempt = doc.steps[event.step]?.attempts.find(({ n }) => n === event.attempt)
  if (!attempt || attempt.generation !== event.generation) return true
  if (event.type === 'CALL_UNCERTAIN') return attempt.outcome !== null
  if (event.type === 'CALL_ACCEPTED' && attempt.handle === event.handle) return true
  if (event.type === 'CALL_PROGRESSED' && isOldNews(attempt, event)) return true
  return attempt.outcome === 'succeeded' || attempt.outcome === 'failed'
}

const isDue = (draft: Draft, event: RecordEvent): boolean =>
  draft.doc.timers.some((timer) => timer.event === event.type && timer.dueAt <= draft.decider.at)

/** As the machine takes it; an own event is known to its chart by its name. */
export const asDelivered = (event: RecordEvent, delivery: Delivery): DeliveredEvent =>
  event.type === 'CUSTOM'
    ? ({ type: event.name, data: event.data, ...delivery } as never)
    : ({ ...event, ...delivery } as DeliveredEvent)

/** Answers whether the event changed anything. Throws when the machine does (D4). */
export const applyEvent = (draft: Draft, event: RecordEvent, delivery: Delivery = {}): boolean => {
  const isTimer = event.type.startsWith('xstate.after.')
  if (isTimer && !isDue(draft, event)) return false
  if (event.type === 'CUSTOM' && !isOwnEventType(event.name)) return false
  if (isKnown(draft.doc, event)) return false
  const from = stateLabel(draft.snapshot.value)
  if (isTimer) draft.doc.timers = draft.doc.timers.filter((timer) => timer.event !== event.type)
  const result = advance(draft.compiled.machine, draft.snapshot, asDelivered(event, delivery))
  if (!result.changed && !isTimer) return false
  draft.snapshot = result.snapshot
  carryOut(draft, event, result.actions)
  addHistory(draft, event, from)
  settleDerived(draft)
  return true
}

/** Timers that are due, earliest first; recomputed from the document at hand, never carried over from another read. */
export const dueTimers = (doc: RecordDocument, at: Date): RecordEvent[] =>
  doc.timers
    .filter(({ dueAt }) => dueAt <= at)
    .sort((a, b) => a.dueAt.getTime() - b.dueAt.getTime())
    .map(({ event }) => ({ type: event }) as RecordEvent)

/** The key that the provider sees; it changes only after a certain failure, and with an operator's retry. */
export const requestKeyOf = (
  record: string,
  step: string,
  provider: string,
  generation: number,
  failures: number,
): string => `${record}.${step}.${provider}.${generation}.${failures}`

/** The intent of the next attempt of a step that waits for this provider; null when there is none. P5 */
export const nextIntent = (draft: Draft, provider: string): AttemptStarted | null => {
  const { at } = draft.decider
  const waiting = draft.doc.queue.find((entry) => entry.provider === provider && !(entry.held && entry.readyAt > at))
  if (!waiting || isSettled(draft.doc.status)) return null
  const context = contextOf(draft.snapshot)
  const { step } = waiting
  const { attempt, failures } = budgetOf(context, step)
  const sendBy = new Date(draft.decider.at.getTime() + draft.compiled.definition.lease.sendWithinMs)
  return {
    type: 'ATTEMPT_STARTED',
    step,
    attempt: attempt + 1,
    generation: context.generation,
    provider,
    requestKey: requestKeyOf(draft.doc._id, step, provider, context.generation, failures),
    sendBy: sendBy.toISOString(),
  }
}

/** May this step's intent ride in another save? A crash in the gap costs a call to a paid blind provider a doubt. */
export const mayFuse = (compiled: CompiledPipeline, step: string, provider: string): boolean => {
  const definition = compiled.definition.steps.find(({ name }) => name === step)
  if (!definition) return false
  const terms = compiled.terms[provider]
  return definition.fuse || terms?.cost !== 'paid' || terms.recovery !== 'blind'
}

const overlapMs = (outage: { from: Date; to: Date }, since: Date): number =>
  Math.max(0, outage.to.getTime() - Math.max(outage.from.getTime(), since.getTime()))

/**
 * Time in which nothing could run does not count (P2): waiting timers and settlesBy move by it, leases do not, because
 * the provider's clock went on. Answers whether anything moved.
 */
export const observeOutages = (draft: Draft, outages: readonly { from: Date; to: Date }[]): boolean => {
  let moved = false
  for (const outage of outages.toSorted((a, b) => a.from.getTime() - b.from.getTime())) {
    const { doc } = draft
    const shiftMs = isSettled(doc.status) ? 0 : overlapMs(outage, doc.outagesUntil)
    if (shiftMs === 0) continue
    const shift = (date: Date) => new Date(date.getTime() + shiftMs)
    doc.timers = doc.timers.map((timer) => (timer.guards === 'wait' ? { ...timer, dueAt: shift(timer.dueAt) } : timer))
    doc.settlesBy = shift(doc.settlesBy)
    doc.outagesUntil = outage.to
    const event = {
      type: 'OUTAGE_OBSERVED',
      from: outage.from.toISOString(),
      to: outage.to.toISOString(),
      shiftMs,
    } as const
    addHistory(draft, event, stateLabel(draft.snapshot.value))
    settleDerived(draft)
    moved = true
  }
  return moved
}

/** What SETTLED_BY_FORCE leaves in the place of the snapshot; an operator's retry goes on from it. */
export const forcedSnapshot = (before: unknown): { [name: string]: unknown } => {
  const previous = (typeof before === 'object' ? (before ?? {}) : {}) as { [name: string]: unknown }
  const context = { ...(previous['context'] as object | undefined), settled: true }
  return { ...previous, value: 'investigation', status: 'active', context }
}

/** D4: to investigation without a machine, keeping what was there. */
export const forceSettle = (
  base: RecordDocument,
  error: RecordError,
  decider: Decider,
  /** Of the providers that are still known. */
  terms: CompiledPipeline['terms'] = {},
): { save: DraftSave; next: RecordDocument } => {
  const version = base.version + 1
  const previous = (base.snapshot ?? {}) as { [name: string]: unknown }
  const entry: HistoryEntry = {
    version,
    writer: decider.writer,
    at: decider.at,
    event: { type: 'SETTLED_BY_FORCE', error, snapshot: base.snapshot },
    from: stateLabel(previous['value'] ?? base.status),
    to: 'investigation',
    by: decider.by,
  }
  const steps: RecordDocument['steps'] = {}
  for (const [name, step] of Object.entries(base.steps))
    if (step.attempts.some(({ outcome }) => outcome === null))
      steps[name] = { ...step, attempts: step.attempts.map((one) => closeByForce(one, error, decider.at, terms)) }
  const set = {
    status: 'investigation' as const,
    generation: base.generation,
    snapshot: forcedSnapshot(base.snapshot),
    timers: [],
    wakeAt: null,
    queue: [],
    settlesBy: base.settlesBy,
    settledAt: decider.at,
    outagesUntil: base.outagesUntil,
    reason: error,
    pipelineVersion: base.pipelineVersion,
  }
  const save = {
    id: base._id,
    expectedVersion: base.version,
    writer: decider.writer,
    set,
    steps,
    charges: {},
    history: [entry],
    outbox: decider.facts ? [factAfter(base, decider.at, 0, 'RECORD_SETTLED', { status: 'investigation' })] : [],
  }
  return {
    save,
    next: {
      ...base,
      ...set,
      version,
      steps: { ...base.steps, ...steps },
      history: [...base.history, entry],
      outbox: [...base.outbox, ...save.outbox],
    },
  }
}
