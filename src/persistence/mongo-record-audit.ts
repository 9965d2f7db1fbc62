/**
 * The auditor's port on MongoDB. One cursor lives for at most CURSOR_RECORDS_MAX records, then the next one goes on after
 * the last: a slow reader holds neither a cursor nor a snapshot for long. A reply has at most 16 MiB, and nothing is
 * fetched before the one at hand was used up: that bounds the memory.
 */
import type { Db, Document } from 'mongodb'
import { ObjectId } from 'mongodb'
import { z } from 'zod'
import { auditRow, sourceOf, WITHOUT_CONTENT } from './audit-rows.js'
import { BLOB_FILES } from './blob-collections.js'
import { COLLECTION_OPTIONS, recordsOf } from './collections.js'
import type { AuditRow, AuditScope, AuditTime, RecordAudit } from './contract.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { DEPLOYMENT } from './heartbeat-collections.js'
import { INDEX } from './indexes.js'
import type { StoredRecord } from './stored-form.js'

const BATCH = 100
const CURSOR_RECORDS_MAX = 2_000
const OPERATION_TIMEOUT_MS = 30_000
const MAJORITY = { readConcern: { level: 'majority' }, maxTimeMS: OPERATION_TIMEOUT_MS } as const

type Io = { db: Db }
/** Where the next cursor goes on. */
type Place = { id: string; at: Date }
type Read = { where: Document; sort: { [field: string]: 1 | -1 }; hint: string }

const NEWEST_FIRST = { acceptedAt: -1, _id: -1 } as const

const limited = <T>(what: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> =>
  reading(what, () => withDeadline(what, OPERATION_TIMEOUT_MS, work))

/** Q2 of queries.ts: the rest of the same time, then what lies before it. */
const newestFirst = (where: Document, hint: string, after: Place | null): Read[] =>
  after === null
    ? [{ where, sort: NEWEST_FIRST, hint }]
    : [
        { where: { ...where, acceptedAt: after.at, _id: { $lt: after.id } }, sort: NEWEST_FIRST, hint },
        { where: { $and: [where, { acceptedAt: { $lt: after.at } }] }, sort: NEWEST_FIRST, hint },
      ]

const readsOf = (scope: AuditScope, after: Place | null): Read[] => {
  const source = sourceOf(scope)
  if (scope.kind === 'unsettled') return newestFirst({ status: 'processing', ...source }, INDEX.status, after)
  if (scope.kind === 'accepted-since')
    return newestFirst(
      { acceptedAt: { $gte: scope.since }, ...source },
      source.source === undefined ? INDEX.list : INDEX.source,
      after,
    )
  if (source.source !== undefined) return newestFirst(source, INDEX.source, after)
  const ids = scope.kind === 'ids' ? { $in: [...scope.ids] } : {}
  const id = { ...ids, ...(after && { $gt: after.id }) }
  return [{ where: Object.keys(id).length > 0 ? { _id: id } : {}, sort: { _id: 1 }, hint: '_id_' }]
}

/** One cursor's batches. */
async function* batches(io: Io, read: Read, limit: number, signal: AbortSignal): AsyncGenerator<StoredRecord[]> {
  const pipeline = [{ $match: read.where }, { $sort: read.sort }, { $limit: limit }, WITHOUT_CONTENT]
  const options = { ...MAJORITY, hint: read.hint, batchSize: BATCH, signal }
  const cursor = recordsOf(io.db).aggregate<StoredRecord>(pipeline, options)
  try {
    while (await limited('Reading records for the audit', () => cursor.hasNext()))
      yield cursor.readBufferedDocuments() as StoredRecord[]
  } catch (error) {
    // Nobody wants more.
    if (!signal.aborted) throw error
  } finally {
    await withDeadline('Closing a cursor', OPERATION_TIMEOUT_MS, () => cursor.close()).catch(() => {})
  }
}

const limitOf = (scope: AuditScope): number =>
  scope.kind === 'unsettled' || scope.kind === 'accepted-since' ? scope.limit : Infinity

async function* readRows(io: Io, scope: AuditScope, signal: AbortSignal): AsyncGenerator<AuditRow[]> {
  let left = limitOf(scope)
  for (let after: Place | null = null; left > 0;) {
    const before: Place | null = after
    for (const read of readsOf(scope, before)) {
      const limit = Math.min(CURSOR_RECORDS_MAX, left)
      if (limit <= 0) return
      for await (const found of batches(io, read, limit, signal)) {
        if (signal.aborted) return
        left -= found.length
        const last = found.at(-1)
        if (last) after = { id: last._id, at: last.acceptedAt }
        if (found.length > 0) yield found.map(auditRow)
      }
    }
    if (after === before) return
  }
}

const deploymentDocument = z.object({
  lastBeat: z.date().nullish(),
  outages: z.array(z.object({ from: z.date(), to: z.date() })).default([]),
})

const readTime = async ({ db }: Io, gapMs: number): Promise<AuditTime> => {
  const [found, hello] = await Promise.all([
    limited('Reading outages', (signal) =>
      db.collection(DEPLOYMENT, COLLECTION_OPTIONS).findOne({ _id: 'deployment' as never }, { ...MAJORITY, signal }),
    ),
    limited('Asking for the time', (signal) => db.admin().command({ hello: 1 }, { signal })),
  ])
  const now = z.date().parse(hello['localTime'])
  const { lastBeat, outages } = deploymentDocument.parse(found ?? {})
  const since = lastBeat ?? new Date(0)
  // Nothing runs now: no time has passed since the last beat that counts.
  const goesOn = now.getTime() - since.getTime() > gapMs ? [{ from: since, to: now }] : []
  return { now, outages: [...outages, ...goesOn] }
}

const findMissing = async ({ db }: Io, ids: readonly string[]): Promise<Set<string>> => {
  const missing = new Set(ids)
  const wanted = ids.filter((id) => ObjectId.isValid(id)).map((id) => ObjectId.createFromHexString(id))
  for (let at = 0; at < wanted.length; at += 1_000) {
    const $in = wanted.slice(at, at + 1_000)
    const found = await limited('Looking for blobs', (signal) =>
      db
        .collection(BLOB_FILES, COLLECTION_OPTIONS)
        .find({ _id: { $in } }, { ...MAJORITY, projection: { _id: 1 }, signal })
        .toArray(),
    )
    for (const { _id } of found) missing.delete(_id.toHexString())
  }
  return missing
}

const countOf = async (io: Io, scope: AuditScope): Promise<number | null> => {
  if (scope.kind === 'ids') return scope.ids.length
  if (scope.kind !== 'all') return null
  const { source } = scope
  return limited('Counting records', (signal) =>
    source === undefined
      ? recordsOf(io.db).estimatedDocumentCount({ maxTimeMS: OPERATION_TIMEOUT_MS })
      : recordsOf(io.db).countDocuments({ source }, { ...MAJORITY, hint: INDEX.source, signal }),
  )
}

/** Writes nothing, and needs no more than a user who may read the database. */
export const createMongoRecordAudit = (db: Db): RecordAudit => {
  const io: Io = { db }
  return {
    read: (scope, signal) => readRows(io, scope, signal),
    count: (scope) => countOf(io, scope),
    time: (gapMs) => readTime(io, gapMs),
    missingBlobs: (ids) => findMissing(io, ids),
  }
}
