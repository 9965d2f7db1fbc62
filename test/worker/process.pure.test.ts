/**
 * Worker and sweeper as they are started in a process, on ports in memory and under a clock that the test drives:
 * everything that a record can meet between its acceptance and its end, without a server.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { stateLabel } from '../../src/machines/advance.js'
import type { RecordDocument } from '../../src/machines/record.js'
import type { SaveFault } from './scene.js'
import { after, compile, pipeline, step } from '../machines/pipelines.js'
import { answers, refuses } from './hand-provider.js'
import { createWorld, startProcess } from './process.js'
import type { ProcessOptions, World } from './process.js'

const one = compile(pipeline([step('read')]))
const two = compile(pipeline([step('read'), step('extract', { use: ['keyed'] })]))
const stateOf = (doc: RecordDocument) => stateLabel((doc.snapshot as { value: unknown }).value)

// Alarms keep real time; the sweeper does the same work here.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

const away: SaveFault = () => ({ kind: 'unknown', message: 'Away.' })

const both = (change: Partial<ProcessOptions> = {}): ProcessOptions => ({
  id: 'p1',
  roles: ['worker', 'sweeper'],
  pipelines: [one, two],
  ...change,
})

const answering = async (world: World, options: ProcessOptions) => {
  const process = await startProcess(world, options)
  for (const provider of process.providers()) provider.always(() => answers('text'))
  return process
}

/** Closes them, as time goes on, and sees that nothing of them is left. */
const closeAll = async (world: World, ...processes: { close(): Promise<void> }[]) => {
  const closing = Promise.all(processes.map((process) => process.close()))
  await world.clock.passes(30_000)
  await closing
  expect(world.clock.sleeping()).toBe(0)
}

describe('a process with both roles', () => {
  it('brings a record that nobody announced to its end, and closes with nothing left behind', async () => {
    const world = createWorld()
    const process = await answering(world, both())
    await world.insert(two)
    await world.clock.passes(2_000)
    const doc = await world.read()
    expect(doc).toMatchObject({ status: 'completed' })
    expect(Object.keys(doc.charges).sort()).toEqual(['extract', 'read'])
    await closeAll(world, process)
    expect(await world.heartbeats.members(3_600_000)).toEqual([])
  })

  it('P9 loses nothing when the bus loses, repeats and delays what it likes', async () => {
    let n = 0
    const fates = ['drop', 'duplicate', { delayMs: 400 }, 'deliver', 'drop'] as const
    const world = createWorld({ fate: () => fates[(n += 1) % fates.length]! })
    const process = await answering(world, both())
    for (let k = 0; k < 30; k += 1) await world.insert(two, { _id: `r${k}` })
    await world.clock.passes(60_000)
    expect(await world.real.counts()).toMatchObject({ completed: 30, processing: 0 })
    const calls = ['free', 'keyed'].flatMap((name) => process.provider(name).calls)
    expect(calls).toHaveLength(60)
    await closeAll(world, process)
  })

  it('P9 reads MongoDB itself once the bus has been away for 15 s, and not before', async () => {
    const world = createWorld()
    const process = await answering(world, both())
    world.bus.setAway(true)
    await world.insert(two)
    await world.clock.passes(14_000)
    expect((await world.read()).version).toBe(1)
    await world.clock.passes(4_000)
    expect(await world.read()).toMatchObject({ status: 'completed' })
    // A wait that ends is found as well.
    process.provider('free').always((request) => (request.attempt === 1 ? refuses() : answers('text')))
    await world.insert(two, { _id: 'r2' })
    await world.clock.passes(10_000)
    const later = await world.read('r2')
    expect(later.steps['read']!.attempts.map(({ outcome }) => outcome)).toEqual(['failed', 'succeeded'])
    expect(later.status).toBe('completed')
    await closeAll(world, process)
  })

  it('P2 sends nothing to investigation for a night in which nothing ran', async () => {
    const world = createWorld()
    const first = await startProcess(world, both({ slots: { free: 1 } }))
    await world.insert(one, { _id: 'a' })
    await world.insert(one, { _id: 'b' })
    first.provider('free').always(() => ({ ...refuses(), retryAfterMs: 4_500 }) as never)
    await world.clock.passes(2_000)
    await closeAll(world, first)
    const before = await Promise.all(['a', 'b'].map((id) => world.read(id)))
    await world.clock.passes(12 * 3_600_000)
    const second = await answering(world, both({ id: 'p2' }))
    await world.clock.passes(10_000)
    for (const { _id, settlesBy } of before) {
      const doc = await world.read(_id)
      expect(doc).toMatchObject({ status: 'completed' })
      expect(doc.settledAt! > settlesBy).toBe(true)
      expect(doc.settlesBy > doc.settledAt!).toBe(true)
      expect(doc.history.map(({ event }) => event.type)).toContain('OUTAGE_OBSERVED')
    }
    await closeAll(world, second)
  })

  it('waits in its own save while the storage is away for a moment, and makes its call once', async () => {
    const world = createWorld()
    const process = await answering(world, both())
    await world.insert(one)
    world.next(...Array.from({ length: 4 }, () => away))
    await world.clock.passes(60_000)
    expect(await world.read()).toMatchObject({ status: 'completed', version: 3 })
    expect(process.provider('free').calls).toHaveLength(1)
    await closeAll(world, process)
  })

  it('P5 does not send when saving the intent took longer than its time to send: the next try does', async () => {
    const world = createWorld()
    const process = await answering(world, both())
    await world.insert(one)
    world.next(...Array.from({ length: 8 }, () => away))
    await world.clock.passes(60_000)
    const doc = await world.read()
    expect(doc).toMatchObject({ status: 'completed' })
    expect(doc.steps['read']!.attempts).toMatchObject([
      { outcome: 'failed', error: { code: 'not-sent' }, spend: null },
      { outcome: 'succeeded' },
    ])
    expect(process.provider('free').calls).toHaveLength(1)
    await closeAll(world, process)
  })
})

describe('a clock that jumps', () => {
  it('survives a server’s clock that is set forward and back: a doubt at most, one charge', async () => {
    const world = createWorld()
    const keyed = compile(pipeline([step('read', { use: ['keyed'] })]))
    const process = await startProcess(world, both({ pipelines: [keyed] }))
    await world.insert(keyed)
    await world.clock.passes(500)
    expect(process.provider('keyed').calls).toHaveLength(1)
    world.clock.jumps(3_600_000)
    await world.clock.passes(5_000)
    // The lease seemed over: the same run is asked for again.
    expect(process.provider('keyed').calls).toHaveLength(2)
    world.clock.jumps(-3_600_000)
    await world.clock.passes(2_000)
    for (const call of process.provider('keyed').calls) call.answer(answers('text'))
    await world.clock.passes(2_000)
    const doc = await world.read()
    expect(doc).toMatchObject({ status: 'completed' })
    expect(Object.keys(doc.charges)).toEqual(['read'])
    const attempts = doc.steps['read']!.attempts
    expect(attempts.map(({ possibleDuplicate }) => possibleDuplicate ?? false)).toEqual([false, false])
    expect(new Set(attempts.map(({ requestKey }) => requestKey)).size).toBe(1)
    await closeAll(world, process)
  })
})

describe('several processes', () => {
  it('share the work: each call is made once', async () => {
    const world = createWorld()
    const processes = await Promise.all(['p1', 'p2', 'p3'].map((id) => answering(world, both({ id }))))
    for (let k = 0; k < 40; k += 1) await world.insert(two, { _id: `r${k}` })
    await world.clock.passes(20_000)
    expect(await world.real.counts()).toMatchObject({ completed: 40 })
    const calls = processes.map((process) => process.provider('free').calls.length)
    expect(calls.reduce((sum, count) => sum + count, 0)).toBe(40)
    expect(Math.min(...calls)).toBeGreaterThan(0)
    await closeAll(world, ...processes)
  })

  it('P12 a source with one record does not wait behind a source with many', async () => {
    const world = createWorld()
    const process = await startProcess(world, both({ slots: { free: 1 } }))
    process.provider('free').always(async () => {
      await world.clock.sleep(1_000)
      return answers('text')
    })
    for (let k = 0; k < 50; k += 1) await world.insert(one, { _id: `many${k}`, source: 'many' })
    await world.clock.passes(3_000)
    await world.insert(one, { _id: 'few', source: 'few' })
    await world.clock.passes(6_000)
    expect(await world.read('few')).toMatchObject({ status: 'completed' })
    expect((await world.real.counts()).processing).toBeGreaterThan(35)
    await world.clock.passes(60_000)
    await closeAll(world, process)
  })
})

describe('a record that no worker can advance', () => {
  it('is settled by force after 20 hints, while others go on', async () => {
    const world = createWorld()
    const process = await answering(world, both({ pipelines: [one] }))
    const unreadable = { wakeAt: after(0), queue: [], timers: [] }
    await world.insert(one, { _id: 'stuck', ...unreadable })
    await world.clock.passes(300_000)
    await world.insert(one, { _id: 'good' })
    await world.clock.passes(2_000)
    expect(await world.read('good')).toMatchObject({ status: 'completed' })
    expect(await world.read('stuck')).toMatchObject({ status: 'processing' })
    await world.clock.passes(300_000)
    expect(await world.read('stuck')).toMatchObject({ status: 'investigation', reason: { code: 'cannot-advance' } })
    expect(process.lines.map(({ msg }) => msg)).toContain('A record was settled by force.')
    await closeAll(world, process)
  })

  it('is left alone when it has moved since it was last looked at', async () => {
    const world = createWorld()
    world.store.due = async (query) => (await world.real.due(query)).map((due) => ({ ...due, version: 1 }))
    const process = await answering(world, both({ pipelines: [one] }))
    await world.insert(one, { _id: 'moved', version: 2, wakeAt: after(0), queue: [], timers: [] })
    await world.clock.passes(600_000)
    expect(await world.read('moved')).toMatchObject({ status: 'processing', version: 2 })
    await closeAll(world, process)
  })
})

describe('a config that was edited', () => {
  const edited = compile(pipeline([step('read')], { revision: 2 }))

  it('does not hold up new records behind old ones that wait for their grace', async () => {
    const world = createWorld()
    for (let k = 0; k < 12; k += 1) await world.insert(one, { _id: `old${k}` })
    const process = await answering(world, both({ pipelines: [edited], carryOverAfterMs: 20_000 }))
    await world.clock.passes(3_000)
    for (let k = 0; k < 5; k += 1) await world.insert(edited, { _id: `new${k}` })
    await world.clock.passes(5_000)
    expect(await world.real.counts()).toMatchObject({ completed: 5, processing: 12 })
    await world.clock.passes(20_000)
    expect(await world.real.counts()).toMatchObject({ completed: 17 })
    expect((await world.read('old0')).history.map(({ event }) => event.type)).toContain('PIPELINE_CHANGED')
    await closeAll(world, process)
  })

  it('leaves records whose timers are due to their grace too: they are carried over, not given up', async () => {
    const world = createWorld()
    const dead = await startProcess(world, both({ id: 'dead' }))
    await world.insert(one)
    await world.clock.passes(500)
    expect(stateOf(await world.read())).toBe('read.calling')
    const closing = dead.close()
    await world.clock.passes(30_000)
    await closing
    const process = await answering(world, both({ pipelines: [edited] }))
    await world.clock.passes(595_000)
    expect(await world.read()).toMatchObject({ status: 'processing', pipelineVersion: one.version })
    await world.clock.passes(15_000)
    const doc = await world.read()
    expect(doc).toMatchObject({ status: 'completed', pipelineVersion: edited.version })
    await closeAll(world, process)
  })
})
