/** Memory and MongoDB give the same answers to the same commands, whatever the commands: else simulation proves nothing. */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RecordStore, Save } from '../../src/persistence/contract.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { RECORDS } from '../../src/persistence/collections.js'
import { storeIo } from '../../src/persistence/store-io.js'
import { findWaiting } from '../../src/persistence/waiting.js'
import { freshDb } from '../support/servers.js'
import type { FreshDb } from '../support/servers.js'
import { at, charge, fact, queued, record, save, stepWith } from './record-store-documents.js'

type Command = (store: RecordStore) => Promise<unknown>

const ids = fc.constantFrom('r0', 'r1', 'r2', 'r3')
const seconds = fc.integer({ min: 0, max: 6 }).map(at)
const provider = fc.constantFrom('gpt', 'ocr')
const source = fc.constantFrom('sa', 'sb')
const status = fc.constantFrom('processing' as const, 'processing' as const, 'completed' as const, 'rejected' as const)
const queue = fc.array(fc.tuple(provider, seconds), { maxLength: 3 }).map((all) => all.map(([p, t]) => queued(p, t)))
const charges = fc.dictionary(
  fc.constantFrom('read', 'record'),
  seconds.map((when) => charge('1', when)),
  {
    maxKeys: 2,
    noNullPrototype: true,
  },
)
const json = fc.jsonValue({ maxDepth: 2 })
const limit = fc.integer({ min: 1, max: 3 })
const wakeAt = fc.option(seconds)

/** Commands are made once and run on both stores, so that both get the same writer tokens. */
const insert = fc
  .array(fc.record({ _id: ids, source, status, queue, wakeAt, acceptedAt: seconds, snapshot: json, charges }), {
    minLength: 1,
    maxLength: 3,
  })
  .map((all): Command => {
    const docs = all.map((changes) => record(changes._id, changes))
    return (store) => store.insert(docs)
  })

const oneSave = fc
  .record({
    id: ids,
    version: fc.integer({ min: 1, max: 4 }),
    set: fc.record({ status, queue, wakeAt, snapshot: json }, { requiredKeys: [] }),
    charges,
    text: fc.option(fc.string()),
    facts: fc.array(seconds, { maxLength: 2 }),
  })
  .map(({ id, version, text, facts, ...rest }): Save =>
    save(id, version, {
      ...rest,
      steps: text === null ? {} : { read: stepWith(text) },
      outbox: facts.map((when, n) => fact(version * 10 + n, when, { n })),
    }),
  )
const saves = fc.uniqueArray(oneSave, { minLength: 1, maxLength: 3, selector: ({ id }) => id }).map(
  (all): Command =>
    (store) =>
      store.save(all),
)
const saveTwice = oneSave.map((one): Command => async (store) => [await store.save([one]), await store.save([one])])

const readTwoPages = async <T>(read: (token: string | null) => Promise<{ items: T[]; next: string | null }>) => {
  const first = await read(null)
  return [first, first.next === null ? null : await read(first.next)]
}

const waitingQueries = fc.tuple(
  provider,
  source,
  fc.record({ readyBefore: seconds, after: fc.option(fc.record({ readyAt: seconds, id: ids })), limit }),
)

const reads = fc.oneof(
  fc.array(ids, { maxLength: 4 }).map(
    (all): Command =>
      (store) =>
        store.load(all),
  ),
  fc.record({ now: seconds, after: fc.option(fc.record({ wakeAt: seconds, id: ids })), limit }).map(
    (query): Command =>
      (store) =>
        store.due({ ...query, shards: { from: 0, to: 256 } }),
  ),
  fc.tuple(provider, limit).map(
    ([p, max]): Command =>
      (store) =>
        store.waitingSources(p, max),
  ),
  fc
    .tuple(
      provider,
      source,
      fc.record({ readyBefore: seconds, after: fc.option(fc.record({ readyAt: seconds, id: ids })), limit }),
    )
    .map(
      ([p, s, query]): Command =>
        (store) =>
          store.waiting(p, s, query),
    ),
  fc.tuple(fc.record({ source, status }, { requiredKeys: [] }), limit).map(
    ([filter, max]): Command =>
      (store) =>
        readTwoPages((token) => store.list(filter, { limit: max, token })),
  ),
  fc.tuple(fc.record({ source, from: seconds, to: seconds }, { requiredKeys: [] }), limit).map(
    ([filter, max]): Command =>
      (store) =>
        readTwoPages((token) => store.charges(filter, { limit: max, token })),
  ),
  fc.tuple(fc.subarray(['v1', 'v2']), limit).map(
    ([known, max]): Command =>
      (store) =>
        store.unknownVersions(known, max),
  ),
  fc.constant<Command>((store) => store.counts()),
  limit.map(
    (max): Command =>
      async (store) =>
        (await store.unsent('nats', max)).map(({ id, entries }) => [id, entries]),
  ),
)

const marks = fc.array(fc.record({ id: ids, seq: fc.constantFrom(10, 11, 20, 21, 30) }), { maxLength: 3 }).map(
  (sent): Command =>
    (store) =>
      store.markSent('nats', sent),
)

const commands = fc.array(
  fc.oneof({ weight: 3, arbitrary: insert }, { weight: 5, arbitrary: saves }, saveTwice, marks, {
    weight: 6,
    arbitrary: reads,
  }),
  { minLength: 5, maxLength: 25 },
)

let fresh: FreshDb
beforeAll(async () => {
  fresh = await freshDb('agreement')
  await ensureIndexes(fresh.db)
})
afterAll(() => fresh.dispose())

/** `sent` holds the time of marking by each store's own clock: only that it is there counts. */
const withoutSentTimes = (answer: unknown): unknown =>
  JSON.parse(
    JSON.stringify(answer, (key, value: unknown) => (key === 'sent' ? Object.keys(value as object) : value)) ?? 'null',
  )

it('answers alike', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (sequence) => {
      await fresh.db.collection(RECORDS).deleteMany({})
      const memory = createMemoryRecordStore()
      const mongo = createMongoRecordStore(fresh.db)
      for (const command of sequence) {
        const [expected, found] = [await command(memory), await command(mongo)]
        expect(withoutSentTimes(found)).toEqual(withoutSentTimes(expected))
      }
    }),
    { numRuns: 60 },
  )
})

it('answers alike behind a mongos, where the server sorts the waiting records', { timeout: 60_000 }, async () => {
  const io = storeIo(fresh.db, {}, new AbortController().signal)
  const records = fc.array(fc.tuple(source, queue), { minLength: 8, maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(records, fc.array(waitingQueries, { minLength: 10, maxLength: 20 }), async (all, queries) => {
      await fresh.db.collection(RECORDS).deleteMany({})
      const docs = all.map(([of, waits], n) => record(`r${n}`, { source: of, queue: waits }))
      await createMongoRecordStore(fresh.db).insert(docs)
      for (const [p, s, query] of queries)
        expect(await findWaiting(io, p, s, query, true)).toEqual(await findWaiting(io, p, s, query, false))
    }),
    { numRuns: 15 },
  )
})
