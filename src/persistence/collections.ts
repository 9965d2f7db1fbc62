/**
 * Names and driver options of the collections. The options are set here, not trusted from the client, because a
 * service that embeds Endstate brings its own client.
 */
import { ReadPreference } from 'mongodb'
import type { Collection, CollectionOptions, Db } from 'mongodb'
import type { StoredRecord } from './stored-form.js'

export const RECORDS = 'records'

/** S2. `wtimeout` ends a wait for a majority that is away; the write then counts as unknown. */
export const durably = (wtimeoutMS: number) => ({ w: 'majority', j: true, wtimeoutMS }) as const

export const COLLECTION_OPTIONS: CollectionOptions = {
  readPreference: ReadPreference.primary,
  ignoreUndefined: true,
  promoteValues: true,
  promoteLongs: true,
  promoteBuffers: true,
  useBigInt64: false,
  raw: false,
}

export const recordsOf = (db: Db): Collection<StoredRecord> => db.collection<StoredRecord>(RECORDS, COLLECTION_OPTIONS)
