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

const region = (name: string) => ({
  initial: name,
  states: {
    [name]: stepState(name, { description: name, done: 'finished', exhausted: 'investigation' }),
    finished: { type: 'final' },
  },
})
const parallel = (names: string[]) => ({
  all: {
    type: 'parallel',
    states: Object.fromEntries(names.map((name) => [`r-${name}`, region(name) as object])),
    onDone: '#completed',
  },
})

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
    const compiled = compile(pipeline(names.map((n) => step(n))), chart({ initial: 'all', states: parallel(names) }))
    expect(compiled.verification.nodes).toBeLessThan(400)
    expect(compiled.verification.states.some(({ state }) => state === 'completed')).toBe(true)
  })

  it.each([[['slow', 'quick']], [['quick', 'slow']]])('takes the slowest of the regions %j, in any order', (names) => {
    const slow = step('slow', { use: ['paid'], onUncertain: 'investigate' })
    const own = chart({ initial: 'all', states: parallel(names) })
    const { worstCaseMs, deadlineMs } = compile(pipeline([slow, step('quick')]), own)
    expect(worstCaseMs - deadlineMs).toBe(25_000 + 120_000 + 3 * TIMER_SLACK_MS)
  })

  it('counts what follows the regions, and regions within regions', () => {
    const inner = { type: 'parallel', states: parallel(['b', 'c'])['all'].states }
    const outer = { type: 'parallel', states: { 'r-a': region('read'), 'r-bc': inner }, onDone: 'cool' }
    const states = { all: outer, cool: { after: { patience: '#completed' } } }
    const own = chart({ initial: 'all', states, delaysMs: { patience: 600_000 } })
    const { worstCaseMs, deadlineMs } = compile(pipeline(['read', 'b', 'c'].map((name) => step(name))), own)
    // Past the deadline a call in flight may still succeed, just before its quarantine ends.
    expect(worstCaseMs - deadlineMs).toBe(25_000 + 200 + 600_000 + 4 * TIMER_SLACK_MS)
  })

  it('with a region that is never done is refused, naming the region', () => {
    const states = parallel(['read', 'b'])
    const endless = { initial: 'tick', states: { tick: { after: { beat: '#completed' } } } }
    const all = { ...states['all'], states: { ...states['all'].states, 'r-b': endless } }
    const own = chart({ initial: 'all', states: { all }, delaysMs: { beat: 1_000 } })
    expect(refusal(() => compile(pipeline([step('read')]), own))).toContain('Region "record.all.r-b"')
  })

  it('is walked under whatever name a step’s state has', () => {
    const own = chart({ initial: 'first', states: { first: read('completed') } })
    const { verification } = compile(pipeline([step('read')]), own)
    expect(verification.states.map(({ state }) => state)).toContain('first.calling')
  })

  it.each<[string, object, string]>([
    ['takes over an event of the record machine', { on: { CANCEL: '#rejected' } }, 'handles "CANCEL"'],
    ['takes every event', { on: { '*': '#rejected' } }, 'handles "*"'],
    ['has an action', { entry: 'sendMail' }, 'has the action "sendMail"'],
    ['has an action on its way', { on: { GO: { target: '#completed', actions: { type: 'pay' } } } }, '"pay"'],
    [
      'has a guard without a name',
      { on: { GO: { guard: () => true, target: '#completed' } } },
      '"states.odd.on.GO.guard"',
    ],
    ['has a guard that nobody wrote', { on: { GO: { guard: 'isUrgnt', target: '#completed' } } }, 'isUrgnt'],
    ['leads to a state that is not there', { on: { GO: 'nowhere' } }, 'nowhere'],
  ])('with a state that %s is refused', (_, odd, reason) => {
    const states = { read: read('odd'), odd: { after: { patience: '#investigation' }, ...odd } }
    const own = chart({ states, delaysMs: { patience: 1_000 } })
    expect(refusal(() => compile(pipeline([step('read')]), own))).toContain(reason)
  })

  it.each([
    ['guard', { guards: { hasResult: () => true } }, 'guard name "hasResult"'],
    ['delay', { delaysMs: { deadline: 1 } }, 'delay name "deadline"'],
  ])('can’t name its %s like one of the record machine', (_, change, reason) => {
    const own = chart({ states: { read: read('completed') }, ...change })
    expect(refusal(() => compile(pipeline([step('read')]), own))).toContain(reason)
  })

  it('that has a step in two places is refused', () => {
    const own = chart({ states: { read: read('again'), again: read('completed') } })
    expect(refusal(() => compile(pipeline([step('read')]), own))).toContain('a step has one place')
  })

  it('that goes back to a step finds it exhausted, so the walk is finite', () => {
    const again = (exhausted: string, target: string) => ({
      read: stepState('read', { description: 'Reads.', done: '#completed', exhausted }),
      again: { after: { pause: target } },
    })
    const delaysMs = { pause: 1_000, patience: 60_000 }
    const endless = chart({ states: again('again', '#record.read'), delaysMs })
    expect(refusal(() => compile(pipeline([step('read')]), endless))).toContain('cycle')
    const round = { initial: 'read', after: { patience: '#investigation' }, states: again('round.again', 'read') }
    const bounded = chart({ initial: 'round', states: { round }, delaysMs })
    expect(compile(pipeline([step('read')]), bounded).verification.nodes).toBeLessThan(100)
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
