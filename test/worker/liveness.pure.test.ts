/** Who may decide about time (L1), and where a hint at once is fair (V1). */
import { describe, expect, it } from 'vitest'
import type { Heartbeats, Member } from '../../src/persistence/contract.js'
import { createMemoryHeartbeats } from '../../src/persistence/memory-heartbeats.js'
import { BusUnavailable } from '../../src/worker/contract.js'
import { createLiveness } from '../../src/worker/liveness.js'
import { createLoadView } from '../../src/worker/load-view.js'
import { createServerClock } from '../../src/worker/server-clock.js'
import { after } from '../machines/pipelines.js'
import { createHandClock, settle } from './hand-clock.js'
import { createLog } from './scene.js'

const member = (id: string, change: Partial<Member> = {}): Member => ({
  id,
  roles: ['worker'],
  slots: { free: 2 },
  pipelines: ['v1'],
  waiting: [],
  ...change,
})

const livenessOf = () => {
  const clock = createHandClock()
  const heartbeats = createMemoryHeartbeats(clock)
  const state: { fault: 'none' | 'away' | 'hangs' } = { fault: 'none' }
  const spoiled: Heartbeats = {
    ...heartbeats,
    beat: async (...beat) => {
      if (state.fault === 'away') throw new Error('Away.')
      if (state.fault === 'hangs') await clock.sleep(60_000)
      return heartbeats.beat(...beat)
    },
  }
  const { log, lines } = createLog()
  const liveness = createLiveness({ heartbeats: spoiled, clock, member: member('a'), log })
  return { clock, heartbeats, liveness, state, lines }
}

describe('L1 a heartbeat', () => {
  it('is fresh for 3 s, counted from when it was sent', async () => {
    const { clock, liveness, state } = livenessOf()
    await liveness.start()
    expect(await liveness.fresh()).toEqual([])
    state.fault = 'away'
    await clock.passes(2_999)
    expect(await liveness.fresh()).toEqual([])
    await clock.passes(1)
    const asked = liveness.fresh(500)
    await clock.passes(500)
    expect(await asked).toBeNull()
    await liveness.close()
  })

  it('is waited for by whoever needs it, and wakes all of them', async () => {
    const { clock, liveness, state, lines } = livenessOf()
    await liveness.start()
    state.fault = 'away'
    await clock.passes(4_000)
    const asked = [liveness.fresh(), liveness.fresh()]
    await clock.passes(3_000)
    state.fault = 'none'
    await clock.passes(1_000)
    expect(await Promise.all(asked)).toEqual([
      [{ from: after(0), to: after(8_000) }],
      [{ from: after(0), to: after(8_000) }],
    ])
    expect(lines.map(({ msg }) => msg)).toContain('The heartbeat could not be written.')
    await liveness.close()
    expect(clock.sleeping()).toBe(0)
  })

  it('that was on its way for long is as old as its question', async () => {
    const { clock, liveness, state } = livenessOf()
    await liveness.start()
    state.fault = 'hangs'
    await clock.passes(61_500)
    const asked = liveness.fresh(100)
    await clock.passes(100)
    expect(await asked).toBeNull()
    const closing = liveness.close()
    await clock.passes(60_000)
    await closing
  })

  it('tells of gaps in which no worker beat, and of no others', async () => {
    const { clock, heartbeats, liveness, state } = livenessOf()
    await liveness.start()
    await clock.passes(60_000)
    expect(await liveness.fresh()).toEqual([])
    // Another worker beats while this one can't: no outage.
    state.fault = 'away'
    for (let second = 0; second < 20; second += 1) {
      await heartbeats.beat(member('b'), { gapMs: 5_000, keepMs: 1e9 })
      await clock.passes(1_000)
    }
    state.fault = 'none'
    await clock.passes(1_000)
    expect(await liveness.fresh()).toEqual([])
    // Nobody beats.
    state.fault = 'away'
    await clock.passes(30_000)
    state.fault = 'none'
    await clock.passes(1_000)
    const outages = await liveness.fresh()
    expect(outages).toHaveLength(1)
    expect(outages![0]!.to.getTime() - outages![0]!.from.getTime()).toBe(31_000)
    await liveness.close()
  })

  it('keeps the clock on the server’s time', async () => {
    const clock = createHandClock()
    const ahead = createMemoryHeartbeats({ now: () => new Date(clock.now().getTime() + 7_000) })
    const liveness = createLiveness({ heartbeats: ahead, clock, member: member('a'), log: createLog().log })
    await liveness.start()
    await clock.passes(1_000)
    expect(clock.adjusted).toEqual([7_000, 7_000])
    await liveness.close()
  })

  it('says who is there, and takes its leave', async () => {
    const { clock, heartbeats, liveness } = livenessOf()
    await liveness.start()
    await heartbeats.beat(member('b', { waiting: ['free'] }), { gapMs: 5_000, keepMs: 1e9 })
    liveness.update({ waiting: ['keyed'] })
    await clock.passes(1_000)
    expect(liveness.members()).toMatchObject([
      { id: 'a', waiting: ['keyed'] },
      { id: 'b', waiting: ['free'] },
    ])
    await clock.passes(4_000)
    expect(liveness.members().map(({ id }) => id)).toEqual(['a'])
    await liveness.close()
    expect(await heartbeats.members(60_000)).toMatchObject([{ id: 'b' }])
    expect(clock.sleeping()).toBe(0)
  })
})

describe('the server’s clock', () => {
  it('follows the server, not this machine: a large difference at once, noise slowly', () => {
    const clock = createServerClock()
    const asked = clock.monotonicMs()
    clock.adjust(new Date('2031-05-01T00:00:00.000Z'), asked)
    expect(Math.abs(clock.now().getTime() - Date.parse('2031-05-01T00:00:00.000Z'))).toBeLessThan(1_000)
    const before = clock.now().getTime()
    clock.adjust(new Date(before + 80), clock.monotonicMs())
    expect(clock.now().getTime() - before).toBeLessThan(60)
    clock.adjust(new Date(before + 3_600_000), clock.monotonicMs())
    expect(clock.now().getTime() - before).toBeGreaterThanOrEqual(3_599_000)
  })

  it('sleeps until it is told to stop, and leaves no timer', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const clock = createServerClock()
    const stop = new AbortController()
    const before = timers()
    const asleep = clock.sleep(60_000, stop.signal)
    expect(timers()).toBe(before + 1)
    stop.abort()
    await asleep
    expect(timers()).toBe(before)
  })
})

const viewOf = (members: Member[]) => {
  const clock = createHandClock()
  const state = { pending: 0, away: false, asked: 0 }
  const view = createLoadView({
    providers: ['free'],
    self: 'a',
    bus: {
      pending: async () => {
        state.asked += 1
        if (state.away) throw new BusUnavailable('Away.')
        return state.pending
      },
      awaySinceMs: () => (state.away ? 0 : null),
    },
    members: () => members,
    clock,
  })
  return { clock, view, state }
}

describe('V1 a hint at once', () => {
  it('is given while fewer than twice the deployment’s slots are on their way', () => {
    const { view } = viewOf([member('a'), member('b', { slots: { free: 1, keyed: 8 } })])
    expect(view.window('free')).toBe(6)
    for (let n = 0; n < 6; n += 1) {
      expect(view.mayHint('free')).toBe(true)
      view.hinted('free')
    }
    expect(view.mayHint('free')).toBe(false)
    view.taken('free')
    expect(view.mayHint('free')).toBe(true)
  })

  it('is given to nobody while no worker offers a slot', () => {
    const { view } = viewOf([member('a', { slots: {} })])
    expect(view.mayHint('free')).toBe(false)
  })

  it('is refused while the feeder, here or elsewhere, holds others back', () => {
    const others: Member[] = [member('a'), member('b')]
    const { view } = viewOf(others)
    expect(view.nobodyWaits('free')).toBe(true)
    others[1] = member('b', { waiting: ['free'] })
    expect([view.nobodyWaits('free'), view.mayHint('free')]).toEqual([false, false])
    // What this process said of itself a second ago is known better here.
    others.splice(0, 2, member('a', { waiting: ['free'] }))
    expect(view.nobodyWaits('free')).toBe(true)
    view.hold(['free'])
    expect([view.nobodyWaits('free'), view.mayHint('free')]).toEqual([false, false])
  })

  it('counts what the bus knows, and looks again when it says no', async () => {
    const { clock, view, state } = viewOf([member('a')])
    state.pending = 4
    view.start()
    await settle()
    expect(view.mayHint('free')).toBe(false)
    state.pending = 0
    await clock.passes(20)
    expect(view.mayHint('free')).toBe(false)
    await settle()
    expect(view.mayHint('free')).toBe(true)
    await view.close()
    expect(clock.sleeping()).toBe(0)
  })

  it('does not count a hint twice, once as its own and once as the bus’s', async () => {
    const { clock, view, state } = viewOf([member('a')])
    view.start()
    view.hinted('free')
    view.hinted('free')
    state.pending = 2
    await clock.passes(250)
    expect(view.mayHint('free')).toBe(true)
    view.hinted('free')
    view.hinted('free')
    expect(view.mayHint('free')).toBe(false)
    await view.close()
  })

  it('V2 does not count a hint that was taken and is not acked yet: it holds a slot already', async () => {
    const { clock, view, state } = viewOf([member('a', { slots: { free: 1 } })])
    view.start()
    for (const _ of [1, 2]) view.hinted('free')
    for (const _ of [1, 2]) view.taken('free')
    state.pending = 2
    await clock.passes(250)
    expect(view.mayHint('free')).toBe(true)
    for (const _ of [1, 2]) view.acked('free')
    await clock.passes(250)
    expect(view.mayHint('free')).toBe(false)
    await view.close()
  })

  it('tells whom it refuses for too many hints on their way', () => {
    const { view } = viewOf([member('a', { slots: { free: 1 } })])
    const refused: string[] = []
    view.onRefused((provider) => void refused.push(provider))
    for (const _ of [1, 2]) view.hinted('free')
    expect([view.mayHint('free'), refused]).toEqual([false, ['free']])
  })

  it('does not ask a bus that is away', async () => {
    const { clock, view, state } = viewOf([member('a')])
    state.away = true
    view.start()
    await clock.passes(10_000)
    expect(state.asked).toBe(0)
    await view.close()
  })
})
