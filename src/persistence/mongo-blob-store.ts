/**
 * Blobs in MongoDB, in the layout of GridFS (any GridFS tool reads them), written and read without the driver's
 * streams: those can't be given time limits, and their abort deletes chunks while another is still being inserted.
 *
 * L1 The file document is inserted last, after a majority has every chunk: what has none does not exist.
 * L2 A put that fails waits for its own insert and removes what it wrote. What a crash leaves is orphan chunks, which
 *    `collectGarbage` finds.
 * L3 A get compares the bytes with the hash that put stored; damage ends it with an error.
 */
import { createHash } from 'node:crypto'
import { ObjectId } from 'mongodb'
import type { Collection, Db } from 'mongodb'
import { abortable } from './abortable.js'
import { BLOB_CHUNKS, BLOB_FILES } from './blob-collections.js'
import { collectBlobGarbage } from './blob-garbage.js'
import { removeBlob } from './blob-io.js'
import type { BlobChunk, BlobFile, BlobIo } from './blob-io.js'
import { COLLECTION_OPTIONS, durably } from './collections.js'
import { BlobMissing, BlobTooLarge, StoreUnavailable } from './contract.js'
import type { BlobStore } from './contract.js'
import { pause, withDeadline } from './deadline.js'
import { DUPLICATE_KEY, nameOf, reading } from './failures.js'

export type MongoBlobStoreOptions = { operationTimeoutMs?: number; chunkBytes?: number }

const CHUNK_BYTES = 1024 * 1024
const ATTEMPTS = 3
const RETRY_PAUSE_MS = 200

/**
 * Inserts until a majority is known to have it. The id is ours, so finding it taken proves an earlier try. The insert
 * is never given up before the server or the connection answered or its limit passed (L2).
 */
const insertSurely = async <T extends { _id: ObjectId }>(
  collection: Collection<T>,
  doc: T,
  timeoutMs: number,
): Promise<void> => {
  for (let attempt = 1; ; attempt += 1)
    try {
      await withDeadline('Storing a blob', timeoutMs, (signal) => {
        const options = { writeConcern: durably(Math.ceil(timeoutMs * 0.8)), signal }
        return collection.insertOne(doc as never, options)
      })
      return
    } catch (error) {
      if ((error as { code?: unknown }).code === DUPLICATE_KEY && attempt > 1) {
        const options = { readConcern: { level: 'majority' }, projection: { _id: 1 }, maxTimeMS: timeoutMs } as const
        if (await collection.findOne({ _id: doc._id } as never, options)) return
      }
      if (attempt >= ATTEMPTS) throw new StoreUnavailable(`Storing a blob failed: ${nameOf(error)}.`, { cause: error })
      await pause(RETRY_PAUSE_MS)
    }
}

/** Cuts a stream into pieces of `chunkBytes`; only the last may be shorter. */
async function* inChunks(bytes: AsyncIterable<Uint8Array>, chunkBytes: number): AsyncGenerator<Buffer> {
  let parts: Uint8Array[] = []
  let held = 0
  for await (const part of bytes) {
    let rest = part
    while (held + rest.length >= chunkBytes) {
      const taken = chunkBytes - held
      yield Buffer.concat([...parts, rest.subarray(0, taken)], chunkBytes)
      rest = rest.subarray(taken)
      parts = []
      held = 0
    }
    if (rest.length > 0) parts.push(rest)
    held += rest.length
  }
  if (held > 0) yield Buffer.concat(parts, held)
}

type Put = Awaited<ReturnType<BlobStore['put']>>

const putBlob = async (
  io: BlobIo,
  bytes: AsyncIterable<Uint8Array>,
  { bytesMax, signal, chunkBytes }: { bytesMax: number; signal: AbortSignal | undefined; chunkBytes: number },
): Promise<Put> => {
  const id = new ObjectId()
  const hash = createHash('sha256')
  let length = 0
  let n = 0
  try {
    const measured = async function* () {
      for await (const part of abortable(bytes, signal)) {
        length += part.length
        if (length > bytesMax) throw new BlobTooLarge(bytesMax)
        hash.update(part)
        yield part
      }
    }
    for await (const data of inChunks(measured(), chunkBytes)) {
      await insertSurely(io.chunks, { _id: new ObjectId(), files_id: id, n, data }, io.timeoutMs)
      n += 1
    }
    signal?.throwIfAborted()
    const sha256 = hash.digest('hex')
    const file = { _id: id, length, chunkSize: chunkBytes, uploadDate: new Date(), filename: '', metadata: { sha256 } }
    await insertSurely(io.files, file, io.timeoutMs)
    return { id: id.toHexString(), sha256, bytes: length }
  } catch (error) {
    await removeBlob(io, id).catch(() => {})
    throw error
  }
}

const missing = (id: string): BlobMissing =>
  new BlobMissing(`The blob ${id} is not there. It was removed, or never stored in this database.`)

const damaged = (id: string): BlobMissing =>
  new BlobMissing(`The blob ${id} is damaged: its bytes are not those that were stored. Restore it from a backup.`)

/** Chunks in order; a get that lives longer than one limit per chunk is cut. */
async function* chunksOf(io: BlobIo, id: ObjectId): AsyncGenerator<Buffer> {
  const cursor = io.chunks.find({ files_id: id }, { sort: { n: 1 }, batchSize: 2 })
  try {
    for (let n = 0; ; n += 1) {
      const chunk = await withDeadline('Reading a blob', io.timeoutMs, () => cursor.next())
      if (!chunk) return
      if (chunk.n !== n) throw damaged(id.toHexString())
      yield Buffer.isBuffer(chunk.data) ? chunk.data : Buffer.from(chunk.data.buffer)
    }
  } finally {
    await withDeadline('Closing a cursor', io.timeoutMs, () => cursor.close()).catch(() => {})
  }
}

async function* getBlob(io: BlobIo, id: string): AsyncGenerator<Uint8Array> {
  if (!ObjectId.isValid(id)) throw missing(id)
  const fileId = ObjectId.createFromHexString(id)
  const file = await reading('Reading a blob', () =>
    withDeadline('Reading a blob', io.timeoutMs, (signal) =>
      io.files.findOne({ _id: fileId }, { maxTimeMS: io.timeoutMs, signal }),
    ),
  )
  if (!file) throw missing(id)
  const hash = createHash('sha256')
  for await (const data of chunksOf(io, fileId)) {
    hash.update(data)
    yield data
  }
  if (hash.digest('hex') !== file.metadata.sha256) throw damaged(id)
}

export const createMongoBlobStore = (db: Db, options: MongoBlobStoreOptions = {}): BlobStore => {
  const { operationTimeoutMs = 10_000, chunkBytes = CHUNK_BYTES } = options
  const io: BlobIo = {
    files: db.collection<BlobFile>(BLOB_FILES, COLLECTION_OPTIONS),
    chunks: db.collection<BlobChunk>(BLOB_CHUNKS, COLLECTION_OPTIONS),
    timeoutMs: operationTimeoutMs,
  }
  return {
    put: (bytes, { bytesMax, signal }) => putBlob(io, bytes, { bytesMax, signal, chunkBytes }),
    get: (id) => getBlob(io, id),
    remove: (id) => (ObjectId.isValid(id) ? removeBlob(io, ObjectId.createFromHexString(id)) : Promise.resolve()),
    collectGarbage: (before, isReferenced, limit) => collectBlobGarbage(io, before, isReferenced, limit),
  }
}
