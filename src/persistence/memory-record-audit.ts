/** The auditor's port over the records of the memory twin. */
import { auditRow, sourceOf } from './audit-rows.js'
import type { AuditScope, AuditTime, BlobStore, RecordAudit } from './contract.js'
import { BlobMissing } from './contract.js'
import type { MemoryRecords } from './memory-records.js'
import { plainCopy } from './plain-copy.js'
import type { StoredRecord } from './stored-form.js'

const BATCH = 100

const newestFirst = (a: StoredRecord, b: StoredRecord) =>
  b.acceptedAt.getTime() - a.acceptedAt.getTime() || (a._id < b._id ? 1 : -1)

const inScope = (records: MemoryRecords, scope: AuditScope): StoredRecord[] => {
  const { source } = sourceOf(scope)
  const all = [...records.values()].filter((one) => source === undefined || one.source === source)
  if (scope.kind === 'unsettled')
    return all
      .filter(({ status }) => status === 'processing')
      .sort(newestFirst)
      .slice(0, scope.limit)
  if (scope.kind === 'accepted-since')
    return all
      .filter(({ acceptedAt }) => acceptedAt >= scope.since)
      .sort(newestFirst)
      .slice(0, scope.limit)
  const wanted = scope.kind === 'ids' ? all.filter(({ _id }) => scope.ids.includes(_id)) : all
  return source === undefined ? wanted.sort((a, b) => (a._id < b._id ? -1 : 1)) : wanted.sort(newestFirst)
}

/** R3 */
const withoutContent = (stored: StoredRecord): StoredRecord => {
  const copy = plainCopy(stored)
  if ('inline' in copy.input.payload) copy.input.payload.inline = ''
  return copy
}

const isThere = async (blobs: Pick<BlobStore, 'get'>, id: string): Promise<boolean> => {
  try {
    for await (const _part of blobs.get(id)) break
    return true
  } catch (error) {
    if (error instanceof BlobMissing) return false
    throw error
  }
}

export const createMemoryRecordAudit = (
  records: MemoryRecords,
  deps: { blobs: Pick<BlobStore, 'get'>; time: () => AuditTime },
): RecordAudit => ({
  async *read(scope, signal) {
    const found = inScope(records, scope)
    for (let at = 0; at < found.length && !signal.aborted; at += BATCH)
      yield found.slice(at, at + BATCH).map((stored) => auditRow(withoutContent(stored)))
  },
  count: async (scope) => (scope.kind === 'all' || scope.kind === 'ids' ? inScope(records, scope).length : null),
  time: async () => deps.time(),
  missingBlobs: async (ids) => {
    const missing = new Set<string>()
    for (const id of ids) if (!(await isThere(deps.blobs, id))) missing.add(id)
    return missing
  },
})
