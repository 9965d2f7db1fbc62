/** The breaker: what counts as "down", who learns of it, and how it closes. */
import { describe, expect, it } from 'vitest'
import { COOLDOWN_MS, PROBE_EVERY_MS, PROBES_MAX } from '../../../src/providers/gate/desk.js'
import { createFailureWatch, IN_ROW, meaningOf, RECORDS_MIN } from '../../../src/providers/gate/failures.js'
import { createGates, down, refused, report } from './gates.js'

describe('what an end says about the provider', () => {
  const ends = (kind: 'not-executed' | 'executed' | 'partial' | 'unknown', code: string) =>
    meaningOf({ outcome: kind === 'unknown' ? 'uncertain' : 'failed', kind, code })

  it.each([
    ['not-executed', 'connection-refused'],
    ['not-executed', 'dns-failed'],
    ['not-executed', 'tls-failed'],
    ['not-executed', 'connect-timeout'],
    ['not-executed', 'http-503'],
    ['unknown', 'deadline-exceeded'],
    ['unknown', 'connection-reset'],
    ['unknown', 'http-500'],
    ['unknown', 'http-408'],
    ['unknown', 'adapter-threw'],
  ] as const)('%s %s: it may be down', (kind, code) => expect(ends(kind, code)).toBe('down'))

  it.each([
    ['not-executed', 'http-400'],
    ['not-executed', 'http-422'],
    ['not-executed', 'http-413'],
    ['executed', 'http-500'],
    ['partial', 'output-schema'],
    ['unknown', 'http-302'],
  ] as const)('%s %s: it is there', (kind, code) => expect(ends(kind, code)).toBe('up'))

  it('a refusal is neither; what we ended ourselves is nothing', () => {
    expect(ends('not-executed', 'http-429')).toBe('refused')
    expect(ends('not-executed', 'http-529')).toBe('full')
    expect(ends('unknown', 'call-stopped')).toBe('nothing')
    expect(ends('not-executed', 'input-unavailable')).toBe('nothing')
    expect(meaningOf({ outcome: 'accepted', kind: null, code: null })).toBe('up')
  })
})

describe('when failures mean that a provider is down', () => {
  it('one poisoned record never does, nor two (D2)', () => {
    const watch = createFailureWatch()
    for (let n = 0; n < 500; n += 1) expect(watch.note(`r${n % (RECORDS_MIN - 1)}`, 'down', n * 100)).toBe(false)
  })

  it('several different ones in a row do, however long each takes', () => {
    const watch = createFailureWatch()
    const tripped = Array.from({ length: IN_ROW }, (_, n) => watch.note(`r${n}`, 'down', n * 60_000))
    expect(tripped).toEqual([...Array.from({ length: IN_ROW - 1 }, () => false), true])
  })

  it('an answer in between shows that it is there', () => {
    const watch = createFailureWatch()
    for (let n = 0; n < 50; n += 1) {
      expect(watch.note(`r${n}`, 'down', n * 10_000)).toBe(false)
      if (n % 3 === 2) watch.note('good', 'up', n * 10_000)
    }
  })

  it('half of many calls that fail do, although others get through', () => {
    const watch = createFailureWatch()
    let tripped = false
    for (let n = 0; n < 40; n += 1) {
      tripped ||= watch.note(`r${n}`, 'down', n * 100)
      watch.note(`g${n}`, 'up', n * 100)
    }
    expect(tripped).toBe(true)
  })

  it('our own ends are not counted at all', () => {
    const watch = createFailureWatch()
    for (let n = 0; n < 50; n += 1) expect(watch.note(`r${n}`, 'nothing', n)).toBe(false)
  })
})

const failAt = (gate: { report(of: ReturnType<typeof report>): void }, records = IN_ROW) => {
  for (let n = 0; n < records; n += 1) gate.report(down(`r${n}`))
}

describe('a breaker that all workers share', () => {
  it('opens here at once, and everywhere within a second, with a reason and a time', async () => {
    const world = createGates(3)
    const [one, two, three] = world.gates
    const changes: string[] = []
    two!.onChange((provider) => void changes.push(provider))
    failAt(one!)
    expect(one!.hold('gpt')).toMatchObject({ code: 'provider-down' })
    expect(one!.take('gpt')).toBeNull()
    await world.clock.passes(1_000)
    for (const gate of [one!, two!, three!]) {
      expect(gate.hold('gpt')).toMatchObject({
        code: 'provider-down',
        message: 'The provider gpt does not answer (connection-refused).',
      })
      expect(gate.hold('gpt')!.until.getTime() - world.clock.now().getTime()).toBe(COOLDOWN_MS - 1_000)
      expect(gate.free('gpt')).toBe(0)
      expect(gate.take('gpt')).toBeNull()
      expect(gate.hold('claude')).toBeNull()
    }
    expect(changes).toContain('gpt')
    await world.close()
  })

  it('failures that come together open it once, with one word to the others', async () => {
    const world = createGates(1)
    let told = 0
    const { trip } = world.states
    world.states.trip = (provider, ask) => {
      told += 1
      return trip(provider, ask)
    }
    failAt(world.gates[0]!, 100)
    await world.clock.passes(1_000)
    expect(told).toBe(1)
    expect((await world.states.read())[0]!.breaker.openings).toBe(1)
    await world.close()
  })

  it('one poisoned record does not open it, however often it is tried', async () => {
    const world = createGates(1)
    for (let n = 0; n < 200; n += 1) world.gates[0]!.report(down('poisoned'))
    await world.clock.passes(2_000)
    expect(world.gates[0]!.hold('gpt')).toBeNull()
    expect(world.gates[0]!.free('gpt')).toBe(Infinity)
    await world.close()
  })

  it('lets few tries through after its pause, for all workers together', async () => {
    const world = createGates(3)
    failAt(world.gates[0]!)
    await world.clock.passes(COOLDOWN_MS + 1_000)
    let tries = 0
    for (let n = 0; n < 20; n += 1) {
      for (const gate of world.gates) if (gate.free('gpt') > 0 && gate.take('gpt')) tries += 1
      await world.clock.passes(100)
    }
    expect(tries).toBe(PROBES_MAX)
    for (const gate of world.gates) expect(gate.hold('gpt')).toMatchObject({ code: 'provider-down' })
    await world.clock.passes(PROBE_EVERY_MS)
    for (const gate of world.gates) expect(gate.free('gpt')).toBe(1)
    await world.close()
  })

  it('closes for all with the first answer to a try', async () => {
    const world = createGates(2)
    const [one, two] = world.gates
    failAt(one!)
    await world.clock.passes(COOLDOWN_MS + 1_000)
    one!.take('gpt')
    await world.clock.passes(100)
    expect(one!.take('gpt')).not.toBeNull()
    one!.report(report({ record: 'r9' }))
    await world.clock.passes(1_000)
    for (const gate of [one!, two!]) expect([gate.hold('gpt'), gate.free('gpt')]).toEqual([null, Infinity])
    await world.close()
  })

  it('a refusal is an answer, too: it closes it, and pauses', async () => {
    const world = createGates(1)
    const gate = world.gates[0]!
    failAt(gate)
    await world.clock.passes(COOLDOWN_MS + 500)
    gate.report(refused({ limits: { pauseMs: 5_000 } }))
    await world.clock.passes(600)
    expect(gate.hold('gpt')).toMatchObject({ code: 'provider-paused' })
    await world.close()
  })

  it('opens for longer each time a try fails', async () => {
    const world = createGates(1)
    const gate = world.gates[0]!
    const pauses: number[] = []
    failAt(gate)
    for (let n = 0; n < 4; n += 1) {
      await world.clock.passes(600)
      const leftMs = gate.hold('gpt')!.until.getTime() - world.clock.now().getTime()
      pauses.push(leftMs)
      await world.clock.passes(leftMs + 100)
      gate.report(down('probe'))
    }
    for (const [n, pause] of pauses.entries()) if (n > 0) expect(pause).toBeGreaterThan(pauses[n - 1]! * 1.5)
    await world.close()
  })

  it('calls that began before the tries say nothing about it (K3)', async () => {
    const world = createGates(1)
    const gate = world.gates[0]!
    failAt(gate)
    await world.clock.passes(COOLDOWN_MS + 1_000)
    gate.report(down('old', { durationMs: COOLDOWN_MS + 1_000 }))
    await world.clock.passes(1_000)
    expect((await world.states.read())[0]!.breaker.openings).toBe(1)
    await world.close()
  })

  it('a try that succeeds closes it although another one just failed', async () => {
    const world = createGates(1)
    const gate = world.gates[0]!
    failAt(gate)
    await world.clock.passes(COOLDOWN_MS + 1_000)
    gate.report(down('poisoned', { durationMs: 100 }))
    await world.clock.passes(100)
    gate.report(report({ record: 'good', durationMs: 200 }))
    await world.clock.passes(2_000)
    expect(gate.hold('gpt')).toBeNull()
    await world.close()
  })

  it('storage that is away stops nothing that runs, and is told once (J2)', async () => {
    const world = createGates(1, { limits: { claude: { requestsPerMinute: 60 } } })
    const gate = world.gates[0]!
    const { read, lease } = world.states
    world.states.read = () => Promise.reject(new Error('away'))
    world.states.lease = () => Promise.reject(new Error('away'))
    await world.clock.passes(5_000)
    expect(gate.free('gpt')).toBe(Infinity)
    expect(gate.take('claude')).toBeNull()
    await world.clock.passes(1)
    expect(gate.take('claude')).toBeNull()
    expect(world.warnings.filter((each) => each.startsWith('Looking'))).toHaveLength(1)
    Object.assign(world.states, { read, lease })
    await world.clock.passes(1_000)
    expect(gate.take('claude')).not.toBeNull()
    await world.close()
  })
})

describe('what is told of a provider', () => {
  it('calls are counted by minute, from all workers, and kept while storage is away', async () => {
    const world = createGates(2)
    const { addHealth } = world.states
    world.states.addHealth = () => Promise.reject(new Error('away'))
    for (const gate of world.gates) gate.report(report({ usage: { inputTokens: 5, outputTokens: 7 } }))
    world.gates[0]!.report(down('r2', { outcome: 'uncertain', kind: 'unknown', code: 'deadline-exceeded' }))
    await world.clock.passes(6_000)
    world.states.addHealth = addHealth
    await world.clock.passes(6_000)
    expect(await world.states.totals()).toMatchObject([
      {
        provider: 'gpt',
        calls: 3,
        outcomes: { succeeded: 2, uncertain: 1 },
        kinds: { unknown: 1 },
        errors: { 'deadline-exceeded': 1 },
        inputTokens: 10,
        outputTokens: 14,
      },
    ])
    await world.close()
  })

  it('what was counted last is handed over at the end', async () => {
    const world = createGates(1)
    await world.clock.passes(100)
    world.gates[0]!.report(report())
    await world.close()
    expect(await world.states.totals()).toMatchObject([{ calls: 1 }])
  })

  it('readiness is asked slowly, by one of many, and a provider that hangs is not ready', async () => {
    let asked = 0
    const world = createGates(3, {
      ready: () => {
        asked += 1
        return asked > 2 ? new Promise(() => {}) : Promise.resolve({ ready: true, detail: 'loaded' })
      },
    })
    await world.clock.passes(20_000)
    const first = asked
    await world.clock.passes(100_000)
    expect(asked - first).toBeLessThan(20)
    expect((await world.states.read())[0]!.ready).toMatchObject({ ready: false, detail: 'No answer within 5 s.' })
    await world.close()
    expect(world.clock.sleeping()).toBe(0)
  })
})
