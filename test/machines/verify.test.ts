/** P2 on the machine itself: what `verify` accepts, what it refuses and how it names it. */
import { describe, expect, it } from 'vitest'
import { PipelineRefused } from '../../src/machines/compile.js'
import type { OwnChart } from '../../src/machines/record-machine.js'
import { stepState } from '../../src/machines/step-state.js'
import { TIMER_SLACK_MS } from '../../src/machines/verify.js'
import { compile, pipeline, step } from './pipelines.js'

const refusal = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof PipelineRefused) return error.message
    throw error
  }
  throw new Error('It was accepted.')
}

const chart = (change: Partial<OwnChart>): OwnChart => ({
  initial: 'read',
  states: {},
  guards: {},
  delaysMs: {},
  ...change,
})
const read = (done: string) => stepState('read', { description: 'Reads.', done, exhausted: 'investigation' })

describe('the worst case of a sequence', () => {
  it('is the deadline, then one call in flight with its quarantine', () => {
    const { worstCaseMs, deadlineMs } = compile(pipeline([step('read')]))
    const lease = 5_000 + 10_000 + 10_000
    const quarantine = 200
    expect(deadlineMs).toBe(3_600_000 + 3 * (lease + quarantine + 5_000))
    expect(worstCaseMs).toBe(deadlineMs + lease + quarantine + 3 * TIMER_SLACK_MS)
  })

  it('grows with the quarantine of a paid blind provider', () => {
    const paid = step('read', { use: ['paid'], onUncertain: { retry: { duplicateBudget: 1 } } })
    const { worstCaseMs, deadlineMs } = compile(pipeline([paid]))
    expect(worstCaseMs - deadlineMs).toBe(25_000 + 120_000 + 3 * TIMER_SLACK_MS)
  })

  it('is found in a size that grows with the steps, not with their product', () => {
    const walk = (names: string[]) =>
      compile(pipeline(names.map((name) => step(name, { use: ['free', 'keyed'], onUncertain: 'fallback' }))))
        .verification
    const verification = walk(['a', 'b', 'c'])
    expect(walk(['a', 'b', 'c', 'd', 'e', 'f']).nodes).toBeLessThan(2.1 * verification.nodes)
    expect(verification.states.map(({ state }) => state)).toContain('c.uncertain')
    for (const { state, description } of verification.states) expect(description, state).toBeTruthy()
  })
})

describe('a machine written by hand', () => {
  it('without a timer is refused, naming the state', () => {
    const own = chart({ states: { read: read('waiting'), waiting: { on: { APPROVED: '#completed' } } } })
    expect(refusal(() => compile(pipeline([step('read')]), own))).toContain('State "waiting" has no timer')
  })

  it('with a timer in that state is accepted', () => {
    const states = {
      read: read('waiting'),
      waiting: { on: { APPROVED: '#completed' }, after: { patience: '#investigation' } },
    }
    const own = chart({ states, delaysMs: { patience: 60_000 } })
    expect(compile(pipeline([step('read')]), own).verification.ok).toBe(true)
  })

  it('with a cycle whose timers restart is refused, naming its states', () => {
    const states = { read: read('tick'), tick: { after: { beat: 'tock' } }, tock: { after: { beat: 'tick' } } }
    const text = refusal(() => compile(pipeline([step('read')]), chart({ states, delaysMs: { beat: 1_000 } })))
    expect(text).toContain('"tick"')
    expect(text).toContain('"tock"')
    expect(text).toContain('cycle')
  })

  it('with such a cycle under a timer of its parent is accepted', () => {
    const states = {
      read: read('pulse'),
      pulse: {
        initial: 'tick',
        after: { patience: '#investigation' },
        states: { tick: { after: { beat: 'tock' } }, tock: { after: { beat: 'tick' } } },
      },
    }
    const own = chart({ states, delaysMs: { beat: 1_000, patience: 30_000 } })
    expect(compile(pipeline([step('read')]), own).worstCaseMs).toBeGreaterThan(30_000)
  })

  it('treats the author’s guards as a free choice', () => {
    const states = {
      read: { ...read('x'), onDone: [{ guard: 'isUrgent', target: 'stuck' }, { target: '#completed' }] },
      stuck: {},
    }
    const own = chart({ states, guards: { isUrgent: () => false } })
    expect(refusal(() => compile(pipeline([step('read')]), own))).toContain('State "stuck" has no timer')
  })

  it('with invoke, a history state or an undeclared delay is refused by name', () => {
    const with_ = (state: unknown) =>
      refusal(() => compile(pipeline([step('read')]), chart({ states: { read: read('odd'), odd: state } })))
    expect(with_({ invoke: { src: 'x' }, after: { 10: '#completed' } })).toContain('invoke')
    expect(with_({ type: 'history' })).toContain('history')
    expect(with_({ after: { someday: '#completed' } })).toContain('xstate.after.someday.record.odd')
  })

  it('walks the regions of a parallel state apart', () => {
    const names = ['read', 'b', 'c', 'd']
    const region = (name: string) => ({
      initial: name,
      states: {
        [name]: stepState(name, { description: name, done: 'finished', exhausted: 'investigation' }),
        finished: { type: 'final' },
      },
    })
    const states = {
      all: {
        type: 'parallel',
        states: Object.fromEntries(names.map((n) => [`r-${n}`, region(n)])),
        onDone: '#completed',
      },
    }
    const compiled = compile(pipeline(names.map((n) => step(n))), chart({ initial: 'all', states }))
    expect(compiled.verification.nodes).toBeLessThan(400)
    expect(compiled.verification.states.some(({ state }) => state === 'completed')).toBe(true)
  })
})

describe('a definition', () => {
  it('with a paid blind step must state onUncertain', () => {
    expect(refusal(() => compile(pipeline([step('read', { use: ['paid'] })])))).toContain('state what then')
  })

  it('reports all its problems at once', () => {
    const text = refusal(() => compile(pipeline([step('Read!', { attempts: 0 }), step('read', { use: ['nobody'] })])))
    for (const part of ['"Read!"', '0 attempts', '"nobody"']) expect(text).toContain(part)
  })

  it('changes its version with a declarative part, not with a function', () => {
    const version = (change: Parameters<typeof step>[1]) => compile(pipeline([step('read', change)])).version
    expect(version({ deadlineMs: 11_000 })).not.toBe(version({}))
    expect(version({ request: () => 1 })).toBe(version({ request: () => 2 }))
  })
})
