/**
 * The write is done and its reply is lost, as often as the driver tries: the store finds out, and nobody decides anew
 * (S3). This is the failure that the project exists for.
 */
import { MongoClient } from 'mongodb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { RecordStore } from '../../src/persistence/contract.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { applied, at, charge, record, save, stepWith } from '../contract/record-store-documents.js'
import { freshDb, testMongoUrl } from '../support/servers.js'
import type { FreshDb } from '../support/servers.js'
import { startTcpProxy } from '../support/tcp-proxy.js'
import type { TcpProxy } from '../support/tcp-proxy.js'

const OPERATION_MS = 1_000

let fresh: FreshDb
let proxy: TcpProxy
let client: MongoClient
/** Through the proxy. */
let store: RecordStore
/** Straight to the server: another process. */
let other: RecordStore

beforeEach(async () => {
  fresh = await freshDb('lost-reply')
  await ensureIndexes(fresh.db)
  proxy = await startTcpProxy(testMongoUrl())
  client = await new MongoClient(proxy.url, { heartbeatFrequencyMS: 500, serverSelectionTimeoutMS: 2_000 }).connect()
  store = createMongoRecordStore(client.db(fresh.db.databaseName), {
    operationTimeoutMs: OPERATION_MS,
    resolveTimeoutMs: 6_000,
  })
  other = createMongoRecordStore(fresh.db)
})
afterEach(async () => {
  await store.close()
  await client.close()
  await proxy.close()
  await fresh.dispose()
})

const result = (id: string, version: number) =>
  save(id, version, {
    set: { status: 'completed' },
    steps: { read: stepWith('{}') },
    charges: { read: charge('0.40', at(2)) },
  })

const modes = [
  ['the connection is cut', true],
  ['the client waits in vain', false],
] as const

describe.each(modes)('a reply is lost and %s', (_name, cut) => {
  it('a save whose replies are all lost is found to be ours, once', async () => {
    const doc = record('a')
    await other.insert([doc])
    const change = result('a', 1)
    proxy.loseReplies('update', 2, { cut })
    expect(await store.save([change])).toEqual([{ kind: 'saved' }])
    expect(proxy.lost()).toBe(cut ? 2 : 1)
    expect(await other.load(['a'], { majority: true })).toEqual([applied(doc, change)])
  })

  it('and another process saves the next version meanwhile: still ours, and nothing is written over', async () => {
    const doc = record('b')
    await other.insert([doc])
    const change = result('b', 1)
    const next = save('b', 2, { set: { generation: 2 } })
    const answers: unknown[] = []
    const onLost = async () => void answers.push(...(await other.save([next])))
    proxy.loseReplies('update', 1, { cut, onLost })
    proxy.loseReplies('update', 1, { cut })
    expect(await store.save([change])).toEqual([{ kind: 'saved' }])
    expect(answers).toEqual([{ kind: 'saved' }])
    expect(await other.load(['b'])).toEqual([applied(applied(doc, change), next)])
  })

  it('a stale save whose replies are lost is a conflict, never ours', async () => {
    const doc = record('c')
    await other.insert([doc])
    const moved = save('c', 1)
    await other.save([moved])
    proxy.loseReplies('update', 2, { cut })
    expect(await store.save([result('c', 1)])).toEqual([{ kind: 'conflict', current: applied(doc, moved) }])
  })

  it('an insert whose replies are all lost is found to be ours; one that lost its race is not', async () => {
    await other.insert([record('taken')])
    const [taken] = await other.load(['taken'])
    const doc = record('d')
    proxy.loseReplies('insert', 2, { cut })
    expect(await store.insert([doc, record('taken', { contentHash: 'other' })])).toEqual([
      { kind: 'inserted' },
      { kind: 'exists', current: taken },
    ])
    expect(await other.load(['d'])).toEqual([doc])
  })

  it('a batch of 64 whose replies are lost: each has its own answer', async () => {
    const docs = Array.from({ length: 64 }, (_, n) => record(`e${n}`))
    await other.insert(docs)
    await other.save([save('e7', 1)])
    proxy.loseReplies('update', 2, { cut })
    const outcomes = await store.save(docs.map(({ _id }) => result(_id, 1)))
    expect(outcomes.map(({ kind }) => kind)).toEqual(docs.map(({ _id }) => (_id === 'e7' ? 'conflict' : 'saved')))
  })
})

it('replies of the reads that would find out are lost too: it asks again', async () => {
  await other.insert([record('f')])
  proxy.loseReplies('update', 2)
  proxy.loseReplies('find', 3)
  expect(await store.save([result('f', 1)])).toEqual([{ kind: 'saved' }])
  expect(proxy.lost()).toBe(5)
})

it('a server that stays away leaves the outcome unknown within the limit, and the same save settles it later', async () => {
  await other.insert([record('g')])
  const change = result('g', 1)
  proxy.loseReplies('update', 1, { onLost: () => proxy.sever() })
  const [unknown] = await store.save([change])
  expect(unknown).toMatchObject({ kind: 'unknown' })
  await expect(store.load(['g'])).rejects.toMatchObject({ code: 'store-unavailable' })
  proxy.restore()
  expect(await store.save([change])).toEqual([{ kind: 'saved' }])
  const [loaded] = await other.load(['g'])
  expect(loaded?.history).toHaveLength(2)
})
