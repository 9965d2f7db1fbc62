/** The documents of a blob, in the layout of GridFS, and their removal. */
import type { Binary, Collection, ObjectId } from 'mongodb'
import { durably } from './collections.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'

export type BlobFile = {
  _id: ObjectId
  length: number
  chunkSize: number
  uploadDate: Date
  filename: string
  metadata: { sha256: string }
}
export type BlobChunk = { _id: ObjectId; files_id: ObjectId; n: number; data: Buffer | Binary }
export type BlobIo = { files: Collection<BlobFile>; chunks: Collection<BlobChunk>; timeoutMs: number }

/** Deletes the file first, so that nobody sees a file without its chunks. */
export const removeBlob = (io: BlobIo, id: ObjectId): Promise<void> =>
  reading('Removing a blob', () =>
    withDeadline('Removing a blob', io.timeoutMs, async (signal) => {
      const options = { writeConcern: durably(io.timeoutMs), signal }
      await io.files.deleteOne({ _id: id }, options)
      await io.chunks.deleteMany({ files_id: id }, options)
    }),
  )
