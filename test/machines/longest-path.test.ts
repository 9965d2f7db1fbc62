/** The way on which a record takes the longest: it adds up to the worst case, hangs together, and names what takes the time. */
import { describe, expect, it } from 'vitest'
import type { Compiled } from '../../src/machines/compile.js'
import type { OwnChart } from '../../src/machines/record-machine.js'
import { stepState } from '../../src/machines/step-state.js'
import { TIMER_SLACK_MS } from '../../src/machines/verify.js'
import { compile, pipeline, step } from './pipelines.js'

const at = (name: string, done: string) =>
  stepState(name, { description: `Does ${name}.`, done, exhausted: 'investigation' })
const region = (name: string) => ({
  initial: name,
  states: { [name]: at(name, 'finished'), finished: { type: 'final' } },
})

const paid = (name: string) => step(name, { use: ['paid'], onUncertain: { retry: { duplicateBudget: 1 } } })

const parallel: OwnChart = {
  initial: 'both',
  states: {
    both: { type: 'parallel', states: { left: region('read'), right: region('extract') }, onDone: 'rest' },
    rest: { description: 'Rests.', on: { GO: '#completed' }, after: { rest: '#completed' } },
  },
  guards: {},
  delaysMs: { rest: 90_000 },
}

/** As a vote is: voters side by side, then a guard over their answers, then a tie-breaker or the end. */
const vote: OwnChart = {
  initial: 'voters',
  states: {
    voters: {
      type: 'parallel',
      states: { first: region('first'), second: region('second') },
      onDone: [{ guard: 'agree', target: '#completed' }, { target: 'third' }],
    },
    third: at('third', '#completed'),
  },
  guards: { agree: () => true },
  delaysMs: {},
}

const cases: [string, () => Compiled][] = [
  ['one step', () => compile(pipeline([step('read')]))],
  [
    'a sequence',
    () =>
      compile(
        pipeline([step('read'), paid('extract'), step('check', { use: ['job', 'free'], onUncertain: 'fallback' })]),
      ),
  ],
  ['parallel regions', () => compile(pipeline([step('read'), paid('extract')]), parallel)],
  ['a vote', () => compile(pipeline([step('first'), paid('second'), step('third', { use: ['keyed'] })]), vote)],
]

describe.each(cases)('the longest path of %s', (_name, make) => {
  const { verification, worstCaseMs, timerMaxMs } = make()
  const { path, states } = verification

  it('adds up to the worst case', () => {
    expect(path.reduce((sum, { ms }) => sum + ms, 0)).toBe(worstCaseMs)
  })

  it('hangs together, from the first state to a settled one', () => {
    const worst = new Map(states.map(({ state, worstCaseMs: ms }) => [state, ms]))
    expect(path.length).toBeGreaterThan(0)
    for (const [n, { to }] of path.entries()) expect(path[n + 1]?.state ?? to).toBe(to)
    expect(worst.get(path.at(-1)!.to)).toBe(0)
    for (const { state, until } of path) expect([worst.has(state), worst.has(until)]).toEqual([true, true])
  })

  it('counts for each part its timer at its most, and no time for walking into a region', () => {
    for (const { timer, ms } of path) expect(ms).toBe(timer === null ? 0 : timerMaxMs.get(timer)! + TIMER_SLACK_MS)
  })
})

describe('the longest path', () => {
  it('of one step waits for a slot until the deadline, then for one call and its quarantine', () => {
    const { verification } = compile(pipeline([step('read')]))
    expect(verification.path.map(({ timer, by, to }) => ({ timer, by, to }))).toMatchInlineSnapshot(`
      [
        {
          "by": "xstate.after.deadline.record",
          "timer": "xstate.after.deadline.record",
          "to": "read.calling",
        },
        {
          "by": "xstate.after.lease of read.record.read.calling",
          "timer": "xstate.after.lease of read.record.read.calling",
          "to": "read.uncertain",
        },
        {
          "by": "xstate.after.quarantine of read.record.read.uncertain",
          "timer": "xstate.after.quarantine of read.record.read.uncertain",
          "to": "investigation",
        },
      ]
    `)
  })
})
