/** What the statements of the MongoDB record store share: the collection, the sinks and the limits of every wait. */
import type { Collection, Db } from 'mongodb'
import type { StoredRecord } from './stored-form.js'
import { recordsOf } from './collections.js'

export type MongoRecordStoreOptions = {
  /** Who gets facts from the outbox. Each has an index; make them with `ensureIndexes(db, { sinks })`. */
  sinks?: readonly string[]
  /** One operation's limit. */
  operationTimeoutMs?: number
  /** How long an unknown outcome is looked into before the answer is `unknown`. An election may take 12 s. */
  resolveTimeoutMs?: number
  /** The same while the batch's other records already have their answers. */
  stragglerTimeoutMs?: number
}

export type StoreIo = {
  db: Db
  records: Collection<StoredRecord>
  sinks: readonly string[]
  operationTimeoutMs: number
  resolveTimeoutMs: number
  stragglerTimeoutMs: number
  closed: AbortSignal
}

export const DEFAULT_SINKS: readonly string[] = ['nats']

export const storeIo = (db: Db, options: MongoRecordStoreOptions, closed: AbortSignal): StoreIo => ({
  db,
  records: recordsOf(db),
  sinks: options.sinks ?? DEFAULT_SINKS,
  operationTimeoutMs: options.operationTimeoutMs ?? 5_000,
  resolveTimeoutMs: options.resolveTimeoutMs ?? 15_000,
  stragglerTimeoutMs: options.stragglerTimeoutMs ?? 1_000,
  closed,
})
