/** Rate limits: the arithmetic of permits, and several workers under one limit. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createMinuteCount } from '../../../src/providers/gate/minute-count.js'
import { meterOf, ratesOf, returnedMs, STALE_MS, TRANSIT_MS, WINDOW_MS } from '../../../src/providers/gate/rates.js'
import { createGates, refused, report, type Gates } from './gates.js'

const NOON = Date.UTC(2026, 0, 1, 12)
const SPAN_MS = WINDOW_MS + STALE_MS + TRANSIT_MS

describe('a meter', () => {
  it('never gives more than the limit in any window, however long permits are kept (E1)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200_000 }), (limit) => {
        const { requestIntervalMs, requestBurst } = meterOf({ requestsPerMinute: limit, tokensPerMinute: null })
        expect(requestBurst + Math.floor(SPAN_MS / requestIntervalMs)).toBeLessThanOrEqual(limit)
        expect(Number.isInteger(requestIntervalMs * 1024), 'sums stay exact').toBe(true)
      }),
    )
  })

  it('wastes little: nine tenths of a limit can be used', () => {
    for (const limit of [10, 60, 600, 10_000])
      expect(
        WINDOW_MS / meterOf({ requestsPerMinute: limit, tokensPerMinute: null }).requestIntervalMs / limit,
      ).toBeGreaterThan(0.9)
  })

  it('gives back of unused permits only what nobody else can have had', () => {
    const meter = meterOf({ requestsPerMinute: 60, tokensPerMinute: null })
    expect(returnedMs(meter, 3, 0, 0)).toBe(3 * meter.requestIntervalMs)
    expect(returnedMs(meter, 3, 0, 1_000)).toBe(3 * meter.requestIntervalMs - 1_000)
    expect(returnedMs(meter, 1, 0, 60_000)).toBe(0)
  })
})

describe('the limit that holds', () => {
  const learned = { requestsPerMinute: 50, tokensPerMinute: null, requestsRemaining: 3, tokensRemaining: null }
  const at = new Date(NOON)

  it('is the lowest of what is given, what was told and what a refusal cut', () => {
    const state = { learned: { ...learned, at }, cut: { perMinute: 20, at } }
    expect(ratesOf({ requestsPerMinute: 100, tokensPerMinute: 9 }, state, NOON)).toEqual({
      requestsPerMinute: 20,
      tokensPerMinute: 9,
    })
    expect(ratesOf(undefined, null, NOON)).toEqual({ requestsPerMinute: null, tokensPerMinute: null })
  })

  it('recovers slowly from a cut, and forgets it, and what was told', () => {
    const state = { learned: { ...learned, at }, cut: { perMinute: 20, at } }
    expect(ratesOf(undefined, state, NOON + 60_000).requestsPerMinute).toBe(22)
    expect(ratesOf(undefined, state, NOON + 5 * 60_000).requestsPerMinute).toBe(32)
    expect(ratesOf(undefined, state, NOON + 10 * 60_000).requestsPerMinute).toBe(null)
  })
})

/** A worker that calls whenever it may. Answers when its calls reached the provider. */
const work = async (world: Gates, forMs: number, everyMs: () => number, transitMs: () => number) => {
  const arrivals: number[] = []
  const free = new Map(world.gates.map((gate) => [gate, 0]))
  const startAll = (gate: (typeof world.gates)[number]) => {
    for (let n = Math.min(32, gate.free('gpt')); n > 0; n -= 1) {
      if (!gate.take('gpt')) break
      arrivals.push(world.clock.now().getTime() + transitMs())
      free.set(gate, free.get(gate)! + 1)
    }
  }
  for (let leftMs = forMs; leftMs > 0;) {
    const stepMs = Math.max(1, everyMs())
    await world.clock.passes(stepMs)
    for (const gate of world.gates) startAll(gate)
    leftMs -= stepMs
  }
  return arrivals.sort((a, b) => a - b)
}

/** 0 up to 1, the same for a seed (mulberry32). */
const chanceOf = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const mostInAWindow = (arrivals: readonly number[], windowMs: number): number => {
  let most = 0
  for (let from = 0, to = 0; to < arrivals.length; to += 1) {
    while (arrivals[to]! - arrivals[from]! > windowMs) from += 1
    most = Math.max(most, to - from + 1)
  }
  return most
}

describe('workers under one limit', () => {
  it('no minute ever holds more calls than the limit, whoever makes them and however they come (E1)', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom(1, 7, 60, 400),
        fc.nat(),
        async (workers, limit, seed) => {
          const draw = chanceOf(seed)
          const world = createGates(workers, { limits: { gpt: { requestsPerMinute: limit } }, random: draw })
          // Busy and idle in turn, so that permits go stale and are given back.
          const arrivals = await work(
            world,
            150_000,
            () => (draw() < 0.05 ? 8_000 * draw() : 150),
            () => TRANSIT_MS * draw(),
          )
          await world.close()
          expect(mostInAWindow(arrivals, WINDOW_MS - 1)).toBeLessThanOrEqual(limit)
          expect(arrivals.length).toBeGreaterThan(0)
        },
      ),
      { numRuns: 8 },
    )
  })

  it('together they use nine tenths of it', async () => {
    const world = createGates(3, { limits: { gpt: { requestsPerMinute: 300 } } })
    const arrivals = await work(
      world,
      120_000,
      () => 100,
      () => 0,
    )
    await world.close()
    expect(arrivals.length).toBeGreaterThan(540)
  })

  it('a provider without limits costs no question, and is free at once', async () => {
    const asked: string[] = []
    const world = createGates(1)
    const { lease } = world.states
    world.states.lease = (provider, ask) => {
      asked.push(provider)
      return lease(provider, ask)
    }
    for (let n = 0; n < 100; n += 1) {
      expect(world.gates[0]!.free('gpt')).toBe(Infinity)
      expect(world.gates[0]!.take('gpt')).not.toBeNull()
      world.gates[0]!.report(report({ record: `r${n}` }))
    }
    await world.clock.passes(10_000)
    await world.close()
    expect(asked).toEqual([])
  })

  it('a process without work holds no permit and asks nothing', async () => {
    const world = createGates(1, { limits: { gpt: { requestsPerMinute: 60 } } })
    const gate = world.gates[0]!
    const changes: string[] = []
    gate.onChange((provider) => void changes.push(provider))
    let asked = 0
    const { lease } = world.states
    world.states.lease = (provider, ask) => {
      asked += 1
      return lease(provider, ask)
    }
    await world.clock.passes(5_000)
    expect(gate.free('gpt'), 'one may try').toBe(1)
    expect(asked).toBe(0)
    expect(gate.take('gpt')).toBeNull()
    await world.clock.passes(1)
    expect(changes).toContain('gpt')
    expect(gate.take('gpt')).not.toBeNull()
    await world.clock.passes(10_000)
    const before = asked
    await world.clock.passes(60_000)
    expect(asked).toBe(before)
    await world.close()
  })

  it('a permit that was given back may be taken again', async () => {
    const world = createGates(1, { limits: { gpt: { requestsPerMinute: 1 } } })
    const gate = world.gates[0]!
    gate.take('gpt')
    await world.clock.passes(1)
    const permit = gate.take('gpt')!
    expect(gate.take('gpt')).toBeNull()
    permit.giveBack()
    permit.giveBack()
    expect(gate.take('gpt')).not.toBeNull()
    expect(gate.take('gpt')).toBeNull()
    await world.close()
  })

  it('permits that nobody took within two seconds are void', async () => {
    const world = createGates(1, { limits: { gpt: { requestsPerMinute: 1 } } })
    const gate = world.gates[0]!
    gate.take('gpt')
    await world.clock.passes(1)
    expect(gate.free('gpt')).toBe(1)
    await world.clock.passes(STALE_MS + 1)
    expect(gate.take('gpt')).toBeNull()
    await world.close()
  })
})

it('what one process held and did not use, another may have', async () => {
  const world = createGates(2, { limits: { gpt: { requestsPerMinute: 1 } } })
  const [idle, busy] = world.gates
  idle!.take('gpt')
  await world.clock.passes(1)
  expect(idle!.free('gpt')).toBe(1)
  busy!.take('gpt')
  await world.clock.passes(1)
  expect(busy!.take('gpt'), 'the only one is held').toBeNull()
  await world.clock.passes(5_000)
  busy!.take('gpt')
  await world.clock.passes(200)
  expect(busy!.take('gpt')).not.toBeNull()
  await world.close()
})

describe('what answers tell', () => {
  it('limits in headers hold for all workers within a second', async () => {
    const world = createGates(2)
    const [one, two] = world.gates
    let learned = 0
    const { learn } = world.states
    world.states.learn = (provider, limits) => {
      learned += 1
      return learn(provider, limits)
    }
    for (let n = 0; n < 20; n += 1)
      one!.report(report({ limits: { requestsPerMinute: 60, requestsRemaining: 59 - n } }))
    expect(learned, 'not with each answer').toBe(1)
    await world.clock.passes(1_000)
    for (const gate of [one!, two!]) expect(gate.free('gpt')).toBeLessThan(Infinity)
    expect(one!.free('claude')).toBe(Infinity)
    await world.clock.passes(11 * 60_000)
    expect(two!.free('gpt'), 'forgotten').toBe(Infinity)
    await world.close()
  })

  it('Retry-After pauses all workers for as long as it says', async () => {
    const world = createGates(2)
    const [one, two] = world.gates
    one!.report(refused({ limits: { pauseMs: 20_000 } }))
    expect(one!.take('gpt'), 'at once here').toBeNull()
    await world.clock.passes(1_000)
    expect(two!.hold('gpt')).toMatchObject({ code: 'provider-paused' })
    expect(two!.hold('gpt')!.until.getTime() - world.clock.now().getTime()).toBe(19_000)
    expect(two!.free('gpt')).toBe(0)
    const changes: string[] = []
    two!.onChange((provider) => void changes.push(provider))
    await world.clock.passes(19_100)
    expect(changes).toContain('gpt')
    expect(two!.hold('gpt')).toBeNull()
    expect(two!.free('gpt')).toBeGreaterThan(0)
    await world.close()
  })

  it('a refusal without a number lowers the rate to below what was called, once for a burst of them', async () => {
    const world = createGates(1, { random: () => 1 })
    const gate = world.gates[0]!
    for (let n = 0; n < 100; n += 1) gate.report(report())
    for (let n = 0; n < 5; n += 1) gate.report(refused())
    await world.clock.passes(600)
    const [state] = await world.states.read()
    expect(state!.cut?.perMinute).toBe(70)
    expect(state!.pausedUntil!.getTime()).toBeGreaterThan(world.clock.now().getTime())
    await world.clock.passes(10_000)
    expect(gate.hold('gpt')).toBeNull()
    expect(gate.free('gpt')).toBeLessThan(Infinity)
    gate.report(refused())
    await world.clock.passes(600)
    expect((await world.states.read())[0]!.cut?.perMinute, 'lower with each').toBeLessThan(52)
    await world.close()
  })

  it('a provider that has no room is left alone for a while, at the same rate', async () => {
    const world = createGates(1)
    world.gates[0]!.report(refused({ code: 'http-529' }))
    await world.clock.passes(1)
    const [state] = await world.states.read()
    expect(state).toMatchObject({ cut: null })
    expect(state!.pausedUntil).not.toBeNull()
    await world.close()
  })

  it('tokens that were used hold back calls until they are earned', async () => {
    const world = createGates(1, { limits: { gpt: { tokensPerMinute: 60_000 } } })
    const gate = world.gates[0]!
    gate.take('gpt')
    await world.clock.passes(1)
    expect(gate.take('gpt')).not.toBeNull()
    gate.report(report({ usage: { inputTokens: 20_000, outputTokens: 10_000 } }))
    await world.clock.passes(3_000)
    expect(gate.free('gpt')).toBe(0)
    // 30,000 tokens less the burst of 5,000 at less than a thousand a second.
    await world.clock.passes(20_000)
    expect(gate.free('gpt')).toBe(0)
    await world.clock.passes(10_000)
    expect(gate.free('gpt')).toBeGreaterThan(0)
    await world.close()
  })
})

it('a minute count forgets what is older than a minute', () => {
  const count = createMinuteCount()
  count.count(1_000)
  count.count(1_500)
  count.count(30_000)
  expect(count.lastMinute(60_000)).toBe(3)
  expect(count.lastMinute(61_000)).toBe(1)
  expect(count.lastMinute(500_000)).toBe(0)
})
