/**
 * Removes blobs that no record names: those of refused or abandoned submissions, and the chunks of uploads that died
 * with their process.
 *
 * An upload in progress has chunks and no file yet. It is told from a dead one by its newest chunk: whoever is silent
 * for `UPLOAD_SILENT_MS` is dead, whatever `before` says.
 */
import { ObjectId } from 'mongodb'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { removeBlob } from './blob-io.js'
import type { BlobIo } from './blob-io.js'

const PAGE = 256
const UPLOAD_SILENT_MS = 30 * 60_000

const oldestId = (at: Date): ObjectId => ObjectId.createFromTime(Math.floor(at.getTime() / 1000))

const filesAfter = (io: BlobIo, last: ObjectId | null, before: Date): Promise<ObjectId[]> =>
  withDeadline('Looking for old blobs', io.timeoutMs, async (signal) => {
    const where = { uploadDate: { $lt: before }, ...(last && { _id: { $gt: last } }) }
    const options = { projection: { _id: 1 }, sort: { _id: 1 }, limit: PAGE, maxTimeMS: io.timeoutMs, signal } as const
    return (await io.files.find(where, options).toArray()).map(({ _id }) => _id)
  })

type IsReferenced = (ids: readonly string[]) => Promise<Set<string>>

const removeUnreferenced = async (io: BlobIo, before: Date, isReferenced: IsReferenced, limit: number) => {
  let removed = 0
  for (let last: ObjectId | null = null; removed < limit;) {
    const page: ObjectId[] = await filesAfter(io, last, before)
    if (page.length === 0) break
    last = page.at(-1)!
    const known = await isReferenced(page.map((id) => id.toHexString()))
    const garbage = page.filter((id) => !known.has(id.toHexString())).slice(0, limit - removed)
    for (const id of garbage) await removeBlob(io, id)
    removed += garbage.length
  }
  return removed
}

/** Ids of files with chunks, in order, whatever the chunks' number: one seek each in the chunks' own index. */
const chunkOwnersAfter = (io: BlobIo, last: ObjectId | null, before: Date): Promise<ObjectId[]> =>
  withDeadline('Looking for orphan chunks', io.timeoutMs, async (signal) => {
    const owners: ObjectId[] = []
    for (let at = last; owners.length < PAGE;) {
      const where = { files_id: { $lt: oldestId(before), ...(at && { $gt: at }) } }
      const options = { projection: { files_id: 1, _id: 0 }, sort: { files_id: 1, n: 1 }, limit: 1, signal } as const
      const [next] = await io.chunks.find(where, { ...options, maxTimeMS: io.timeoutMs }).toArray()
      if (!next) break
      owners.push((at = next.files_id))
    }
    return owners
  })

const isSilent = async (io: BlobIo, owner: ObjectId): Promise<boolean> => {
  const options = { projection: { _id: 1 }, sort: { n: -1 }, maxTimeMS: io.timeoutMs } as const
  const newest = await withDeadline('Looking for orphan chunks', io.timeoutMs, (signal) =>
    io.chunks.findOne({ files_id: owner }, { ...options, signal }),
  )
  return newest !== null && newest._id.getTimestamp().getTime() < Date.now() - UPLOAD_SILENT_MS
}

const removeOrphans = async (io: BlobIo, before: Date, limit: number): Promise<number> => {
  let removed = 0
  for (let last: ObjectId | null = null; removed < limit;) {
    const owners: ObjectId[] = await chunkOwnersAfter(io, last, before)
    if (owners.length === 0) break
    last = owners.at(-1)!
    const options = { projection: { _id: 1 }, maxTimeMS: io.timeoutMs } as const
    const files = await io.files.find({ _id: { $in: owners } }, options).toArray()
    const whole = new Set(files.map(({ _id }) => _id.toHexString()))
    for (const owner of owners) {
      if (removed >= limit || whole.has(owner.toHexString()) || !(await isSilent(io, owner))) continue
      await removeBlob(io, owner)
      removed += 1
    }
  }
  return removed
}

/** Answers how many blobs and dead uploads were removed. Throws `StoreUnavailable`, and what `isReferenced` throws. */
export const collectBlobGarbage = (
  io: BlobIo,
  before: Date,
  isReferenced: IsReferenced,
  limit: number,
): Promise<number> =>
  reading('Collecting blobs', async () => {
    const removed = await removeUnreferenced(io, before, isReferenced, limit)
    return removed + (await removeOrphans(io, before, limit - removed))
  })
