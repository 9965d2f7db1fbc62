/**
 * The writes of the memory twin, on documents in the stored form, so that twin and MongoDB refuse and change the same.
 */
import { blobsOfSteps } from './blob-references.js'
import { handlesOfSteps } from './call-handles.js'
import { BSON } from 'mongodb'
import type { InsertOutcome, RecordDocument, Save, SaveOutcome } from './contract.js'
import { TOO_LARGE, refusedAs } from './failures.js'
import type { Refusal } from './failures.js'
import { plainCopy } from './plain-copy.js'
import { encodeSave, faultIn, versionAfter } from './save.js'
import type { EncodedSave } from './save.js'
import { decodeRecord, encodeRecord, oldestUnsent } from './stored-form.js'
import type { StoredRecord } from './stored-form.js'

export type MemoryRecords = Map<string, StoredRecord>

/** MongoDB's limit. */
const DOCUMENT_BYTES_LIMIT = 16 * 1024 * 1024
/** Text of this length is not measured exactly: no document near it comes near the limit. */
const SMALL_BYTES = 1024 * 1024

const roughBytes = (value: unknown): number => {
  if (typeof value === 'string') return value.length * 3
  if (typeof value !== 'object' || value === null) return 16
  let bytes = 16
  for (const [field, part] of Object.entries(value)) bytes += field.length + 8 + roughBytes(part)
  return bytes
}

const tooLarge = (stored: StoredRecord): Refusal | null =>
  roughBytes(stored) > SMALL_BYTES && BSON.calculateObjectSize(stored) > DOCUMENT_BYTES_LIMIT ? TOO_LARGE : null

const notEncodable = (error: unknown): Refusal =>
  refusedAs('not-encodable', `The document holds something that is no JSON (${(error as Error).name}).`)

export const insertOne = (records: MemoryRecords, doc: RecordDocument, sinks: readonly string[]): InsertOutcome => {
  const writer = doc.history[0]?.writer
  if (writer === undefined)
    return refusedAs('invalid-record', `The record ${doc._id} has no history entry that names its writer.`)
  let stored: StoredRecord
  try {
    stored = plainCopy(encodeRecord(doc, sinks))
  } catch (error) {
    return notEncodable(error)
  }
  const refusal = tooLarge(stored)
  if (refusal) return refusal
  const existing = records.get(doc._id)
  if (!existing) records.set(doc._id, stored)
  else if (existing.history[0]?.writer !== writer) return { kind: 'exists', current: readCopy(existing) }
  return { kind: 'inserted' }
}

const withChargeTimes = (chargedAt: readonly Date[], save: Save): Date[] => {
  const times = [...chargedAt]
  for (const { at } of Object.values(save.charges))
    if (!times.some((time) => time.getTime() === at.getTime())) times.push(at)
  return times
}

const updated = (stored: StoredRecord, save: Save, encoded: EncodedSave, sinks: readonly string[]): StoredRecord => {
  const next: StoredRecord = plainCopy({
    ...stored,
    ...(encoded.fields as Partial<StoredRecord>),
    version: versionAfter(save),
    steps: { ...stored.steps, ...save.steps },
    charges: { ...stored.charges, ...save.charges },
    history: [...stored.history, ...encoded.history],
    outbox: [...stored.outbox, ...encoded.outbox],
  })
  const blobs = blobsOfSteps(save.steps)
  if (blobs.length > 0) next.blobs = [...new Set([...(stored.blobs ?? []), ...blobs])]
  const handles = handlesOfSteps(save.steps)
  if (handles.length > 0) next.handles = [...new Set([...(stored.handles ?? []), ...handles])]
  if (Object.keys(save.charges).length > 0) next.chargedAt = withChargeTimes(stored.chargedAt ?? [], save)
  return save.outbox.length > 0 ? withUnsent(next, sinks) : next
}

export const withUnsent = (stored: StoredRecord, sinks: readonly string[]): StoredRecord => {
  const unsent: { [sink: string]: Date } = {}
  for (const sink of sinks) {
    const oldest = oldestUnsent(stored.outbox, sink)
    if (oldest) unsent[sink] = oldest
  }
  const { unsent: _before, ...rest } = stored
  return { ...rest, ...(Object.keys(unsent).length > 0 && { unsent }) }
}

export const saveOne = (records: MemoryRecords, save: Save, sinks: readonly string[]): SaveOutcome => {
  const fault = faultIn(save)
  if (fault) return fault
  let encoded: EncodedSave
  try {
    encoded = encodeSave(save)
  } catch (error) {
    return notEncodable(error)
  }
  const stored = records.get(save.id)
  if (!stored) return { kind: 'conflict', current: null }
  // S3: the same save again, after an answer that was lost.
  if (stored.version !== save.expectedVersion)
    return stored.history.some(({ writer }) => writer === save.writer)
      ? { kind: 'saved' }
      : { kind: 'conflict', current: readCopy(stored) }
  const next = updated(stored, save, encoded, sinks)
  const refusal = tooLarge(next)
  if (refusal) return refusal
  records.set(save.id, next)
  return { kind: 'saved' }
}

export const readCopy = (stored: StoredRecord): RecordDocument => decodeRecord(plainCopy(stored))
