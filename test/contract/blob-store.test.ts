/** What every blob store must do, on memory and on real MongoDB; then what only GridFS can show. */
import { createHash, randomBytes } from 'node:crypto'
import { GridFSBucket, ObjectId } from 'mongodb'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BLOB_BUCKET, BLOB_CHUNKS, BLOB_FILES } from '../../src/persistence/blob-collections.js'
import type { BlobStore } from '../../src/persistence/contract.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { createMongoBlobStore } from '../../src/persistence/mongo-blob-store.js'
import { freshDb } from '../support/servers.js'
import type { FreshDb } from '../support/servers.js'

const CHUNK = 64 * 1024
const MIB = 1024 * 1024

async function* parts(bytes: Uint8Array, size = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const readAll = async (store: BlobStore, id: string): Promise<Buffer> => {
  const all: Uint8Array[] = []
  for await (const part of store.get(id)) all.push(part)
  return Buffer.concat(all)
}

const nobody = async () => new Set<string>()
const later = () => new Date(Date.now() + 60_000)

/** Yields forever-waiting silence after the first part, as a client that went away without a word. */
async function* silentAfter(bytes: Uint8Array, onSilence: () => void): AsyncGenerator<Uint8Array> {
  yield bytes
  onSilence()
  await new Promise(() => {})
}

type World = { store: BlobStore; left(): Promise<number>; dispose(): Promise<void> }

const worlds: [string, () => Promise<World>][] = [
  [
    'memory',
    async () => {
      const store = createMemoryBlobStore()
      return { store, left: () => store.collectGarbage(later(), nobody, 1_000), dispose: async () => {} }
    },
  ],
  [
    'MongoDB',
    async () => {
      const { db, dispose } = await freshDb('blobs')
      await ensureIndexes(db)
      const left = async () =>
        (await db.collection(BLOB_FILES).countDocuments()) + (await db.collection(BLOB_CHUNKS).countDocuments())
      return { store: createMongoBlobStore(db, { chunkBytes: CHUNK }), left, dispose }
    },
  ],
]

describe.each(worlds)('the blob store: %s', (_name, make) => {
  let world: World
  let store: BlobStore
  beforeAll(async () => {
    world = await make()
    store = world.store
  })
  afterAll(() => world.dispose())

  it('leaves nothing behind of what was too large, broke off, or was aborted', async () => {
    const bytes = randomBytes(5 * CHUNK)
    await expect(store.put(parts(bytes), { bytesMax: 4 * CHUNK })).rejects.toMatchObject({
      code: 'blob-too-large',
      bytesMax: 4 * CHUNK,
    })
    async function* broken() {
      yield* parts(bytes)
      throw new Error('connection reset')
    }
    await expect(store.put(broken(), { bytesMax: MIB })).rejects.toThrow('connection reset')
    const aborting = new AbortController()
    const silent = silentAfter(bytes, () => aborting.abort(new Error('client gone')))
    await expect(store.put(silent, { bytesMax: MIB, signal: aborting.signal })).rejects.toThrow('client gone')
    await expect(
      store.put(parts(bytes), { bytesMax: MIB, signal: AbortSignal.abort(new Error('before')) }),
    ).rejects.toThrow('before')
    expect(await world.left()).toBe(0)
  })

  it.each([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 5 * CHUNK + 17])('keeps %i bytes', async (length) => {
    const bytes = randomBytes(length)
    for (const size of [977, CHUNK, 3 * CHUNK]) {
      const put = await store.put(parts(bytes, size), { bytesMax: length })
      expect(put).toEqual({ id: put.id, bytes: length, sha256: createHash('sha256').update(bytes).digest('hex') })
      expect((await readAll(store, put.id)).equals(bytes)).toBe(true)
    }
  })

  it.each(['nothing', '', '0123456789abcdef01234567'])('answers BlobMissing for %j', async (id) => {
    await expect(readAll(store, id)).rejects.toMatchObject({ code: 'blob-missing' })
    await store.remove(id)
  })

  it('removes a blob', async () => {
    const { id } = await store.put(parts(randomBytes(3 * CHUNK)), { bytesMax: MIB })
    await store.remove(id)
    await expect(readAll(store, id)).rejects.toMatchObject({ code: 'blob-missing' })
    await store.remove(id)
  })

  it('collects what nobody names, no more than asked, and nothing that is young', async () => {
    await store.collectGarbage(later(), nobody, 1_000)
    const ids: string[] = []
    for (let n = 0; n < 5; n += 1) ids.push((await store.put(parts(randomBytes(100)), { bytesMax: 100 })).id)
    const named = async (some: readonly string[]) => new Set(some.filter((id) => id === ids[1] || id === ids[3]))
    expect(await store.collectGarbage(new Date(Date.now() - 60_000), named, 10)).toBe(0)
    expect(await store.collectGarbage(later(), named, 2)).toBe(2)
    expect(await store.collectGarbage(later(), named, 10)).toBe(1)
    expect(await store.collectGarbage(later(), named, 10)).toBe(0)
    expect(await readAll(store, ids[3]!)).toHaveLength(100)
  })

  it('stays flat in memory while it refuses an endless stream', async () => {
    let given = 0
    const part = randomBytes(CHUNK)
    async function* endless() {
      for (;;) {
        given += part.length
        yield part
      }
    }
    await expect(store.put(endless(), { bytesMax: 2 * MIB })).rejects.toMatchObject({ code: 'blob-too-large' })
    expect(given).toBeLessThanOrEqual(2 * MIB + 2 * CHUNK)
  })
})

describe('blobs in GridFS', () => {
  let fresh: FreshDb
  let store: BlobStore
  beforeAll(async () => {
    fresh = await freshDb('gridfs')
    await ensureIndexes(fresh.db)
    store = createMongoBlobStore(fresh.db, { chunkBytes: CHUNK })
  })
  afterAll(() => fresh.dispose())

  it('are read by any GridFS tool, and theirs by us', async () => {
    const bytes = randomBytes(3 * CHUNK + 5)
    const { id } = await store.put(parts(bytes), { bytesMax: MIB })
    const bucket = new GridFSBucket(fresh.db, { bucketName: BLOB_BUCKET })
    const read = await bucket.openDownloadStream(ObjectId.createFromHexString(id)).toArray()
    expect(Buffer.concat(read as Buffer[]).equals(bytes)).toBe(true)
  })

  it('that lost or changed a chunk are never given out as whole', async () => {
    const chunks = fresh.db.collection(BLOB_CHUNKS)
    const damage: ((files_id: ObjectId) => Promise<unknown>)[] = [
      (files_id) => chunks.deleteOne({ files_id, n: 1 }),
      (files_id) => chunks.deleteOne({ files_id, n: 2 }),
      (files_id) => chunks.updateOne({ files_id, n: 0 }, { $set: { data: randomBytes(CHUNK) } }),
    ]
    for (const damaged of damage) {
      const { id } = await store.put(parts(randomBytes(3 * CHUNK)), { bytesMax: MIB })
      await damaged(ObjectId.createFromHexString(id))
      await expect(readAll(store, id)).rejects.toThrow('damaged')
    }
  })

  it('of uploads that died leave chunks, which are collected; uploads in progress are left alone', async () => {
    const chunks = fresh.db.collection(BLOB_CHUNKS)
    const old = Math.floor(Date.now() / 1000) - 7_200
    const dead = ObjectId.createFromTime(old)
    const alive = ObjectId.createFromTime(old + 1)
    await chunks.insertMany([
      { _id: ObjectId.createFromTime(old + 2), files_id: dead, n: 0, data: randomBytes(10) },
      { _id: ObjectId.createFromTime(old + 3), files_id: dead, n: 1, data: randomBytes(10) },
      { _id: ObjectId.createFromTime(old + 4), files_id: alive, n: 0, data: randomBytes(10) },
      { _id: new ObjectId(), files_id: alive, n: 1, data: randomBytes(10) },
    ])
    const everybody = async (ids: readonly string[]) => new Set(ids)
    expect(await store.collectGarbage(new Date(Date.now() - 60_000), everybody, 10)).toBe(1)
    expect(await chunks.countDocuments({ files_id: dead })).toBe(0)
    expect(await chunks.countDocuments({ files_id: alive })).toBe(2)
  })
})
