/**
 * Payloads between the document, the blob store and the code that needs them. JSON is kept as text, inline up to
 * INLINE_BYTES_MAX, else as a blob.
 */
import { hash } from 'node:crypto'
import { INLINE_BYTES_MAX } from '../machines/record.js'
import type { CallEvent, ResultUnstorable } from '../machines/events.js'
import type { Payload, PayloadRef, RecordDocument, RecordInput } from '../machines/record.js'
import type { BlobStore } from '../persistence/contract.js'
import type { CallInput } from '../providers/contract.js'

/** Larger results are never stored; the record goes to investigation. */
export const RESULT_BYTES_MAX = 64 * 1024 * 1024

export class Unstorable extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** Throws Unstorable for what JSON can't hold or the limit doesn't allow; the storage's own errors pass through. */
export const storeJson = async (blobs: BlobStore, value: unknown): Promise<Payload> => {
  const text = toJson(value)
  const bytes = Buffer.byteLength(text)
  if (bytes > RESULT_BYTES_MAX)
    throw new Unstorable('result-too-large', `The result has ${bytes} bytes; the limit is ${RESULT_BYTES_MAX}.`)
  const sha256 = hash('sha256', text, 'hex')
  if (bytes <= INLINE_BYTES_MAX) return { inline: text, sha256, bytes }
  const blob = await blobs.put(once(Buffer.from(text)), { bytesMax: RESULT_BYTES_MAX })
  return { blob: blob.id, sha256, bytes }
}

async function* once(bytes: Uint8Array) {
  yield bytes
}

const toJson = (value: unknown): string => {
  try {
    const text = JSON.stringify(value) as string | undefined
    if (text !== undefined) return text
  } catch {
    // Circular, a BigInt, or a toJSON that throws: said below, without its message.
  }
  throw new Unstorable('result-not-json', 'The result cannot be written as JSON.')
}

export const readBytes = async (blobs: BlobStore, payload: Payload, encoding: 'json' | 'base64'): Promise<Buffer> => {
  if ('inline' in payload) return Buffer.from(payload.inline, encoding === 'base64' ? 'base64' : 'utf8')
  const chunks: Uint8Array[] = []
  for await (const chunk of blobs.get(payload.blob)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export const readJson = async (blobs: BlobStore, payload: Payload): Promise<unknown> =>
  JSON.parse('inline' in payload ? payload.inline : (await readBytes(blobs, payload, 'json')).toString('utf8'))

/** Outputs of the steps that have a result, by step name. */
export const readOutputs = async (blobs: BlobStore, doc: RecordDocument): Promise<{ [step: string]: unknown }> => {
  const outputs: { [step: string]: unknown } = {}
  for (const [name, { result }] of Object.entries(doc.steps))
    if (result) outputs[name] = await readJson(blobs, result.payload)
  return outputs
}

/** The submitted content, as a provider's adapter reads it. */
export const inputOf = (blobs: BlobStore, input: RecordInput): CallInput => {
  const bytes = () => readBytes(blobs, input.payload, input.encoding === 'base64' ? 'base64' : 'json')
  return {
    mediaType: input.mediaType,
    fileName: input.fileName,
    bytesTotal: input.payload.bytes,
    sha256: input.payload.sha256,
    bytes,
    json: async () =>
      input.encoding === 'json' ? readJson(blobs, input.payload) : JSON.parse((await bytes()).toString('utf8')),
  }
}

/** The event for an answer that the storage refuses for good; its payload is kept as a blob where that is possible. */
export const asUnstorable = async (blobs: BlobStore, event: CallEvent, code: string): Promise<ResultUnstorable> => {
  const { step, attempt, generation } = event
  const payload = event.type === 'CALL_SUCCEEDED' ? event.result : null
  return {
    type: 'RESULT_UNSTORABLE',
    step,
    attempt,
    generation,
    result: payload && (await keepAsBlob(blobs, payload)),
    error: { code: 'result-unstorable', message: `The storage refuses the result (${code}).`, kind: 'executed' },
    spend: 'spend' in event ? event.spend : null,
  }
}

const keepAsBlob = async (blobs: BlobStore, payload: Payload | PayloadRef): Promise<PayloadRef> => {
  if (!('inline' in payload)) return payload
  const { sha256, bytes } = payload
  const put = await blobs.put(once(Buffer.from(payload.inline)), { bytesMax: RESULT_BYTES_MAX }).catch(() => null)
  return { sha256, bytes, ...(put && { blob: put.id }) }
}
