/**
 * The record store on MongoDB: one file per statement, put together here. Invariants S1 to S4 of contract.ts.
 * The client is the caller's and stays open; indexes are made by `ensureIndexes`, the server is checked by
 * `assertDeployment`.
 */
import type { Db } from 'mongodb'
import { listCharges } from './charges.js'
import type { RecordStore } from './contract.js'
import { isSharded } from './deployment.js'
import { insertRecords } from './insert.js'
import { listLedger, sumLedger } from './ledger.js'
import { loadRecords } from './load.js'
import { findUnsent, markSending, markSent } from './outbox.js'
import {
  countByStatus,
  findDue,
  findByHandle,
  findReferencedBlobs,
  findUnknownVersions,
  listRecords,
} from './queries.js'
import { reading } from './failures.js'
import { saveRecords } from './save.js'
import { storeIo } from './store-io.js'
import type { MongoRecordStoreOptions } from './store-io.js'
import { findWaiting, findWaitingSources } from './waiting.js'

export type { MongoRecordStoreOptions } from './store-io.js'

export const createMongoRecordStore = (db: Db, options: MongoRecordStoreOptions = {}): RecordStore => {
  const closing = new AbortController()
  const io = storeIo(db, options, closing.signal)
  let sharded: boolean | null = null
  return {
    insert: (docs) => insertRecords(io, docs),
    save: (saves) => saveRecords(io, saves),
    load: (ids, loadOptions) => loadRecords(io, ids, loadOptions),
    due: (query) => findDue(io, query),
    waitingSources: (provider, limit, after) => findWaitingSources(io, provider, limit, after),
    waiting: async (provider, source, query) => {
      sharded ??= await reading('Asking for the kind of deployment', () => isSharded(db))
      return findWaiting(io, provider, source, query, sharded)
    },
    unknownVersions: (known, limit) => findUnknownVersions(io, known, limit),
    referencedBlobs: (ids) => findReferencedBlobs(io, ids),
    byHandle: (provider, handle) => findByHandle(io, provider, handle),
    list: (filter, page) => listRecords(io, filter, page),
    charges: (filter, page) => listCharges(io, filter, page),
    ledger: (query) => sumLedger(io, query),
    ledgerAttempts: (query, only, page) => listLedger(io, query, only, page),
    counts: () => countByStatus(io),
    unsent: (sink, limit, after) => findUnsent(io, sink, limit, after),
    markSending: (sink, sending) => markSending(io, sink, sending),
    markSent: (sink, sent) => markSent(io, sink, sent),
    close: () => {
      closing.abort()
      return Promise.resolve()
    },
  }
}
