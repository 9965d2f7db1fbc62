/**
 * What the machine's actions do to the document. Each action is named in step-state.ts or record-machine.ts and gets
 * the event that caused it; nothing here decides whether it should happen.
 * Attempts are closed in attempts.ts (A1, A4).
 *
 * A2 A result is written once; every other answer is kept as discarded or candidate, with its spend (P4).
 * A3 A charge is written with its result, under a key that can hold one (P3).
 */
import type { DocumentActionName } from './machine-parts.js'
import { stepByName } from './machine-parts.js'
import { contextOf } from './advance.js'
import { budgetOf } from './budgets.js'
import type { Draft } from './draft.js'
import { addFact, editStep } from './draft.js'
import {
  closeAttempt,
  closeOpenAttempts,
  findAttempt,
  markInDoubt,
  resolveSameRun,
  uncertainBecause,
} from './attempts.js'
import type {
  AttemptStarted,
  CallAccepted,
  CallFailed,
  CallMissed,
  CallProgressed,
  CallSucceeded,
  CallUncertain,
  RecordEvent,
  ResultUnstorable,
  StepHeld,
} from './events.js'
import type { Attempt, Payload, PayloadRef, RecordError, SettledStatus } from './record.js'

type Applied = { draft: Draft; event: RecordEvent; step: string; status: string | null }

const providerNow = (draft: Draft, step: string): string => {
  const { provider } = budgetOf(contextOf(draft.snapshot), step)
  return stepByName(draft.compiled.definition, step).use[provider]!
}

const current = (draft: Draft, step: string) => budgetOf(contextOf(draft.snapshot), step).attempt

const openAttempt = ({ draft, event, step }: Applied) => {
  const started = event as AttemptStarted
  const { attempt: n, generation, provider, requestKey, request, spendMax } = started
  const { model, cost } = draft.compiled.terms[provider] ?? {}
  const sendBy = new Date(started.sendBy)
  const { attempts } = editStep(draft, step)
  for (const earlier of attempts) markInDoubt(draft, step, earlier, earlier.requestKey === requestKey)
  attempts.push({
    n,
    generation,
    provider,
    ...(cost === 'free' && { free: true }),
    ...(model !== undefined && { model }),
    requestKey,
    outcome: null,
    startedAt: draft.decider.at,
    sendBy,
    endedAt: null,
    spend: null,
    error: null,
    evidence: null,
    ...(request && { request }),
    ...(spendMax && { spendMax }),
  })
  draft.calls.push({ step, attempt: n, generation, provider, requestKey, sendBy, ...(spendMax && { spendMax }) })
}

/** A2, A3 */
const recordResult = ({ draft, event, step }: Applied) => {
  const { attempt, result, charge } = event as CallSucceeded
  const record = editStep(draft, step)
  if (record.result !== null) throw new Error(`Step "${step}" has a result already.`)
  if (!('inline' in result) && result.blob === undefined) throw new Error('A result needs its payload.')
  record.result = { attempt, at: draft.decider.at, payload: result as never }
  closeOpenAttempts(draft, step, 'superseded', `Attempt ${attempt} gave the result first.`)
  if (charge) writeCharge(draft, step, charge, attempt)
}

const writeCharge = (draft: Draft, key: string, owed: { amount: string; currency: string }, attempt: number | null) => {
  if (draft.doc.charges[key]) return
  draft.doc.charges[key] = { ...owed, at: draft.decider.at, attempt, ...(draft.doc.simulated && { simulated: true }) }
  draft.touchedCharges.add(key)
  addFact(draft, 'CHARGE_WRITTEN', { key, ...owed, attempt })
}

const chargeRecord = (draft: Draft) => {
  const { price } = draft.compiled.definition
  if (price) writeCharge(draft, 'record', { amount: price.fixed, currency: price.currency }, null)
}

/** Only what names the content: for the history, and for late answers past the first. */
export const refOnly = ({ sha256, bytes, ...rest }: Payload | PayloadRef): PayloadRef => ({
  sha256,
  bytes,
  ...('blob' in rest && rest.blob !== undefined && { blob: rest.blob }),
})

/** One late answer's content stays inline; of others its identity, or documents could outgrow their limit. */
const keepLate = ({ draft, event, step }: Applied, place: 'discarded' | 'candidate') => {
  const { attempt, generation, result } = event as CallSucceeded
  const record = editStep(draft, step)
  const at = draft.decider.at
  if (place === 'candidate' && record.candidate === null && record.result === null) {
    record.candidate = { attempt, at, payload: result as never }
    return
  }
  const holdsOne = record.candidate !== null || record.discarded.some(({ payload }) => 'inline' in payload)
  record.discarded.push({ attempt, generation, at, payload: holdsOne ? refOnly(result) : result, reason: 'late' })
}

const settle = ({ draft, event, status }: Applied) => {
  const { doc, decider } = draft
  doc.status = status as SettledStatus
  doc.settledAt = decider.at
  for (const name of Object.keys(doc.steps))
    closeOpenAttempts(draft, name, 'settled', `The record was settled as ${status}.`)
  if (status === 'completed') chargeRecord(draft)
  doc.reason = status === 'completed' ? null : reasonFor(draft, event)
  addFact(draft, 'RECORD_SETTLED', { status })
}

/** Facts about a running call; they decide nothing. */
const saveHandle = ({ draft, event, step }: Applied) => {
  const { attempt: n, handle, evidence } = event as CallAccepted
  const attempt = findAttempt(draft, step, n)
  if (!attempt) return
  attempt.handle = handle
  if (evidence) attempt.evidence = evidence
}

const saveProgress = ({ draft, event, step }: Applied) => {
  const { attempt: n, handle, progress } = event as CallProgressed
  const attempt = findAttempt(draft, step, n)
  if (!attempt || (attempt.outcome !== null && attempt.outcome !== 'uncertain')) return
  if (handle !== null) attempt.handle = handle
  if (progress) attempt.progress = { ...progress, at: draft.decider.at }
}

/** A step that is left needs no call any more: jobs that still run are asked to end. */
const closeLeft = ({ draft, step }: Applied) => {
  for (const { n, handle, outcome } of draft.doc.steps[step]?.attempts ?? [])
    if (handle !== undefined && (outcome === null || outcome === 'uncertain'))
      draft.errands.push({ kind: 'cancel', step, attempt: n })
  closeOpenAttempts(draft, step, 'left', 'The step was left before an answer came.')
}

const postpone = ({ draft, event, step }: Applied) => {
  const { code, message, until } = event as StepHeld
  draft.doc.queue = draft.doc.queue.map((entry) =>
    entry.step === step ? { ...entry, readyAt: new Date(until), held: { code, message } } : entry,
  )
}

const reasonFor = (draft: Draft, event: RecordEvent): RecordError => {
  if ('error' in event && event.type !== 'CALL_UNCERTAIN' && event.type !== 'CALL_FAILED') return event.error
  if (event.type === 'CALL_FAILED' && event.rejects) return event.error
  if ('reason' in event) return { code: event.type.toLowerCase(), message: event.reason, kind: 'not-executed' }
  if (draft.doc.reason) return draft.doc.reason
  return { code: 'settled-by-machine', message: `The machine settled it on ${event.type}.`, kind: 'not-executed' }
}

/** What a certain failure says of itself is what a person needs; of a doubt only its name is known. */
const endOf = ({ n, provider }: Attempt, { code, message, kind }: RecordError): string =>
  ` The last attempt (${n}, ${provider}) ended with ${code}${kind === 'unknown' ? '.' : `: ${message}`}`

const giveUp = ({ draft, event, step }: Applied) => {
  if (event.type === 'STEP_HELD') {
    draft.doc.reason = { code: event.code, message: event.message, kind: 'not-executed' }
    return
  }
  const context = contextOf(draft.snapshot)
  const attempts = draft.doc.steps[step]?.attempts ?? []
  const last = attempts.at(-1)
  const inDoubt = (attempt: Attempt): boolean =>
    attempt.generation === context.generation &&
    attempt.outcome === 'uncertain' &&
    (attempt === last || draft.compiled.terms[attempt.provider]?.cost === 'paid')
  // Leaving the queue comes first; why it waited is in what was loaded.
  const held = draft.base.queue.find((entry) => entry.step === step)?.held
  const waited = held ? ` It waited, because: ${held.message}` : ''
  const tail = last?.error ? endOf(last, last.error) : ''
  draft.doc.reason = context.overdue
    ? {
        code: 'deadline-passed',
        message: `Step "${step}" was not done when the record's deadline passed.${waited}${tail}`,
        kind: last?.error?.kind ?? 'not-executed',
      }
    : {
        code: attempts.some(inDoubt) ? 'outcome-uncertain' : 'attempts-exhausted',
        message: `Step "${step}" has no result after ${attempts.length} attempt(s) and may not call again.${tail}`,
        kind: last?.error?.kind ?? 'unknown',
      }
}

const beginGeneration = ({ draft }: Applied) => {
  const { doc, decider, compiled } = draft
  const dueAt = new Date(decider.at.getTime() + compiled.deadlineMs)
  const event = 'xstate.after.deadline.record'
  doc.status = 'processing'
  doc.settledAt = null
  doc.reason = null
  doc.timers = [...doc.timers.filter(({ id }) => id !== event), { id: event, event, dueAt, guards: 'wait' }]
  doc.settlesBy = new Date(decider.at.getTime() + compiled.worstCaseMs)
  // Outages before the retry are no part of this generation's time.
  if (doc.outagesUntil < decider.at) doc.outagesUntil = decider.at
}

const stepOf = (event: RecordEvent): number => ('attempt' in event ? event.attempt : 0)

const NEVER_ARRIVED: RecordError = {
  code: 'never-arrived',
  message: 'The provider knows of no such call, and it can no longer arrive.',
  kind: 'not-executed',
}

/** Exhaustive: a new action breaks the build until it is given a meaning. */
const writers: Record<DocumentActionName, (applied: Applied) => void> = {
  enqueue: ({ draft, step }) => {
    draft.doc.queue = [
      ...draft.doc.queue.filter((entry) => entry.step !== step),
      { provider: providerNow(draft, step), step, readyAt: draft.decider.at },
    ]
  },
  dequeue: ({ draft, step }) => {
    draft.doc.queue = draft.doc.queue.filter((entry) => entry.step !== step)
  },
  openAttempt,
  closeSucceeded: ({ draft, event, step }) => {
    const { spend, evidence, usage } = event as CallSucceeded
    closeAttempt(draft, step, stepOf(event), { outcome: 'succeeded', error: null, spend, evidence, usage })
    resolveSameRun(draft, step, stepOf(event))
  },
  closeFailed: ({ draft, event, step }) => {
    const { error, spend, evidence, usage } = event as CallFailed
    closeAttempt(draft, step, stepOf(event), { outcome: 'failed', error, spend, evidence, usage })
    if (error.kind !== 'not-executed') resolveSameRun(draft, step, stepOf(event))
  },
  closeMissed: ({ draft, event, step }) => {
    const { evidence } = event as CallMissed
    closeAttempt(draft, step, stepOf(event), { outcome: 'failed', error: NEVER_ARRIVED, spend: null, evidence })
  },
  closeOverran: ({ draft, step }) =>
    closeAttempt(draft, step, current(draft, step), uncertainBecause('job-overran', 'The job had no end in its time.')),
  closeNotSent: ({ draft, event, step }) => {
    const error: RecordError = {
      code: 'not-sent',
      message: 'The time to send had passed before the request could leave.',
      kind: 'not-executed',
    }
    closeAttempt(draft, step, stepOf(event), { outcome: 'failed', error, spend: null, evidence: null })
  },
  closeUncertain: ({ draft, event, step }) => {
    const { error, spend, evidence, usage } = event as CallUncertain
    closeAttempt(draft, step, stepOf(event), { outcome: 'uncertain', error, spend, evidence, usage })
  },
  closeLeaseExpired: ({ draft, step }) => {
    closeAttempt(
      draft,
      step,
      current(draft, step),
      uncertainBecause('lease-expired', 'No answer was saved before the lease ran out.'),
    )
  },
  closeUnstorable: ({ draft, event, step }) => {
    const { error, spend, result, attempt, generation } = event as ResultUnstorable
    closeAttempt(draft, step, attempt, { outcome: 'succeeded', error, spend, evidence: null })
    if (result)
      editStep(draft, step).discarded.push({
        attempt,
        generation,
        at: draft.decider.at,
        payload: result,
        reason: error.code,
      })
  },
  closeLeft,
  saveHandle,
  saveProgress,
  askProvider: ({ draft, step }) => {
    draft.errands.push({ kind: 'ask', step, attempt: current(draft, step) })
  },
  postpone,
  markReused: ({ draft, step }) => {
    draft.reused.push(step)
  },
  markPossibleDuplicate: ({ draft, step }) => {
    const attempt = findAttempt(draft, step, current(draft, step))
    if (attempt) markInDoubt(draft, step, attempt, attempt.provider === providerNow(draft, step))
  },
  recordResult,
  discardResult: (applied) => keepLate(applied, 'discarded'),
  keepCandidate: (applied) => keepLate(applied, 'candidate'),
  giveUp,
  settle,
  beginGeneration,
}

/** Actions at the root carry no step: the event names it. */
export const writeAction = (
  draft: Draft,
  event: RecordEvent,
  name: DocumentActionName,
  step: string | null,
  status: string | null,
): void => {
  const named = step ?? ('step' in event ? event.step : '')
  writers[name]({ draft, event, step: named, status })
}
