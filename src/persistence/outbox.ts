/**
 * Facts on their way out. `unsent.<sink>` holds the time of the oldest fact that a sink has not got; a partial index
 * on it finds the records. Marking does not touch the version: saves append to the outbox, this fills in `sent`.
 */
import type { Document } from 'mongodb'
import type { UnsentRecord } from './contract.js'
import { durably } from './collections.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { INDEX } from './indexes.js'
import { findRecords, readOn } from './queries.js'
import type { Where } from './queries.js'
import type { StoreIo } from './store-io.js'
import { decodeOutboxEntry } from './stored-form.js'
import type { StoredRecord } from './stored-form.js'

export const assertSink = (sinks: readonly string[], sink: string): void => {
  if (!sinks.includes(sink))
    throw new Error(
      `The sink "${sink}" is not declared (declared: ${sinks.join(', ')}). Name it in the store's \`sinks\`.`,
    )
}

type Unsent = Pick<StoredRecord, '_id' | 'source' | 'pipeline' | 'simulated' | 'outbox' | 'unsent'>

export const toUnsent = ({ _id, source, pipeline, simulated, outbox, unsent }: Unsent, sink: string): UnsentRecord => ({
  id: _id,
  source,
  pipeline,
  simulated,
  at: unsent![sink]!,
  entries: outbox.filter((entry) => !entry.sent[sink]).map(decodeOutboxEntry),
})

export const findUnsent = async (
  io: StoreIo,
  sink: string,
  limit: number,
  after: { at: Date; id: string } | null = null,
): Promise<UnsentRecord[]> => {
  assertSink(io.sinks, sink)
  const field = `unsent.${sink}`
  const read = (where: Where) => (max: number) =>
    findRecords<Unsent>(io, 'Looking for unsent facts', where, {
      projection: { source: 1, pipeline: 1, simulated: 1, outbox: 1, unsent: 1 },
      sort: { [field]: 1, _id: 1 },
      limit: max,
      hint: INDEX.unsent(sink),
    })
  const found = await readOn(
    limit,
    after
      ? [
          read({ [field]: { $exists: true, $eq: after.at }, _id: { $gt: after.id } }),
          read({ [field]: { $exists: true, $gt: after.at } }),
        ]
      : [read({ [field]: { $exists: true } })],
  )
  return found.map((one) => toUnsent(one, sink))
}

/** Of each entry in `seqs`: what `changed` makes of it. */
const changeEntries = (seqs: readonly number[], changed: Document): Document => ({
  $map: { input: '$outbox', in: { $cond: [{ $in: ['$$this.seq', [...seqs]] }, changed, '$$this'] } },
})

/** An update pipeline: the entries' `sent`, then the oldest time that is left, or no field. */
const markPipeline = (sink: string, seqs: readonly number[]): Document[] => {
  const sentAt = { $ifNull: [`$$this.sent.${sink}`, '$$NOW'] }
  const marked = { $mergeObjects: ['$$this', { sent: { $mergeObjects: ['$$this.sent', { [sink]: sentAt }] } }] }
  const outbox = changeEntries(seqs, marked)
  const left = { $filter: { input: '$outbox', cond: { $eq: [{ $type: `$$this.sent.${sink}` }, 'missing'] } } }
  const oldest = { $min: { $map: { input: left, in: '$$this.at' } } }
  return [{ $set: { outbox } }, { $set: { [`unsent.${sink}`]: { $ifNull: [oldest, '$$REMOVE'] } } }]
}

const sendingPipeline = (sink: string, seqs: readonly number[], anew: readonly number[]): Document[] => {
  const first = {
    $cond: [{ $in: ['$$this.seq', [...anew]] }, '$$NOW', { $ifNull: [`$$this.sending.${sink}.first`, '$$NOW'] }],
  }
  const sending = { $mergeObjects: ['$$this.sending', { [sink]: { first, last: '$$NOW' } }] }
  return [{ $set: { outbox: changeEntries(seqs, { $mergeObjects: ['$$this', { sending }] }) } }]
}

type Place = { id: string; seq: number }

/** One update a record. */
const updateEach = async <T extends Place>(
  io: StoreIo,
  what: string,
  places: readonly T[],
  update: (places: readonly T[]) => Document[],
): Promise<void> => {
  if (places.length === 0) return
  const byId = new Map<string, T[]>()
  for (const place of places) byId.set(place.id, [...(byId.get(place.id) ?? []), place])
  const updates = [...byId].map(([id, of]) => ({ updateOne: { filter: { _id: id }, update: update(of) } }))
  await reading(what, () =>
    withDeadline(what, io.operationTimeoutMs, (signal) => {
      const options = { ordered: false, writeConcern: durably(io.operationTimeoutMs), signal }
      return io.records.bulkWrite(updates, options)
    }),
  )
}

const seqsOf = (places: readonly Place[]): number[] => places.map(({ seq }) => seq)

/** Lost marks cost a repeated send, which sinks must bear (facts leave at least once). */
export const markSent = async (io: StoreIo, sink: string, sent: readonly Place[]): Promise<void> => {
  assertSink(io.sinks, sink)
  await updateEach(io, 'Marking facts as sent', sent, (of) => markPipeline(sink, seqsOf(of)))
}

export const markSending = async (
  io: StoreIo,
  sink: string,
  sending: readonly (Place & { anew?: boolean })[],
): Promise<void> => {
  assertSink(io.sinks, sink)
  await updateEach(io, 'Marking facts that are about to be sent', sending, (of) =>
    sendingPipeline(sink, seqsOf(of), seqsOf(of.filter(({ anew }) => anew === true))),
  )
}
