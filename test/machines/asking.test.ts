/**
 * Asking before calling again (M8): what the machine does while a provider is asked about a call, waits for a job, or
 * learns that a step may not start now.
 */
import { describe, expect, it } from 'vitest'
import { lookupWindowMs, pollMs, pollsMax, runMs } from '../../src/machines/delays.js'
import { replay } from '../../src/machines/replay.js'
import { accepted, call, failed, held, live, missed, operator, progressed, succeeded, uncertain } from './life.js'
import type { Life } from './life.js'
import { after, compile, pipeline, step, terms } from './pipelines.js'

const LEASE_MS = 25_000
const LAST_LOOK_MS = 20_000
const first = call('read', 1)

const of = (use: string[], change: Parameters<typeof step>[1] = {}) =>
  compile(pipeline([step('read', { use, attempts: 2, ...change })]))

const found = of(['found', 'other'], { onUncertain: 'investigate' })
const job = of(['job'])
const lost = of(['lost'], { onUncertain: 'investigate' })

const calling = (compiled = found): Life => {
  const life = live(compiled)
  life.starts()
  return life
}

describe('a call that can be looked up', () => {
  it('is asked about at once when its lease runs out, in the same save', () => {
    const life = calling().passes(LEASE_MS)
    expect(life.state).toBe('read.recovering.polling')
    expect(life.errands).toEqual([{ kind: 'ask', step: 'read', attempt: 1 }])
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'uncertain', error: { code: 'lease-expired' } })
  })

  it('is asked about when the worker says that it does not know', () => {
    const life = calling()
    life.does(uncertain(first))
    expect(life.state).toBe('read.recovering.polling')
    expect(life.errands).toHaveLength(1)
  })

  it('is asked again, ever more slowly, and never called meanwhile', () => {
    const life = calling()
    life.does(uncertain(first))
    const dues: number[] = []
    const windowMs = lookupWindowMs(terms['found']!)
    while (life.state === 'read.recovering.polling') {
      dues.push(life.doc.wakeAt!.getTime() - life.at.getTime())
      life.passes(dues.at(-1)!)
    }
    expect(dues.slice(0, 4)).toEqual([0, 1, 2, 3].map((asks) => pollMs(windowMs, asks + 1)))
    expect(dues.length).toBeLessThanOrEqual(pollsMax(windowMs))
    expect(life.doc.steps['read']!.attempts).toHaveLength(1)
    expect(life.state).toBe('read.lastLook')
  })

  it('that was found gives the result of its own attempt: nothing is paid twice', () => {
    const life = calling()
    life.does(uncertain(first))
    life.does(succeeded(first))
    expect(life.doc.status).toBe('completed')
    expect(life.doc.steps['read']!.attempts).toMatchObject([{ n: 1, outcome: 'succeeded', spend: { amount: '0.01' } }])
    expect(life.attempt('read', 1).possibleDuplicate).toBeUndefined()
    // The report counts it: a second call that was not made.
    expect(life.attempt('read', 1).evidence).toEqual({ wasUncertain: true })
  })

  it('that is missing counts for nothing while it may still arrive', () => {
    const life = calling()
    life.does(uncertain(first))
    expect(life.does(missed(first))).toBe(false)
    expect(life.state).toBe('read.recovering.polling')
  })

  it('that is missing at the last look never ran: it is called again under its key, and costs nothing', () => {
    const life = calling()
    life.does(uncertain(first))
    life.passes(lookupWindowMs(terms['found']!))
    expect(life.errands).toEqual([{ kind: 'ask', step: 'read', attempt: 1 }])
    life.does(missed(first))
    expect(life.state).toBe('read.ready')
    expect(life.attempt('read', 1)).toMatchObject({
      outcome: 'failed',
      spend: null,
      error: { code: 'never-arrived', kind: 'not-executed' },
    })
    life.starts()
    expect(life.attempt('read', 2).requestKey).toBe(life.attempt('read', 1).requestKey)
    expect(life.attempt('read', 1).possibleDuplicate).toBeUndefined()
  })

  it('of which the last look tells nothing goes by the policy of its step', () => {
    const life = calling()
    life.does(uncertain(first))
    life.passes(lookupWindowMs(terms['found']!) + LAST_LOOK_MS)
    expect(life.doc.status).toBe('investigation')
    expect(life.doc.reason?.code).toBe('outcome-uncertain')
    expect(life.attempt('read', 1).spend).toEqual({ amount: '0.20', currency: 'EUR', basis: 'upper-bound' })
  })

  it('is asked about past the record’s deadline, too, and not called again there', () => {
    const compiled = of(['found'])
    const life = live(compiled)
    life.skips(compiled.deadlineMs - 10).starts()
    life.passes(10)
    life.does(uncertain(first))
    expect(life.state).toBe('read.recovering.polling')
    life.passes(lookupWindowMs(terms['found']!))
    life.does(missed(first))
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'deadline-passed' } })
  })
})

describe('a stream that tells its id', () => {
  const streamed = of(['lost'], { onUncertain: { retry: { duplicateBudget: 1 } } })

  it('can be looked up by it from then on', () => {
    const life = calling(streamed)
    life.does(progressed(first, 'resp_1'))
    expect(life.state).toBe('read.calling')
    expect(life.attempt('read', 1)).toMatchObject({ handle: 'resp_1', progress: { outputTokens: 10 } })
    life.passes(LEASE_MS)
    expect(life.state).toBe('read.recovering.polling')
  })

  it('without an id it stays in doubt, as a blind call', () => {
    expect(calling(streamed).passes(LEASE_MS).state).toBe('read.uncertain')
  })

  it('that is missing although it ran proves nothing: it goes by the policy, as a possible duplicate', () => {
    const life = calling(streamed)
    life.does(progressed(first, 'resp_1'))
    life.does(uncertain(first))
    life.passes(lookupWindowMs(terms['lost']!))
    expect(life.does(missed(first))).toBe(false)
    life.passes(LAST_LOOK_MS)
    expect(life.state).toBe('read.ready')
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'uncertain', possibleDuplicate: true })
  })

  it('the id of one call is not that of the next', () => {
    const life = calling(streamed)
    life.does(progressed(first, 'resp_1'))
    life.does(uncertain(first))
    life.passes(lookupWindowMs(terms['lost']!) + LAST_LOOK_MS)
    life.starts()
    life.does(uncertain(call('read', 2)))
    expect(life.state).toBe('read.uncertain')
  })

  it('old news is no save', () => {
    const life = calling(streamed)
    life.does(progressed(first, 'resp_1'))
    expect(life.does(progressed(first, 'resp_1'))).toBe(false)
    expect(life.does(progressed(first, null))).toBe(false)
  })
})

describe('a job', () => {
  const taken = (compiled = job): Life => {
    const life = calling(compiled)
    life.does(accepted(first))
    return life
  }

  it('is waited for without a lease, its handle saved', () => {
    const life = taken()
    expect(life.state).toBe('read.awaiting.waiting')
    expect(life.attempt('read', 1)).toMatchObject({ outcome: null, handle: 'job-1' })
    expect(life.doc.timers.map(({ id }) => id).filter((id) => id.includes('lease'))).toEqual([])
    expect(life.errands).toEqual([])
  })

  it('is first asked for when its provider said so', () => {
    const life = calling(job)
    life.does({ ...accepted(first), pollAfterMs: 7_000 } as never)
    expect(life.passes(6_999).state).toBe('read.awaiting.waiting')
    life.passes(1)
    expect(life.errands).toEqual([{ kind: 'ask', step: 'read', attempt: 1 }])
  })

  it('is asked for at once when there is news, once for many', () => {
    const life = taken()
    const nudge = { type: 'CALL_NUDGED', ...first } as const
    expect(life.does(nudge)).toBe(true)
    expect(life.does(nudge)).toBe(false)
    life.passes(0)
    expect(life.state).toBe('read.awaiting.polling')
    expect(life.errands).toHaveLength(1)
  })

  it('that failed for good may be tried again under another key', () => {
    const life = taken()
    life.does(failed(first))
    life.passes(5_000).starts()
    expect(life.attempt('read', 2).requestKey).not.toBe(life.attempt('read', 1).requestKey)
  })

  it('whose time is over is asked for once more, then is in doubt with its upper bound', () => {
    const life = taken().passes(runMs(terms['job']!))
    expect(life.state).toBe('read.lastLook')
    life.passes(LAST_LOOK_MS)
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'outcome-uncertain' } })
    expect(life.attempt('read', 1)).toMatchObject({
      outcome: 'uncertain',
      error: { code: 'job-overran' },
      spend: { amount: '0.50', basis: 'upper-bound' },
    })
  })

  it('whose handle was lost is looked for by what was sent, and then waited for', () => {
    const life = calling(job).passes(LEASE_MS)
    expect(life.state).toBe('read.recovering.polling')
    life.does(accepted(first, 'job-found'))
    expect(life.state).toBe('read.awaiting.waiting')
    expect(life.attempt('read', 1).handle).toBe('job-found')
  })

  it('whose handle was lost for good waits out its longest run, and goes by the policy', () => {
    const life = calling(lost).passes(LEASE_MS)
    expect(life.state).toBe('read.uncertain')
    life.passes(runMs(terms['lost']!))
    expect(life.doc.status).toBe('investigation')
  })

  it('of a record that is cancelled is asked to end', () => {
    const life = taken()
    life.does(operator('CANCEL'))
    expect(life.errands).toEqual([{ kind: 'cancel', step: 'read', attempt: 1 }])
    expect(life.attempt('read', 1).outcome).toBe('uncertain')
  })

  it('that a late answer names is kept as evidence, also when settled', () => {
    const life = calling(job)
    life.does(operator('CANCEL'))
    life.does(accepted(first))
    expect(life.attempt('read', 1).handle).toBe('job-1')
  })

  it('is not taken from a provider that has none', () => {
    const life = calling(of(['free']))
    life.does(accepted(first))
    expect(life.state).toBe('read.calling')
  })
})

it('what the submission told stays, where the end tells something else', () => {
  const life = calling(job)
  life.does({ ...accepted(first), evidence: { status: 201, requestId: 'req-1' } } as never)
  life.does(succeeded(first, { evidence: { via: 'webhook' } }))
  expect(life.attempt('read', 1).evidence).toEqual({ status: 201, requestId: 'req-1', via: 'webhook' })
})

describe('in flight only', () => {
  const flight = of(['flight'], { attempts: 3, onUncertain: { retry: { duplicateBudget: 2 } } })

  it('is repeated early under its key, as a possible duplicate; then as slowly as a blind call', () => {
    const life = calling(flight)
    life.does(uncertain(first))
    life.passes(200)
    expect(life.state).toBe('read.ready')
    expect(life.attempt('read', 1).possibleDuplicate).toBe(true)
    life.starts()
    life.does(uncertain(call('read', 2)))
    expect(life.passes(119_000).state).toBe('read.uncertain')
    expect(life.passes(1_000).state).toBe('read.ready')
  })
})

describe('a step that may not start', () => {
  const two = of(['free', 'keyed'])

  it('falls back while its provider is down, without an attempt', () => {
    const life = live(two)
    life.does(held('read', 'free', 'fall-back', after(60_000)))
    expect(life.doc.queue).toMatchObject([{ provider: 'keyed', step: 'read' }])
    expect(life.doc.steps['read']!.attempts).toEqual([])
  })

  it('waits with its reason and a time where there is nothing to fall back to', () => {
    const life = live(of(['free']))
    life.does(held('read', 'free', 'fall-back', after(60_000)))
    expect(life.doc.queue).toEqual([
      {
        provider: 'free',
        step: 'read',
        readyAt: after(60_000),
        held: { code: 'provider-down', message: 'The provider is down.' },
      },
    ])
    expect(() => life.starts('free')).toThrow('No step waits')
    life.skips(60_000)
    expect(life.starts('free').attempt).toBe(1)
  })

  it('goes to a person with the reason when no waiting helps', () => {
    const life = live(two)
    life.does(held('read', 'free', 'give-up', after(0)))
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'provider-down' } })
  })

  it('says why it waited when the record’s deadline comes first', () => {
    const compiled = of(['free'])
    const life = live(compiled)
    life.does(held('read', 'free', 'wait', after(compiled.deadlineMs * 2)))
    life.passes(compiled.deadlineMs)
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'deadline-passed' } })
    expect(life.doc.reason?.message).toContain('The provider is down.')
  })

  it('is not moved by news about a provider where it does not wait', () => {
    const life = live(two)
    expect(life.does(held('read', 'keyed', 'give-up', after(0)))).toBe(false)
  })
})

describe('what is written', () => {
  it('the same run under one key is spent once', () => {
    const life = calling(of(['keyed']))
    life.does(uncertain(first))
    life.passes(200).starts()
    life.does(succeeded(call('read', 2)))
    expect(life.doc.steps['read']!.attempts).toMatchObject([
      { outcome: 'uncertain', spend: null, evidence: { sameRunAs: 2 } },
      { outcome: 'succeeded', spend: { amount: '0.01' } },
    ])
  })

  it('an upper bound of its own goes before the provider’s', () => {
    const life = live(of(['paid'], { onUncertain: 'investigate' }))
    const { queue } = life.doc
    expect(queue).toHaveLength(1)
    life.does({
      type: 'ATTEMPT_STARTED',
      ...first,
      provider: 'paid',
      requestKey: 'k',
      sendBy: after(5_000).toISOString(),
      request: { sha256: 'abc' },
      spendMax: { amount: '0.07', currency: 'EUR' },
    })
    expect(life.attempt('read', 1)).toMatchObject({ request: { sha256: 'abc' }, spendMax: { amount: '0.07' } })
    life.does(uncertain(first))
    expect(life.attempt('read', 1).spend).toEqual({ amount: '0.07', currency: 'EUR', basis: 'upper-bound' })
  })

  it('a step that has its result is returned by an operator’s retry, and the history says so (P3)', () => {
    const compiled = compile(pipeline([step('read'), step('sort', { attempts: 1 })]))
    const life = live(compiled)
    life.starts()
    life.does(succeeded(first))
    life.starts()
    life.does(failed(call('sort', 1), { retryable: false }))
    expect(life.doc.status).toBe('investigation')
    life.does(operator('RETRY'))
    expect(life.state).toBe('sort.ready')
    expect(life.doc.history.at(-1)).toMatchObject({ event: { type: 'RETRY' }, reused: ['read'] })
    expect(life.doc.steps['read']!.attempts).toHaveLength(1)
  })

  it('the history gives the snapshot, asked or not', () => {
    const life = calling(job).passes(LEASE_MS)
    life.does(accepted(first, 'job-found'))
    life.passes(90_000)
    life.does(succeeded(first))
    const { divergences } = replay(life.doc, () => job)
    expect(divergences).toEqual([])
  })
})

describe('a paid step states what follows a doubt that no question may resolve', () => {
  it.each(['paid', 'lost', 'flight'])('%s: it does not load without', (use) => {
    expect(() => of([use])).toThrow('state what then')
    expect(() => of([use], { onUncertain: 'investigate' })).not.toThrow()
  })

  it.each(['found', 'job', 'keyed', 'free'])('%s: it can be asked, repeats itself or costs nothing', (use) => {
    expect(() => of([use])).not.toThrow()
  })
})

it('settlesBy covers the look-ups, the run of a job and the last look', () => {
  const { worstCaseMs } = job
  const each = LEASE_MS + lookupWindowMs(terms['job']!) + runMs(terms['job']!) + LAST_LOOK_MS
  expect(worstCaseMs).toBeGreaterThan(2 * each)
})
