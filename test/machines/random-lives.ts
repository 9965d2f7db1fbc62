/**
 * Random pipelines and random lives of records, for the properties: what providers, people, clocks and networks may do
 * to a record, valid or not. fast-check draws and shrinks; nothing here asserts.
 */
import fc from 'fast-check'
import type { Compiled } from '../../src/machines/compile.js'
import type { OnUncertain, StepDefinition } from '../../src/machines/pipeline.js'
import type { OwnChart } from '../../src/machines/record-machine.js'
import { TIMER_SLACK_MS } from '../../src/machines/verify.js'
import { stepState } from '../../src/machines/step-state.js'
import {
  accepted,
  call,
  failed,
  held,
  missed,
  notSent,
  operator,
  payload,
  progressed,
  succeeded,
  uncertain,
  unstorable,
} from './life.js'
import type { Life } from './life.js'
import { compile, pipeline, step } from './pipelines.js'

export const SHAPES = ['sequence', 'parallel', 'chosen', 'patient'] as const
export type Shape = (typeof SHAPES)[number]
export type Plan = { shape: Shape; revision: number; steps: { [name: string]: Partial<StepDefinition> } }

const names = ['read', 'extract', 'check'] as const

const onUncertain = fc.constantFrom<OnUncertain>(
  'investigate',
  'fallback',
  { retry: { duplicateBudget: 0 } },
  { retry: { duplicateBudget: 1 } },
)
const stepPlan: fc.Arbitrary<Partial<StepDefinition>> = fc.record({
  use: fc.uniqueArray(fc.constantFrom('free', 'keyed', 'paid', 'other', 'job', 'lost', 'found', 'flight'), {
    minLength: 1,
    maxLength: 2,
  }),
  attempts: fc.integer({ min: 1, max: 2 }),
  deadlineMs: fc.constantFrom(1_000, 10_000, 60_000),
  onUncertain,
})

const plans = fc.record({ read: stepPlan, extract: stepPlan, check: stepPlan })

/**
 * Plans of one family: the same steps in the same places, so that a record may move from one to another. A pool that is
 * always the same, because compiling a plan (which proves P2) takes longer than a life: a larger pool begins with the
 * smaller one, and a failure shows its plan.
 */
export const plan = (shape: Shape, revision: number, poolSize: number): fc.Arbitrary<Plan> =>
  fc.constantFrom(
    ...fc.sample(plans, { numRuns: poolSize, seed: revision }).map(({ read, extract, check }) => ({
      shape,
      revision,
      steps: shape === 'sequence' ? { read, extract, check } : { read, extract },
    })),
  )

const at = (name: string, done: string, exhausted = 'investigation') =>
  stepState(name, { description: `Does ${name}.`, done, exhausted })
const region = (name: string) => ({
  initial: name,
  states: { [name]: at(name, 'finished'), finished: { type: 'final' } },
})

const charts: { [shape in Shape]: OwnChart | undefined } = {
  sequence: undefined,
  parallel: {
    initial: 'both',
    states: {
      both: { type: 'parallel', states: { left: region('read'), right: region('extract') }, onDone: 'rest' },
      rest: { description: 'Rests.', on: { GO: '#completed' }, after: { rest: '#completed' } },
    },
    guards: {},
    delaysMs: { rest: 90_000 },
  },
  chosen: {
    initial: 'read',
    states: {
      read: { ...at('read', '#completed'), onDone: [{ guard: 'isOdd', target: 'extract' }, { target: '#completed' }] },
      extract: at('extract', '#completed'),
    },
    guards: { isOdd: ({ read }) => (read as { from: number } | undefined)?.from === 1 },
    delaysMs: {},
  },
  patient: {
    initial: 'round',
    states: {
      round: {
        initial: 'read',
        after: { patience: '#record.extract' },
        on: { GO: '#record.extract' },
        states: {
          read: at('read', '#record.extract', 'round.rest'),
          rest: { after: { rest: 'read' }, on: { BACK: 'read' } },
        },
      },
      extract: at('extract', '#completed'),
    },
    guards: {},
    delaysMs: { patience: 120_000, rest: 7_000 },
  },
}

const compiled = new Map<string, Compiled>()
export const compilePlan = (of: Plan): Compiled => {
  const key = JSON.stringify(of)
  const steps = Object.entries(of.steps).map(([name, change]) => step(name, change))
  const found =
    compiled.get(key) ?? compile(pipeline(steps, { revision: of.revision, maxWaitMs: 600_000 }), charts[of.shape])
  compiled.set(key, found)
  return found
}

export type Deed =
  | { kind: 'passes'; ms: number; lateMs: number }
  | { kind: 'skips'; ms: number }
  | { kind: 'starts'; which: number }
  | { kind: 'fuses'; provider: string }
  | { kind: 'answers'; which: number; off: number; generations: number; type: number; backoffMs: number; flag: boolean }
  | { kind: 'intent'; step: string; attempt: number; generation: number; provider: string }
  | { kind: 'operator'; type: 'CANCEL' | 'RETRY' | 'WRITE_OFF' }
  | { kind: 'held'; which: number; course: 'wait' | 'fall-back' | 'give-up'; ms: number }
  | { kind: 'custom'; name: string }
  | { kind: 'timer'; which: number }
  | { kind: 'outage'; ms: number }

const durations = fc.constantFrom(0, 1, 200, 5_000, 24_999, 25_000, 26_000, 120_000, 700_000)
const providers = fc.constantFrom('free', 'keyed', 'paid', 'other', 'job', 'lost', 'found', 'flight')
const late = fc.integer({ min: 0, max: TIMER_SLACK_MS })

/** Mostly about the newest attempts, as they are; now and then about others, or with numbers that are wrong. */
const answers = fc.record({
  kind: fc.constant('answers' as const),
  which: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat({ max: 5 }) }),
  off: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(-1, 1, 100) }),
  generations: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(-1, 1) }),
  type: fc.constantFrom(0, 1, 2, 2, 2, 2, 3, 3, 3, 4, 5, 6, 6, 7, 8, 9),
  backoffMs: fc.constantFrom(0, 700, 60_000, -5, Number.NaN),
  flag: fc.boolean(),
})

/** `isTimely`: due timers are delivered as time passes, as P2 supposes; otherwise also late, early, out of order. */
export const deeds = (isTimely: boolean): fc.Arbitrary<Deed[]> => {
  const passes = fc.record({ kind: fc.constant('passes' as const), ms: durations, lateMs: late })
  const starts = fc.record({ kind: fc.constant('starts' as const), which: fc.nat({ max: 2 }) })
  const fuses = fc.record({ kind: fc.constant('fuses' as const), provider: providers })
  const intent = fc.record({
    kind: fc.constant('intent' as const),
    step: fc.constantFrom(...names),
    attempt: fc.nat({ max: 4 }),
    generation: fc.nat({ max: 2 }),
    provider: providers,
  })
  const people = fc.record({
    kind: fc.constant('operator' as const),
    type: fc.constantFrom(...Array<'RETRY'>(12).fill('RETRY'), 'WRITE_OFF' as const, 'CANCEL' as const),
  })
  const holds = fc.record({
    kind: fc.constant('held' as const),
    which: fc.nat({ max: 2 }),
    course: fc.constantFrom('wait' as const, 'fall-back' as const, 'fall-back' as const, 'give-up' as const),
    ms: durations,
  })
  const custom = fc.record({
    kind: fc.constant('custom' as const),
    name: fc.constantFrom('GO', 'BACK', 'CANCEL', 'xstate.init'),
  })
  const outage = fc.record({ kind: fc.constant('outage' as const), ms: durations })
  const untimely = [
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('skips' as const), ms: durations }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('timer' as const), which: fc.nat({ max: 30 }) }) },
  ]
  return fc.array(
    fc.oneof(
      { weight: 3, arbitrary: passes },
      { weight: 7, arbitrary: starts },
      { weight: 8, arbitrary: answers },
      { weight: 1, arbitrary: fuses },
      { weight: 1, arbitrary: intent },
      { weight: 2, arbitrary: people },
      { weight: 1, arbitrary: holds },
      { weight: 1, arbitrary: custom },
      { weight: 1, arbitrary: outage },
      ...(isTimely ? [] : untimely),
    ),
    { minLength: 1, maxLength: 60, size: 'max' },
  )
}

/** Every attempt, the newest first; one that was never made where there is none. */
const attemptsOf = (life: Life) =>
  Object.entries(life.doc.steps)
    .flatMap(([name, { attempts }]) => attempts.map((attempt) => ({ ...attempt, name })))
    .sort((a, b) => b.startedAt.getTime() - a.startedAt.getTime() || b.n - a.n)

const answerOf = (life: Life, { which, off, generations, type, backoffMs, flag }: Deed & { kind: 'answers' }) => {
  const made = attemptsOf(life)[which] ?? { name: 'read', n: 1, generation: 1 }
  const n = made.n + off
  const of = call(made.name, n, made.generation + generations)
  const kind = flag ? 'executed' : 'not-executed'
  const events = [
    succeeded(of, { result: payload({ from: n }) }),
    succeeded(of, { result: payload({ from: n }), charge: null }),
    failed(of, { backoffMs, kind, retryable: backoffMs !== 700, rejects: backoffMs === -5 && flag }),
    uncertain(of),
    notSent(of),
    flag ? unstorable(of) : uncertain(of),
    accepted(of),
    progressed(of, flag ? null : 'stream'),
    missed(of),
    { ...of, type: 'CALL_NUDGED' } as const,
  ]
  return events[type]!
}

/** The outputs that a worker would send along. */
const outputsWith = (life: Life, event: ReturnType<typeof answerOf>) => {
  const outputs = Object.fromEntries(
    Object.entries(life.doc.steps).flatMap(([name, { result }]) => (result ? [[name, { from: result.attempt }]] : [])),
  )
  return event.type === 'CALL_SUCCEEDED' ? { [event.step]: { from: event.attempt }, ...outputs } : outputs
}

/** Timers that no longer run, or not yet, are told apart by the document alone. */
const anyTimer = (life: Life, which: number) => {
  const all = [...life.saves.flatMap(({ set }) => set.timers), ...life.doc.timers]
  return all[which % Math.max(1, all.length)]?.event
}

/** Answers whether anything changed. */
export const doDeed = (life: Life, deed: Deed): boolean => {
  const { version } = life.doc
  const delivery = () => ({ outputs: outputsWith(life, operator('CANCEL') as never) })
  if (deed.kind === 'passes') life.passes(deed.ms, deed.lateMs)
  if (deed.kind === 'skips') life.skips(deed.ms)
  const waiting = life.doc.queue.length
  const free = life.doc.queue.filter((entry) => !entry.held || entry.readyAt <= life.at)
  if (deed.kind === 'starts' && free.length > 0) life.starts(free[deed.which % free.length]!.provider)
  const line = life.doc.queue[deed.kind === 'held' ? deed.which % Math.max(1, waiting) : 0]
  if (deed.kind === 'held' && line)
    life.does(held(line.step, line.provider, deed.course, new Date(life.at.getTime() + deed.ms)))
  if (deed.kind === 'intent')
    life.does({
      ...deed,
      type: 'ATTEMPT_STARTED',
      requestKey: `odd ${version}`,
      sendBy: life.at.toISOString(),
    } as never)
  if (deed.kind === 'operator') life.doesWith(delivery(), operator(deed.type))
  if (deed.kind === 'custom') life.doesWith(delivery(), { type: 'CUSTOM', name: deed.name, data: null })
  if (deed.kind === 'outage') {
    const from = life.at
    life.skips(deed.ms).observes({ from, to: life.at })
  }
  if (deed.kind === 'timer') {
    const event = anyTimer(life, deed.which)
    if (event) life.doesWith(delivery(), { type: event as `xstate.after.${string}` })
  }
  if (deed.kind === 'answers') {
    const event = answerOf(life, deed)
    life.doesWith({ outputs: outputsWith(life, event) }, event)
  }
  if (deed.kind === 'fuses') {
    const open = attemptsOf(life).find(({ outcome }) => outcome === null)
    const event = open && succeeded(call(open.name, open.n, open.generation), { result: payload({ from: open.n }) })
    if (event) life.fuses(event, deed.provider, { outputs: outputsWith(life, event) })
  }
  return life.doc.version !== version
}
