/** accept() over memory ports, with what it stored and announced in reach. */
import type { Accept, Submission } from '../../src/ingest/contract.js'
import { Refusal } from '../../src/ingest/contract.js'
import { createAccept } from '../../src/ingest/accept.js'
import type { CompiledPipeline, PipelineSet } from '../../src/machines/compiled.js'
import { newRecord } from '../../src/machines/new-record.js'
import type { RecordDocument } from '../../src/machines/record.js'
import type { BlobStore, InsertOutcome, RecordStore, RecordWriter } from '../../src/persistence/contract.js'
import { createGroupCommit } from '../../src/persistence/group-commit.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import { createIds } from '../../src/worker/ids.js'
import { compile, noon, pipeline, step } from '../machines/pipelines.js'

export const MIB = 1024 * 1024

export const pipelineSet = (compiled: readonly CompiledPipeline[]): PipelineSet => ({
  byName: (name) => compiled.find(({ definition }) => definition.name === name),
  byVersion: (version) => compiled.find((each) => each.version === version),
  all: () => [...compiled],
})

/** `forms` takes JSON, `scans` images and PDFs, `films` large images, `notes` text, `tables` CSV, `small` anything up to 1000 bytes. */
export const testPipelines: PipelineSet = pipelineSet([
  compile(pipeline([step('read')], { name: 'forms', accepts: ['application/json'], inputBytesMax: 5 * MIB })),
  compile(pipeline([step('read')], { name: 'scans', accepts: ['image/*', 'application/pdf'], inputBytesMax: 2 * MIB })),
  compile(pipeline([step('read')], { name: 'films', accepts: ['image/*'], inputBytesMax: 100 * MIB })),
  compile(pipeline([step('read')], { name: 'notes', accepts: ['text/plain'], inputBytesMax: MIB })),
  compile(pipeline([step('read')], { name: 'tables', accepts: ['text/csv'], inputBytesMax: MIB })),
  compile(pipeline([step('read')], { name: 'small', accepts: ['*/*'], inputBytesMax: 1000 })),
])

export type AcceptBench = {
  accept: Accept
  store: RecordStore
  blobs: BlobStore
  announced: RecordDocument[]
  all(): Promise<RecordDocument[]>
  /** How many blobs there are. Counts by collecting none of them. */
  blobCount(): Promise<number>
}

type Changes = {
  insert?(doc: RecordDocument, real: RecordWriter): Promise<InsertOutcome>
  accepted?(doc: RecordDocument): void | Promise<void>
  blobs?(real: BlobStore): BlobStore
}

export function acceptBench(changes: Changes = {}): AcceptBench {
  const store = createMemoryRecordStore({ now: () => noon })
  const writer = createGroupCommit(store)
  const real = createMemoryBlobStore({ now: () => noon })
  const blobs = changes.blobs?.(real) ?? real
  const announced: RecordDocument[] = []
  const accept = createAccept({
    pipelines: testPipelines,
    records: { insert: (doc) => changes.insert?.(doc, writer) ?? writer.insert(doc) },
    blobs,
    clock: { now: () => noon },
    ids: createIds(),
    makeRecord: newRecord,
    accepted: (doc) => {
      announced.push(doc)
      return changes.accepted?.(doc)
    },
  })
  return {
    accept,
    store,
    blobs,
    announced,
    all: async () => (await store.list({}, { limit: 1000, token: null })).items,
    async blobCount() {
      let count = 0
      await real.collectGarbage(new Date(noon.getTime() + 1), async (ids) => new Set(((count = ids.length), ids)), 1)
      return count
    },
  }
}

export const submission = (change: Partial<Submission> = {}): Submission => ({
  source: 'clinic-a',
  via: 'test',
  pipeline: 'forms',
  key: null,
  mediaType: null,
  fileName: null,
  metadata: {},
  content: { json: { a: 1 } },
  ...change,
})

export async function refusalOf(work: Promise<unknown>): Promise<Refusal> {
  const outcome = await work.then(
    (value) => new Error(`expected a refusal, got ${JSON.stringify(value)}`),
    (error: unknown) => error,
  )
  if (outcome instanceof Refusal) return outcome
  throw outcome
}

export async function* chunksOf(bytes: Uint8Array, chunkBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes)
}

/** One white pixel. */
export const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=',
  'base64',
)
export const JPEG = Buffer.from('ffd8ffe000104a46494600010100000100010000ffdb004300', 'hex')
export const TIFF = Buffer.concat([Buffer.from('49492a0008000000', 'hex'), Buffer.alloc(64)])
export const PDF = Buffer.from('%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\ntrailer<<>>\n%%EOF\n', 'latin1')

/** A file of `bytes` length that begins as a PNG does. */
export function largePng(bytes: number): Buffer {
  const file = Buffer.alloc(bytes, 7)
  PNG.copy(file)
  return file
}
