/** A MongoDB that dies in the middle of an upload: an error within the limit, nothing half-written to be read. */
import { randomBytes } from 'node:crypto'
import { MongoClient } from 'mongodb'
import { expect, it } from 'vitest'
import { BLOB_FILES } from '../../src/persistence/blob-collections.js'
import { createMongoBlobStore } from '../../src/persistence/mongo-blob-store.js'
import { startMongo, testMongoUrl, uniqueName } from '../support/servers.js'
import { startTcpProxy } from '../support/tcp-proxy.js'

const CHUNK = 64 * 1024
const LIMITS = { chunkBytes: CHUNK, operationTimeoutMs: 1_500 }

const readAll = async (bytes: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const all: Uint8Array[] = []
  for await (const part of bytes) all.push(part)
  return Buffer.concat(all)
}

it('an upload during which the server is killed fails, and the same bytes go in when it is back', async () => {
  const server = await startMongo()
  const client = await new MongoClient(server.url, { serverSelectionTimeoutMS: 1_000 }).connect()
  try {
    const db = client.db('blobs')
    const store = createMongoBlobStore(db, LIMITS)
    const bytes = randomBytes(4 * CHUNK)
    async function* killing() {
      yield bytes.subarray(0, 2 * CHUNK)
      await server.signal('SIGKILL')
      yield bytes.subarray(2 * CHUNK)
    }
    await expect(store.put(killing(), { bytesMax: 1e6 })).rejects.toMatchObject({ code: 'store-unavailable' })
    await server.start()
    async function* again() {
      yield bytes
    }
    const put = () => store.put(again(), { bytesMax: 1e6 })
    const { id } = await put().catch(put)
    expect((await readAll(store.get(id))).equals(bytes)).toBe(true)
    expect(await db.collection(BLOB_FILES).countDocuments()).toBe(1)
  } finally {
    await client.close()
    await server.dispose()
  }
})

it('an upload whose replies are lost is stored once, whole', async () => {
  const proxy = await startTcpProxy(testMongoUrl())
  const client = await new MongoClient(proxy.url, { serverSelectionTimeoutMS: 2_000 }).connect()
  const db = client.db(uniqueName('blob-replies'))
  try {
    const store = createMongoBlobStore(db, LIMITS)
    const bytes = randomBytes(3 * CHUNK)
    async function* losing() {
      yield bytes.subarray(0, CHUNK)
      proxy.loseReplies('insert', 2)
      yield bytes.subarray(CHUNK, 2 * CHUNK)
      proxy.loseReplies('insert', 2)
      proxy.loseReplies('insert', 1, { cut: false })
      yield bytes.subarray(2 * CHUNK)
    }
    const { id } = await store.put(losing(), { bytesMax: 1e6 })
    expect(proxy.lost()).toBeGreaterThanOrEqual(4)
    expect((await readAll(store.get(id))).equals(bytes)).toBe(true)
  } finally {
    await db.dropDatabase()
    await client.close()
    await proxy.close()
  }
})
