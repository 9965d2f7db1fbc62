/** A three-member set loses its primary, or its majority, in the middle of batches. */
import { MongoClient } from 'mongodb'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RecordStore, Save, SaveOutcome } from '../../src/persistence/contract.js'
import { createGroupCommit } from '../../src/persistence/group-commit.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { record, save } from '../contract/record-store-documents.js'
import { startMongod3 } from '../support/servers.js'
import type { ReplicaSet3 } from '../support/servers.js'

const RECORDS = 64
const ROUNDS_AFTER = 5

let set: ReplicaSet3
let client: MongoClient
let store: RecordStore
beforeAll(async () => {
  set = await startMongod3()
  client = await new MongoClient(set.url, { serverSelectionTimeoutMS: 10_000, heartbeatFrequencyMS: 500 }).connect()
  await ensureIndexes(client.db('election'))
  store = createMongoRecordStore(client.db('election'), { operationTimeoutMs: 3_000 })
}, 90_000)
afterAll(async () => {
  await store.close()
  await client.close()
  await set.dispose()
})

const untilKnown = async (one: Save): Promise<SaveOutcome> => {
  const [outcome] = await store.save([one])
  return outcome!.kind === 'unknown' ? untilKnown(one) : outcome!
}

it('a primary that steps down in mid-batch: every save is done once', { timeout: 90_000 }, async () => {
  const writer = createGroupCommit(store)
  const ids = Array.from({ length: RECORDS }, (_, n) => `s${n}`)
  await store.insert(ids.map((id) => record(id)))
  let steppedDown = false
  const run = async (id: string): Promise<number> => {
    let version = 1
    for (let left = ROUNDS_AFTER; left > 0; version += 1) {
      expect(await writer.save(save(id, version))).toEqual({ kind: 'saved' })
      if (steppedDown) left -= 1
    }
    return version
  }
  const runs = Promise.all(ids.map(run))
  await set.stepDown()
  steppedDown = true
  const versions = await runs
  await writer.drain()
  const docs = await store.load(ids, { majority: true })
  docs.forEach((doc, n) => {
    expect(doc?.version).toBe(versions[n])
    expect(doc?.history.map(({ version }) => version)).toEqual(Array.from({ length: versions[n]! }, (_, at) => at + 1))
  })
})

it('a majority that is away: nothing is called saved; with it back the same save is', { timeout: 90_000 }, async () => {
  await store.insert([record('m')])
  const change = save('m', 1)
  const hello = await client.db('admin').command({ hello: 1 })
  const ports = (hello['hosts'] as string[]).map((host) => Number(host.split(':')[1]))
  const primaryPort = Number(String(hello['primary']).split(':')[1])
  const pids = set.pids()
  const others = await Promise.all(
    ports.map(async (port) => {
      const direct = await new MongoClient(`mongodb://127.0.0.1:${port}/?directConnection=true`).connect()
      const { pid } = await direct.db('admin').command({ serverStatus: 1 }, { readPreference: 'nearest' })
      await direct.close()
      return { port, pid: Number(pid) }
    }),
  )
  const secondaries = others.filter(({ port }) => port !== primaryPort).map(({ pid }) => pid)
  expect(pids).toEqual(expect.arrayContaining(secondaries))
  for (const pid of secondaries) process.kill(pid, 'SIGSTOP')
  try {
    const [outcome] = await store.save([change])
    expect(outcome).toMatchObject({ kind: 'unknown' })
  } finally {
    for (const pid of secondaries) process.kill(pid, 'SIGCONT')
  }
  expect(await untilKnown(change)).toEqual({ kind: 'saved' })
  const [doc] = await store.load(['m'], { majority: true })
  expect(doc?.history.filter(({ writer }) => writer === change.writer)).toHaveLength(1)
})
