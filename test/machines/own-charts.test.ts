/** Charts written by hand: guards over outputs, events of their own, regions at the same time, ways of their own. */
import { describe, expect, it } from 'vitest'
import type { OwnChart } from '../../src/machines/record-machine.js'
import { stepState } from '../../src/machines/step-state.js'
import { call, failed, live, operator, succeeded, unstorable } from './life.js'
import { after, compile, pipeline, step } from './pipelines.js'

type Done = Parameters<typeof stepState>[1]['done']
const at = (name: string, done: Done, exhausted = 'investigation') =>
  stepState(name, { description: `Does ${name}.`, done, exhausted })
const custom = (name: string, data: unknown = null) => ({ type: 'CUSTOM', name, data }) as const

describe('guards over outputs', () => {
  const own: OwnChart = {
    initial: 'read',
    states: {
      read: at('read', [{ guard: 'isUrgent', target: 'extract' }, { target: '#completed' }]),
      extract: at('extract', [{ guard: 'isEmpty', target: '#rejected' }, '#completed']),
    },
    guards: {
      isUrgent: ({ read }) => (read as { urgent: boolean } | undefined)?.urgent === true,
      isEmpty: ({ extract }) => extract === '',
    },
    delaysMs: {},
  }
  const compiled = compile(pipeline([step('read'), step('extract')]), own)

  it.each([
    [true, 'extract.ready'],
    [false, 'completed'],
  ])('choose the way by the answer that has just come (urgent: %s)', (urgent, state) => {
    const life = live(compiled)
    life.starts()
    life.doesWith({ outputs: { read: { urgent } } }, succeeded(call('read', 1)))
    expect(life.state).toBe(state)
  })

  it('see the outputs of a step that had its result before a retry', () => {
    const life = live(compiled)
    const outputs = { read: { urgent: true } }
    life.starts()
    life.doesWith({ outputs }, succeeded(call('read', 1)))
    life.starts()
    life.doesWith({ outputs }, unstorable(call('extract', 1)))
    life.doesWith({ outputs }, operator('RETRY'))
    expect(life.state).toBe('extract.ready')
    expect(life.starts()).toEqual(call('extract', 2, 2))
  })

  it('may settle the record, which then says which event did it', () => {
    const life = live(compiled)
    life.starts()
    life.doesWith({ outputs: { read: { urgent: true } } }, succeeded(call('read', 1)))
    life.starts()
    life.doesWith({ outputs: { extract: '' } }, succeeded(call('extract', 1)))
    expect(life.doc).toMatchObject({
      status: 'rejected',
      reason: { code: 'settled-by-machine', message: 'The machine settled it on CALL_SUCCEEDED.' },
    })
  })
})

describe('events of its own', () => {
  const own: OwnChart = {
    initial: 'read',
    states: {
      read: at('read', 'approval'),
      approval: {
        description: 'Waits for a person.',
        on: { APPROVED: { guard: 'mayApprove', target: '#completed' }, REFUSED: '#rejected' },
        after: { patience: '#investigation' },
      },
    },
    guards: {
      mayApprove: ({ read }, data) => (data as { by?: string } | null)?.by === 'doctor' && read !== undefined,
    },
    delaysMs: { patience: 60_000 },
  }
  const compiled = compile(pipeline([step('read')]), own)
  const waiting = () => {
    const life = live(compiled)
    life.starts()
    life.does(succeeded(call('read', 1)))
    expect(life.state).toBe('approval')
    return life
  }
  const outputs = { read: 'text' }

  it('are taken with their data and the outputs, and are in the history', () => {
    const life = waiting()
    expect(life.doesWith({ outputs }, custom('APPROVED', { by: 'doctor' }))).toBe(true)
    expect(life.doc.status).toBe('completed')
    expect(life.doc.history.at(-1)).toMatchObject({
      event: { type: 'CUSTOM', name: 'APPROVED', data: { by: 'doctor' } },
      from: 'approval',
      to: 'completed',
    })
  })

  it.each([
    ['that a guard refuses', custom('APPROVED', { by: 'nobody' })],
    ['that the state does not know', custom('FORGOTTEN')],
    ['with an empty name', custom('')],
    ['that is called like a timer', custom('xstate.after.patience.record.approval')],
    ['that is called like an error of XState’s', custom('xstate.error.actor.x')],
    ['that is called like an operator’s', custom('CANCEL')],
    ['that is called like an answer', custom('CALL_SUCCEEDED', call('read', 1))],
  ])('%s do nothing', (_, event) => {
    expect(waiting().doesWith({ outputs }, event)).toBe(false)
  })

  it('can’t retry or write off a record in investigation', () => {
    const life = waiting().passes(60_000)
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'settled-by-machine' } })
    for (const name of ['RETRY', 'WRITE_OFF', 'CANCEL', 'CALL_SUCCEEDED'])
      expect(life.does(custom(name)), name).toBe(false)
  })

  it('have a state with a timer, which is moved by an outage', () => {
    const life = waiting()
    expect(life.doc.wakeAt).toEqual(after(60_000))
    life.skips(50_000).observes({ from: after(10_000), to: after(40_000) })
    expect(life.doc.wakeAt).toEqual(after(90_000))
  })

  it('take a cancel like every other state', () => {
    const life = waiting()
    life.does(operator('CANCEL'))
    expect(life.doc.status).toBe('cancelled')
  })
})

describe('regions at the same time', () => {
  const region = (name: string) => ({
    initial: name,
    states: { [name]: at(name, 'finished'), finished: { type: 'final' } },
  })
  const own: OwnChart = {
    initial: 'both',
    states: {
      both: { type: 'parallel', states: { left: region('read'), right: region('extract') }, onDone: '#completed' },
    },
    guards: {},
    delaysMs: {},
  }
  const steps = [step('read'), step('extract', { use: ['keyed', 'free'] })]
  const compiled = compile(pipeline(steps), own)

  it('wait, call and answer apart, and complete together', () => {
    const life = live(compiled)
    expect(life.doc.queue.map(({ provider, step: name }) => `${name} at ${provider}`)).toEqual([
      'read at free',
      'extract at keyed',
    ])
    expect(life.starts('keyed')).toEqual(call('extract', 1))
    expect(life.starts('free')).toEqual(call('read', 1))
    expect(life.state).toBe('both.left.read.calling|right.extract.calling')
    life.does(succeeded(call('extract', 1)))
    expect(life.doc.status).toBe('processing')
    life.does(succeeded(call('read', 1)))
    expect(life.doc.status).toBe('completed')
    expect(Object.keys(life.doc.charges).toSorted()).toEqual(['extract', 'read'])
  })

  it('waiting at one provider are given their intents one after the other', () => {
    const same = compile(pipeline([step('read'), step('extract')]), own)
    const life = live(same)
    expect([life.starts('free'), life.starts('free')]).toEqual([call('read', 1), call('extract', 1)])
  })

  it('end together when one of them gives up: the other’s call is in doubt, its late answer a candidate', () => {
    const life = live(compiled)
    life.starts('free')
    life.starts('keyed')
    life.does(unstorable(call('read', 1)))
    expect(life.doc).toMatchObject({ status: 'investigation', wakeAt: null, queue: [] })
    expect(life.attempt('extract', 1)).toMatchObject({ outcome: 'uncertain', spend: { basis: 'upper-bound' } })
    life.does(succeeded(call('extract', 1)))
    expect(life.doc.steps['extract']?.candidate?.attempt).toBe(1)
  })

  it('keep what one of them has through a retry', () => {
    const life = live(compiled)
    life.starts('keyed')
    life.does(succeeded(call('extract', 1)))
    life.starts('free')
    life.does(unstorable(call('read', 1)))
    life.does(operator('RETRY'))
    expect(life.state).toBe('both.left.read.ready|right.finished')
    expect(life.doc.queue).toMatchObject([{ step: 'read' }])
  })
})

describe('ways of its own', () => {
  it('lead from an exhausted step to another state, which may complete the record', () => {
    const own: OwnChart = {
      initial: 'read',
      states: { read: at('read', '#completed', 'extract'), extract: at('extract', '#completed') },
      guards: {},
      delaysMs: {},
    }
    const life = live(compile(pipeline([step('read', { attempts: 1 }), step('extract')]), own))
    life.starts()
    life.does(failed(call('read', 1)))
    expect(life.state).toBe('extract.ready')
    life.starts()
    life.does(succeeded(call('extract', 1)))
    expect(life.doc).toMatchObject({ status: 'completed', reason: null })
  })

  it('out of a step that calls close its attempt in doubt, and back into it call no more (M7)', () => {
    const round = {
      initial: 'read',
      after: { patience: '#investigation' },
      states: {
        read: { ...at('read', '#completed', 'round.rest'), on: { ...at('read', '').on, PAUSE: 'rest' } },
        rest: { on: { RESUME: 'read' } },
      },
    }
    const own: OwnChart = { initial: 'round', states: { round }, guards: {}, delaysMs: { patience: 600_000 } }
    const life = live(compile(pipeline([step('read', { use: ['paid'], onUncertain: 'investigate' })]), own))
    expect(life.does(custom('PAUSE'), custom('RESUME'))).toBe(true)
    life.starts()
    life.does(custom('PAUSE'))
    expect(life.attempt('read', 1)).toMatchObject({
      outcome: 'uncertain',
      error: { code: 'left' },
      spend: { amount: '0.25', basis: 'upper-bound' },
    })
    life.does(custom('RESUME'))
    expect(life.state).toBe('round.rest')
    expect(life.doc.queue).toEqual([])
  })
})

it('that leads from a finished step straight back to it is refused by name, in bounded time', () => {
  const own: OwnChart = {
    initial: 'read',
    states: { read: at('read', 'extract'), extract: at('extract', '#completed', 'read') },
    guards: {},
    delaysMs: {},
  }
  expect(() => compile(pipeline([step('read'), step('extract')]), own)).toThrow('never comes to rest')
})
