/**
 * Guards, actions and delays behind the names in step-state.ts, for one pipeline. Guards check step, attempt and
 * generation of every event, so that a stale or repeated answer can never be taken for a current one.
 *
 * Actions named in `documentActions` have no body here: `transition()` returns them with their resolved params and
 * record-actions.ts writes them into the document. The other actions only keep the context's budgets.
 */
import { assign } from 'xstate'
import type { RecordContext } from './budgets.js'
import { budgetOf, nextGeneration, withBudget } from './budgets.js'
import {
  deadlineMs,
  lastLookMs,
  leaseMs,
  lookupWindowMaxMs,
  lookupWindowMs,
  pollMaxMs,
  pollMs,
  quarantineMaxMs,
  quarantineMs,
  runMaxMs,
  runMs,
} from './delays.js'
import type { CallAccepted, CallFailed, CallProgressed, CallRef, RecordEvent, StepHeld } from './events.js'
import type { PipelineDefinition, ProviderTerms, StepDefinition } from './pipeline.js'
import type { StepPolicy } from './policy.js'
import {
  isSpent,
  leavesDoubt,
  isAsked,
  mayAsk,
  mayFallBack,
  mayFallBackUncertain,
  mayRepeatUncertain,
  mayTryAgain,
  providerOf,
} from './policy.js'
import { delayNames } from './step-state.js'

type Args = { context: RecordContext; event: RecordEvent }
type StepParams = { step: string }
export type Guard = (args: Args, params: StepParams) => boolean

const isCall = (event: RecordEvent): event is RecordEvent & CallRef => 'attempt' in event && 'step' in event

/** The event's attempt, if it is about this step in this generation; otherwise 0. */
const attemptOf = ({ context, event }: Args, step: string): number =>
  isCall(event) && event.step === step && event.generation === context.generation ? event.attempt : 0

/** The provider ran something under this key, and said how it ended. */
const usesUpKey = (event: RecordEvent): boolean => event.type === 'CALL_FAILED' && event.error.kind !== 'not-executed'

const isCurrent = (args: Args, step: string): boolean => {
  const attempt = attemptOf(args, step)
  return attempt > 0 && attempt === budgetOf(args.context, step).attempt
}

/** The event, if it is about this step where it waits now. */
const heldAt = ({ context, event }: Args, policy: StepPolicy): StepHeld | null => {
  if (event.type !== 'STEP_HELD' || event.step !== policy.step.name) return null
  return event.provider === providerOf(policy, budgetOf(context, event.step)).name ? event : null
}

/** Each generation adds attempts and history to the document: a record that failed so often is another record's work. */
export const GENERATIONS_MAX = 20

export const makeGuards = (policies: ReadonlyMap<string, StepPolicy>): { [name: string]: Guard } => {
  const policy = (step: string): StepPolicy => {
    const found = policies.get(step)
    if (!found) throw new Error(`The machine names step "${step}", which its pipeline does not define.`)
    return found
  }
  return {
    isOverdue: ({ context }) => context.overdue,
    isUnsettled: ({ context }) => !context.settled,
    mayBeginAgain: ({ context }) => context.generation < GENERATIONS_MAX,
    hasResult: ({ context }, { step }) => budgetOf(context, step).result > 0,
    isSpent: ({ context }, { step }) => isSpent(policy(step), context),
    isNextAttempt: (args, { step }) => {
      if (args.event.type !== 'ATTEMPT_STARTED' || args.context.overdue) return false
      const budget = budgetOf(args.context, step)
      return (
        attemptOf(args, step) === budget.attempt + 1 && args.event.provider === providerOf(policy(step), budget).name
      )
    },
    isCurrentCall: (args, { step }) => isCurrent(args, step),
    // M3: an earlier attempt of this generation may answer as well; it was uncertain, not failed.
    isFirstAnswer: (args, { step }) => {
      const answered = attemptOf(args, step)
      const { attempt, result } = budgetOf(args.context, step)
      return result === 0 && answered >= 1 && answered <= attempt
    },
    rejectsInput: (args, { step }) => isCurrent(args, step) && (args.event as CallFailed).rejects,
    triesAgain: (args, { step }) =>
      isCurrent(args, step) && (args.event as CallFailed).retryable && mayTryAgain(policy(step), args.context),
    sendsAgain: (args, { step }) => isCurrent(args, step) && mayTryAgain(policy(step), args.context),
    fallsBack: (args, { step }) =>
      isCurrent(args, step) && mayFallBack(policy(step), args.context, usesUpKey(args.event)),
    mayAsk: ({ context }, { step }) => mayAsk(policy(step), context),
    isAcceptedJob: (args, { step }) =>
      isCurrent(args, step) && isAsked(providerOf(policy(step), budgetOf(args.context, step))),
    hasHandle: ({ context }, { step }) => budgetOf(context, step).handle,
    isHeld: (args, { step }) => heldAt(args, policy(step)) !== null,
    heldFallsBack: (args, { step }) =>
      heldAt(args, policy(step))?.course === 'fall-back' && mayFallBack(policy(step), args.context, false),
    heldGivesUp: (args, { step }) => heldAt(args, policy(step))?.course === 'give-up',
    repeatsUncertain: ({ context }, { step }) => mayRepeatUncertain(policy(step), context),
    fallsBackUncertain: ({ context }, { step }) => mayFallBackUncertain(policy(step), context),
  }
}

const callOf = (event: RecordEvent): CallRef => {
  if (!isCall(event)) throw new Error(`Event ${event.type} names no call.`)
  return event
}

/** Actions whose params go to the document. */
export const documentActions = [
  'enqueue',
  'dequeue',
  'openAttempt',
  'closeSucceeded',
  'closeFailed',
  'closeNotSent',
  'closeUncertain',
  'closeLeaseExpired',
  'closeUnstorable',
  'closeMissed',
  'closeOverran',
  'closeLeft',
  'saveHandle',
  'saveProgress',
  'askProvider',
  'postpone',
  'markReused',
  'markPossibleDuplicate',
  'recordResult',
  'discardResult',
  'keepCandidate',
  'giveUp',
  'settle',
  'beginGeneration',
] as const
export type DocumentActionName = (typeof documentActions)[number]

const doNothing = () => {}
const change = (update: (context: RecordContext, event: RecordEvent, step: string) => RecordContext) =>
  assign(({ context, event }: Args, params: StepParams) => update(context, event, params?.step ?? ''))

const contextActions = (policies: ReadonlyMap<string, StepPolicy>) => ({
  countAttempt: change((context, event, step) => {
    const { tries } = budgetOf(context, step)
    return withBudget(context, step, { attempt: callOf(event).attempt, tries: tries + 1, handle: false, asks: 0 })
  }),
  nextProvider: change((context, _event, step) =>
    withBudget(context, step, { provider: budgetOf(context, step).provider + 1, tries: 0 }),
  ),
  // A key that was refused unexecuted is not used up, and an earlier uncertain call may have run under it: with a new
  // key the provider could run both (P6).
  countFailure: change((context, event, step) =>
    usesUpKey(event) ? withBudget(context, step, { failures: budgetOf(context, step).failures + 1 }) : context,
  ),
  countDoubt: change((context, _event, step) => {
    const budget = budgetOf(context, step)
    const policy = policies.get(step)
    const inDoubt = policy !== undefined && leavesDoubt(providerOf(policy, budget))
    return inDoubt ? withBudget(context, step, { doubts: budget.doubts + 1 }) : context
  }),
  keepResult: change((context, event, step) => withBudget(context, step, { result: callOf(event).attempt })),
  keepHandle: change((context, event, step) => {
    const { handle } = event as CallAccepted | CallProgressed
    return handle === null || budgetOf(context, step).handle ? context : withBudget(context, step, { handle: true })
  }),
  countAsk: change((context, _event, step) => withBudget(context, step, { asks: budgetOf(context, step).asks + 1 })),
  markOverdue: assign({ overdue: true }),
  markSettled: assign({ settled: true }),
  spendTries: change((context, _event, step) => {
    const { tries, result } = budgetOf(context, step)
    const attempts = policies.get(step)?.step.attempts ?? tries
    return result === 0 && tries > 0 ? withBudget(context, step, { tries: attempts }) : context
  }),
  advanceGeneration: assign(({ context }: Args) => nextGeneration(context)),
})

/** Everything `setup()` needs for one pipeline. */
export const makeParts = (pipeline: PipelineDefinition, terms: { [provider: string]: ProviderTerms }) => {
  const policies = new Map<string, StepPolicy>(pipeline.steps.map((step) => [step.name, { step, terms }]))
  return {
    guards: makeGuards(policies),
    actions: {
      ...Object.fromEntries(documentActions.map((name) => [name, doNothing])),
      ...contextActions(policies),
    },
    delays: makeDelays(pipeline, terms),
  }
}

type Delay = number | ((args: Args) => number)

/** A pause that is no number must not become a timer that never fires (P2). */
const pauseMs = (drawnMs: number, maxMs: number): number =>
  Number.isNaN(drawnMs) ? maxMs : Math.min(Math.max(0, drawnMs), maxMs)

const makeDelays = (pipeline: PipelineDefinition, terms: { [provider: string]: ProviderTerms }) => {
  const delays: { [name: string]: Delay } = { deadline: deadlineMs(pipeline, terms) }
  for (const step of pipeline.steps) {
    const names = delayNames(step.name)
    delays[names.lease] = leaseMs(pipeline, step)
    const here = (context: RecordContext) => {
      const budget = budgetOf(context, step.name)
      return { budget, provider: providerOf({ step, terms }, budget) }
    }
    delays[names.quarantine] = ({ context }) => {
      const { budget, provider } = here(context)
      return quarantineMs(step, provider, budget.doubts)
    }
    delays[names.lookup] = ({ context }) => lookupWindowMs(here(context).provider)
    delays[names.run] = ({ context }) => runMs(here(context).provider)
    delays[names.lastLook] = lastLookMs(pipeline)
    delays[names.poll] = ({ context, event }) => {
      const { budget, provider } = here(context)
      const windowMs = lookupWindowMs(provider)
      // What the provider says itself counts for the first poll; a pause that is no number must not never end (P2).
      return event.type === 'CALL_ACCEPTED' && event.pollAfterMs !== undefined
        ? pauseMs(event.pollAfterMs, pollMaxMs(windowMs))
        : pollMs(windowMs, budget.asks)
    }
    delays[names.backoff] = ({ event }) =>
      event.type === 'CALL_FAILED' ? pauseMs(event.backoffMs, step.backoff.maxMs) : step.backoff.maxMs
  }
  return delays
}

/** Declared maximum of each delay by its name, in ms, and which of them guard a call. */
export const delayMaxima = (pipeline: PipelineDefinition, terms: { [provider: string]: ProviderTerms }) => {
  const maxima = new Map<string, number>([['deadline', deadlineMs(pipeline, terms)]])
  const guardsCall = new Set<string>()
  for (const step of pipeline.steps) {
    const names = delayNames(step.name)
    maxima.set(names.lease, leaseMs(pipeline, step))
    maxima.set(names.quarantine, quarantineMaxMs(step, terms))
    maxima.set(names.backoff, step.backoff.maxMs)
    maxima.set(names.lookup, lookupWindowMaxMs(step, terms))
    maxima.set(names.run, runMaxMs(step, terms))
    maxima.set(names.lastLook, lastLookMs(pipeline))
    maxima.set(names.poll, pollMaxMs(lookupWindowMaxMs(step, terms)))
    for (const name of ['lease', 'quarantine', 'lookup', 'run', 'lastLook', 'poll'] as const)
      guardsCall.add(names[name])
  }
  return { maxima, guardsCall }
}

export const stepByName = (pipeline: PipelineDefinition, name: string): StepDefinition => {
  const step = pipeline.steps.find((candidate) => candidate.name === name)
  if (!step) throw new Error(`Pipeline "${pipeline.name}" has no step "${name}".`)
  return step
}
