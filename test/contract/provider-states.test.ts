/** What all workers know together about providers, on memory and on real MongoDB, whose own clock is waited for. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CounterKey, HealthMinute, LeaseAsk, ProviderStates, TripAsk } from '../../src/persistence/contract.js'
import { LATENCY_BOUNDS_MS } from '../../src/persistence/contract.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMemoryProviderStates } from '../../src/persistence/memory-provider-states.js'
import { PROVIDERS } from '../../src/persistence/provider-collections.js'
import { createMongoProviderStates } from '../../src/persistence/provider-states.js'
import { freshDb } from '../support/servers.js'

/** `pass` lets time go by: the clock of the memory twin moves, MongoDB's stored times move back. */
type World = { states: ProviderStates; pass(ms: number): Promise<void>; dispose(): Promise<void> }

const memoryWorld = async (): Promise<World> => {
  let nowMs = Date.UTC(2026, 0, 1)
  const states = createMemoryProviderStates({ clock: { now: () => new Date(nowMs) } })
  return { states, pass: async (ms) => void (nowMs += ms), dispose: async () => {} }
}

const mongoWorld = async (): Promise<World> => {
  const { db, dispose } = await freshDb('providers')
  await ensureIndexes(db)
  const back = (field: string, ms: number) => ({
    $cond: [
      { $eq: [{ $type: `$${field}` }, 'date'] },
      { $dateSubtract: { startDate: `$${field}`, unit: 'millisecond', amount: ms } },
      { $ifNull: [`$${field}`, '$$REMOVE'] },
    ],
  })
  return {
    states: createMongoProviderStates(db),
    async pass(ms) {
      const moved = Object.fromEntries(
        ['pausedUntil', 'breaker.since', 'breaker.until', 'breaker.probedAt'].map((field) => [field, back(field, ms)]),
      )
      const due = {
        requestsDueMs: { $subtract: [{ $ifNull: ['$requestsDueMs', 0] }, ms] },
        tokensDueMs: { $subtract: [{ $ifNull: ['$tokensDueMs', 0] }, ms] },
      }
      const cut = { $cond: ['$cut', { perMinute: '$cut.perMinute', at: back('cut.at', ms) }, null] }
      await db.collection(PROVIDERS).updateMany({}, [{ $set: { ...moved, ...due, cut } }])
    },
    dispose,
  }
}

const ask = (changes: Partial<LeaseAsk> = {}): LeaseAsk => ({
  want: 1,
  requestIntervalMs: 0,
  requestBurst: 1,
  tokenIntervalMs: 0,
  tokenBurst: 1,
  tokensPerCall: 1,
  tokensUsed: 0,
  returnMs: 0,
  probesMax: 2,
  probeEveryMs: 60_000,
  ...changes,
})
const HOUR = 3_600_000
const LONG_AGO = new Date(0)
const metered = (want: number, changes: Partial<LeaseAsk> = {}) =>
  ask({ want, requestIntervalMs: HOUR, requestBurst: 3, ...changes })
const trip = (changes: Partial<TripAsk> = {}): TripAsk => ({
  code: 'connection-refused',
  seenUntil: null,
  cooldownMs: 60_000,
  cooldownMsMax: 100_000,
  forgetMs: 10 * HOUR,
  jitter: 1,
  ...changes,
})

const worlds: [string, () => Promise<World>][] = [
  ['memory', memoryWorld],
  ['MongoDB', mongoWorld],
]

describe.each(worlds)('what is known of providers: %s', (_name, make) => {
  let world: World
  let states: ProviderStates
  beforeEach(async () => {
    world = await make()
    states = world.states
  })
  afterEach(() => world.dispose())

  it('nothing is known at first', async () => {
    expect(await states.read()).toEqual([])
    expect(await states.totals()).toEqual([])
  })

  it('a bucket gives its burst, then one permit per interval', async () => {
    expect((await states.lease('gpt', metered(2))).granted).toBe(2)
    expect((await states.lease('gpt', metered(2))).granted).toBe(1)
    expect((await states.lease('gpt', metered(2))).granted).toBe(0)
    await world.pass(HOUR)
    expect((await states.lease('gpt', metered(5))).granted).toBe(1)
    expect((await states.lease('claude', metered(5))).granted).toBe(3)
  })

  it('of many who ask at once no two get the same permit', async () => {
    const grants = await Promise.all(
      Array.from({ length: 20 }, () => states.lease('gpt', metered(2, { requestBurst: 25 }))),
    )
    expect(grants.reduce((sum, { granted }) => sum + granted, 0)).toBe(25)
  })

  it('what was given back may be had again', async () => {
    await states.lease('gpt', metered(3))
    expect((await states.lease('gpt', metered(3, { returnMs: 2 * HOUR }))).granted).toBe(2)
  })

  it('tokens that were used keep calls from starting until they are earned', async () => {
    const tokens = { tokenIntervalMs: HOUR, tokenBurst: 10, tokensPerCall: 4 }
    expect((await states.lease('gpt', ask({ want: 9, ...tokens }))).granted).toBe(2)
    expect((await states.lease('gpt', ask({ want: 9, ...tokens, tokensUsed: 8 }))).granted).toBe(1)
    expect((await states.lease('gpt', ask({ want: 9, ...tokens, tokensUsed: 100 }))).granted).toBe(0)
    await world.pass(99 * HOUR)
    expect((await states.lease('gpt', ask({ want: 9, ...tokens }))).granted).toBe(1)
  })

  it('a pause that was told holds all permits; one that was not grows', async () => {
    const pause = { forMs: null, jitter: 1, cutPerMinute: null, cutEveryMs: 1_000 }
    const first = await states.pause('gpt', { ...pause, forMs: 5_000 })
    expect((await states.lease('gpt', ask())).granted).toBe(0)
    await world.pass(6_000)
    expect((await states.lease('gpt', ask())).granted).toBe(1)
    const second = await states.pause('gpt', pause)
    // The second in a row: four times the first second; memory and MongoDB agree to the time between the two calls.
    const atMs = second.pausedUntil!.getTime() - first.pausedUntil!.getTime()
    expect(atMs).toBeGreaterThan(-6_000)
    await world.pass(4_500)
    expect((await states.lease('gpt', ask())).granted).toBe(1)
    await states.pause('gpt', pause)
    await world.pass(4_500)
    expect((await states.lease('gpt', ask())).granted, 'the third one is longer').toBe(0)
    await world.pass(4_500)
    expect((await states.lease('gpt', ask())).granted).toBe(1)
  })

  it('refusals that come together lower the rate once', async () => {
    const cut = (perMinute: number) =>
      states.pause('gpt', { forMs: 10, jitter: 1, cutPerMinute: perMinute, cutEveryMs: 60_000 })
    await cut(100)
    expect((await cut(70)).cut?.perMinute).toBe(100)
    await world.pass(61_000)
    expect((await cut(70)).cut?.perMinute).toBe(70)
  })

  it('an open breaker lets nothing through, then a few tries at a time, until one succeeds', async () => {
    const { breaker } = await states.trip('gpt', trip())
    expect(breaker).toMatchObject({ open: true, openings: 1, code: 'connection-refused' })
    expect((await states.lease('gpt', ask({ want: 5 }))).granted).toBe(0)
    expect((await states.recover('gpt', LONG_AGO)).breaker.open, 'not before its time').toBe(true)
    await world.pass(60_001)
    expect((await states.lease('gpt', ask({ want: 5 }))).granted).toBe(2)
    expect((await states.lease('gpt', ask({ want: 5 }))).granted).toBe(0)
    await world.pass(60_001)
    expect((await states.lease('gpt', ask({ want: 5 }))).granted, 'tries that nobody heard of').toBe(2)
    expect((await states.recover('gpt', LONG_AGO)).breaker).toMatchObject({ open: false, openings: 1, code: null })
    expect((await states.lease('gpt', ask({ want: 5 }))).granted).toBe(5)
  })

  it('the answer to a call that began after it opened closes it at once, one that began before does not', async () => {
    const { breaker } = await states.trip('gpt', trip())
    expect((await states.recover('gpt', new Date(breaker.since!.getTime() - 1))).breaker.open).toBe(true)
    expect((await states.recover('gpt', new Date(breaker.since!.getTime() + 1))).breaker.open).toBe(false)
  })

  it('each opening in a row pauses longer, up to a limit', async () => {
    const lengths: number[] = []
    let seen = await states.trip('gpt', trip())
    const { since } = seen.breaker
    for (let n = 0; n < 3; n += 1) {
      await world.pass(100_001)
      const [before] = await states.read()
      seen = await states.trip('gpt', trip({ seenUntil: before!.breaker.until }))
      expect(seen.breaker.openings).toBe(n + 2)
      const { at } = await states.lease('gpt', ask())
      lengths.push(seen.breaker.until!.getTime() - at.getTime())
    }
    for (const length of lengths) expect(length).toBeGreaterThan(95_000)
    for (const length of lengths) expect(length).toBeLessThanOrEqual(100_000)
    expect(seen.breaker.since!.getTime()).toBeLessThanOrEqual(since!.getTime())
  })

  it('a failure that is late opens nothing: another has opened it, or a try has closed it', async () => {
    const opened = await states.trip('gpt', trip())
    expect((await states.trip('gpt', trip({ code: 'dns-failed' }))).breaker).toEqual(opened.breaker)
    await world.pass(60_001)
    const [halfOpen] = await states.read()
    await states.recover('gpt', LONG_AGO)
    expect((await states.trip('gpt', trip({ seenUntil: halfOpen!.breaker.until }))).breaker.open).toBe(false)
    expect((await states.trip('gpt', trip({ forgetMs: 0 }))).breaker.openings, 'forgotten').toBe(1)
  })

  it('limits and readiness are kept, each with its time', async () => {
    await states.learn('gpt', { requestsPerMinute: 60, requestsRemaining: 5 })
    await states.learn('gpt', { tokensPerMinute: 9_000 })
    await states.setReady('gpt', { ready: false, detail: '$model is loading' })
    expect(await states.read()).toMatchObject([
      {
        provider: 'gpt',
        learned: { requestsPerMinute: 60, tokensPerMinute: 9_000, requestsRemaining: 5, tokensRemaining: null },
        ready: { ready: false, detail: '$model is loading' },
      },
    ])
  })

  const minute = (at: string, changes: Partial<HealthMinute> = {}): HealthMinute => ({
    provider: 'gpt',
    minute: new Date(at),
    calls: 2,
    outcomes: { succeeded: 1, failed: 1 },
    kinds: { executed: 1 },
    errors: { 'http-500': 1 },
    latency: LATENCY_BOUNDS_MS.map((_, index) => (index === 3 ? 2 : 0)).concat(0),
    durationMs: 150,
    inputTokens: 10,
    outputTokens: 20,
    ...changes,
  })

  it('health adds up by minute and in all, from every worker', async () => {
    await states.addHealth([])
    await states.addHealth([minute('2026-01-01T00:00:00Z'), minute('2026-01-01T00:01:00Z')])
    await states.addHealth([
      minute('2026-01-01T00:01:00Z', { outcomes: { uncertain: 2 }, kinds: {}, errors: { 'a.$b': 1 } }),
    ])
    const [found, none] = await states.health(new Date('2026-01-01T00:01:00Z'))
    expect(none).toBeUndefined()
    expect(found).toEqual({
      ...minute('2026-01-01T00:01:00Z'),
      calls: 4,
      outcomes: { succeeded: 1, failed: 1, uncertain: 2 },
      errors: { 'http-500': 1, other: 1 },
      latency: LATENCY_BOUNDS_MS.map((_, index) => (index === 3 ? 4 : 0)).concat(0),
      durationMs: 300,
      inputTokens: 20,
      outputTokens: 40,
    })
    expect(await states.totals()).toMatchObject([{ provider: 'gpt', calls: 6, durationMs: 450 }])
  })

  const DAY: CounterKey = { per: 'provider', name: 'gpt', currency: 'EUR', day: new Date('2026-01-01T00:00:00Z') }

  it('what is reserved never passes the limit, and decimals stay exact', async () => {
    const { granted } = await states.reserve(DAY, '0.3', ['0.1', '0.2', '0.000000000001'])
    expect(granted).toEqual([true, true, false])
    expect(await states.counters(DAY.day)).toEqual([{ ...DAY, used: '0.3' }])
    const other = { ...DAY, name: 'claude' }
    expect((await states.reserve(other, '5', ['4.00', '3', '1'])).granted).toEqual([true, false, true])
  })

  it('what a call did not cost is free again', async () => {
    const { minute: at } = await states.reserve(DAY, '1', ['0.6', '0.4'])
    await states.settle(DAY, [
      { minute: at, reserved: '0.6', actual: '0.05' },
      { minute: at, reserved: '0.4', actual: '0' },
      { minute: at - 90, reserved: '0.4', actual: '0' },
    ])
    expect((await states.counters(DAY.day))[0]?.used).toMatch(/^0\.050*$/)
    const { granted, spent } = await states.reserve(DAY, '1', ['0.96', '0.95'])
    expect(granted).toEqual([false, true])
    expect(spent, 'by calls that have ended').toMatch(/^0\.050*$/)
  })

  it('a recount puts what the records say in the place of what was reserved before', async () => {
    const { minute: at } = await states.reserve(DAY, '1', ['0.9'])
    await states.recount(DAY, { spent: '0.25', open: '0.25' }, at)
    expect((await states.reserve(DAY, '1', ['0.2'])).granted, 'this minute stays reserved').toEqual([false])
    await states.recount(DAY, { spent: '0.25', open: '0.25' }, at + 1)
    expect(await states.reserve(DAY, '1', ['0.2'])).toMatchObject({ granted: [true], spent: '0.25' })
    expect((await states.counters(DAY.day))[0]?.used).toMatch(/^0\.70*$/)
  })

  it('of many who reserve at once no more are granted than the limit holds', async () => {
    const answers = await Promise.all(Array.from({ length: 40 }, () => states.reserve(DAY, '2.50', ['0.10', '0.10'])))
    expect(answers.flatMap(({ granted }) => granted).filter(Boolean)).toHaveLength(25)
    expect((await states.counters(DAY.day))[0]?.used).toMatch(/^2\.50*$/)
  })
})
