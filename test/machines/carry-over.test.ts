/** A record of a version that is gone moves to the version at hand, or says why it can't. */
import { describe, expect, it } from 'vitest'
import { carryOver } from '../../src/machines/carry-over.js'
import type { Compiled } from '../../src/machines/compile.js'
import { describePipeline } from '../../src/machines/compile.js'
import type { OwnChart } from '../../src/machines/record-machine.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { stepState } from '../../src/machines/step-state.js'
import { accepted, call, failed, freeze, live, operator, succeeded, uncertain } from './life.js'
import type { Life } from './life.js'
import { after, compile, noon, pipeline, record, step, terms } from './pipelines.js'

const LEASE_MS = 25_000
const old = compile(pipeline([step('read', { use: ['free', 'keyed'] }), step('extract')]))
const newer = (...steps: Parameters<typeof step>[]) =>
  compile(
    pipeline(
      steps.map((args) => step(...args)),
      { revision: 2 },
    ),
  )
const same = newer(['read', { use: ['free', 'keyed'] }], ['extract'])

const moved = (doc: RecordDocument, to: Compiled, at = after(1_000)) => {
  const carried = carryOver(freeze(doc), to, { at, by: 'worker:new', writer: 'carried', facts: true })
  if ('impossible' in carried) throw new Error(carried.impossible)
  return carried
}
const refused = (doc: RecordDocument, to: Compiled) => {
  const carried = carryOver(freeze(doc), to, { at: noon, by: 'worker:new', writer: 'carried', facts: true })
  return 'impossible' in carried ? carried.impossible : 'It was carried over.'
}
const atStep = (arrive: (life: Life) => void, compiled = old): RecordDocument => {
  const life = live(compiled)
  arrive(life)
  return life.doc
}
const calling = (life: Life) => void life.starts()
const budgets = (doc: RecordDocument) =>
  (doc.snapshot as { context: { steps: { [name: string]: object } } }).context.steps

describe('a record with a call that is asked about', () => {
  const before = compile(pipeline([step('read', { use: ['job'] })]))
  const now = newer(['read', { use: ['job'], attempts: 2 }])
  const awaiting = (life: Life) => {
    life.starts()
    life.does(accepted(call('read', 1)))
  }
  const lookingLast = (life: Life) => {
    awaiting(life)
    life.passes(120_000)
  }

  it.each([
    ['awaiting.waiting', awaiting],
    ['lastLook', lookingLast],
  ])('moves in `%s`, and its answer is taken as before', (state, arrive) => {
    const doc = atStep(arrive, before)
    const at = new Date(doc.history.at(-1)!.at.getTime() + 10)
    const life = live(now, moved(doc, now, at).next, at)
    expect(life.state).toBe(`read.${state}`)
    life.does(succeeded(call('read', 1)))
    expect(life.doc).toMatchObject({ status: 'completed', steps: { read: { attempts: [{ outcome: 'succeeded' }] } } })
  })
})

it('the edition of the record machine is part of a version: a state that means another thing is carried over', () => {
  expect(describePipeline(old.definition, terms)).toMatchObject({ machine: expect.any(Number) as number })
})

it('what is simulated leaves no facts for others', () => {
  const charged = (simulated: boolean) => {
    const life = live(old, { ...record(old), simulated })
    life.starts()
    life.does(succeeded(call('read', 1)))
    return [Object.keys(life.doc.charges), life.doc.outbox.map(({ type }) => type)]
  }
  expect(charged(false)).toEqual([['read'], ['CHARGE_WRITTEN']])
  expect(charged(true)).toEqual([['read'], []])
})

describe('a record that moves', () => {
  it('keeps its state, attempts and queue, and says from where to where', () => {
    const base = atStep(() => {})
    const { save, next } = moved(base, same)
    expect(next).toMatchObject({ version: 2, pipelineVersion: same.version, status: 'processing', queue: base.queue })
    expect(next.snapshot).toEqual(base.snapshot)
    expect(save).toMatchObject({ expectedVersion: 1, writer: 'carried', set: { pipelineVersion: same.version } })
    expect(save.history).toEqual([
      {
        version: 2,
        writer: 'carried',
        at: after(1_000),
        event: { type: 'PIPELINE_CHANGED', from: old.version, to: same.version },
        from: 'read.ready',
        to: 'read.ready',
        by: 'worker:new',
      },
    ])
  })

  it.each<[string, (life: Life) => void]>([
    ['ready', () => {}],
    ['calling', calling],
    ['uncertain', (life) => life.does(uncertain(life.starts()))],
    ['backoff', (life) => life.does(failed(life.starts()))],
  ])('goes on to its end from %s', (_, arrive) => {
    const life = live(same, moved(atStep(arrive), same).next, after(1_000))
    if (life.state === 'read.calling') life.does(succeeded(call('read', 1)))
    else {
      life.passes(10_000)
      life.does(succeeded(life.starts()))
    }
    life.does(succeeded(life.starts()))
    expect(life.doc.status).toBe('completed')
    expect(life.doc.settledAt! <= life.doc.settlesBy).toBe(true)
  })

  it('gives new steps a fresh budget and a place in the document, and keeps those of known steps', () => {
    const base = atStep((life) => life.does(succeeded(life.starts())))
    const to = newer(['read'], ['extract'], ['check'])
    const { next, save } = moved(base, to)
    expect(budgets(next)).toMatchObject({ read: budgets(base)['read'], check: { attempt: 0, tries: 0, result: 0 } })
    expect(next.steps['check']).toEqual({ attempts: [], result: null, discarded: [], candidate: null })
    expect(save.steps).toEqual({ check: next.steps['check'] })
    expect(next.charges).toEqual(base.charges)
  })

  it('keeps what a removed step gave, and finds it again when the step comes back (P3)', () => {
    const base = atStep((life) => life.does(succeeded(life.starts())))
    const without = moved(base, newer(['extract'])).next
    expect(without.steps['read']?.result?.attempt).toBe(1)
    const back = live(same, moved(without, same).next, after(2_000))
    back.passes(same.worstCaseMs)
    back.does(operator('RETRY'))
    expect(back.state).toBe('extract.ready')
    expect(back.doc.steps['read']?.attempts).toHaveLength(1)
  })

  it('that is settled only changes its version', () => {
    const base = atStep((life) => life.does(operator('CANCEL')))
    const { next } = moved(base, same)
    expect(next).toEqual({
      ...base,
      version: 3,
      pipelineVersion: same.version,
      history: [...base.history, expect.objectContaining({ from: 'cancelled', to: 'cancelled' })],
    })
  })

  it('from investigation can be retried in the new version', () => {
    const base = atStep((life) => life.passes(old.deadlineMs))
    const life = live(same, moved(base, same, after(old.deadlineMs + 1)).next, after(old.deadlineMs + 1))
    life.does(operator('RETRY'))
    expect(life.starts()).toEqual(call('read', 1, 2))
  })
})

describe('its timers', () => {
  it('run on as they were', () => {
    const base = atStep(calling)
    expect(moved(base, newer(['read', { deadlineMs: 60_000 }], ['extract'])).next.timers).toEqual(base.timers)
  })

  it('are armed at their declared maximum where one is missing, and dropped where the machine has none', () => {
    const base = atStep(calling)
    const stray = { id: 'x', event: 'xstate.after.gone.record.gone', dueAt: after(5), guards: 'wait' } as const
    const { next } = moved({ ...base, timers: [stray] }, same)
    expect(next.timers).toEqual([
      expect.objectContaining({
        event: 'xstate.after.deadline.record',
        dueAt: after(1_000 + same.deadlineMs),
        guards: 'wait',
      }),
      expect.objectContaining({ dueAt: after(1_000 + LEASE_MS), guards: 'call' }),
    ])
    expect(next.wakeAt).toEqual(after(1_000 + LEASE_MS))
  })

  it('do not bring back a deadline that has passed', () => {
    const life = live(old).skips(old.deadlineMs - 1)
    life.starts()
    const base = life.passes(1).doc
    const { next } = moved(base, same, life.at)
    expect(next.timers).toEqual(base.timers)
  })
})

describe('its settlesBy', () => {
  it('covers the worst case of the new version from now', () => {
    const slower = newer(['read', { deadlineMs: 3_600_000 }], ['extract'])
    expect(
      moved(
        atStep(() => {}),
        slower,
      ).next.settlesBy,
    ).toEqual(after(1_000 + slower.worstCaseMs))
  })

  it('never comes earlier, and counts timers that run longer than the new version would let them', () => {
    const quicker = compile(pipeline([step('read'), step('extract')], { maxWaitMs: 60_000, revision: 2 }))
    const base = atStep(() => {})
    const { next } = moved(base, quicker)
    expect(next.settlesBy >= base.settlesBy).toBe(true)
    const life = live(quicker, next, after(1_000)).skips(old.deadlineMs - 2_000)
    life.starts()
    life.passes(quicker.worstCaseMs, 5_000)
    expect(life.doc.status).toBe('investigation')
    expect(life.doc.settledAt! <= life.doc.settlesBy).toBe(true)
  })
})

describe('its providers', () => {
  const second = (life: Life) => {
    life.starts()
    life.does(failed(call('read', 1), { retryable: false }))
    expect(life.doc.queue).toMatchObject([{ provider: 'keyed' }])
  }

  it('are clamped to a shorter list, and the waiting step stands in the other line at its old time', () => {
    const base = atStep(second)
    const { next } = moved(base, newer(['read', { use: ['other'], onUncertain: 'investigate' }], ['extract']))
    expect(next.queue).toEqual([{ ...base.queue[0], provider: 'other' }])
    expect(budgets(next)['read']).toMatchObject({ provider: 0, tries: 0 })
  })

  it('are found again by name in another order', () => {
    const base = atStep((life) => life.does(failed(life.starts())))
    const { next } = moved(base, newer(['read', { use: ['keyed', 'free'] }], ['extract']))
    expect(budgets(next)['read']).toMatchObject({ provider: 1, tries: 1 })
  })

  it('of a call under way must be known to the new version: their terms decide what may follow', () => {
    const to = newer(['read', { use: ['keyed'] }], ['extract'])
    expect(refused(atStep(calling), to)).toContain('has a call at provider "free"')
    expect(
      refused(
        atStep((life) => life.does(uncertain(life.starts()))),
        to,
      ),
    ).toContain('"free"')
  })

  it('with fewer tries still grant the one that the step waits for', () => {
    const base = atStep((life) => {
      life.starts()
      life.does(failed(call('read', 1)))
      life.passes(1_000)
    })
    const to = newer(['read', { use: ['free'], attempts: 1 }], ['extract'])
    const life = live(to, moved(base, to).next, after(1_000))
    expect(life.starts()).toEqual(call('read', 2))
    life.does(failed(call('read', 2)))
    expect(life.doc.reason?.code).toBe('attempts-exhausted')
  })
})

describe('a record can’t move', () => {
  const region = (name: string) => ({
    initial: name,
    states: {
      [name]: stepState(name, { description: name, done: 'finished', exhausted: 'investigation' }),
      finished: { type: 'final' },
    },
  })
  const parallel = (...names: string[]): OwnChart => ({
    initial: 'all',
    states: {
      all: {
        type: 'parallel',
        states: Object.fromEntries(names.map((n) => [`r-${n}`, region(n)])),
        onDone: '#completed',
      },
    },
    guards: {},
    delaysMs: {},
  })
  const steps = [step('read'), step('extract')]

  it.each<[string, RecordDocument, Compiled, string]>([
    ['to another pipeline', record(old), compile(pipeline(steps, { name: 'other' })), 'belongs to pipeline "test"'],
    ['to where it is', record(old), old, 'already'],
    ['when its state is gone', record(old), newer(['extract']), 'State "read.ready" does not exist'],
    [
      'into a region that it has not entered',
      record(compile(pipeline(steps), parallel('read'))),
      compile(pipeline(steps), parallel('read', 'extract')),
      'which the record has not entered',
    ],
    ['without a context', record(old, { snapshot: { value: { read: 'ready' } } }), same, 'does not parse'],
    ['without a snapshot', record(old, { snapshot: null }), same, 'does not parse'],
    [
      'when a budget is odd',
      record(old, {
        snapshot: {
          value: { read: 'ready' },
          context: { generation: 1, overdue: false, settled: false, steps: { read: { attempt: -1 } } },
        },
      }),
      same,
      'steps.read.attempt',
    ],
    ['when status and state contradict', record(old, { status: 'completed' }), same, 'contradict'],
  ])('%s', (_, doc, to, reason) => {
    expect(refused(doc, to)).toContain(reason)
  })

  it('when a removed step has an open attempt', () => {
    const both = compile(pipeline(steps), parallel('read', 'extract'))
    const base = atStep((life) => {
      life.starts()
      life.starts()
    }, both)
    const doc = { ...base, snapshot: { ...(base.snapshot as object), value: { extract: 'calling' } } }
    expect(refused(doc, newer(['extract']))).toContain('Attempt 1 of step "read" is open')
  })

  it('when its calls and its state contradict', () => {
    const base = atStep(calling)
    const ready = { ...base, snapshot: { ...(base.snapshot as object), value: { read: 'ready' } } }
    expect(refused(ready, same)).toContain('the step is not calling')
    expect(refused({ ...base, steps: {} }, same)).toContain('has a call at provider "unknown"')
  })
})
