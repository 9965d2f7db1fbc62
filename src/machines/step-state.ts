/**
 * The statechart of one step. Every pipeline, built or written by hand, is made of these; so each guarantee about
 * calls is made here once. Guards and actions are named, and implemented in machine-parts.ts.
 *
 * M1 `calling` is entered only by ATTEMPT_STARTED, whose action opens the attempt in the same save (P5).
 * M2 A step with a result never reaches `calling` again (P3): `ready` leaves at once.
 * M3 The first answer of this generation becomes the result, whichever attempt it comes from, until the step has
 *    ended; later ones are handled at the root (P4).
 * M4 Every state but `ready` has a timer of its own; `ready` waits under the record's deadline (P2).
 * M8 Where a provider can be asked about a call, it is asked before anything else may follow (P6): again and again
 *    until the call can't arrive any more, and once more then. Asking starts nothing and counts no attempt.
 * M7 A step that called and was left without a result is over in this generation: entered again it is exhausted at once.
 *    Otherwise a chart could call again while the first call is in doubt (P6), without bound.
 */
export const delayNames = (step: string) => ({
  lease: `lease of ${step}`,
  quarantine: `quarantine of ${step}`,
  backoff: `backoff of ${step}`,
  lookup: `look-up of ${step}`,
  run: `run of ${step}`,
  poll: `poll of ${step}`,
  lastLook: `last look of ${step}`,
})

/** Where a step goes: a state name or `#id`, or guarded targets tried in order. */
export type Target = string | readonly ({ guard?: unknown; target: string } | string)[]

export const SETTLED_IDS = {
  completed: '#completed',
  rejected: '#rejected',
  cancelled: '#cancelled',
  investigation: '#investigation',
} as const

const exhaustedWith = (step: string, target: string) => ({ target, actions: { type: 'giveUp', params: { step } } })

const guarded = (type: string, step: string) => ({ type, params: { step } })

/** What follows a certain failure of the current attempt; the order is the policy (I1). */
const afterFailure = (step: string, exhausted: string) => {
  const close = [guarded('closeFailed', step), guarded('countFailure', step)]
  return [
    { guard: guarded('rejectsInput', step), target: SETTLED_IDS.rejected, actions: close },
    { guard: guarded('triesAgain', step), target: 'backoff', actions: close },
    {
      guard: guarded('fallsBack', step),
      target: 'ready',
      actions: [...close, guarded('nextProvider', step)],
    },
    { guard: guarded('isCurrentCall', step), target: exhausted, actions: [...close, guarded('giveUp', step)] },
  ]
}

const afterNotRun = (step: string, exhausted: string, closing: 'closeNotSent' | 'closeMissed') => {
  const close = guarded(closing, step)
  return [
    { guard: guarded('sendsAgain', step), target: 'ready', actions: close },
    { guard: guarded('fallsBack', step), target: 'ready', actions: [close, guarded('nextProvider', step)] },
    { guard: guarded('isCurrentCall', step), target: exhausted, actions: [close, guarded('giveUp', step)] },
  ]
}

/** What may follow a call of which nobody knows, once waiting and asking are over (I2). */
const byPolicy = (step: string, exhausted: string) => [
  {
    guard: guarded('repeatsUncertain', step),
    target: 'ready',
    actions: [guarded('markPossibleDuplicate', step), guarded('countDoubt', step)],
  },
  {
    guard: guarded('fallsBackUncertain', step),
    target: 'ready',
    actions: [guarded('markPossibleDuplicate', step), guarded('countDoubt', step), guarded('nextProvider', step)],
  },
  exhaustedWith(step, exhausted),
]

/** Asks at once, or at the first poll, then ever more slowly, until the window is over. */
const asking = (step: string, window: string, description: string, initial: 'polling' | 'waiting') => {
  const { poll } = delayNames(step)
  const on = { CALL_NUDGED: { guard: guarded('isCurrentCall', step), target: 'nudged' } }
  return {
    description,
    initial,
    after: { [window]: { target: 'lastLook', actions: guarded('closeOverran', step) } },
    states: {
      ...(initial === 'waiting' && {
        waiting: { description: 'It has just been taken; too early to ask.', after: { [poll]: 'polling' }, on },
      }),
      polling: {
        description: 'The provider is asked what became of the call.',
        entry: [guarded('countAsk', step), guarded('askProvider', step)],
        after: { [poll]: { target: 'polling', reenter: true } },
        on,
      },
      nudged: { description: 'There is news: the provider is asked now.', after: { 0: 'polling' } },
    },
  }
}

const accepted = (step: string) => ({
  guard: guarded('isAcceptedJob', step),
  target: 'awaiting',
  actions: [guarded('saveHandle', step), guarded('keepHandle', step)],
})

export type StepStateOptions = {
  description: string
  done: Target
  /** A state name; `investigation` unless the machine handles exhaustion itself. */
  exhausted: string
}

export const stepState = (step: string, options: StepStateOptions) => {
  const delays = delayNames(step)
  const exhausted = options.exhausted === 'investigation' ? SETTLED_IDS.investigation : `#record.${options.exhausted}`
  const answered = {
    CALL_FAILED: afterFailure(step, exhausted),
    CALL_NOT_SENT: afterNotRun(step, exhausted, 'closeNotSent'),
  }
  return {
    description: options.description,
    meta: { step },
    initial: 'ready',
    exit: [guarded('closeLeft', step), guarded('spendTries', step)], // M7
    on: {
      CALL_SUCCEEDED: {
        guard: guarded('isFirstAnswer', step),
        target: '.succeeded',
        actions: [guarded('closeSucceeded', step), guarded('recordResult', step), guarded('keepResult', step)],
      },
      RESULT_UNSTORABLE: {
        guard: guarded('isFirstAnswer', step),
        target: SETTLED_IDS.investigation,
        actions: [guarded('closeUnstorable', step)],
      },
      CALL_PROGRESSED: {
        guard: guarded('isCurrentCall', step),
        actions: [guarded('saveProgress', step), guarded('keepHandle', step)],
      },
    },
    states: {
      ready: {
        description: 'Waits for a free slot at the provider.',
        entry: guarded('enqueue', step),
        exit: guarded('dequeue', step),
        always: [
          { guard: guarded('hasResult', step), target: 'succeeded', actions: guarded('markReused', step) }, // M2
          { guard: 'isOverdue', ...exhaustedWith(step, exhausted) },
          { guard: guarded('isSpent', step), ...exhaustedWith(step, exhausted) }, // M7
        ],
        on: {
          ATTEMPT_STARTED: {
            guard: guarded('isNextAttempt', step),
            target: 'calling',
            actions: [guarded('openAttempt', step), guarded('countAttempt', step)], // M1
          },
          STEP_HELD: [
            {
              guard: guarded('heldFallsBack', step),
              target: 'ready',
              reenter: true,
              actions: guarded('nextProvider', step),
            },
            { guard: guarded('heldGivesUp', step), ...exhaustedWith(step, exhausted) },
            { guard: guarded('isHeld', step), actions: guarded('postpone', step) },
          ],
        },
      },
      calling: {
        description: 'The intent is saved and a worker calls the provider under a lease.',
        after: { [delays.lease]: { target: 'uncertain', actions: guarded('closeLeaseExpired', step) } },
        on: {
          CALL_FAILED: afterFailure(step, exhausted),
          CALL_NOT_SENT: afterNotRun(step, exhausted, 'closeNotSent'),
          CALL_ACCEPTED: accepted(step),
          CALL_UNCERTAIN: {
            guard: guarded('isCurrentCall', step),
            target: 'uncertain',
            actions: guarded('closeUncertain', step),
          },
        },
      },
      uncertain: {
        description: 'No answer came: the provider may or may not have done the work. A late answer still counts.',
        always: { guard: guarded('mayAsk', step), target: 'recovering' }, // M8
        after: { [delays.quarantine]: byPolicy(step, exhausted) },
        on: { ...answered, CALL_ACCEPTED: accepted(step) },
      },
      recovering: {
        ...asking(step, delays.lookup, 'No answer came: the provider is asked whether it did the work.', 'polling'),
        on: {
          ...answered,
          CALL_ACCEPTED: accepted(step),
        },
      },
      awaiting: {
        ...asking(
          step,
          delays.run,
          'The provider took it as a job: its end is polled for, or told by a webhook.',
          'waiting',
        ),
        on: answered,
      },
      lastLook: {
        description: 'The call can no longer arrive or has run too long: the provider is asked once more.',
        entry: guarded('askProvider', step),
        after: { [delays.lastLook]: byPolicy(step, exhausted) },
        on: {
          ...answered,
          CALL_MISSED: [
            // It has run, so its absence now proves nothing.
            { guard: guarded('hasHandle', step) },
            ...afterNotRun(step, exhausted, 'closeMissed'),
          ],
        },
      },
      backoff: {
        description: 'A try failed for certain; the next one waits.',
        always: { guard: 'isOverdue', ...exhaustedWith(step, exhausted) },
        after: { [delays.backoff]: 'ready' },
      },
      succeeded: {
        type: 'final',
        description: 'The step has its one authoritative result.',
        // The delivered event, so that a guard of `onDone` sees the outputs it carries.
        output: ({ event }: { event: unknown }) => event,
      },
    },
    onDone: options.done,
  }
}

/** The step whose state this node is; null for other nodes. The chart's author may call the state as he likes. */
export const stepOfNode = (node: { meta?: unknown }): string | null =>
  (node.meta as { step?: string } | undefined)?.step ?? null

type Placed = { meta?: unknown; parent?: Placed | undefined }

/** The step whose state this node is, or is inside of. */
export const stepAround = (node: Placed): string | null =>
  stepOfNode(node) ?? (node.parent ? stepAround(node.parent) : null)
