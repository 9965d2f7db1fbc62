/**
 * The one way in (P1, P7). Every adapter turns bytes into a Submission and calls the accept() made here.
 *
 * A1 The receipt follows the majority, journaled insert; the message follows the insert, and its failure
 *    changes nothing about the receipt (P9: whoever was not told finds the record in MongoDB).
 * A2 A duplicate is answered with the first record, whatever its state; other content under its key is refused.
 * A3 The blob of a submission that became no record is removed. Where the insert's outcome is unknown it stays:
 *    the record may be there and need it; garbage collection decides later.
 */
import type { CompiledPipeline, PipelineSet } from '../machines/compiled.js'
import type { NewRecordFacts } from '../machines/new-record.js'
import type { RecordDocument, RecordInput } from '../machines/record.js'
import type { BlobStore, InsertOutcome, RecordWriter } from '../persistence/contract.js'
import type { Clock, Ids } from '../worker/contract.js'
import { contentHashOf, recordIdOf, shardOf } from './content-hash.js'
import { Refusal, type Accept, type Receipt, type Submission } from './contract.js'
import { checkEnvelope } from './submission.js'
import { storeAway, takeInput } from './take-input.js'

export type AcceptDeps = {
  pipelines: PipelineSet
  records: Pick<RecordWriter, 'insert'>
  blobs: BlobStore
  clock: Pick<Clock, 'now'>
  ids: Ids
  makeRecord(pipeline: CompiledPipeline, facts: NewRecordFacts): RecordDocument
  /** Publishes RECORD_ACCEPTED. Not awaited: the receipt never waits for the bus. */
  accepted(doc: RecordDocument): void | Promise<void>
}

export function createAccept(deps: AcceptDeps): Accept {
  return async function accept(submission) {
    checkEnvelope(submission)
    const pipeline = knownPipeline(deps.pipelines, submission.pipeline)
    const input = await takeInput(submission, pipeline.definition, deps.blobs)
    const doc = deps.makeRecord(pipeline, factsOf(deps, submission, input))

    let outcome: InsertOutcome
    try {
      outcome = await deps.records.insert(doc)
    } catch (error) {
      throw storeAway(error)
    }
    return conclude(deps, doc, outcome)
  }
}

function knownPipeline(pipelines: PipelineSet, name: string): CompiledPipeline {
  const pipeline = pipelines.byName(name)
  if (pipeline !== undefined) return pipeline
  const known = pipelines.all().map((each) => each.definition.name)
  throw new Refusal(
    'unknown-pipeline',
    404,
    `There is no pipeline "${name}". Known here: ${known.join(', ') || 'none'}.`,
    {
      pipeline: name,
      known,
    },
  )
}

function factsOf(deps: AcceptDeps, submission: Submission, input: RecordInput): NewRecordFacts {
  const { source, key, via, metadata, pipeline } = submission
  const id = key === null ? deps.ids.record() : recordIdOf(source, key)
  const at = deps.clock.now()
  return {
    id,
    source,
    key,
    contentHash: contentHashOf(pipeline, input.mediaType, input.payload.sha256),
    via,
    metadata: { ...metadata },
    input,
    at,
    writer: deps.ids.writer(),
    by: `ingest:${via}`,
    shard: shardOf(id),
    outagesUntil: at,
    simulated: false,
  }
}

async function conclude(deps: AcceptDeps, doc: RecordDocument, outcome: InsertOutcome): Promise<Receipt> {
  switch (outcome.kind) {
    case 'inserted':
      announce(deps, doc)
      return receiptOf(doc, false)
    case 'exists':
      return answerExisting(deps, doc, outcome.current)
    case 'refused':
      await removeBlob(deps, doc)
      throw new Refusal(
        'invalid-submission',
        422,
        `The storage refuses this record (${outcome.code}): ${outcome.message}`,
      )
    case 'unknown':
      throw storeAway(outcome.message)
  }
}

async function answerExisting(deps: AcceptDeps, doc: RecordDocument, first: RecordDocument): Promise<Receipt> {
  if (isOwnInsert(doc, first)) {
    announce(deps, first)
    return receiptOf(first, false)
  }
  await removeBlob(deps, doc)
  // Source and key are compared as well: two keys with one digest must not become one record.
  if (first.contentHash === doc.contentHash && first.source === doc.source && first.key === doc.key) {
    return receiptOf(first, true)
  }
  throw new Refusal(
    'key-conflict',
    422,
    `This idempotency key already belongs to record ${first._id}, which has other content. Use a new key for new content.`,
    { record: first._id },
  )
}

/** An insert whose reply was lost and that was sent again finds itself. */
function isOwnInsert(doc: RecordDocument, found: RecordDocument): boolean {
  const writer = doc.history[0]?.writer
  return writer !== undefined && found.history.some((entry) => entry.writer === writer)
}

function announce(deps: AcceptDeps, doc: RecordDocument): void {
  void Promise.resolve()
    .then(() => deps.accepted(doc))
    .catch(() => undefined)
}

async function removeBlob(deps: AcceptDeps, doc: RecordDocument): Promise<void> {
  if (!('blob' in doc.input.payload)) return
  // Garbage collection removes what could not be removed here.
  await deps.blobs.remove(doc.input.payload.blob).catch(() => undefined)
}

function receiptOf(doc: RecordDocument, duplicate: boolean): Receipt {
  return {
    id: doc._id,
    version: doc.version,
    status: doc.status,
    settlesBy: doc.settlesBy.toISOString(),
    duplicate,
  }
}
