/** The sweeper (Z1 to Z3): what is due is hinted until it moves, and given up only when nothing else is left. */
import { describe, expect, it } from 'vitest'
import type { DueRecord, RecordStore } from '../../src/persistence/contract.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import type { Hint } from '../../src/worker/contract.js'
import { createSweeper, shardsFor } from '../../src/worker/sweeper.js'
import { save } from '../contract/record-store-documents.js'
import { after, compile, pipeline, record, step } from '../machines/pipelines.js'
import { createHandClock } from './hand-clock.js'
import { createLog } from './scene.js'

const one = compile(pipeline([step('read')]))

const sweeperOf = (pendingMax = 1_000, dueIn?: RecordStore['due']) => {
  const clock = createHandClock()
  const store = createMemoryRecordStore()
  const hints: Hint[] = []
  const givenUp: DueRecord[] = []
  const { log, lines } = createLog()
  const state = { alive: true, pending: 0, away: false, shards: { from: 0, to: 256 }, looks: 0 }
  const sweeper = createSweeper({
    store: {
      due: (query) => {
        state.looks += 1
        return (dueIn ?? store.due)(query)
      },
    },
    publish: async (hint) => void hints.push(hint),
    pending: async () => (state.away ? Promise.reject(new Error('Away.')) : state.pending),
    pendingMax,
    shards: () => state.shards,
    workersAlive: () => state.alive,
    givesUp: async (due) => void givenUp.push(due),
    clock,
    log,
  })
  const due = (count: number, dueAfterMs = 0) =>
    store.insert(
      Array.from({ length: count }, (_, n) =>
        record(one, { _id: `r${String(n).padStart(5, '0')}`, wakeAt: after(dueAfterMs), shard: n % 256 }),
      ),
    )
  let started = false
  /** Sweeps once a second for `ms`. */
  const sweepFor = async (ms: number) => {
    if (!started) sweeper.start()
    started = true
    await clock.passes(ms)
  }
  return { clock, store, sweeper, hints, givenUp, lines, state, due, sweepFor }
}

describe('Z1 a due record', () => {
  it('is hinted as TIMER_DUE with the version that was seen, and not before its time', async () => {
    const { clock, sweeper, hints, due } = sweeperOf()
    await due(1, 1_000)
    expect(await sweeper.sweepOnce()).toMatchObject({ due: 0, hinted: 0 })
    await clock.passes(1_000)
    expect(await sweeper.sweepOnce()).toMatchObject({ due: 1, hinted: 1 })
    expect(hints).toEqual([{ type: 'TIMER_DUE', record: 'r00000', version: 1 }])
  })

  it('is hinted again after growing pauses, until its version moves; then the pauses begin anew', async () => {
    const { clock, store, sweeper, hints, due, sweepFor } = sweeperOf()
    await due(1)
    const times: number[] = []
    let seen = 0
    for (let second = 0; second <= 62; second += 1) {
      await sweepFor(second === 0 ? 0 : 1_000)
      if (hints.length > seen) times.push(second)
      seen = hints.length
    }
    expect(times).toEqual([0, 2, 6, 14, 30, 60])
    await store.save([save('r00000', 1)])
    const before = hints.length
    await sweepFor(1_000)
    expect(hints.length).toBeGreaterThan(before)
    expect(hints.at(-1)).toMatchObject({ version: 2 })
    await sweeper.close()
    expect(clock.sleeping()).toBe(0)
  })
})

describe('Z2 a record that nobody can advance', () => {
  it('is given up after 20 hints at one version', async () => {
    const { sweeper, hints, givenUp, due, sweepFor } = sweeperOf()
    await due(1)
    await sweepFor(500_000)
    expect([hints.length, givenUp.length]).toEqual([20, 0])
    await sweepFor(30_000)
    expect(givenUp).toMatchObject([{ id: 'r00000', version: 1 }])
    await sweeper.close()
  })

  it('is not given up while no worker lives: hints that nobody could take do not count', async () => {
    const { sweeper, hints, givenUp, state, due, sweepFor } = sweeperOf()
    await due(1)
    state.alive = false
    await sweepFor(3_600_000)
    expect(hints.length).toBeGreaterThan(1_000)
    expect(givenUp).toEqual([])
    state.alive = true
    await sweepFor(480_000)
    expect(givenUp).toEqual([])
    await sweepFor(60_000)
    expect(givenUp).toHaveLength(1)
    await sweeper.close()
  })

  it('is not given up when it moves now and then', async () => {
    const { store, sweeper, givenUp, due, sweepFor } = sweeperOf()
    await due(1)
    for (let version = 1; version < 8; version += 1) {
      await sweepFor(400_000)
      await store.save([save('r00000', version)])
    }
    expect(givenUp).toEqual([])
    await sweeper.close()
  })
})

describe('Z3 any number of due records', () => {
  it('is read in pages, hinted up to what the bus may hold, and all come in turn', async () => {
    const { clock, sweeper, hints, state, due } = sweeperOf(800)
    await due(1_200)
    expect(await sweeper.sweepOnce()).toMatchObject({ hinted: 800, due: 1_000 })
    state.pending = 800
    expect(await sweeper.sweepOnce()).toMatchObject({ hinted: 0, due: 0 })
    state.pending = 0
    await clock.passes(1_000)
    expect(await sweeper.sweepOnce()).toMatchObject({ hinted: 400 })
    expect(new Set(hints.map(({ record: id }) => id)).size).toBe(1_200)
  })

  it('is not remembered without bound: beyond 20,000 hints it waits for some to be forgotten', async () => {
    const idOf = (n: number) => `r${String(n).padStart(6, '0')}`
    const { clock, sweeper, hints } = sweeperOf(1_000_000, async ({ after: last, limit }) => {
      const from = last === null ? 0 : Number(last.id.slice(1)) + 1
      return Array.from({ length: limit }, (_, n) => ({ id: idOf(from + n), version: 1, wakeAt: after(0) }))
    })
    await sweeper.sweepOnce()
    const first = hints.length
    expect(first).toBe(20_000)
    expect(await sweeper.sweepOnce()).toMatchObject({ due: 0, hinted: 0 })
    await clock.passes(40_000)
    expect((await sweeper.sweepOnce()).hinted).toBeGreaterThan(0)
  })

  it('is shared among sweepers by ranges that cover all', () => {
    const members = ['a', 'b', 'c'].map((id) => ({ id, roles: ['sweeper'], slots: {}, pipelines: [], waiting: [] }))
    const others = [{ ...members[0]!, id: 'aa', roles: ['worker'] }]
    const ranges = members.map(({ id }) => shardsFor(id, [...members, ...others]))
    expect(ranges).toEqual([
      { from: 0, to: 85 },
      { from: 85, to: 170 },
      { from: 170, to: 256 },
    ])
    expect(shardsFor('a', [])).toEqual({ from: 0, to: 256 })
  })

  it('is asked for in this sweeper’s range alone', async () => {
    const { sweeper, state, due } = sweeperOf()
    await due(256)
    state.shards = { from: 0, to: 128 }
    expect(await sweeper.sweepOnce()).toMatchObject({ due: 128 })
  })
})

describe('a sweep that fails', () => {
  it('is told in the log, and the next one goes on', async () => {
    const { sweeper, hints, lines, state, due, sweepFor } = sweeperOf()
    await due(1)
    state.away = true
    await sweepFor(3_000)
    expect(hints).toEqual([])
    expect(lines.map(({ msg }) => msg)).toContain('A sweep was cut short.')
    state.away = false
    await sweepFor(1_000)
    expect(hints).toHaveLength(1)
    await sweeper.close()
  })
})
