/**
 * The way by which a step submits records of its own and sees what became of them: the same accept() as every other way
 * in, and the same documents.
 */
import type { Accept } from '../ingest/contract.js'
import type { RecordDocument } from '../machines/record.js'
import type { ChildRecord, RecordsAccess } from '../providers/contract.js'

export type ChildRecordsDeps = {
  accept: Accept
  /** In the order of the ids; null where there is none. */
  load(ids: readonly string[]): Promise<(RecordDocument | null)[]>
  outputs(doc: RecordDocument): Promise<{ [step: string]: unknown }>
  idOf(source: string, key: string): string
}

export const createChildRecords = ({ accept, load, outputs, idOf }: ChildRecordsDeps): RecordsAccess => ({
  async submit({ source, pipeline, key, json, metadata }) {
    const content = { json }
    await accept({ source, via: 'map', pipeline, key, mediaType: null, fileName: null, metadata, content })
  },
  async load(source, keys) {
    const docs = await load(keys.map((key) => idOf(source, key)))
    return docs.map((doc): ChildRecord | null => doc && { status: doc.status, outputs: () => outputs(doc) })
  },
})
