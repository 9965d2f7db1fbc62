/**
 * The record store's twin in memory, for tests and simulation. Same answers as on MongoDB, held by one conformance
 * suite; nothing is ever unknown here. Answers come in a later microtask, never in the caller's own turn.
 */
import { handleEntry } from './call-handles.js'
import type { RecordStore, UnsentRecord } from './contract.js'
import { ledgerAttemptsIn, ledgerIn } from './memory-ledger.js'
import { chargesIn, countsIn, dueIn, listIn, unknownVersionsIn, waitingIn, waitingSourcesIn } from './memory-queries.js'
import { insertOne, readCopy, saveOne, withUnsent } from './memory-records.js'
import type { MemoryRecords } from './memory-records.js'
import { assertSink, toUnsent } from './outbox.js'
import { plainCopy } from './plain-copy.js'
import { assertOneSaveEach } from './save.js'
import { DEFAULT_SINKS } from './store-io.js'
import type { StoredRecord } from './stored-form.js'

const unsentIn = (
  records: MemoryRecords,
  sink: string,
  limit: number,
  after: { at: Date; id: string } | null = null,
): UnsentRecord[] =>
  [...records.values()]
    .flatMap((stored) => (stored.unsent?.[sink] ? [{ stored, at: stored.unsent[sink].getTime() }] : []))
    .sort((a, b) => a.at - b.at || (a.stored._id < b.stored._id ? -1 : 1))
    .filter(({ stored, at }) => {
      if (after === null) return true
      return at > after.at.getTime() || (at === after.at.getTime() && stored._id > after.id)
    })
    .slice(0, limit)
    .map(({ stored }) => plainCopy(toUnsent(stored, sink)))

const sendingFrom = (stored: StoredRecord, sink: string, seq: number, anew: boolean, now: Date): StoredRecord => ({
  ...stored,
  outbox: stored.outbox.map((entry) => {
    if (entry.seq !== seq) return entry
    const first = (anew ? undefined : entry.sending?.[sink]?.first) ?? now
    return { ...entry, sending: { ...entry.sending, [sink]: { first, last: now } } }
  }),
})

const marked = (stored: StoredRecord, sink: string, seq: number, now: Date): StoredRecord => ({
  ...stored,
  outbox: stored.outbox.map((entry) =>
    entry.seq === seq ? { ...entry, sent: { ...entry.sent, [sink]: entry.sent[sink] ?? now } } : entry,
  ),
})

export type MemoryRecordStoreOptions = {
  sinks?: readonly string[]
  now?: () => Date
  /** Where the records lie: for those who look at them from the side. */
  records?: MemoryRecords
}

export const createMemoryRecordStore = (options: MemoryRecordStoreOptions = {}): RecordStore => {
  const { sinks = DEFAULT_SINKS, now = () => new Date() } = options
  const records: MemoryRecords = options.records ?? new Map()
  return {
    insert: async (docs) => docs.map((doc) => insertOne(records, doc, sinks)),
    save: async (saves) => {
      assertOneSaveEach(saves)
      return saves.map((save) => saveOne(records, save, sinks))
    },
    load: async (ids) =>
      ids.map((id) => {
        const stored = records.get(id)
        return stored ? readCopy(stored) : null
      }),
    due: async (query) => dueIn(records, query),
    waitingSources: async (provider, limit, after) => waitingSourcesIn(records, provider, limit, after),
    waiting: async (provider, source, query) => waitingIn(records, provider, source, query),
    unknownVersions: async (known, limit) => unknownVersionsIn(records, known, limit),
    referencedBlobs: async (ids) => {
      const named = new Set([...records.values()].flatMap(({ blobs = [] }) => blobs))
      return new Set(ids.filter((id) => named.has(id)))
    },
    byHandle: async (provider, handle) => {
      const wanted = handleEntry(provider, handle)
      return [...records.values()].find(({ handles = [] }) => handles.includes(wanted))?._id ?? null
    },
    list: async (filter, page) => listIn(records, filter, page),
    charges: async (filter, page) => chargesIn(records, filter, page),
    ledger: async (query) => ledgerIn(records, query),
    ledgerAttempts: async (query, only, page) => ledgerAttemptsIn(records, query, only, page),
    counts: async () => countsIn(records),
    unsent: async (sink, limit, after) => {
      assertSink(sinks, sink)
      return unsentIn(records, sink, limit, after)
    },
    markSending: async (sink, sending) => {
      assertSink(sinks, sink)
      for (const { id, seq, anew = false } of sending) {
        const stored = records.get(id)
        if (stored) records.set(id, sendingFrom(stored, sink, seq, anew, now()))
      }
    },
    markSent: async (sink, sent) => {
      assertSink(sinks, sink)
      for (const { id, seq } of sent) {
        const stored = records.get(id)
        if (stored) records.set(id, withUnsent(marked(stored, sink, seq, now()), sinks))
      }
    },
    close: async () => {},
  }
}
