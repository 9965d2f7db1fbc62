/** The ledger's sums and attempts, on memory and on MongoDB: the same rule in both, told apart by every kind of attempt. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LedgerAttempt, LedgerGroup, LedgerQuery, RecordStore } from '../../src/persistence/contract.js'
import { ensureIndexes, INDEX } from '../../src/persistence/indexes.js'
import { attemptStages, groupStages } from '../../src/persistence/ledger-stages.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { MongoClient } from 'mongodb'
import { freshDb, startMongo, uniqueName } from '../support/servers.js'
import type { FreshDb } from '../support/servers.js'
import { anyRecord, attempt, failure, owed, spend, stepOf } from './ledger-records.js'
import { at, record } from './record-store-documents.js'

const all: LedgerQuery = { from: at(-1), to: at(1e9), free: ['ocr'] }
const uncertain = { outcome: 'uncertain', error: failure('unknown') } as const

/** Step, attempts, its result, and what each of them must be. */
const KINDS: [name: string, step: ReturnType<typeof stepOf>, told: string[]][] = [
  ['result', stepOf([attempt(1, { spend: spend('0.02') })], 1), ['result']],
  ['free result', stepOf([attempt(1, { provider: 'ocr' })], 1), ['result']],
  ['result without a price', stepOf([attempt(1)], 1), ['result unpriced']],
  [
    'refused, then done',
    stepOf([attempt(1, { outcome: 'failed', error: failure('not-executed') }), attempt(2, { spend: spend('1') })], 2),
    ['free-failure', 'result'],
  ],
  [
    'unusable and billed, then done',
    stepOf(
      [
        attempt(1, { outcome: 'failed', error: failure('partial'), spend: spend('0.01') }),
        attempt(2, { spend: spend('1') }),
      ],
      2,
    ),
    ['superseded', 'result'],
  ],
  [
    'unusable and told to cost nothing',
    stepOf([attempt(1, { outcome: 'failed', error: failure('executed'), spend: spend('0.00') })]),
    ['free-failure'],
  ],
  [
    'billed without a result',
    stepOf([attempt(1, { outcome: 'failed', error: failure('executed'), spend: spend('0.03', 'estimated') })]),
    ['orphan'],
  ],
  [
    'ran, and nobody told what it cost',
    stepOf([attempt(1, { outcome: 'failed', error: failure('executed') })]),
    ['unknown unpriced'],
  ],
  ['in doubt', stepOf([attempt(1, { ...uncertain, spend: spend('0.05', 'upper-bound') })]), ['unknown']],
  ['in doubt without a bound', stepOf([attempt(1, uncertain)]), ['unknown unpriced']],
  ['in doubt at a free provider', stepOf([attempt(1, { ...uncertain, provider: 'ocr' })]), ['free-failure']],
  [
    'the same run under the same key',
    stepOf([attempt(1, { ...uncertain, evidence: { sameRunAs: 2 } }), attempt(2, { spend: spend('1') })], 2),
    ['same-run prevented', 'result'],
  ],
  [
    'found by a look-up',
    stepOf([attempt(1, { spend: spend('1'), evidence: { wasUncertain: true } })], 1),
    ['result prevented'],
  ],
  [
    'found not to have run',
    stepOf([attempt(1, { outcome: 'failed', error: failure('not-executed'), evidence: { wasUncertain: true } })]),
    ['free-failure'],
  ],
  [
    'a possible duplicate',
    stepOf(
      [
        attempt(1, { ...uncertain, spend: spend('0.05', 'upper-bound'), possibleDuplicate: true }),
        attempt(2, { spend: spend('1') }),
      ],
      2,
    ),
    ['unknown possible-duplicate', 'result'],
  ],
  [
    'a late answer: a duplicate for certain',
    stepOf(
      [
        attempt(1, { spend: spend('0.9'), possibleDuplicate: true, evidence: { wasUncertain: true } }),
        attempt(2, { spend: spend('1') }),
      ],
      2,
    ),
    ['superseded duplicate', 'result'],
  ],
  ['running', stepOf([attempt(1, { outcome: null, endedAt: null })]), ['running']],
]

const told = ({ explanation, doubt, unpriced }: LedgerAttempt): string =>
  [explanation, doubt, unpriced ? 'unpriced' : null].filter((word) => word !== null).join(' ')

const nameOf = (group: LedgerGroup): string =>
  JSON.stringify(Object.entries(group).toSorted(([a], [b]) => (a < b ? -1 : 1)))
const sorted = (groups: LedgerGroup[]): LedgerGroup[] => groups.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))

const everyPage = async (store: RecordStore, query: LedgerQuery, limit: number): Promise<LedgerAttempt[]> => {
  const found: LedgerAttempt[] = []
  for (let token: string | null = null; ;) {
    const page = await store.ledgerAttempts(query, {}, { limit, token })
    found.push(...page.items)
    if (page.next === null) return found
    token = page.next
  }
}

const suite = (name: string, make: () => Promise<{ store: RecordStore; dispose(): Promise<void> }>) =>
  describe(name, () => {
    let store: RecordStore
    let dispose: () => Promise<void>
    beforeAll(async () => {
      ;({ store, dispose } = await make())
      await store.insert(
        KINDS.map(([, step], n) => record(`k-${n}`, { acceptedAt: at(n), pipeline: 'kinds', steps: { read: step } })),
      )
      await store.insert([
        record('sim', { simulated: true, pipeline: 'kinds', steps: { read: stepOf([attempt(1)], 1) } }),
        record('paid', {
          source: 'clinic-b',
          pipeline: 'charged',
          acceptedAt: at(50),
          steps: {
            read: stepOf([attempt(1, { provider: 'ocr' }), attempt(2, { spend: spend('0.000000000001') })], 2),
            extract: stepOf([attempt(1, { spend: spend('999999999999999.999999999999') })], 1),
          },
          charges: { read: owed('0.40', 2), record: owed('1', null), extract: owed('0.1', 1, 'USD') },
        }),
      ])
    })
    afterAll(() => dispose())

    it.each(KINDS.map(([kind, , expected], n) => [kind, `k-${n}`, expected] as const))(
      'X1: %s',
      async (_kind, id, expected) => {
        const found = await everyPage(store, { ...all, pipeline: 'kinds' }, 200)
        expect(found.filter((one) => one.record === id).map(told)).toEqual(expected)
      },
    )

    it('leaves simulated records out', async () => {
      const found = await everyPage(store, { ...all, pipeline: 'kinds' }, 200)
      expect(found.map((one) => one.record)).not.toContain('sim')
    })

    it('sums amounts exactly, with charges at the provider whose answer was charged', async () => {
      const groups = await store.ledger({ ...all, pipeline: 'charged' })
      const of = { source: 'clinic-b', pipeline: 'charged', doubt: null, unpriced: false }
      expect(sorted(groups)).toEqual(
        sorted([
          { ...of, provider: 'gpt', entry: 'charge', basis: null, currency: 'EUR', count: 1, amount: '0.40' },
          { ...of, provider: 'gpt', entry: 'charge', basis: null, currency: 'USD', count: 1, amount: '0.1' },
          { ...of, provider: null, entry: 'charge', basis: null, currency: 'EUR', count: 1, amount: '1' },
          { ...of, provider: 'ocr', entry: 'superseded', basis: null, currency: null, count: 1, amount: '0' },
          {
            ...of,
            provider: 'gpt',
            entry: 'result',
            basis: 'reported',
            currency: 'USD',
            count: 2,
            amount: '1000000000000000.000000000000',
          },
        ]),
      )
    })

    it('keeps to the time, the source, the pipeline and the provider', async () => {
      const count = async (query: Partial<LedgerQuery>) =>
        (await store.ledger({ ...all, ...query })).reduce((sum, group) => sum + group.count, 0)
      expect(await count({ from: at(50), to: at(51) })).toBe(6)
      expect(await count({ from: at(50), to: at(50) })).toBe(0)
      expect(await count({ source: 'clinic-b' })).toBe(6)
      expect(await count({ pipeline: 'charged', provider: 'gpt' })).toBe(4)
      expect(await count({ pipeline: 'charged', source: 'clinic-a' })).toBe(0)
    })

    it('lists attempts newest record first, by step and number, in pages that leave none out', async () => {
      const whole = await everyPage(store, all, 200)
      const places = whole.map(({ record: id, step, n }) => `${id}/${step}/${n}`)
      expect(places.slice(0, 3)).toEqual(['paid/extract/1', 'paid/read/1', 'paid/read/2'])
      for (const limit of [1, 2, 5]) expect(await everyPage(store, all, limit)).toEqual(whole)
    })

    it('lists those of one explanation or doubt', async () => {
      const page = { limit: 50, token: null }
      const orphans = await store.ledgerAttempts(all, { explanation: 'orphan' }, page)
      expect(orphans.items.map(told)).toEqual(['orphan'])
      const prevented = await store.ledgerAttempts(all, { doubt: 'prevented' }, page)
      expect(prevented.items.map(told).sort()).toEqual(['result prevented', 'same-run prevented'])
    })
  })

suite('memory', async () => ({ store: createMemoryRecordStore({ sinks: [] }), dispose: async () => {} }))

const mongo = async (): Promise<{ store: RecordStore; db: FreshDb }> => {
  const db = await freshDb('ledger')
  await ensureIndexes(db.db, { sinks: [] })
  return { store: createMongoRecordStore(db.db, { sinks: [] }), db }
}
suite('MongoDB', async () => {
  const { store, db } = await mongo()
  return { store, dispose: db.dispose }
})

describe('MongoDB and memory', () => {
  let made: Awaited<ReturnType<typeof mongo>>
  beforeAll(async () => {
    made = await mongo()
  })
  afterAll(() => made.db.dispose())

  it('say the same of any records', async () => {
    let round = 0
    await fc.assert(
      fc.asyncProperty(
        fc
          .integer({ min: 1, max: 12 })
          .chain((count) => fc.tuple(...Array.from({ length: count }, (_, n) => anyRecord(`r-${n}`)))),
        fc.subarray(['ocr', 'claude', 'gpt']),
        async (docs, free) => {
          round += 1
          // A pipeline's name keeps one round's records from another's.
          const mine = docs.map((doc) => ({ ...doc, _id: `${round}-${doc._id}`, source: `${doc.source}-${round}` }))
          const memory = createMemoryRecordStore({ sinks: [] })
          for (const store of [memory, made.store])
            expect((await store.insert(mine)).every(({ kind }) => kind === 'inserted')).toBe(true)
          for (const source of [`clinic-a-${round}`, `clinic-b-${round}`]) {
            const query = { ...all, free, source }
            expect(sorted(await made.store.ledger(query))).toEqual(sorted(await memory.ledger(query)))
            expect(await everyPage(made.store, query, 3)).toEqual(await everyPage(memory, query, 3))
          }
        },
      ),
      { numRuns: 25 },
    )
  })

  it('MongoDB reads through an index of the lists', async () => {
    const plan = async (stages: object[], hint: string) =>
      JSON.stringify(await made.db.db.collection('records').aggregate(stages, { hint }).explain('queryPlanner'))
    for (const [query, index] of [
      [all, INDEX.list],
      [{ ...all, source: 's' }, INDEX.source],
      [{ ...all, pipeline: 'p' }, INDEX.pipeline],
    ] as const)
      for (const stages of [groupStages(query, 10), attemptStages(query, {}, {}, null, 10)]) {
        const explained = await plan(stages, index)
        expect(explained).toContain('"IXSCAN"')
        expect(explained).not.toContain('"COLLSCAN"')
        // Pages are cut by the index's order, not by sorting all of it.
        expect(explained).not.toContain('"SORT"')
      }
  })
})

describe('a server that takes too long', () => {
  it('is told from one that is away: ask for less, not again', async () => {
    const server = await startMongo()
    const client = await new MongoClient(server.url, { serverSelectionTimeoutMS: 10_000 }).connect()
    const db = client.db(uniqueName('slow'))
    await ensureIndexes(db, { sinks: [] })
    const store = createMongoRecordStore(db, { sinks: [] })
    const failing = (errorCode: number) =>
      client.db('admin').command({
        configureFailPoint: 'failCommand',
        mode: { times: 2 },
        data: { failCommands: ['aggregate'], errorCode },
      })
    try {
      await failing(50)
      await expect(store.ledger(all)).rejects.toMatchObject({ code: 'ledger-too-large' })
      await expect(store.ledgerAttempts(all, {}, { limit: 1, token: null })).rejects.toMatchObject({
        code: 'ledger-too-large',
      })
      await failing(10107)
      await expect(store.ledger(all)).rejects.toMatchObject({ code: 'store-unavailable' })
    } finally {
      await client.close()
      await server.dispose()
    }
  })
})
