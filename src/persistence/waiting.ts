/**
 * The queue of each provider, read from the index: which sources wait, and whose turn it is among one source's records.
 *
 * W1 Both read the index in its order and nothing else: a million waiting records cost an index, not a sort. MongoDB
 *    sorts in memory when asked to sort by an array's field within bounds, so `waiting` names the index and asks for
 *    no sort; the order then is the index's.
 * W2 mongos mixes the shards' answers, so there the rows are sorted by the server, at the price of reading all of the
 *    source's waiting records.
 */
import type { Document } from 'mongodb'
import type { RecordStore, WaitingRecord } from './contract.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { INDEX } from './indexes.js'
import { findRecords } from './queries.js'
import type { Where } from './queries.js'
import type { StoreIo } from './store-io.js'
import type { StoredRecord } from './stored-form.js'

/** A loose index scan: one seek for each source. */
export const findWaitingSources = async (
  io: StoreIo,
  provider: string,
  limit: number,
  after?: string,
): Promise<string[]> => {
  const sources: string[] = []
  let last = after
  while (sources.length < limit) {
    const [next] = await findRecords<Pick<StoredRecord, 'source'>>(
      io,
      'Looking for waiting sources',
      { status: 'processing', 'queue.provider': provider, ...(last !== undefined && { source: { $gt: last } }) },
      { projection: { source: 1, _id: 0 }, sort: { source: 1 }, limit: 1, hint: INDEX.queue },
    )
    if (!next) break
    sources.push((last = next.source))
  }
  return sources
}

type WaitingQuery = Parameters<RecordStore['waiting']>[2]
type Row = Pick<StoredRecord, '_id' | 'version' | 'source' | 'queue'>

const PROJECTION = { version: 1, source: 1, queue: 1 } as const

/** Bounds of readyAt, and of the id where a page goes on among records of the same readyAt. */
type Range = { atLeast?: Date; over?: Date; atMost: Date; afterId?: string }

const rangesOf = ({ readyBefore, after }: WaitingQuery): Range[] => {
  if (!after) return [{ atMost: readyBefore }]
  if (after.readyAt > readyBefore) return []
  return [
    { atLeast: after.readyAt, atMost: after.readyAt, afterId: after.id },
    { over: after.readyAt, atMost: readyBefore },
  ]
}

const admits = (range: Range, readyAt: Date): boolean =>
  readyAt <= range.atMost && !(range.over && readyAt <= range.over) && !(range.atLeast && readyAt < range.atLeast)

const whereOf = (
  provider: string,
  source: string,
  { atLeast, over, atMost, afterId }: Range,
  { versions }: WaitingQuery,
): Where => ({
  status: 'processing',
  source,
  ...(versions && { pipelineVersion: { $in: versions } }),
  queue: {
    $elemMatch: { provider, readyAt: { ...(atLeast && { $gte: atLeast }), ...(over && { $gt: over }), $lte: atMost } },
  },
  ...(afterId !== undefined && { _id: { $gt: afterId } }),
})

/** The smallest readyAt of the record at this provider that the range admits. */
const toWaiting =
  (provider: string, range: Range) =>
  ({ _id, version, source, queue }: Row): WaitingRecord => {
    const times = queue.filter((entry) => entry.provider === provider && admits(range, entry.readyAt))
    const readyAt = new Date(Math.min(...times.map((entry) => entry.readyAt.getTime())))
    return { id: _id, version, source, readyAt }
  }

const WHAT = 'Looking for waiting records'

/** W1 */
const readInIndexOrder = (io: StoreIo, where: Where, limit: number): Promise<Row[]> =>
  findRecords<Row>(io, WHAT, where, { projection: PROJECTION, limit, hint: INDEX.queue })

/** W2 */
const readSorted = (io: StoreIo, where: Where, provider: string, range: Range, limit: number): Promise<Row[]> => {
  const admitted = [
    { $eq: ['$$this.provider', provider] },
    { $lte: ['$$this.readyAt', range.atMost] },
    ...(range.atLeast ? [{ $gte: ['$$this.readyAt', range.atLeast] }] : []),
    ...(range.over ? [{ $gt: ['$$this.readyAt', range.over] }] : []),
  ]
  const pipeline: Document[] = [
    { $match: where },
    { $project: { ...PROJECTION, turn: { $filter: { input: '$queue', cond: { $and: admitted } } } } },
    { $set: { turn: { $min: '$turn.readyAt' } } },
    { $sort: { turn: 1, _id: 1 } },
    { $limit: limit },
    { $unset: 'turn' },
  ]
  const options = { hint: INDEX.queue, maxTimeMS: io.operationTimeoutMs }
  return reading(WHAT, () =>
    withDeadline(WHAT, io.operationTimeoutMs, (signal) =>
      io.records.aggregate<Row>(pipeline, { ...options, signal }).toArray(),
    ),
  )
}

/** A record that waits twice at this provider stands once, at its first place. */
export const findWaiting = async (
  io: StoreIo,
  provider: string,
  source: string,
  query: WaitingQuery,
  sharded: boolean,
): Promise<WaitingRecord[]> => {
  const found: WaitingRecord[] = []
  for (const range of rangesOf(query)) {
    const limit = query.limit - found.length
    if (limit <= 0) break
    const where = whereOf(provider, source, range, query)
    if (found.length > 0) where._id = { $nin: found.map(({ id }) => id) }
    const rows = await (sharded ? readSorted(io, where, provider, range, limit) : readInIndexOrder(io, where, limit))
    found.push(...rows.map(toWaiting(provider, range)))
  }
  return found
}
