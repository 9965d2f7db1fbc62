/**
 * Documents that this process has just written: the next event of such a record needs no read. A stale copy is harmless,
 * because its save finds another version and reloads.
 */
import type { RecordDocument } from '../machines/record.js'

export type RecentRecords = {
  put(doc: RecordDocument): void
  take(id: string): RecordDocument | undefined
}

/** Larger documents are read again rather than held. */
const HELD_BYTES_MAX = 16 * 1024

export const createRecentRecords = (countMax: number): RecentRecords => {
  const held = new Map<string, RecordDocument>()
  const sizeOf = (doc: RecordDocument) =>
    doc.input.payload.bytes +
    Object.values(doc.steps).reduce((sum, { result }) => sum + (result?.payload.bytes ?? 0), 0)
  return {
    put(doc) {
      held.delete(doc._id)
      if (doc.status !== 'processing' || sizeOf(doc) > HELD_BYTES_MAX) return
      held.set(doc._id, doc)
      if (held.size > countMax) held.delete(held.keys().next().value!)
    },
    take(id) {
      const doc = held.get(id)
      held.delete(id)
      return doc
    },
  }
}
