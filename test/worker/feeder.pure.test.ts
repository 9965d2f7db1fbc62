/** The feeder: who is hinted next, how many at once, and what happens to hints that are lost (F1, P12). */
import { describe, expect, it } from 'vitest'
import type { Heartbeats, RecordStore } from '../../src/persistence/contract.js'
import { createMemoryHeartbeats } from '../../src/persistence/memory-heartbeats.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import { BusUnavailable } from '../../src/worker/contract.js'
import type { Hint } from '../../src/worker/contract.js'
import { createFeeder } from '../../src/worker/feeder.js'
import { after, compile, pipeline, record, step } from '../machines/pipelines.js'
import { save } from '../contract/record-store-documents.js'
import { createHandClock } from './hand-clock.js'
import type { HandClock } from './hand-clock.js'
import { createLog } from './scene.js'

const one = compile(pipeline([step('read')]))

type Options = { leases?: Pick<Heartbeats, 'lease'>; holder?: string; window?: number; clock?: HandClock }

/** A feeder over a store in memory; `arrive` is how hints reach it: they stay on the bus until they are taken. */
const feederOf = (options: Options = {}) => {
  const clock = options.clock ?? createHandClock()
  const real = createMemoryRecordStore()
  const limits: number[] = []
  const store: RecordStore = {
    ...real,
    waiting(provider, source, query) {
      limits.push(query.limit)
      return real.waiting(provider, source, query)
    },
  }
  const onBus: Hint[] = []
  const held: string[][] = []
  const state = { window: options.window ?? 4, away: false, loses: false, versions: [one.version] }
  const feeder = createFeeder({
    providers: ['free'],
    store,
    leases: options.leases ?? createMemoryHeartbeats(clock),
    holder: options.holder ?? 'a',
    publish: async (queue, hint) => {
      expect(queue).toEqual({ provider: 'free' })
      if (state.away) throw new BusUnavailable('Away.')
      if (!state.loses) onBus.push(hint)
    },
    pending: async () => onBus.length,
    window: () => state.window,
    versions: () => state.versions,
    holding: (providers) => void held.push(providers),
    clock,
    log: createLog().log,
  })
  const wait = (source: string, count: number, readyAfterMs = 0) =>
    store.insert(
      Array.from({ length: count }, (_, n) => {
        const doc = record(one, { _id: `${source}${String(n).padStart(3, '0')}`, source })
        doc.queue = doc.queue.map((entry) => ({ ...entry, readyAt: after(readyAfterMs + n) }))
        return doc
      }),
    )
  /** Hints leave the bus; the records stay where they are, as if each hint were lost on its way. */
  const drop = () => onBus.splice(0).map(({ record: id }) => id)
  /** Workers take every hint and start the step. */
  const take = async () => {
    const ids = drop()
    await store.save(ids.map((id) => save(id, 1, { set: { queue: [] } })))
    return ids
  }
  return {
    clock,
    store,
    feeder,
    onBus,
    held,
    state,
    wait,
    drop,
    take,
    limits,
    ids: () => onBus.map(({ record: id }) => id),
  }
}

describe('the feeder', () => {
  it('keeps no more hints on their way than the window, whatever waits', async () => {
    const { clock, feeder, wait, ids, onBus } = feederOf()
    await wait('x', 100)
    await clock.passes(1_000)
    expect(await feeder.feedOnce('free')).toBe(4)
    expect(await feeder.feedOnce('free')).toBe(0)
    expect(ids()).toEqual(['x000', 'x001', 'x002', 'x003'])
    onBus.splice(0, 2)
    expect(await feeder.feedOnce('free')).toBe(2)
    expect(ids()).toEqual(['x002', 'x003', 'x004', 'x005'])
  })

  it('P12 goes round the sources, and goes on after the one that was served last', async () => {
    const { clock, feeder, wait, take } = feederOf({ window: 3 })
    await wait('a', 50)
    await wait('b', 2)
    await wait('c', 50)
    await wait('d', 1)
    await clock.passes(1_000)
    const rounds: string[][] = []
    for (let round = 0; round < 4; round += 1) {
      await feeder.feedOnce('free')
      rounds.push(await take())
    }
    expect(rounds).toEqual([
      ['a000', 'b000', 'c000'],
      ['d000', 'a001', 'b001'],
      ['c001', 'a002', 'c002'],
      ['a003', 'c003', 'a004'],
    ])
  })

  it('F1 hints a record again when the bus holds no hint that could be its own, and otherwise after 20 s', async () => {
    const { clock, feeder, wait, drop, onBus } = feederOf()
    await wait('x', 1)
    await clock.passes(1_000)
    await feeder.feedOnce('free')
    expect(drop()).toEqual(['x000'])
    // At once it may be on its way to a worker.
    expect(await feeder.feedOnce('free')).toBe(0)
    await clock.passes(1_000)
    expect(await feeder.feedOnce('free')).toBe(1)
    drop()
    // Somebody else's hint is on the bus, so its own may be too.
    onBus.push({ type: 'STEP_READY', record: 'other', version: 2 })
    await clock.passes(19_999)
    expect(await feeder.feedOnce('free')).toBe(0)
    await clock.passes(1)
    expect(await feeder.feedOnce('free')).toBe(1)
  })

  it('P8 passes over records that no worker alive can advance, and over sources that have only such', async () => {
    const { clock, store, feeder, wait, ids, onBus, state } = feederOf({ window: 2 })
    await store.insert(
      ['a', 'b', 'c'].map((source) => record(one, { _id: `${source}-old`, source, pipelineVersion: 'v0' })),
    )
    await wait('c', 1)
    await wait('d', 2)
    await clock.passes(1_000)
    await feeder.feedOnce('free')
    await feeder.feedOnce('free')
    expect(new Set(ids())).toEqual(new Set(['c000', 'd000']))
    onBus.splice(0)
    state.versions = ['v0']
    await feeder.feedOnce('free')
    await feeder.feedOnce('free')
    expect(ids()).toEqual(expect.arrayContaining([expect.stringContaining('-old')]))
  })

  it('leaves a record that has just become ready to the hint at once', async () => {
    const { clock, feeder, wait } = feederOf()
    await wait('x', 1, 1_000)
    await clock.passes(1_149)
    expect(await feeder.feedOnce('free')).toBe(0)
    await clock.passes(1)
    expect(await feeder.feedOnce('free')).toBe(1)
  })

  it('says when it holds records back, and when it does no longer; while it does, it serves new ones at once', async () => {
    const { clock, feeder, wait, take, held } = feederOf({ window: 2 })
    await wait('x', 3)
    await clock.passes(1_000)
    await feeder.feedOnce('free')
    expect(held).toEqual([['free']])
    await wait('y', 1, 1_000)
    await take()
    expect(await feeder.feedOnce('free')).toBe(2)
    expect(new Set(await take())).toEqual(new Set(['x002', 'y000']))
    await feeder.feedOnce('free')
    expect(held).toEqual([['free'], []])
  })

  it('forgets hints that were taken, so that what it reads and holds stays small', async () => {
    const { clock, feeder, wait, take, limits, onBus } = feederOf({ window: 50 })
    await wait('x', 60)
    feeder.start()
    await clock.passes(400)
    await take()
    await clock.passes(400)
    await take()
    onBus.push({ type: 'STEP_READY', record: 'other', version: 2 })
    await wait('y', 1, 1_000)
    await clock.passes(300)
    expect(limits.at(-1)).toBeGreaterThan(60)
    await clock.passes(21_000)
    expect(limits.at(-1)).toBeLessThan(60)
    await feeder.close()
  })

  it('keeps what the bus did not take', async () => {
    const { clock, feeder, wait, state, ids } = feederOf()
    await wait('x', 2)
    await clock.passes(1_000)
    state.away = true
    expect(await feeder.feedOnce('free')).toBe(0)
    state.away = false
    expect(await feeder.feedOnce('free')).toBe(2)
    expect(ids()).toEqual(['x000', 'x001'])
  })

  it('names the message after what it is about', async () => {
    const { clock, feeder, store, onBus } = feederOf()
    const doc = record(one)
    await store.insert([doc, { ...record(one, { _id: 'r2' }), version: 4 }])
    await clock.passes(1_000)
    await feeder.feedOnce('free')
    expect(onBus.map(({ type }) => type).sort()).toEqual(['RECORD_ACCEPTED', 'STEP_READY'])
  })
})

describe('F2 slots don’t run dry', () => {
  it('because a record that was refused a hint wakes the feeder', async () => {
    const { clock, feeder, wait, onBus } = feederOf()
    feeder.start()
    await clock.passes(1_010)
    await wait('x', 1, 1_010)
    feeder.wake('free')
    await clock.passes(40)
    expect(onBus).toHaveLength(1)
    await feeder.close()
    expect(clock.sleeping()).toBe(0)
  })

  it('when nobody is held back any more: it looks often until all have heard of it', async () => {
    const { clock, feeder, wait, take, held } = feederOf({ window: 1 })
    await wait('x', 2)
    feeder.start()
    await clock.passes(400)
    expect(held).toEqual([['free']])
    await take()
    await clock.passes(20)
    await take()
    await clock.passes(40)
    expect(held).toEqual([['free'], []])
    await wait('y', 1, 460)
    await clock.passes(100)
    expect(await take()).toEqual(['y000'])
    await feeder.close()
  })

  it('and another one that does not lead is not woken', async () => {
    const { clock, feeder, wait, onBus } = feederOf({ leases: { lease: async () => false } })
    feeder.start()
    await wait('x', 1)
    await clock.passes(500)
    feeder.wake('free')
    await clock.passes(5_000)
    expect(onBus).toEqual([])
    await feeder.close()
    feeder.wake('free')
    expect(clock.sleeping()).toBe(0)
  })
})

describe('the feeder’s lease', () => {
  it('lets one of two feed, and another one when it is gone', async () => {
    const clock = createHandClock()
    const leases = createMemoryHeartbeats(clock)
    const [first, second] = [feederOf({ clock, leases, holder: 'a' }), feederOf({ clock, leases, holder: 'b' })]
    await first.wait('x', 1)
    await second.wait('x', 1)
    first.feeder.start()
    await clock.passes(200)
    second.feeder.start()
    await clock.passes(800)
    expect([first.onBus.length, second.onBus.length]).toEqual([1, 0])
    await first.feeder.close()
    await clock.passes(3_000)
    expect(second.onBus).toHaveLength(0)
    await clock.passes(1_500)
    expect(second.onBus).toHaveLength(1)
    await second.feeder.close()
    expect(clock.sleeping()).toBe(0)
  })

  it('is not believed in for long while the storage does not answer', async () => {
    const clock = createHandClock()
    let gone = false
    const leases = { lease: async () => (gone ? Promise.reject(new Error('Away.')) : true) }
    const { feeder, wait, onBus } = feederOf({ clock, leases })
    feeder.start()
    await clock.passes(300)
    gone = true
    await clock.passes(1_100)
    await wait('x', 1)
    await clock.passes(10_000)
    expect(onBus).toEqual([])
    gone = false
    await clock.passes(400)
    expect(onBus).toHaveLength(1)
    await feeder.close()
  })
})
