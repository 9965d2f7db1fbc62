/** What may follow an uncertain call (P6): asked again, run again for free, or by the step's written policy; never else. */
import { describe, expect, it } from 'vitest'
import { call, failed, live, succeeded, uncertain } from './life.js'
import type { Life } from './life.js'
import type { StepDefinition } from '../../src/machines/pipeline.js'
import { compile, pipeline, step } from './pipelines.js'

const QUARANTINE_MS = 120_000
const lifeOf = (change: Partial<StepDefinition>): Life => live(compile(pipeline([step('read', change)])))

/** Calls and loses the answer, up to `most` times, each time waiting for the longest quarantine. */
const loses = (life: Life, most: number): Life => {
  for (let n = 1; n <= most && life.state === 'read.ready'; n += 1) {
    life.does(uncertain(life.starts()))
    life.passes(QUARANTINE_MS)
  }
  return life
}
const calls = (life: Life) => life.doc.steps['read']!.attempts.map(({ provider }) => provider)
const marked = (life: Life) => life.doc.steps['read']!.attempts.map((attempt) => attempt.possibleDuplicate ?? false)

describe('a provider that honours keys', () => {
  it('is asked again with the same key, within the tries, and leaves no doubt', () => {
    const life = loses(lifeOf({ use: ['keyed'], attempts: 3 }), 5)
    expect(new Set(life.doc.steps['read']!.attempts.map(({ requestKey }) => requestKey)).size).toBe(1)
    expect(calls(life)).toEqual(['keyed', 'keyed', 'keyed'])
    expect(marked(life)).toEqual([false, false, false])
    expect(life.doc.reason).toMatchObject({ code: 'outcome-uncertain', kind: 'unknown' })
    expect(life.doc.reason?.message).toContain('no result after 3 attempt(s) and may not call again')
  })

  it('waits the short pause before it is asked again', () => {
    const life = lifeOf({ use: ['keyed'], backoff: { initialMs: 300, maxMs: 5_000 } })
    life.does(uncertain(life.starts()))
    expect(life.passes(299).state).toBe('read.uncertain')
    expect(life.passes(1).state).toBe('read.ready')
  })

  it.each([
    ['not without a policy', null, 'not-executed', ['keyed', 'keyed']],
    ['with a policy', 'fallback', 'not-executed', ['keyed', 'keyed', 'free']],
    ['within a budget of doubts', { retry: { duplicateBudget: 1 } }, 'not-executed', ['keyed', 'keyed', 'free']],
    ['where the failure answers for the key', null, 'executed', ['keyed', 'keyed', 'free']],
  ] as const)('in doubt and then refused, is left for another %s', (_, onUncertain, kind, expected) => {
    const life = lifeOf({ use: ['keyed', 'free'], attempts: 2, onUncertain })
    life.does(uncertain(life.starts()))
    life.passes(QUARANTINE_MS)
    life.does(failed(life.starts(), { kind }))
    if (life.state === 'read.ready') life.starts()
    else expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'outcome-uncertain' } })
    expect(calls(life)).toEqual(expected)
    expect(marked(life)[0]).toBe(onUncertain !== null)
  })

  it('is left for another only under the written policy, and is then a possible duplicate', () => {
    const change = { use: ['keyed', 'free'], attempts: 1 }
    expect(calls(loses(lifeOf(change), 5))).toEqual(['keyed'])
    const life = loses(lifeOf({ ...change, onUncertain: 'fallback' }), 5)
    expect(calls(life)).toEqual(['keyed', 'free'])
    expect(marked(life)).toEqual([true, false])
  })
})

describe('a free provider', () => {
  it('runs again, then falls back, without a policy and without doubt', () => {
    const life = loses(lifeOf({ use: ['free', 'keyed'], attempts: 2 }), 10)
    expect(calls(life)).toEqual(['free', 'free', 'keyed', 'keyed'])
    expect(marked(life)).toEqual([false, false, false, false])
    expect(life.attempt('read', 1).spend).toBeNull()
  })
})

describe('a paid provider that can’t be asked', () => {
  it('with "investigate" is never called again, and ends after its quarantine', () => {
    const life = lifeOf({ use: ['paid', 'free'], onUncertain: 'investigate' })
    life.does(uncertain(life.starts()))
    expect(life.passes(QUARANTINE_MS - 1).state).toBe('read.uncertain')
    life.passes(1)
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'outcome-uncertain' } })
    expect(calls(life)).toEqual(['paid'])
    expect(marked(life)).toEqual([false])
  })

  it('with "fallback" goes to the next provider after its quarantine, never to itself', () => {
    const life = loses(lifeOf({ use: ['paid', 'other'], onUncertain: 'fallback' }), 5)
    expect(calls(life)).toEqual(['paid', 'other'])
    expect(marked(life)).toEqual([true, false])
    expect(life.doc.status).toBe('investigation')
  })

  it.each([
    [0, 1],
    [1, 2],
    [2, 3],
    [9, 3],
  ])('with a duplicateBudget of %d is called %d times at most, within its 3 tries', (duplicateBudget, most) => {
    const life = loses(lifeOf({ use: ['paid', 'other'], onUncertain: { retry: { duplicateBudget } } }), 10)
    expect(calls(life)).toEqual(Array(most).fill('paid'))
    expect(marked(life)).toEqual([...Array<boolean>(most - 1).fill(true), false])
    for (const { spend } of life.doc.steps['read']!.attempts)
      expect(spend).toEqual({ amount: '0.25', currency: 'EUR', basis: 'upper-bound' })
  })

  it('a budget of doubts is not used up by certain failures', () => {
    const life = lifeOf({ use: ['paid'], attempts: 5, onUncertain: { retry: { duplicateBudget: 1 } } })
    for (const n of [1, 2]) {
      life.starts()
      life.does(failed(call('read', n)))
      life.passes(5_000)
    }
    loses(life, 5)
    expect(calls(life)).toHaveLength(4)
    expect(marked(life)).toEqual([false, false, true, false])
  })

  it('charges the customer once, whatever was paid in doubt', () => {
    const life = lifeOf({ use: ['paid'], onUncertain: { retry: { duplicateBudget: 1 } } })
    life.does(uncertain(life.starts()))
    life.passes(QUARANTINE_MS)
    life.does(succeeded(life.starts()))
    expect(Object.values(life.doc.charges)).toEqual([{ amount: '0.40', currency: 'EUR', at: life.at, attempt: 2 }])
    expect(life.attempt('read', 1)).toMatchObject({ possibleDuplicate: true, spend: { basis: 'upper-bound' } })
  })
})

describe('a certain failure', () => {
  it('may be tried again, and falls back, whatever the policy says', () => {
    const life = lifeOf({ use: ['paid', 'other'], attempts: 2, onUncertain: 'investigate' })
    for (const n of [1, 2, 3, 4]) {
      life.starts()
      life.does(failed(call('read', n)))
      life.passes(5_000)
    }
    expect(calls(life)).toEqual(['paid', 'paid', 'other', 'other'])
    expect(life.doc.reason?.code).toBe('attempts-exhausted')
  })

  it('at the next provider begins its tries anew', () => {
    const life = lifeOf({ use: ['free', 'keyed'], attempts: 2 })
    life.starts()
    life.does(failed(call('read', 1), { retryable: false }))
    life.starts()
    life.does(failed(call('read', 2)))
    expect(life.state).toBe('read.backoff')
  })
})
