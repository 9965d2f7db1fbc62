/** Errors that leave a write possibly done, or certainly not done but worth another try: from the server's own fail points. */
import { MongoClient } from 'mongodb'
import type { Document } from 'mongodb'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { RecordStore } from '../../src/persistence/contract.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { applied, record, save } from '../contract/record-store-documents.js'
import { startMongo } from '../support/servers.js'
import type { OwnServer } from '../support/servers.js'

let server: OwnServer
let client: MongoClient
let store: RecordStore
beforeAll(async () => {
  server = await startMongo()
  client = await new MongoClient(server.url, { serverSelectionTimeoutMS: 5_000, heartbeatFrequencyMS: 500 }).connect()
  await ensureIndexes(client.db('faults'))
  store = createMongoRecordStore(client.db('faults'), { operationTimeoutMs: 1_500, resolveTimeoutMs: 5_000 })
})
afterAll(async () => {
  await store.close()
  await client.close()
  await server.dispose()
})

const failPoint = (mode: unknown, data: Document): Promise<Document> =>
  client.db('admin').command({ configureFailPoint: 'failCommand', mode, data })
afterEach(() => failPoint('off', {}))

let records = 0
const stored = async () => {
  const doc = record(`r${(records += 1)}`)
  expect(await store.insert([doc])).toEqual([{ kind: 'inserted' }])
  return doc
}

const WTIMEOUT = { code: 64, codeName: 'WriteConcernFailed', errmsg: 'waiting timed out', errInfo: { wtimeout: true } }

it('a write-concern timeout after the write: found to be ours, once', async () => {
  const doc = await stored()
  const change = save(doc._id, 1, { set: { generation: 2 } })
  await failPoint({ times: 1 }, { failCommands: ['update'], writeConcernError: WTIMEOUT })
  expect(await store.save([change])).toEqual([{ kind: 'saved' }])
  expect(await store.load([doc._id])).toEqual([applied(doc, change)])
})

it('write-concern timeouts of a batch with a stale record: each its own answer', async () => {
  const docs = [await stored(), await stored(), await stored()]
  const moved = save(docs[1]!._id, 1)
  await store.save([moved])
  await failPoint({ times: 2 }, { failCommands: ['update'], writeConcernError: WTIMEOUT })
  const outcomes = await store.save(docs.map(({ _id }) => save(_id, 1)))
  expect(outcomes).toEqual([
    { kind: 'saved' },
    { kind: 'conflict', current: applied(docs[1]!, moved) },
    { kind: 'saved' },
  ])
})

it('a write-concern timeout of an insert: found to be ours', async () => {
  await failPoint({ times: 1 }, { failCommands: ['insert'], writeConcernError: WTIMEOUT })
  const doc = await stored()
  expect(await store.load([doc._id])).toEqual([doc])
})

it.each([
  ['a connection that closes before the write', { closeConnection: true }],
  ['a primary that is none any more', { errorCode: 10107 }],
  ['a primary that steps down, as often as the driver tries', { errorCode: 189 }],
  ['a full disk', { errorCode: 14031 }],
  ['an interrupted command', { errorCode: 11601 }],
])('%s: version unmoved, the same save is sent again', async (_name, data) => {
  const doc = await stored()
  const change = save(doc._id, 1)
  await failPoint({ times: 3 }, { failCommands: ['update'], ...data })
  expect(await store.save([change])).toEqual([{ kind: 'saved' }])
  expect(await store.load([doc._id])).toEqual([applied(doc, change)])
})

it('a disk that stays full: unknown within the limit, and never refused', async () => {
  const doc = await stored()
  const change = save(doc._id, 1)
  await failPoint('alwaysOn', { failCommands: ['update'], errorCode: 14031 })
  const since = performance.now()
  expect(await store.save([change])).toMatchObject([{ kind: 'unknown' }])
  expect(performance.now() - since).toBeLessThan(8_000)
  await failPoint('off', {})
  expect(await store.save([change])).toEqual([{ kind: 'saved' }])
})

it('a store that is closed while it looks for an outcome answers at once', async () => {
  const doc = await stored()
  const closing = createMongoRecordStore(client.db('faults'), { resolveTimeoutMs: 60_000 })
  await failPoint('alwaysOn', { failCommands: ['update'], errorCode: 14031 })
  const answer = closing.save([save(doc._id, 1)])
  await closing.close()
  expect(await answer).toMatchObject([{ kind: 'unknown' }])
})

it('a server that blocks: the wait ends, the write is found', async () => {
  const doc = await stored()
  const change = save(doc._id, 1)
  await failPoint({ times: 1 }, { failCommands: ['update'], blockConnection: true, blockTimeMS: 2_500 })
  expect(await store.save([change])).toEqual([{ kind: 'saved' }])
  expect(await store.load([doc._id], { majority: true })).toEqual([applied(doc, change)])
})

it('a server that blocks reads: StoreUnavailable within the limit', async () => {
  const doc = await stored()
  await failPoint({ times: 1 }, { failCommands: ['find'], blockConnection: true, blockTimeMS: 2_500 })
  await expect(store.load([doc._id])).rejects.toMatchObject({ code: 'store-unavailable' })
  expect(await store.load([doc._id])).toEqual([doc])
})

it('a frozen server and one that comes back after SIGKILL: no save is lost or doubled', async () => {
  const doc = await stored()
  const change = save(doc._id, 1)
  await server.signal('SIGSTOP')
  const answer = store.save([change])
  const settled = Promise.race([answer, new Promise((resolve) => setImmediate(() => resolve('open')))])
  expect(await settled).toBe('open')
  await server.signal('SIGCONT')
  expect(await answer).toEqual([{ kind: 'saved' }])
  await server.signal('SIGKILL')
  const next = save(doc._id, 2)
  const during = store.save([next])
  await server.start()
  const [outcome] = await during
  if (outcome?.kind === 'unknown') expect(await store.save([next])).toEqual([{ kind: 'saved' }])
  else expect(outcome).toEqual({ kind: 'saved' })
  expect(await store.load([doc._id])).toEqual([applied(applied(doc, change), next)])
})
