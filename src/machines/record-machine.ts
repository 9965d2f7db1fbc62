/**
 * Builds a record's machine: a pipeline's steps between acceptance and a settled state, or a hand-written chart with
 * the same parts. No invoke, no spawned actors, no clock, no randomness: the shell stores the snapshot and carries out
 * the actions.
 *
 * M5 The root's deadline runs from acceptance (or an operator's retry) and never resets; past it nothing new starts.
 * M6 CANCEL is accepted in every unsettled state; late answers are handled at the root, also when settled (P4).
 */
import { setup } from 'xstate'
import type { AnyStateMachine } from 'xstate'
import type { RecordContext } from './budgets.js'
import { initialContext } from './budgets.js'
import type { RecordEvent } from './events.js'
import { delayMaxima, makeParts } from './machine-parts.js'
import type { PipelineDefinition, ProviderTerms } from './pipeline.js'
import { SETTLED_IDS, stepState } from './step-state.js'

export type Terms = { [provider: string]: ProviderTerms }

const settle = (status: string) => ['markSettled', { type: 'settle', params: { status } }]

const latePolicy = {
  CALL_FAILED: { actions: { type: 'closeFailed' } },
  CALL_UNCERTAIN: { actions: { type: 'closeUncertain' } },
  CALL_NOT_SENT: { actions: { type: 'closeNotSent' } },
  RESULT_UNSTORABLE: { actions: { type: 'closeUnstorable' } },
}

/** The four ends. `investigation` is not final: an operator's retry leaves it. `retryTo` is where a new generation starts. */
export const settledStates = (retryTo: string) => ({
  completed: {
    id: SETTLED_IDS.completed.slice(1),
    type: 'final',
    description: 'Every step has its result and every charge is written.',
    entry: settle('completed'),
  },
  rejected: {
    id: SETTLED_IDS.rejected.slice(1),
    type: 'final',
    description: 'The input can never be processed; nothing is charged.',
    entry: settle('rejected'),
  },
  cancelled: {
    id: SETTLED_IDS.cancelled.slice(1),
    type: 'final',
    description: 'A person ended it.',
    entry: settle('cancelled'),
  },
  investigation: {
    id: SETTLED_IDS.investigation.slice(1),
    description: 'Automatic means are exhausted; everything known is kept and a person decides.',
    entry: settle('investigation'),
    on: {
      CALL_SUCCEEDED: { actions: [{ type: 'closeSucceeded' }, { type: 'keepCandidate' }] },
      CANCEL: SETTLED_IDS.cancelled,
      WRITE_OFF: SETTLED_IDS.cancelled,
      RETRY: {
        guard: 'mayBeginAgain',
        target: `#record.${retryTo}`,
        actions: ['advanceGeneration', { type: 'beginGeneration' }],
      },
    },
  },
})

const rootHandlers = {
  ...latePolicy,
  // Taken after all, though nobody waits for it: its id is evidence.
  CALL_ACCEPTED: { actions: { type: 'saveHandle' } },
  CALL_SUCCEEDED: { actions: [{ type: 'closeSucceeded' }, { type: 'discardResult' }] },
  CANCEL: { guard: 'isUnsettled', target: SETTLED_IDS.cancelled },
}

/** What a hand-written machine adds: its own states, guards and delays. */
export type OwnChart = {
  initial: string
  states: { [name: string]: unknown }
  guards: { [name: string]: (outputs: { [step: string]: unknown }, data: unknown) => boolean }
  delaysMs: { [name: string]: number }
}

/** Events reach the machine with the outputs of the steps that have one, and a custom event's data, beside them. */
export type DeliveredEvent = RecordEvent & { outputs?: { [step: string]: unknown }; data?: unknown }

let delivered: DeliveredEvent | null = null

/**
 * What an author's guard reads while `run` runs. XState hands guards the event of the moment, which after a step that had
 * its result, or where regions have joined, is one of its own, without the outputs.
 */
export const whileDelivering = <T>(event: DeliveredEvent, run: () => T): T => {
  delivered = event
  try {
    return run()
  } finally {
    delivered = null
  }
}

const ownGuards = (guards: OwnChart['guards']) =>
  Object.fromEntries(
    Object.entries(guards).map(([name, guard]) => [name, () => guard(delivered?.outputs ?? {}, delivered?.data)]),
  )

const sequence = (pipeline: PipelineDefinition): OwnChart => ({
  initial: pipeline.steps[0]!.name,
  states: Object.fromEntries(
    pipeline.steps.map((step, index) => [
      step.name,
      stepState(step.name, {
        description: step.description,
        done: pipeline.steps[index + 1]?.name ?? SETTLED_IDS.completed,
        exhausted: 'investigation',
      }),
    ]),
  ),
  guards: {},
  delaysMs: {},
})

export type BuiltMachine = {
  machine: AnyStateMachine
  delayMaximaMs: ReadonlyMap<string, number>
  callDelays: ReadonlySet<string>
  /** Names of guards that the pipeline's author wrote: `verify` treats them as a free choice. */
  ownGuards: readonly string[]
}

/** Throws when a name clashes or a step is undefined; `verify` does the rest. */
export const buildMachine = (pipeline: PipelineDefinition, terms: Terms, own?: OwnChart): BuiltMachine => {
  const chart = own ?? sequence(pipeline)
  const parts = makeParts(pipeline, terms)
  for (const name of Object.keys(chart.guards))
    if (name in parts.guards)
      throw new Error(`The guard name "${name}" is taken by the record machine; choose another.`)
  for (const name of Object.keys(chart.delaysMs))
    if (name in parts.delays)
      throw new Error(`The delay name "${name}" is taken by the record machine; choose another.`)
  const steps = pipeline.steps.map((step) => step.name)
  const config = {
    id: 'record',
    description: pipeline.description,
    context: (): RecordContext => initialContext(steps),
    initial: chart.initial,
    after: { deadline: { actions: 'markOverdue' } }, // M5
    on: rootHandlers,
    states: { ...chart.states, ...settledStates(chart.initial) },
  }
  const machine = setup({
    guards: { ...parts.guards, ...ownGuards(chart.guards) } as never,
    actions: parts.actions as never,
    delays: { ...parts.delays, ...chart.delaysMs } as never,
  }).createMachine(config as never) as unknown as AnyStateMachine
  const { maxima, guardsCall } = delayMaxima(pipeline, terms)
  for (const [name, ms] of Object.entries(chart.delaysMs)) maxima.set(name, ms)
  return { machine, delayMaximaMs: maxima, callDelays: guardsCall, ownGuards: Object.keys(chart.guards) }
}
