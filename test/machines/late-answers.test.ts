/** Answers that come when nobody waits for them any more: which one is the result, and what is kept of the others (P4). */
import { describe, expect, it } from 'vitest'
import { call, failed, live, notSent, operator, payload, succeeded, uncertain, unstorable } from './life.js'
import type { Life } from './life.js'
import { compile, pipeline, step } from './pipelines.js'

const LEASE_MS = 25_000
const QUARANTINE_MS = 120_000
const paid = compile(pipeline([step('read', { use: ['paid'], onUncertain: { retry: { duplicateBudget: 1 } } })]))
const upperBound = { amount: '0.25', currency: 'EUR', basis: 'upper-bound' }
const reported = { amount: '0.01', currency: 'EUR', basis: 'reported' }

/** The first call's lease ran out, and its quarantine: the second call is on its way. */
const retried = (): Life => {
  const life = live(paid)
  life.starts()
  life.passes(LEASE_MS + QUARANTINE_MS)
  life.starts()
  return life
}

describe('after the lease', () => {
  it('an answer is the result, up to the end of the quarantine', () => {
    const life = live(paid)
    life.starts()
    life.passes(LEASE_MS + QUARANTINE_MS - 1)
    life.does(succeeded(call('read', 1)))
    expect(life.doc.status).toBe('completed')
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'succeeded', spend: reported, error: null })
    expect(life.doc.charges['read']).toMatchObject({ attempt: 1 })
  })

  it('an answer is the result, also while the next try waits for a slot', () => {
    const life = live(paid)
    life.starts()
    life.passes(LEASE_MS + QUARANTINE_MS)
    expect(life.state).toBe('read.ready')
    life.does(succeeded(call('read', 1)))
    expect(life.doc).toMatchObject({ status: 'completed', queue: [] })
  })

  it('an answer of an earlier attempt is the result, also in backoff', () => {
    const life = retried()
    life.does(failed(call('read', 2)))
    expect(life.state).toBe('read.backoff')
    life.does(succeeded(call('read', 1)))
    expect(life.doc).toMatchObject({ status: 'completed', timers: [] })
    expect(life.doc.steps['read']?.result?.attempt).toBe(1)
  })
})

describe('after the retry has started', () => {
  it('the earlier attempt’s answer wins; the second attempt is in doubt with its upper bound', () => {
    const life = retried()
    expect(life.attempt('read', 1)).toMatchObject({ spend: upperBound, possibleDuplicate: true })
    life.does(succeeded(call('read', 1), { result: payload('first') }))
    expect(life.doc.steps['read']?.result).toMatchObject({ attempt: 1, payload: payload('first') })
    expect(life.doc.charges).toEqual({ read: { amount: '0.40', currency: 'EUR', at: life.at, attempt: 1 } })
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'succeeded', spend: reported })
    const superseded = { code: 'superseded', kind: 'unknown', attempt: 2 }
    expect(life.attempt('read', 2)).toMatchObject({ outcome: 'uncertain', spend: upperBound, error: superseded })
  })

  it('the second attempt’s own answer is then discarded, with its outcome and spend put right', () => {
    const life = retried()
    life.does(succeeded(call('read', 1), { result: payload('first') }))
    const settledAt = life.at
    life.skips(5_000).does(succeeded(call('read', 2), { result: payload('second') }))
    expect(life.doc.steps['read']?.result).toMatchObject({ attempt: 1, payload: payload('first') })
    expect(life.doc.steps['read']?.discarded).toEqual([
      { attempt: 2, generation: 1, at: life.at, payload: payload('second'), reason: 'late' },
    ])
    expect(life.attempt('read', 2)).toMatchObject({ outcome: 'succeeded', spend: reported, error: null })
    expect(life.doc.charges).toEqual({ read: { amount: '0.40', currency: 'EUR', at: settledAt, attempt: 1 } })
    expect(life.doc).toMatchObject({ status: 'completed', settledAt, wakeAt: null })
  })

  it('the second attempt’s own failure is noted, and costs what it says', () => {
    const life = retried()
    life.does(succeeded(call('read', 1)))
    life.does(failed(call('read', 2), { spend: { amount: '0', currency: 'EUR', basis: 'reported' } }))
    expect(life.attempt('read', 2)).toMatchObject({ outcome: 'failed', spend: { amount: '0' } })
  })

  it('a failure of the earlier attempt settles its doubt and leaves the second call alone', () => {
    const life = retried()
    const { snapshot } = life.doc
    life.does(failed(call('read', 1)))
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'failed', spend: null })
    expect(life.doc.snapshot).toEqual(snapshot)
    expect(life.state).toBe('read.calling')
  })

  it('a worker that thaws and says that it never sent settles the doubt of its attempt', () => {
    const life = retried()
    life.does(notSent(call('read', 1)))
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'failed', spend: null, error: { code: 'not-sent' } })
    expect(life.attempt('read', 1)).not.toHaveProperty('possibleDuplicate')
    expect(life.state).toBe('read.calling')
  })
})

describe('after the retry’s answer', () => {
  it('the first attempt’s answer is discarded', () => {
    const life = retried()
    life.does(succeeded(call('read', 2), { result: payload('second') }))
    life.does(succeeded(call('read', 1), { result: payload('first') }))
    expect(life.doc.steps['read']?.result).toMatchObject({ attempt: 2, payload: payload('second') })
    expect(life.doc.steps['read']?.discarded).toMatchObject([{ attempt: 1, reason: 'late' }])
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'succeeded', spend: reported })
    expect(Object.keys(life.doc.charges)).toEqual(['read'])
  })
})

describe('after a cancel', () => {
  const cancelled = () => {
    const life = live(paid)
    life.starts()
    life.does(operator('CANCEL', 'Sent by mistake.'))
    return life
  }

  it('the open attempt is in doubt, and its answer is discarded with its spend', () => {
    const life = cancelled()
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'uncertain', spend: upperBound })
    life.does(succeeded(call('read', 1)))
    expect(life.doc).toMatchObject({ status: 'cancelled', charges: {}, steps: { read: { result: null } } })
    expect(life.doc.steps['read']?.discarded).toHaveLength(1)
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'succeeded', spend: reported })
  })

  it.each([
    ['an uncertain one is known already', uncertain(call('read', 1)), 'uncertain', false],
    ['a failure settles the doubt', failed(call('read', 1)), 'failed', true],
    ['a request that never left settles the doubt', notSent(call('read', 1)), 'failed', true],
    ['a result that can’t be stored is kept as discarded', unstorable(call('read', 1)), 'succeeded', true],
  ])('of the other answers, %s', (_, event, outcome, changes) => {
    const life = cancelled()
    expect(life.does(event)).toBe(changes)
    expect(life.attempt('read', 1).outcome).toBe(outcome)
    expect(life.doc.status).toBe('cancelled')
  })
})

describe('in investigation', () => {
  const investigated = () => {
    const life = retried().passes(LEASE_MS + QUARANTINE_MS)
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'outcome-uncertain', kind: 'unknown' } })
    return life
  }

  it('the first late answer is kept as a candidate, without a charge', () => {
    const life = investigated()
    life.does(succeeded(call('read', 2), { result: payload('second') }))
    expect(life.doc.steps['read']).toMatchObject({
      result: null,
      candidate: { attempt: 2, at: life.at, payload: payload('second') },
    })
    expect(life.doc).toMatchObject({ status: 'investigation', charges: {} })
    expect(life.attempt('read', 2)).toMatchObject({ outcome: 'succeeded', spend: reported })
  })

  it('the second one is discarded, and only named: one late content is enough for a document', () => {
    const life = investigated()
    life.does(succeeded(call('read', 2), { result: payload('second') }))
    life.does(succeeded(call('read', 1), { result: payload('first') }))
    const { inline: _, ...named } = payload('first')
    expect(life.doc.steps['read']).toMatchObject({ candidate: { attempt: 2 } })
    expect(life.doc.steps['read']?.discarded).toEqual([
      { attempt: 1, generation: 1, at: life.at, payload: named, reason: 'late' },
    ])
  })

  it('for a step that has its result, it is discarded', () => {
    const two = compile(
      pipeline([
        step('read', { use: ['paid'], onUncertain: { retry: { duplicateBudget: 1 } } }),
        step('extract', { attempts: 1 }),
      ]),
    )
    const life = live(two)
    life.starts()
    life.passes(LEASE_MS + QUARANTINE_MS)
    life.starts()
    life.does(succeeded(call('read', 2)))
    life.starts()
    life.does(failed(call('extract', 1)))
    expect(life.doc.status).toBe('investigation')
    life.does(succeeded(call('read', 1)))
    expect(life.doc.steps['read']).toMatchObject({
      result: { attempt: 2 },
      candidate: null,
      discarded: [{ attempt: 1 }],
    })
  })
})

describe('from an earlier generation', () => {
  const again = () => {
    const life = retried().passes(LEASE_MS + QUARANTINE_MS)
    life.does(operator('RETRY'))
    expect(life.starts()).toEqual(call('read', 3, 2))
    return life
  }

  it('an answer is discarded, and the call under way goes on', () => {
    const life = again()
    life.does(succeeded(call('read', 2)))
    expect(life.state).toBe('read.calling')
    expect(life.doc.steps['read']).toMatchObject({ result: null, discarded: [{ attempt: 2, generation: 1 }] })
    life.does(succeeded(call('read', 3, 2)))
    expect(life.doc).toMatchObject({ status: 'completed', steps: { read: { result: { attempt: 3 } } } })
  })

  it('an answer that names a generation the attempt was not made in is about no attempt', () => {
    const life = again()
    expect(life.does(succeeded(call('read', 3, 1)))).toBe(false)
    expect(life.does(failed(call('read', 1, 2)))).toBe(false)
    expect(life.attempt('read', 3).outcome).toBeNull()
  })
})
