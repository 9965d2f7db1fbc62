/** The record's deadline in each state: nothing new starts, what is in flight is resolved, then investigation (M5, P2). */
import { describe, expect, it } from 'vitest'
import { call, failed, live, notSent, succeeded, uncertain } from './life.js'
import type { Life } from './life.js'
import { after, compile, pipeline, record, step } from './pipelines.js'

const LEASE_MS = 25_000
const compiled = compile(
  pipeline([
    step('read', { use: ['paid', 'free'], attempts: 3, onUncertain: { retry: { duplicateBudget: 2 } } }),
    step('extract'),
  ]),
)
const QUARANTINE_MS = 120_000

/** A record that arrives in a state shortly before its deadline, and then its deadline passes. */
const overdueIn = (arrive: (life: Life) => void): Life => {
  const life = live(compiled).skips(compiled.deadlineMs - 100)
  arrive(life)
  return life.passes(100)
}
const calling = (life: Life) => {
  life.starts()
}
const inDoubt = (life: Life) => {
  life.starts()
  life.does(uncertain(call('read', 1)))
}

it('is one timer, counted from acceptance, that nothing restarts', () => {
  const life = live(compiled)
  const deadline = () => life.doc.timers.find(({ id }) => id === 'xstate.after.deadline.record')
  expect(deadline()).toMatchObject({ dueAt: after(compiled.deadlineMs), guards: 'wait' })
  life.skips(1_000).starts()
  life.does(failed(call('read', 1)))
  life.passes(5_000).starts()
  life.does(succeeded(call('read', 2)))
  expect(life.state).toBe('extract.ready')
  expect(deadline()).toMatchObject({ dueAt: after(compiled.deadlineMs) })
})

describe('passing in `ready`', () => {
  it('ends in investigation at once', () => {
    const life = overdueIn(() => {})
    expect(life.doc).toMatchObject({ status: 'investigation', queue: [], timers: [], wakeAt: null })
    expect(life.doc.reason).toEqual({
      code: 'deadline-passed',
      message: `Step "read" was not done when the record's deadline passed.`,
      kind: 'not-executed',
    })
  })
})

describe('passing in `backoff`', () => {
  it('ends in investigation at once, and says what the last attempt was', () => {
    const life = overdueIn((soon) => {
      soon.starts()
      soon.does(failed(call('read', 1)))
    })
    expect(life.doc.status).toBe('investigation')
    expect(life.doc.reason).toMatchObject({ code: 'deadline-passed', kind: 'executed' })
    expect(life.doc.reason?.message).toContain('The last attempt (1, paid) ended with broken: It broke.')
  })
})

describe('passing in `calling`', () => {
  it('leaves the call its lease', () => {
    const life = overdueIn(calling)
    expect(life.state).toBe('read.calling')
    expect(life.doc.timers.map(({ id }) => id)).toEqual(['xstate.after.lease of read.record.read.calling'])
  })

  it('takes its answer, and starts nothing after it', () => {
    const life = overdueIn(calling)
    life.does(succeeded(call('read', 1)))
    expect(life.doc.steps['read']?.result).not.toBeNull()
    expect(life.doc.charges).toHaveProperty('read')
    expect(life.doc.status).toBe('investigation')
    expect(life.doc.reason?.message).toContain('Step "extract" was not done')
  })

  it.each([
    ['a failure', failed(call('read', 1))],
    ['a failure that a fallback could mend', failed(call('read', 1), { retryable: false })],
    ['a request that never left', notSent(call('read', 1))],
  ])('%s is followed by no other try', (_, event) => {
    const life = overdueIn(calling)
    life.does(event)
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'deadline-passed' }, queue: [] })
  })

  it('an input that can never be processed is still rejected', () => {
    const life = overdueIn(calling)
    life.does(failed(call('read', 1), { rejects: true }))
    expect(life.doc.status).toBe('rejected')
  })

  it('its lease and quarantine run out, then it ends within settlesBy', () => {
    const life = overdueIn(calling).passes(LEASE_MS - 100)
    expect(life.state).toBe('read.uncertain')
    life.passes(QUARANTINE_MS)
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'deadline-passed', kind: 'unknown' } })
    expect(life.doc.settledAt!.getTime()).toBeLessThanOrEqual(life.doc.settlesBy.getTime())
  })
})

describe('passing in `uncertain`', () => {
  it('waits for a late answer until the quarantine is over', () => {
    const life = overdueIn(inDoubt)
    expect(life.state).toBe('read.uncertain')
    const other = life.fork()
    life.does(succeeded(call('read', 1)))
    expect(life.doc.steps['read']?.result?.attempt).toBe(1)
    expect(other.passes(QUARANTINE_MS).doc.status).toBe('investigation')
    expect(other.attempt('read', 1)).not.toHaveProperty('possibleDuplicate')
  })

  it('a late failure is followed by no other try', () => {
    const life = overdueIn(inDoubt)
    life.does(failed(call('read', 1)))
    expect(life.doc.status).toBe('investigation')
  })
})

describe('passing between two steps', () => {
  it('keeps the first one’s result and charge for an operator’s retry', () => {
    const life = live(compiled)
    life.starts()
    life.does(succeeded(call('read', 1)))
    life.passes(compiled.deadlineMs)
    expect(life.doc).toMatchObject({ status: 'investigation', steps: { read: { result: { attempt: 1 } } } })
    expect(Object.keys(life.doc.charges)).toEqual(['read'])
  })
})

describe('a settled record', () => {
  it.each([
    ['completed', [call('read', 1), call('extract', 1)], null],
    ['rejected', [], failed(call('read', 1), { rejects: true })],
    ['cancelled', [], { type: 'CANCEL', reason: 'No longer needed.' } as const],
    ['investigation', [], failed(call('read', 1), { retryable: false })],
  ] as const)('that is %s waits for nothing', (status, answered, event) => {
    const one = compile(pipeline([step('read'), step('extract')]))
    const life = live(one, record(one))
    for (const of of answered) {
      life.starts()
      life.does(succeeded(of))
    }
    if (event) {
      life.starts()
      life.does(event)
    }
    expect(life.doc).toMatchObject({ status, timers: [], queue: [], wakeAt: null, settledAt: life.at })
    expect(life.doc.reason === null).toBe(status === 'completed')
    for (const { attempts } of Object.values(life.doc.steps))
      for (const { outcome } of attempts) expect(outcome).not.toBeNull()
  })

  it('a person’s cancel keeps the person’s reason', () => {
    const life = live(compiled)
    life.does({ type: 'CANCEL', reason: 'Sent by mistake.' })
    expect(life.doc.reason).toEqual({ code: 'cancel', message: 'Sent by mistake.', kind: 'not-executed' })
  })
})
