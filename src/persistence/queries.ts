/**
 * Reads that go through an index: due records, pages of records, counts, records of unknown pipelines.
 *
 * Q1 Each filter holds the filter of the partial index that serves it.
 * Q2 A page goes on after (key, _id) in two reads: the rest of the same key, then what lies beyond it. One read with
 *    an `or` would scan all ties again for each page, and after an outage there may be 100,000 of them.
 */
import { handleEntry } from './call-handles.js'
import type { Document, Filter, FindOptions } from 'mongodb'
import { RECORD_STATUSES } from '../machines/record.js'
import type { RecordStatus } from '../machines/record.js'
import type { DueRecord, Page, RecordDocument, RecordFilter, RecordStore } from './contract.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { INDEX } from './indexes.js'
import { parseRecordToken, recordToken } from './page-token.js'
import type { StoreIo } from './store-io.js'
import { decodeRecord } from './stored-form.js'
import type { StoredRecord } from './stored-form.js'

export type Where = Filter<StoredRecord>

export const findRecords = <T extends Document>(
  io: StoreIo,
  what: string,
  where: Where,
  options: FindOptions,
): Promise<T[]> =>
  reading(what, () =>
    withDeadline(what, io.operationTimeoutMs, (signal) =>
      io.records.find<T>(where, { ...options, maxTimeMS: io.operationTimeoutMs, signal }).toArray(),
    ),
  )

/** Q2. `reads` lead on from one another; stops when `limit` is reached. */
export const readOn = async <T>(limit: number, reads: readonly ((limit: number) => Promise<T[]>)[]): Promise<T[]> => {
  const items: T[] = []
  for (const read of reads) if (items.length < limit) items.push(...(await read(limit - items.length)))
  return items
}

const ALL_SHARDS = 256

export const findDue = (io: StoreIo, query: Parameters<RecordStore['due']>[0]): Promise<DueRecord[]> => {
  const { now, after, shards, limit } = query
  const part: Where =
    shards.from <= 0 && shards.to >= ALL_SHARDS ? {} : { shard: { $gte: shards.from, $lt: shards.to } }
  const read = (where: Where) => async (max: number) => {
    const found = await findRecords<Pick<StoredRecord, '_id' | 'version'> & { wakeAt: Date }>(
      io,
      'Looking for due records',
      { status: 'processing', ...part, ...where },
      { projection: { version: 1, wakeAt: 1 }, sort: { wakeAt: 1, _id: 1 }, limit: max, hint: INDEX.due },
    )
    return found.map(({ _id, version, wakeAt }) => ({ id: _id, version, wakeAt }))
  }
  if (!after) return readOn(limit, [read({ wakeAt: { $lte: now } })])
  if (after.wakeAt > now) return Promise.resolve([])
  return readOn(limit, [
    read({ wakeAt: after.wakeAt, _id: { $gt: after.id } }),
    read({ wakeAt: { $gt: after.wakeAt, $lte: now } }),
  ])
}

export const listRecords = async (
  io: StoreIo,
  filter: RecordFilter,
  page: { limit: number; token: string | null },
): Promise<Page<RecordDocument>> => {
  const read = (where: Where) => (max: number) =>
    findRecords<StoredRecord>(
      io,
      'Listing records',
      { ...filter, ...where },
      { sort: { acceptedAt: -1, _id: -1 }, limit: max },
    )
  const after = page.token === null ? null : parseRecordToken(page.token)
  const found = await readOn(
    page.limit + 1,
    after
      ? [read({ acceptedAt: after.at, _id: { $lt: after.id } }), read({ acceptedAt: { $lt: after.at } })]
      : [read({})],
  )
  const items = found.slice(0, page.limit).map(decodeRecord)
  const last = items.at(-1)
  return { items, next: found.length > page.limit && last ? recordToken({ at: last.acceptedAt, id: last._id }) : null }
}

export const countByStatus = async (io: StoreIo): Promise<{ [status in RecordStatus]: number }> => {
  const counted = RECORD_STATUSES.map((status) =>
    reading('Counting records', () =>
      withDeadline('Counting records', io.operationTimeoutMs, (signal) => {
        const options = { hint: INDEX.status, maxTimeMS: io.operationTimeoutMs, signal }
        return io.records.countDocuments({ status }, options)
      }),
    ),
  )
  const counts = await Promise.all(counted)
  return Object.fromEntries(RECORD_STATUSES.map((status, at) => [status, counts[at]!])) as {
    [status in RecordStatus]: number
  }
}

/** Versions in use at once; each costs one read. More than this many are looked at next time. */
const VERSIONS_MAX = 200

const versionsInUse = async (io: StoreIo): Promise<string[]> => {
  const versions: string[] = []
  for (let last = ''; versions.length < VERSIONS_MAX;) {
    const [next] = await findRecords<Pick<StoredRecord, 'pipelineVersion'>>(
      io,
      'Looking for pipeline versions in use',
      { status: 'processing', pipelineVersion: { $gt: last } },
      { projection: { pipelineVersion: 1 }, sort: { pipelineVersion: 1 }, limit: 1, hint: INDEX.pipelineVersion },
    )
    if (!next) break
    versions.push((last = next.pipelineVersion))
  }
  return versions
}

/** Null first, as MongoDB sorts. */
export const byWakeAt = (a: { _id: string; wakeAt: Date | null }, b: { _id: string; wakeAt: Date | null }): number =>
  (a.wakeAt?.getTime() ?? -1) - (b.wakeAt?.getTime() ?? -1) || (a._id < b._id ? -1 : 1)

export const findUnknownVersions = async (io: StoreIo, known: readonly string[], limit: number): Promise<string[]> => {
  const unknown = (await versionsInUse(io)).filter((version) => !known.includes(version))
  const found: Pick<StoredRecord, '_id' | 'wakeAt'>[] = []
  for (const pipelineVersion of unknown)
    found.push(
      ...(await findRecords<Pick<StoredRecord, '_id' | 'wakeAt'>>(
        io,
        'Looking for records of unknown pipelines',
        { status: 'processing', pipelineVersion },
        { projection: { wakeAt: 1 }, sort: { wakeAt: 1, _id: 1 }, limit, hint: INDEX.pipelineVersion },
      )),
    )
  return found
    .sort(byWakeAt)
    .slice(0, limit)
    .map(({ _id }) => _id)
}

export const findReferencedBlobs = async (io: StoreIo, ids: readonly string[]): Promise<Set<string>> => {
  const found = await findRecords<{ blobs: string[] }>(
    io,
    'Looking for the records of blobs',
    { blobs: { $in: [...ids], $exists: true } },
    { projection: { blobs: 1, _id: 0 }, hint: INDEX.blobs },
  )
  const named = new Set(found.flatMap(({ blobs }) => blobs))
  return new Set(ids.filter((id) => named.has(id)))
}

export const findByHandle = async (io: StoreIo, provider: string, handle: string): Promise<string | null> => {
  // Both conditions: without the second the partial index does not serve the first.
  const named = { $eq: handleEntry(provider, handle), $exists: true }
  const [found] = await findRecords<Pick<StoredRecord, '_id'>>(
    io,
    'Looking for a call by its id',
    { handles: named },
    { projection: { _id: 1 }, limit: 1, hint: INDEX.handles },
  )
  return found?._id ?? null
}
