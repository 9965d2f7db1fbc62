/** What every deployment's heartbeat must do, on memory and on real MongoDB, whose own clock is waited for. */
import { MongoClient } from 'mongodb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Heartbeats, Member } from '../../src/persistence/contract.js'
import { StoreUnavailable } from '../../src/persistence/contract.js'
import { DEPLOYMENT, LEASES, MEMBERS } from '../../src/persistence/heartbeat-collections.js'
import { createMemoryHeartbeats } from '../../src/persistence/memory-heartbeats.js'
import { createMongoHeartbeats } from '../../src/persistence/mongo-heartbeats.js'
import { freshDb, startMongo } from '../support/servers.js'

const MINUTE = 60_000
const LIMITS = { gapMs: 10_000, keepMs: 60 * MINUTE }

/** `pass` lets time go by: the clock of the memory twin moves, MongoDB's stored times move back. */
type World = { beats: Heartbeats; pass(ms: number): Promise<void>; dispose(): Promise<void> }

const memoryWorld = async (): Promise<World> => {
  let nowMs = Date.UTC(2026, 0, 1)
  const beats = createMemoryHeartbeats({ now: () => new Date(nowMs) })
  return { beats, pass: async (ms) => void (nowMs += ms), dispose: async () => {} }
}

const mongoWorld = async (): Promise<World> => {
  const { db, dispose } = await freshDb('beats')
  const back = (field: string, ms: number) => ({ $dateSubtract: { startDate: field, unit: 'millisecond', amount: ms } })
  return {
    beats: createMongoHeartbeats(db),
    async pass(ms) {
      const moved = { from: back('$$this.from', ms), to: back('$$this.to', ms) }
      await db
        .collection(DEPLOYMENT)
        .updateMany({}, [
          { $set: { lastBeat: back('$lastBeat', ms), outages: { $map: { input: '$outages', in: moved } } } },
        ])
      await db.collection(MEMBERS).updateMany({}, [{ $set: { at: back('$at', ms) } }])
      await db.collection(LEASES).updateMany({}, [{ $set: { until: back('$until', ms) } }])
    },
    dispose,
  }
}

const member = (id: string, changes: Partial<Member> = {}): Member => ({
  id,
  roles: ['worker'],
  slots: { gpt: 8, 'tesseract-ocr': 2 },
  pipelines: ['v1'],
  waiting: [],
  ...changes,
})

const worlds: [string, () => Promise<World>][] = [
  ['memory', memoryWorld],
  ['MongoDB', mongoWorld],
]

describe.each(worlds)('heartbeats: %s', (_name, make) => {
  let world: World
  let beats: Heartbeats
  beforeEach(async () => {
    world = await make()
    beats = world.beats
  })
  afterEach(() => world.dispose())

  it('the first beat of a deployment is no outage, nor is a beat in time', async () => {
    expect((await beats.beat(member('a'), LIMITS)).outages).toEqual([])
    await world.pass(9_000)
    expect((await beats.beat(member('a'), LIMITS)).outages).toEqual([])
    await world.pass(9_000)
    expect((await beats.beat(member('b'), LIMITS)).outages).toEqual([])
  })

  it('the first beat after a gap records it, from the last beat to its own', async () => {
    const { now: last } = await beats.beat(member('a'), LIMITS)
    await world.pass(5 * MINUTE)
    const { now, outages } = await beats.beat(member('b'), LIMITS)
    expect(outages).toHaveLength(1)
    const [outage] = outages
    expect(outage!.to.getTime() - outage!.from.getTime()).toBeGreaterThanOrEqual(5 * MINUTE)
    expect(Math.abs(now.getTime() - outage!.to.getTime())).toBeLessThan(5_000)
    expect(Math.abs(now.getTime() - last.getTime())).toBeLessThanOrEqual(6 * MINUTE)
  })

  it('of many that come back at once, one records the outage and all are told of it', async () => {
    await beats.beat(member('a'), LIMITS)
    await world.pass(MINUTE)
    const answers = await Promise.all(Array.from({ length: 16 }, (_, n) => beats.beat(member(`m${n}`), LIMITS)))
    for (const { outages } of answers) expect(outages).toHaveLength(1)
    expect(new Set(answers.map(({ outages }) => outages[0]!.from.getTime())).size).toBe(1)
  })

  it('only workers end or prevent an outage', async () => {
    const api = member('api', { roles: ['api', 'sweeper'] })
    await beats.beat(member('a'), LIMITS)
    for (let n = 0; n < 6; n += 1) {
      await world.pass(5_000)
      expect((await beats.beat(api, LIMITS)).outages).toEqual([])
    }
    expect((await beats.beat(member('a'), LIMITS)).outages).toHaveLength(1)
    expect((await beats.beat(api, LIMITS)).outages).toHaveLength(1)
  })

  it('an outage is told for keepMs after its end, however long it was', async () => {
    await beats.beat(member('a'), LIMITS)
    await world.pass(3 * LIMITS.keepMs)
    expect((await beats.beat(member('a'), LIMITS)).outages).toHaveLength(1)
    for (let n = 0; n < 8; n += 1) {
      await world.pass(8_000)
      expect((await beats.beat(member('a'), LIMITS)).outages).toHaveLength(1)
    }
    await world.pass(30 * MINUTE)
    expect((await beats.beat(member('a'), LIMITS)).outages).toHaveLength(2)
    await world.pass(LIMITS.keepMs + 1_000)
    const { outages } = await beats.beat(member('a'), LIMITS)
    expect(outages).toHaveLength(1)
  })

  it('members are those that beat lately, with what they offer, also odd names', async () => {
    const odd = member('b', { slots: { $gpt: 1 }, pipelines: ['$$NOW'], waiting: ['$x'] })
    await beats.beat(member('a'), LIMITS)
    await world.pass(20_000)
    const { now } = await beats.beat(odd, LIMITS)
    expect(await beats.members(15_000)).toEqual([{ ...odd, at: now }])
    expect((await beats.members(MINUTE)).map(({ id }) => id)).toEqual(['a', 'b'])
    await beats.leave('a')
    await beats.leave('nobody')
    expect((await beats.members(MINUTE)).map(({ id }) => id)).toEqual(['b'])
  })

  it('a lease has one holder until it runs out, who may keep it', async () => {
    expect(await beats.lease('feeder-gpt', 'a', 10_000)).toBe(true)
    expect(await beats.lease('feeder-gpt', 'b', 10_000)).toBe(false)
    expect(await beats.lease('feeder-ocr', '$holder', 10_000)).toBe(true)
    await world.pass(8_000)
    expect(await beats.lease('feeder-gpt', 'a', 10_000)).toBe(true)
    await world.pass(8_000)
    expect(await beats.lease('feeder-gpt', 'b', 10_000)).toBe(false)
    await world.pass(3_000)
    expect(await beats.lease('feeder-gpt', 'b', 10_000)).toBe(true)
    expect(await beats.lease('feeder-gpt', 'a', 10_000)).toBe(false)
  })

  it('of many that ask for a free lease, one gets it', async () => {
    const holders = Array.from({ length: 16 }, (_, n) => `h${n}`)
    const got = await Promise.all(holders.map((holder) => beats.lease('one', holder, 10_000)))
    expect(got.filter(Boolean)).toHaveLength(1)
  })
})

describe('heartbeats and a MongoDB that goes away', () => {
  it('fail within their limit and find the outage when it is back', { timeout: 60_000 }, async () => {
    const server = await startMongo()
    const client = await new MongoClient(server.url, { serverSelectionTimeoutMS: 1_000 }).connect()
    try {
      const beats = createMongoHeartbeats(client.db('beats'), { operationTimeoutMs: 1_500 })
      const limits = { ...LIMITS, gapMs: 1_000 }
      await beats.beat(member('a'), limits)
      await server.signal('SIGKILL')
      await expect(beats.beat(member('a'), limits)).rejects.toBeInstanceOf(StoreUnavailable)
      await server.start()
      const back = await beats.beat(member('a'), limits).catch(() => beats.beat(member('a'), limits))
      expect(back.outages).toHaveLength(1)
    } finally {
      await client.close()
      await server.dispose()
    }
  })
})
