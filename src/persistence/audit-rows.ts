/** From a stored document to a row of the audit, whatever hands it went through. Pure. */
import type { Document } from 'mongodb'
import type { AuditRow, AuditScope, RecordDocument } from './contract.js'
import { blobsOf } from './blob-references.js'
import { shapeFaultsOf } from './documents.js'
import { decodeRecord } from './stored-form.js'
import type { StoredRecord } from './stored-form.js'

/** Of one document; a document that is wrong all over is named by its first ones. */
const FAULTS_MAX = 20

/** R3: of the content itself only that it is there. */
export const WITHOUT_CONTENT: Document = {
  $set: {
    'input.payload.inline': {
      $cond: [{ $eq: [{ $type: '$input.payload.inline' }, 'string'] }, '', '$input.payload.inline'],
    },
  },
}

/** What may be thrown while reading a document of other hands: its code or class only, because messages quote. */
const nameOf = (error: unknown): string => {
  if (!(error instanceof Error)) return typeof error
  return 'code' in error ? String(error.code) : error.name
}

const decoded = (stored: StoredRecord): RecordDocument | string => {
  try {
    return decodeRecord(stored)
  } catch (error) {
    return `it can't be decoded: ${nameOf(error)}`
  }
}

/** R2 */
export const auditRow = (stored: StoredRecord): AuditRow => {
  const id = String(stored._id)
  const doc = decoded(stored)
  if (typeof doc === 'string') return { id, doc: null, faults: [doc], blobs: [] }
  const faults = shapeFaultsOf(doc).slice(0, FAULTS_MAX)
  return { id, doc, faults, blobs: faults.length > 0 ? [] : blobsOf(doc) }
}

/** By how much a scope is narrowed by a source. */
export const sourceOf = (scope: AuditScope): { source?: string } =>
  'source' in scope && scope.source !== undefined ? { source: scope.source } : {}
