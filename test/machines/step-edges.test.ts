/** Every edge of the step chart, on a document: where the step goes, and what is written there. */
import { describe, expect, it } from 'vitest'
import { call, failed, live, notSent, succeeded, uncertain, unstorable } from './life.js'
import type { Life } from './life.js'
import { after, compile, noon, pipeline, step } from './pipelines.js'

const LEASE_MS = 25_000
const one = compile(pipeline([step('read', { use: ['free', 'keyed'], attempts: 2 })]))
const two = compile(pipeline([step('read'), step('extract')]))

const waiting = (): Life => live(one)
const calling = (): Life => {
  const life = waiting()
  life.starts()
  return life
}
const inDoubt = (): Life => {
  const life = calling()
  life.does(uncertain(call('read', 1)))
  return life
}

describe('ready', () => {
  it('waits at the first provider, under the deadline alone', () => {
    const { doc, state } = waiting()
    expect(state).toBe('read.ready')
    expect(doc.queue).toEqual([{ provider: 'free', step: 'read', readyAt: noon }])
    expect(doc.timers.map(({ id, guards }) => ({ id, guards }))).toEqual([
      { id: 'xstate.after.deadline.record', guards: 'wait' },
    ])
    expect(doc.wakeAt).toEqual(after(one.deadlineMs))
  })

  it('goes to calling with the intent: attempt, key, sendBy and a lease in one save (P5)', () => {
    const life = waiting()
    life.skips(40).starts()
    expect(life.state).toBe('read.calling')
    expect(life.doc.queue).toEqual([])
    expect(life.attempt('read', 1)).toEqual({
      n: 1,
      generation: 1,
      provider: 'free',
      free: true,
      requestKey: 'r1.read.free.1.0',
      outcome: null,
      startedAt: after(40),
      sendBy: after(5_040),
      endedAt: null,
      spend: null,
      error: null,
      evidence: null,
    })
    expect(life.calls).toEqual([
      { ...call('read', 1), provider: 'free', requestKey: 'r1.read.free.1.0', sendBy: after(5_040) },
    ])
    const lease = life.doc.timers.find(({ id }) => id.includes('lease'))
    expect(lease).toMatchObject({ dueAt: after(40 + LEASE_MS), guards: 'call' })
    expect(life.doc.wakeAt).toEqual(lease?.dueAt)
  })
})

describe('calling', () => {
  it('ends with the answer: result, charge, spend and the next step in one save', () => {
    const life = live(two)
    life.starts()
    expect(life.skips(900).does(succeeded(call('read', 1)))).toBe(true)
    expect(life.state).toBe('extract.ready')
    expect(life.doc.steps['read']?.result).toMatchObject({ attempt: 1, at: after(900) })
    expect(life.doc.charges['read']).toEqual({ amount: '0.40', currency: 'EUR', at: after(900), attempt: 1 })
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'succeeded', endedAt: after(900), error: null })
    expect(life.doc.queue).toEqual([{ provider: 'free', step: 'extract', readyAt: after(900) }])
    expect(Object.keys(life.saves.at(-1)?.steps ?? {})).toEqual(['read'])
  })

  it('completes the record with the last step', () => {
    const life = calling()
    life.does(succeeded(call('read', 1)))
    expect(life.doc).toMatchObject({ status: 'completed', timers: [], queue: [], wakeAt: null, reason: null })
    expect(life.doc.settledAt).toEqual(life.at)
  })

  it('goes to backoff after a failure that another try may mend', () => {
    const life = calling()
    life.does(failed(call('read', 1), { backoffMs: 700 }))
    expect(life.state).toBe('read.backoff')
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'failed', error: { code: 'broken', attempt: 1 } })
    expect(life.doc.timers.find(({ id }) => id.includes('backoff'))).toMatchObject({
      dueAt: after(700),
      guards: 'wait',
    })
  })

  it.each([
    ['longer than the step allows', 60_000, 5_000],
    ['negative', -1, 0],
    ['no number', Number.NaN, 5_000],
  ])('caps a pause that is %s', (_, backoffMs, expected) => {
    const life = calling()
    life.does(failed(call('read', 1), { backoffMs }))
    expect(life.doc.wakeAt).toEqual(after(expected))
  })

  it('falls back at once when another try can’t help', () => {
    const life = calling()
    life.does(failed(call('read', 1), { retryable: false }))
    expect(life.state).toBe('read.ready')
    expect(life.doc.queue).toMatchObject([{ provider: 'keyed', step: 'read' }])
  })

  it('rejects the record for an input that can never be processed, with the provider’s reason', () => {
    const life = calling()
    life.does(failed(call('read', 1), { rejects: true }))
    expect(life.doc).toMatchObject({ status: 'rejected', reason: { code: 'broken' }, charges: {}, wakeAt: null })
  })

  it('goes to uncertain when the answer is unknown, and keeps the attempt’s spend as an upper bound', () => {
    const life = live(compile(pipeline([step('read', { use: ['paid'], onUncertain: 'investigate' })])))
    life.starts()
    life.does(uncertain(call('read', 1)))
    expect(life.state).toBe('read.uncertain')
    expect(life.attempt('read', 1)).toMatchObject({
      outcome: 'uncertain',
      spend: { amount: '0.25', currency: 'EUR', basis: 'upper-bound' },
      error: { code: 'timeout', attempt: 1 },
    })
    expect(life.doc.timers.find(({ id }) => id.includes('quarantine'))).toMatchObject({
      dueAt: after(120_000),
      guards: 'call',
    })
  })

  it('goes to uncertain when the lease runs out', () => {
    const life = calling().passes(LEASE_MS)
    expect(life.state).toBe('read.uncertain')
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'uncertain', error: { code: 'lease-expired' } })
  })

  it('goes back to ready when the request never left', () => {
    const life = calling()
    life.does(notSent(call('read', 1)))
    expect(life.state).toBe('read.ready')
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'failed', spend: null, error: { kind: 'not-executed' } })
  })

  it('falls back when the request never left and the tries are used up', () => {
    const life = calling()
    life.does(notSent(call('read', 1)))
    life.starts()
    life.does(notSent(call('read', 2)))
    expect(life.doc.queue).toMatchObject([{ provider: 'keyed', step: 'read' }])
  })

  it('goes to investigation with a result that can’t be stored, keeping it and its spend', () => {
    const life = calling()
    life.does(unstorable(call('read', 1)))
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'result-unstorable' }, charges: {} })
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'succeeded', spend: { amount: '0.02' } })
    expect(life.doc.steps['read']).toMatchObject({ result: null, discarded: [{ attempt: 1, payload: { blob: 'b1' } }] })
  })
})

describe('uncertain', () => {
  it('takes a late answer as the result', () => {
    const life = inDoubt()
    life.does(succeeded(call('read', 1)))
    expect(life.doc.status).toBe('completed')
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'succeeded', spend: { basis: 'reported' }, error: null })
  })

  it('takes a late failure as certain', () => {
    const life = inDoubt()
    life.does(failed(call('read', 1)))
    expect(life.state).toBe('read.backoff')
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'failed', spend: null })
  })

  it('takes the word of a worker that never sent', () => {
    const life = inDoubt()
    life.does(notSent(call('read', 1)))
    expect(life.state).toBe('read.ready')
    expect(life.attempt('read', 1).outcome).toBe('failed')
  })

  it('keeps a late result that can’t be stored', () => {
    const life = inDoubt()
    life.does(unstorable(call('read', 1)))
    expect(life.doc.status).toBe('investigation')
  })

  it('calls again after its quarantine', () => {
    expect(inDoubt().passes(200).state).toBe('read.ready')
  })
})

describe('backoff', () => {
  it('goes to ready when its pause is over, not before', () => {
    const life = calling()
    life.does(failed(call('read', 1), { backoffMs: 700 }))
    expect(life.passes(699).state).toBe('read.backoff')
    expect(life.passes(1).state).toBe('read.ready')
    expect(life.doc.queue).toMatchObject([{ readyAt: after(700) }])
  })
})

describe('exhausted', () => {
  it('ends in investigation when each provider had its tries, and says so', () => {
    const life = waiting()
    for (let n = 1; n <= 4; n += 1) {
      life.starts()
      life.does(failed(call('read', n)))
      life.passes(1_000)
    }
    expect(life.doc.steps['read']?.attempts.map(({ provider }) => provider)).toEqual(['free', 'free', 'keyed', 'keyed'])
    expect(life.doc).toMatchObject({ status: 'investigation', wakeAt: null, timers: [], queue: [] })
    expect(life.doc.reason).toEqual({
      code: 'attempts-exhausted',
      message:
        'Step "read" has no result after 4 attempt(s) and may not call again. The last attempt (4, keyed) ended with broken: It broke.',
      kind: 'executed',
    })
  })
})
