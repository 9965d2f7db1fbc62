/** Accepts records (P1, P7): an insert that answers with the first record when the id is taken. */
import type { InsertOutcome, RecordDocument } from './contract.js'
import { refusedAs } from './failures.js'
import type { Refusal } from './failures.js'
import type { Resolved, Trace, TracedWrite } from './resolve-unknown.js'
import { writeEncodable } from './save.js'
import type { StoreIo } from './store-io.js'
import { encodeRecord } from './stored-form.js'

const judgeInsert =
  (writer: string) =>
  (trace: Trace | null): 'ours' | 'unmoved' | 'moved' => {
    if (!trace) return 'unmoved'
    return trace.writers[0] === writer ? 'ours' : 'moved'
  }

const traced = (doc: RecordDocument, sinks: readonly string[]): TracedWrite | Refusal => {
  const writer = doc.history[0]?.writer
  if (writer === undefined)
    return refusedAs('invalid-record', `The record ${doc._id} has no history entry that names its writer.`)
  try {
    return { id: doc._id, write: { insertOne: { document: encodeRecord(doc, sinks) } }, judge: judgeInsert(writer) }
  } catch (error) {
    return refusedAs('not-encodable', `The record holds something that is no JSON (${(error as Error).name}).`)
  }
}

const outcomeOf = (resolved: Resolved): InsertOutcome => {
  if (resolved.kind === 'done') return { kind: 'inserted' }
  if (resolved.kind !== 'moved') return resolved
  return resolved.current
    ? { kind: 'exists', current: resolved.current }
    : { kind: 'unknown', message: 'The record with this id was there and is gone.' }
}

const insertDistinct = (io: StoreIo, docs: readonly RecordDocument[]): Promise<InsertOutcome[]> =>
  writeEncodable(
    io,
    docs.map((doc) => traced(doc, io.sinks)),
    outcomeOf,
  )

/** The indexes of docs whose id came earlier in the same batch. */
const laterTwins = (docs: readonly RecordDocument[]): Set<number> => {
  const seen = new Set<string>()
  const later = new Set<number>()
  docs.forEach(({ _id }, at) => {
    if (seen.has(_id)) later.add(at)
    seen.add(_id)
  })
  return later
}

export const insertRecords = async (io: StoreIo, docs: readonly RecordDocument[]): Promise<InsertOutcome[]> => {
  if (docs.length === 0) return []
  const later = laterTwins(docs)
  if (later.size === 0) return insertDistinct(io, docs)
  const first = await insertDistinct(
    io,
    docs.filter((_doc, at) => !later.has(at)),
  )
  const second = await insertRecords(
    io,
    docs.filter((_doc, at) => later.has(at)),
  )
  return docs.map((_doc, at) => (later.has(at) ? second : first).shift()!)
}
