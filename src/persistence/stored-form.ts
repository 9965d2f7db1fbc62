/**
 * The form in which a record lies in MongoDB, and the way there and back.
 *
 * Owns the difference between RecordDocument and what is stored:
 * F1 Whatever a pipeline or a submitter shaped (snapshot, events, facts, metadata; payloads are text already) is stored
 *    as JSON text, because BSON can't hold all JSON: it turns `$ref` into a DBRef, refuses `_bsontype` and nesting over 180,
 *    and mends broken surrogates. It is also cheaper to write and to read.
 * F2 `chargedAt` and `unsent` exist for indexes alone and are derived from what the same write stores.
 * F3 Reading checks `_id`, version and status and trusts the rest, which only this code writes; the deep check is
 *    `faultsOf` in documents.ts.
 */
import { blobsOf } from './blob-references.js'
import { handlesOfSteps } from './call-handles.js'
import type { OutboxEntry } from '../machines/record.js'
import { RECORD_STATUSES } from '../machines/record.js'
import type { HistoryEntry, MutableFields, RecordDocument } from './contract.js'

export type StoredHistoryEntry = Omit<HistoryEntry, 'event'> & { event: string }
export type StoredOutboxEntry = Omit<OutboxEntry, 'data'> & { data: string }

export type StoredRecord = Omit<RecordDocument, 'metadata' | 'snapshot' | 'history' | 'outbox'> & {
  metadata: string
  snapshot: string
  history: StoredHistoryEntry[]
  outbox: StoredOutboxEntry[]
  /** Blobs that this record names. Absent without any. */
  blobs?: string[]
  /** The providers' own ids of this record's calls. Absent without any. */
  handles?: string[]
  /** When each charge was made. Absent without charges. */
  chargedAt?: Date[]
  /** Per sink, the time of the oldest fact that it has not got. Absent when it has all. */
  unsent?: { [sink: string]: Date }
}

/** A stored document that can't be a record: changed by other hands than this store's. */
export class RecordUnreadable extends Error {
  readonly code = 'record-unreadable'
}

const toJson = (value: unknown): string => JSON.stringify(value) ?? 'null'

export const encodeHistoryEntry = (entry: HistoryEntry): StoredHistoryEntry => ({
  ...entry,
  event: toJson(entry.event),
})
export const encodeOutboxEntry = (entry: OutboxEntry): StoredOutboxEntry => ({ ...entry, data: toJson(entry.data) })
export const decodeOutboxEntry = (entry: StoredOutboxEntry): OutboxEntry => ({
  ...entry,
  data: JSON.parse(entry.data) as OutboxEntry['data'],
})

export const encodeFields = (set: Partial<MutableFields>): { [field: string]: unknown } =>
  'snapshot' in set ? { ...set, snapshot: toJson(set.snapshot) } : { ...set }

/** The oldest fact that this sink has not got. */
export const oldestUnsent = (outbox: readonly Pick<OutboxEntry, 'at' | 'sent'>[], sink: string): Date | null => {
  let oldest: Date | null = null
  for (const entry of outbox) if (!entry.sent[sink] && (!oldest || entry.at < oldest)) oldest = entry.at
  return oldest
}

const unsentBySink = (outbox: readonly OutboxEntry[], sinks: readonly string[]): { [sink: string]: Date } | null => {
  const unsent: { [sink: string]: Date } = {}
  for (const sink of sinks) {
    const oldest = oldestUnsent(outbox, sink)
    if (oldest) unsent[sink] = oldest
  }
  return Object.keys(unsent).length > 0 ? unsent : null
}

/** Throws what `JSON.stringify` throws, when a part is no JSON. */
export const encodeRecord = (doc: RecordDocument, sinks: readonly string[]): StoredRecord => {
  const charges = Object.values(doc.charges)
  const blobs = blobsOf(doc)
  const handles = handlesOfSteps(doc.steps)
  const unsent = unsentBySink(doc.outbox, sinks)
  return {
    ...doc,
    metadata: toJson(doc.metadata),
    snapshot: toJson(doc.snapshot),
    history: doc.history.map(encodeHistoryEntry),
    outbox: doc.outbox.map(encodeOutboxEntry),
    ...(blobs.length > 0 && { blobs }),
    ...(handles.length > 0 && { handles }),
    ...(charges.length > 0 && { chargedAt: charges.map(({ at }) => at) }),
    ...(unsent && { unsent }),
  }
}

const assertReadable = (stored: StoredRecord): void => {
  const { _id, version, status } = stored
  const found = typeof _id !== 'string' ? '_id' : !Number.isSafeInteger(version) ? 'version' : null
  const wrong = found ?? (RECORD_STATUSES.includes(status) ? null : 'status')
  if (wrong)
    throw new RecordUnreadable(
      `The stored record ${String(_id)} has no valid ${wrong}: it was changed by something other than Endstate. Restore it from a backup.`,
    )
}

/** Throws `RecordUnreadable`. */
export const decodeRecord = (stored: StoredRecord): RecordDocument => {
  assertReadable(stored)
  const { blobs: _blobs, handles: _handles, chargedAt: _chargedAt, unsent: _unsent, ...rest } = stored
  try {
    return {
      ...rest,
      metadata: JSON.parse(stored.metadata) as RecordDocument['metadata'],
      snapshot: JSON.parse(stored.snapshot) as unknown,
      history: stored.history.map((entry) => ({ ...entry, event: JSON.parse(entry.event) as HistoryEntry['event'] })),
      outbox: stored.outbox.map(decodeOutboxEntry),
    }
  } catch (cause) {
    throw new RecordUnreadable(
      `The stored record ${stored._id} can't be decoded: it was changed by something other than Endstate. Restore it from a backup.`,
      { cause },
    )
  }
}
