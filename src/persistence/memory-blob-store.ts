/** The blob store's twin in memory, for tests and simulation. */
import { createHash, randomBytes } from 'node:crypto'
import { abortable } from './abortable.js'
import { BlobMissing, BlobTooLarge } from './contract.js'
import type { BlobStore } from './contract.js'

type Blob = { bytes: Buffer; sha256: string; at: Date }

export type MemoryBlobStoreOptions = { now?: () => Date; id?: () => string }

export const createMemoryBlobStore = (options: MemoryBlobStoreOptions = {}): BlobStore => {
  const { now = () => new Date(), id: freshId = () => randomBytes(12).toString('hex') } = options
  const blobs = new Map<string, Blob>()
  return {
    async put(bytes, { bytesMax, signal }) {
      const parts: Uint8Array[] = []
      let length = 0
      for await (const part of abortable(bytes, signal)) {
        length += part.length
        if (length > bytesMax) throw new BlobTooLarge(bytesMax)
        parts.push(Buffer.from(part))
      }
      signal?.throwIfAborted()
      const whole = Buffer.concat(parts, length)
      const sha256 = createHash('sha256').update(whole).digest('hex')
      const id = freshId()
      blobs.set(id, { bytes: whole, sha256, at: now() })
      return { id, sha256, bytes: length }
    },
    async *get(id) {
      const blob = blobs.get(id)
      if (!blob) throw new BlobMissing(`The blob ${id} is not there. It was removed, or never stored here.`)
      if (blob.bytes.length > 0) yield Buffer.from(blob.bytes)
    },
    remove(id) {
      blobs.delete(id)
      return Promise.resolve()
    },
    async collectGarbage(before, isReferenced, limit) {
      const old = [...blobs].flatMap(([id, { at }]) => (at < before ? [id] : []))
      const known = await isReferenced(old)
      const garbage = old.filter((id) => !known.has(id)).slice(0, limit)
      for (const id of garbage) blobs.delete(id)
      return garbage.length
    },
  }
}
