/** F2 and V2: slots don't run dry between two looks of the feeder, and taken hints are not on their way any more. */
import { describe, expect, it } from 'vitest'
import { createMemoryHeartbeats } from '../../src/persistence/memory-heartbeats.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import type { Hint } from '../../src/worker/contract.js'
import { createFeeder } from '../../src/worker/feeder.js'
import { createLoadView } from '../../src/worker/load-view.js'
import { after, compile, pipeline, record, step } from '../machines/pipelines.js'
import { save } from '../contract/record-store-documents.js'
import { createHandClock, settle } from './hand-clock.js'
import { createLog } from './scene.js'

const one = compile(pipeline([step('read')]))

const runningFeeder = async () => {
  const clock = createHandClock()
  const store = createMemoryRecordStore()
  const onBus: Hint[] = []
  const held: string[][] = []
  const feeder = createFeeder({
    providers: ['free'],
    store,
    leases: createMemoryHeartbeats(clock),
    holder: 'a',
    versions: () => [one.version],
    publish: async (_queue, hint) => void onBus.push(hint),
    pending: async () => onBus.length,
    window: () => 2,
    holding: (providers) => void held.push(providers),
    clock,
    log: createLog().log,
  })
  const insert = async (id: string) => {
    const doc = record(one, { _id: id })
    doc.queue = doc.queue.map((entry) => ({ ...entry, readyAt: after(clock.monotonicMs()) }))
    await store.insert([doc])
  }
  const take = async () => {
    const ids = onBus.splice(0).map(({ record: id }) => id)
    await store.save(ids.map((id) => save(id, 1, { set: { queue: [] } })))
    return ids
  }
  feeder.start()
  await settle()
  return { clock, feeder, held, onBus, insert, take, ids: () => onBus.map(({ record: id }) => id) }
}

describe('F2', () => {
  it('a record that was refused a hint waits some 20 ms, not for the next look', async () => {
    const { clock, feeder, insert, ids } = await runningFeeder()
    await clock.passes(1_010)
    await insert('r1')
    feeder.wake('free')
    await clock.passes(9)
    expect(ids()).toEqual([])
    await clock.passes(11)
    expect(ids()).toEqual(['r1'])
    await feeder.close()
    expect(clock.sleeping()).toBe(0)
  })

  it('once nobody is held back it looks often, until every process hints at once again', async () => {
    const { clock, feeder, insert, take, held, ids } = await runningFeeder()
    for (const id of ['r1', 'r2', 'r3']) await insert(id)
    await clock.passes(400)
    expect(held).toEqual([['free']])
    await take()
    await clock.passes(20)
    await take()
    await clock.passes(20)
    expect(held).toEqual([['free'], []])
    await insert('r4')
    await clock.passes(80)
    expect(await take()).toEqual(['r4'])
    await clock.passes(3_000)
    await insert('r5')
    await clock.passes(149)
    expect(ids()).toEqual([])
    await clock.passes(201)
    expect(ids()).toEqual(['r5'])
    await feeder.close()
  })
})

describe('V2', () => {
  it('a hint whose turn is being saved is not counted as on its way', async () => {
    const clock = createHandClock()
    let pending = 0
    const view = createLoadView({
      providers: ['free'],
      self: 'a',
      bus: { pending: async () => pending, awaySinceMs: () => null },
      members: () => [{ id: 'a', roles: ['worker'], slots: { free: 1 }, pipelines: [], waiting: [] }],
      clock,
    })
    const refused: string[] = []
    view.onRefused((provider) => void refused.push(provider))
    view.hinted('free')
    view.hinted('free')
    view.taken('free')
    pending = 2
    view.start()
    await settle()
    expect(view.mayHint('free')).toBe(true)
    view.hinted('free')
    expect(view.mayHint('free')).toBe(false)
    expect(refused).toEqual(['free'])
    view.acked('free')
    pending = 2
    await clock.passes(250)
    expect(view.mayHint('free')).toBe(false)
    await view.close()
  })
})
