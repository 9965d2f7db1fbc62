/** Each query uses its index, and none sorts in memory or reads more than it must. */
import type { Document } from 'mongodb'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chargePipeline } from '../../src/persistence/charges.js'
import { recordsOf, RECORDS } from '../../src/persistence/collections.js'
import { INDEX, IndexConflict, ensureIndexes } from '../../src/persistence/indexes.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import type { RecordStatus } from '../../src/machines/record.js'
import { freshDb } from '../support/servers.js'
import type { FreshDb } from '../support/servers.js'
import { at, charge, fact, queued, record } from './record-store-documents.js'

const RECORDS_TOTAL = 200

let fresh: FreshDb
beforeAll(async () => {
  fresh = await freshDb('indexes')
  await ensureIndexes(fresh.db)
  const statuses: RecordStatus[] = ['completed', 'processing', 'investigation', 'completed']
  const docs = Array.from({ length: RECORDS_TOTAL }, (_, n) =>
    record(`r${n}`, {
      source: `s${n % 5}`,
      status: statuses[n % 4]!,
      pipelineVersion: `v${n % 3}`,
      acceptedAt: at(n),
      wakeAt: at(n),
      queue: [queued('ocr', at(n)), queued('gpt', at(RECORDS_TOTAL - n))],
      charges: n % 4 ? {} : { record: charge('1', at(n)) },
      outbox: n % 50 ? [] : [fact(1, at(n))],
    }),
  )
  await createMongoRecordStore(fresh.db).insert(docs)
})
afterAll(() => fresh.dispose())

type Used = { indexes: string[]; stages: string[]; keys: number; docs: number }

/** Every find and aggregate that `run` sends, as the server's profiler saw it. */
const profiled = async (run: () => Promise<unknown>): Promise<Used[]> => {
  await fresh.db.command({ profile: 2 })
  const since = new Date()
  try {
    await run()
  } finally {
    await fresh.db.command({ profile: 0 })
  }
  const seen = await fresh.db
    .collection('system.profile')
    .find({ ns: `${fresh.db.databaseName}.${RECORDS}`, ts: { $gte: since }, op: { $in: ['query', 'command'] } })
    .sort({ ts: 1 })
    .toArray()
  await fresh.db.collection('system.profile').drop()
  return seen.map((one) => ({
    indexes: namesIn(one['execStats'] as Document, 'indexName'),
    stages: namesIn(one['execStats'] as Document, 'stage'),
    keys: one['keysExamined'] as number,
    docs: one['docsExamined'] as number,
  }))
}

const namesIn = (stats: unknown, field: string): string[] => {
  if (typeof stats !== 'object' || stats === null) return []
  return Object.entries(stats).flatMap(([name, part]: [string, unknown]) =>
    name === field && typeof part === 'string' ? [part] : namesIn(part, field),
  )
}

const store = () => createMongoRecordStore(fresh.db)

describe('indexes', () => {
  it('are made again without harm', async () => {
    await ensureIndexes(fresh.db)
    const names = (await recordsOf(fresh.db).listIndexes().toArray()).map(({ name }) => String(name))
    expect(names).toEqual(expect.arrayContaining([INDEX.due, INDEX.queue, INDEX.list, INDEX.unsent('nats')]))
  })

  it('that are missing are asked for by name of the fix', async () => {
    const bare = await freshDb('no-indexes')
    try {
      const bareStore = createMongoRecordStore(bare.db)
      await bareStore.insert([record('r')])
      await expect(bareStore.unsent('nats', 1)).rejects.toThrow('Call ensureIndexes(db)')
      await expect(bareStore.waitingSources('ocr', 1)).rejects.toMatchObject({ code: 'store-unavailable' })
    } finally {
      await bare.dispose()
    }
  })

  it('that are there in another form are named, with the fix', async () => {
    const other = await freshDb('index-conflict')
    try {
      await other.db.collection(RECORDS).createIndex({ wakeAt: 1 }, { name: INDEX.due })
      await expect(ensureIndexes(other.db)).rejects.toThrow(IndexConflict)
      await expect(ensureIndexes(other.db)).rejects.toThrow(/Drop the one/)
    } finally {
      await other.dispose()
    }
  })
})

describe('uses its index, in order and without a sort', () => {
  const cases: [string, string, number, () => Promise<unknown>][] = [
    ['due', INDEX.due, 5, () => store().due({ now: at(150), after: null, shards: { from: 0, to: 256 }, limit: 5 })],
    [
      'due, further on',
      INDEX.due,
      5,
      () => store().due({ now: at(150), after: { wakeAt: at(40), id: 'r40' }, shards: { from: 0, to: 128 }, limit: 5 }),
    ],
    ['waiting', INDEX.queue, 5, () => store().waiting('ocr', 's1', { readyBefore: at(190), after: null, limit: 5 })],
    [
      'waiting, further on',
      INDEX.queue,
      5,
      () => store().waiting('gpt', 's1', { readyBefore: at(190), after: { readyAt: at(9), id: 'r' }, limit: 5 }),
    ],
    ['list', INDEX.list, 6, () => store().list({}, { limit: 5, token: null })],
    ['list of a source', INDEX.source, 6, () => store().list({ source: 's2' }, { limit: 5, token: null })],
    ['list by status', INDEX.status, 6, () => store().list({ status: 'investigation' }, { limit: 5, token: null })],
    ['list of a pipeline', INDEX.pipeline, 6, () => store().list({ pipeline: 'referral' }, { limit: 5, token: null })],
    ['unsent', INDEX.unsent('nats'), 4, () => store().unsent('nats', 4)],
  ]

  it.each(cases)('%s', async (_name, index, docsMax, run) => {
    const used = await profiled(run)
    expect(used.length).toBeGreaterThan(0)
    for (const one of used) {
      expect(one.indexes).toEqual([index])
      expect(one.stages).not.toContain('SORT')
      expect(one.docs).toBeLessThanOrEqual(docsMax)
    }
  })

  it('waitingSources: one seek a source', async () => {
    const used = await profiled(() => store().waitingSources('ocr', 10))
    expect(used).toHaveLength(6)
    for (const one of used) {
      expect(one).toMatchObject({ indexes: [INDEX.queue] })
      expect(one.stages).not.toContain('SORT')
      expect(one.keys).toBeLessThanOrEqual(2)
    }
  })

  it('referencedBlobs: by the blobs of records that have any', async () => {
    const [used] = await profiled(() => store().referencedBlobs(['b1', 'b2']))
    expect(used).toMatchObject({ indexes: [INDEX.blobs] })
  })

  it('byHandle: by the ids of calls that have any', async () => {
    const [used] = await profiled(() => store().byHandle('gpt', 'resp_1'))
    expect(used).toMatchObject({ indexes: [INDEX.handles] })
  })

  it('unknownVersions: one seek a version, then the records of the unknown ones', async () => {
    const used = await profiled(() => store().unknownVersions(['v0', 'v1'], 3))
    expect(used).toHaveLength(5)
    for (const one of used) {
      expect(one).toMatchObject({ indexes: [INDEX.pipelineVersion] })
      expect(one.stages).not.toContain('SORT')
      expect(one.keys).toBeLessThanOrEqual(4)
    }
  })

  it('charges: reads the records charged in the window, by either index', async () => {
    const window = { from: at(100).getTime(), to: at(120).getTime() }
    const explained = async (source?: string) => {
      const pipeline = chargePipeline(source === undefined ? {} : { source }, window, null, 10)
      return recordsOf(fresh.db).aggregate(pipeline).explain('executionStats')
    }
    expect(namesIn(await explained(), 'indexName')).toContain(INDEX.charges)
    expect(namesIn(await explained('s0'), 'indexName')).toContain(INDEX.sourceCharges)
    const [all] = await profiled(() => store().charges({ from: at(100), to: at(120) }, { limit: 10, token: null }))
    expect(all?.docs).toBeLessThanOrEqual(6)
  })

  it('counts: from the index alone', async () => {
    const used = await profiled(() => store().counts())
    expect(used).toHaveLength(5)
    for (const { docs } of used) expect(docs).toBe(0)
    // The profiler keeps no plan of an aggregation, so the plan is asked for.
    const plan = await recordsOf(fresh.db)
      .aggregate([{ $match: { status: 'completed' } }, { $group: { _id: 1, n: { $sum: 1 } } }], { hint: INDEX.status })
      .explain('queryPlanner')
    expect(namesIn(plan, 'stage')).not.toContain('FETCH')
  })
})
