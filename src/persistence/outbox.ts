/**
 * Facts on their way out. `unsent.<sink>` holds the time of the oldest fact that a sink has not got; a partial index
 * on it finds the records. Marking does not touch the version: saves append to the outbox, this fills in `sent`.
 */
import type { Document } from 'mongodb'
import type { OutboxEntry } from './contract.js'
import { durably } from './collections.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { INDEX } from './indexes.js'
import { findRecords } from './queries.js'
import type { StoreIo } from './store-io.js'
import { decodeOutboxEntry } from './stored-form.js'
import type { StoredRecord } from './stored-form.js'

export const assertSink = (sinks: readonly string[], sink: string): void => {
  if (!sinks.includes(sink))
    throw new Error(
      `The sink "${sink}" is not declared (declared: ${sinks.join(', ')}). Name it in the store's \`sinks\`.`,
    )
}

export const findUnsent = async (
  io: StoreIo,
  sink: string,
  limit: number,
): Promise<{ id: string; entries: OutboxEntry[] }[]> => {
  assertSink(io.sinks, sink)
  const found = await findRecords<Pick<StoredRecord, '_id' | 'outbox'>>(
    io,
    'Looking for unsent facts',
    { [`unsent.${sink}`]: { $exists: true } },
    { projection: { outbox: 1 }, sort: { [`unsent.${sink}`]: 1, _id: 1 }, limit, hint: INDEX.unsent(sink) },
  )
  return found.map(({ _id, outbox }) => ({
    id: _id,
    entries: outbox.filter((entry) => !entry.sent[sink]).map(decodeOutboxEntry),
  }))
}

/** An update pipeline: the entries' `sent`, then the oldest time that is left, or no field. */
const markPipeline = (sink: string, seqs: readonly number[]): Document[] => {
  const sentAt = { $ifNull: [`$$this.sent.${sink}`, '$$NOW'] }
  const marked = { $mergeObjects: ['$$this', { sent: { $mergeObjects: ['$$this.sent', { [sink]: sentAt }] } }] }
  const outbox = {
    $map: { input: '$outbox', in: { $cond: [{ $in: ['$$this.seq', [...seqs]] }, marked, '$$this'] } },
  }
  const left = { $filter: { input: '$outbox', cond: { $eq: [{ $type: `$$this.sent.${sink}` }, 'missing'] } } }
  const oldest = { $min: { $map: { input: left, in: '$$this.at' } } }
  return [{ $set: { outbox } }, { $set: { [`unsent.${sink}`]: { $ifNull: [oldest, '$$REMOVE'] } } }]
}

/** Lost marks cost a repeated send, which sinks must bear (facts leave at least once). */
export const markSent = async (
  io: StoreIo,
  sink: string,
  sent: readonly { id: string; seq: number }[],
): Promise<void> => {
  assertSink(io.sinks, sink)
  if (sent.length === 0) return
  const seqsById = new Map<string, number[]>()
  for (const { id, seq } of sent) seqsById.set(id, [...(seqsById.get(id) ?? []), seq])
  const updates = [...seqsById].map(([id, seqs]) => ({
    updateOne: { filter: { _id: id }, update: markPipeline(sink, seqs) },
  }))
  await reading('Marking facts as sent', () =>
    withDeadline('Marking facts as sent', io.operationTimeoutMs, (signal) => {
      const options = { ordered: false, writeConcern: durably(io.operationTimeoutMs), signal }
      return io.records.bulkWrite(updates, options)
    }),
  )
}
