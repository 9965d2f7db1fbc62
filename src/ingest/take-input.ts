/**
 * From a submission's content to the RecordInput that the document holds: type by content, limits, hash,
 * inline or blob. Memory stays flat: at most INLINE_BYTES_MAX of a stream is held before the rest flows to
 * the blob store; only JSON is held whole (up to JSON_BYTES_MAX), because it must be parsed.
 *
 * T1 Refused content leaves nothing behind: type is decided before a blob is begun, and the blob store
 *    removes what breaks off.
 * T2 JSON is kept as its canonical text, so no key of it ever becomes a field name in MongoDB.
 */
import { BlobTooLarge, type BlobStore } from '../persistence/contract.js'
import { INLINE_BYTES_MAX, type RecordInput } from '../machines/record.js'
import type { PipelineDefinition } from '../machines/pipeline.js'
import { canonicalJson, sha256 } from './content-hash.js'
import { isAccepted, isJsonType, JSON_TYPE, nameFor, normalMediaType, sniff, unsupported } from './content-type.js'
import { Refusal, type Submission } from './contract.js'
import { JSON_BYTES_MAX, parseJson, tooLarge } from './json-limits.js'
import { openSource, uploadAborted, type Source } from './source.js'
import { safeFileName } from './submission.js'

/** Throws Refusal. */
export async function takeInput(
  submission: Submission,
  pipeline: PipelineDefinition,
  blobs: BlobStore,
): Promise<RecordInput> {
  const { content } = submission
  const taking: Taking = {
    pipeline,
    blobs,
    declared: normalMediaType(submission.mediaType),
    fileName: safeFileName(submission.fileName),
    signal: submission.signal,
  }
  if ('json' in content) return takeJson(taking, content.json)
  const source = openSource('bytes' in content ? content.bytes : content.stream, submission.signal)
  try {
    return await takeBytes(taking, source)
  } finally {
    await source.close()
  }
}

type Taking = {
  pipeline: PipelineDefinition
  blobs: BlobStore
  declared: string | null
  fileName: string | null
  signal: AbortSignal | undefined
}

async function takeJson(taking: Taking, value: unknown): Promise<RecordInput> {
  const { pipeline, declared } = taking
  const mediaType = nameFor(JSON_TYPE, declared, pipeline.accepts)
  if (!isAccepted(pipeline.accepts, mediaType)) throw unsupported(JSON_TYPE, null, pipeline.name, pipeline.accepts)
  const text = canonicalJson(value)
  const bytes = Buffer.byteLength(text)
  const bytesMax = Math.min(pipeline.inputBytesMax, JSON_BYTES_MAX)
  if (bytes > bytesMax) throw tooLarge('The JSON input', bytesMax)
  if (bytes <= INLINE_BYTES_MAX) {
    const payload = { inline: text, sha256: sha256(text), bytes }
    return { mediaType, fileName: taking.fileName, payload, encoding: 'json' }
  }
  return takeBlob(taking, mediaType, openSource(Buffer.from(text), taking.signal))
}

async function takeBytes(taking: Taking, source: Source): Promise<RecordInput> {
  const { pipeline, declared } = taking
  const head = await source.readUpTo(INLINE_BYTES_MAX + 1)
  if (head.length === 0) {
    throw new Refusal('empty-input', 400, 'The content is empty (0 bytes). Check the file and send it again.')
  }
  if (head.length > pipeline.inputBytesMax) throw tooLarge('The content', pipeline.inputBytesMax)

  const sniffed = await sniff(head, declared)
  const takesJson = isAccepted(pipeline.accepts, nameFor(JSON_TYPE, declared, pipeline.accepts))
  if (sniffed.json !== 'no' && takesJson) {
    const value = await readJson(taking, source, head, sniffed.json === 'declared')
    if (value !== NOT_JSON) return takeJson(taking, value)
  }
  const mediaType = nameFor(sniffed.type, declared, pipeline.accepts)
  if (!isAccepted(pipeline.accepts, mediaType)) {
    const found = sniffed.json !== 'no' && !takesJson && isJsonType(declared) ? JSON_TYPE : mediaType
    throw unsupported(found, declared, pipeline.name, pipeline.accepts)
  }
  if (head.length <= INLINE_BYTES_MAX) {
    const payload = { inline: head.toString('base64'), sha256: sha256(head), bytes: head.length }
    return { mediaType, fileName: taking.fileName, payload, encoding: 'base64' }
  }
  return takeBlob(taking, mediaType, source)
}

const NOT_JSON = Symbol('not JSON')

/** Declared JSON that does not parse is refused; text that only begins as JSON does is text. */
async function readJson(taking: Taking, source: Source, head: Buffer, declared: boolean): Promise<unknown> {
  const textAccepted = isAccepted(taking.pipeline.accepts, 'text/plain')
  const bytesMax = Math.min(taking.pipeline.inputBytesMax, JSON_BYTES_MAX)
  const whole = head.length <= INLINE_BYTES_MAX ? head : await source.readUpTo(bytesMax + 1)
  if (whole.length > bytesMax && !declared && textAccepted) return NOT_JSON
  try {
    return parseJson(whole, 'The content', bytesMax)
  } catch (error) {
    if (!declared && textAccepted) return NOT_JSON
    throw error
  }
}

async function takeBlob(taking: Taking, mediaType: string, source: Source): Promise<RecordInput> {
  const { pipeline, blobs, signal } = taking
  try {
    const options = { bytesMax: pipeline.inputBytesMax, ...(signal === undefined ? {} : { signal }) }
    const put = await blobs.put(source.rest(), options)
    const payload = { blob: put.id, sha256: put.sha256, bytes: put.bytes }
    return { mediaType, fileName: taking.fileName, payload, encoding: 'blob' }
  } catch (error) {
    // The store may wrap what the source threw; the source's own word is the true one.
    if (source.failure() !== null) throw source.failure()
    if (error instanceof Refusal) throw error
    if (error instanceof BlobTooLarge) throw tooLarge('The content', error.bytesMax)
    if (signal?.aborted) throw uploadAborted()
    throw storeAway(error)
  }
}

/** Nobody knows whether it was stored, or it certainly was not: both are mended by sending it again. */
export function storeAway(cause: unknown): Refusal {
  const refusal = new Refusal(
    'unavailable',
    503,
    'The storage could not confirm the record in time. Send it again: with the same idempotency key it is accepted once only.',
  )
  refusal.cause = cause
  return refusal
}
