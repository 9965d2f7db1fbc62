/**
 * Sends a batch of writes once and says of each what the server's answer proves.
 *
 * Owns the reading of the driver's answers; knows nothing of versions or tokens (resolve-unknown.ts).
 * B1 `applied` is certain: the server matched all that it was sent and raised no write-concern error.
 * B2 `refused` is certain: this document can never be written, and was not.
 * B3 Everything else is `unclear`. A shortfall doesn't say whom it is about, so it makes all of them unclear.
 * B4 A batch that is turned away whole because of one document is halved until that one is alone (S4).
 */
import type { AnyBulkWriteOperation, BulkWriteOptions, BulkWriteResult } from 'mongodb'
import { durably } from './collections.js'
import { withDeadline } from './deadline.js'
import { DUPLICATE_KEY, nameOf, refusalOfBatch, refusalOfWriteError, writeErrorsOf } from './failures.js'
import type { Refusal } from './failures.js'
import type { StoreIo } from './store-io.js'
import type { StoredRecord } from './stored-form.js'

export type RecordWrite = AnyBulkWriteOperation<StoredRecord>
export type Sent = { kind: 'applied' } | Refusal | { kind: 'unclear'; message: string }

const APPLIED: Sent = { kind: 'applied' }
const SHORTFALL: Sent = { kind: 'unclear', message: 'another version is there' }

const bulkWrite = (io: StoreIo, writes: readonly RecordWrite[]): Promise<BulkWriteResult> =>
  withDeadline('A write of records', io.operationTimeoutMs, (signal) => {
    const options: BulkWriteOptions & { signal: AbortSignal } = {
      ordered: false,
      writeConcern: durably(Math.ceil(io.operationTimeoutMs * 0.8)),
      ignoreUndefined: true,
      signal,
    }
    return io.records.bulkWrite(writes, options)
  })

const sameForAll = (length: number, sent: Sent): Sent[] => Array.from({ length }, () => sent)

const doneIn = (result: BulkWriteResult): number => result.matchedCount + result.insertedCount

const fromWriteErrors = (error: { result?: BulkWriteResult }, count: number): Sent[] => {
  const errors = writeErrorsOf(error)
  const { result } = error
  const restIsDone = result !== undefined && !result.getWriteConcernError() && doneIn(result) === count - errors.length
  const sent: Sent[] = sameForAll(count, restIsDone ? APPLIED : SHORTFALL)
  for (const one of errors) {
    const message = one.code === DUPLICATE_KEY ? 'the id is taken' : `error code ${one.code}`
    sent[one.index] = refusalOfWriteError(one) ?? { kind: 'unclear', message }
  }
  return sent
}

/** Answers in the order of `writes`. Never rejects. */
export const sendBatch = async (io: StoreIo, writes: readonly RecordWrite[]): Promise<Sent[]> => {
  try {
    const result = await bulkWrite(io, writes)
    return sameForAll(writes.length, doneIn(result) === writes.length ? APPLIED : SHORTFALL)
  } catch (error) {
    if (writeErrorsOf(error).length > 0) return fromWriteErrors(error as { result?: BulkWriteResult }, writes.length)
    const refusal = refusalOfBatch(error)
    if (!refusal) return sameForAll(writes.length, { kind: 'unclear', message: nameOf(error) })
    if (writes.length === 1) return [refusal]
    const half = Math.ceil(writes.length / 2)
    return [...(await sendBatch(io, writes.slice(0, half))), ...(await sendBatch(io, writes.slice(half)))]
  }
}
