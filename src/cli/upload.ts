/**
 * One file to POST /v1/uploads, streamed: memory stays flat, and progress is what the socket has taken. Written on
 * node:http, because fetch reports no progress and may not answer before the whole body is sent, as a refusal does.
 *
 * U1 An upload without an answer may have been accepted. It is repeated under the same key, which is one record (P7).
 */
import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { basename, extname } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { STATUSES } from '../live/shapes.js'
import { ApiProblem, headersOf, readAnswer, unreachable, type ApiTarget } from './api-client.js'
import { CliError, EXIT } from './exit-codes.js'

/** Without a byte in either direction. */
const IDLE_TIMEOUT_MS = 60_000
const TRIES = 4
const RETRY_MS = 500
const ANSWER_BYTES_MAX = 4 * 1024 * 1024

const MEDIA_TYPES: { readonly [extension: string]: string } = {
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.tif': 'image/tiff',
  '.tiff': 'image/tiff',
  '.pdf': 'application/pdf',
  '.json': 'application/json',
}

export const Receipt = z.object({
  id: z.string(),
  version: z.int(),
  status: z.enum(STATUSES),
  settlesBy: z.string(),
  duplicate: z.boolean(),
})
export type Receipt = z.infer<typeof Receipt>

export type Upload = {
  file: string
  pipeline: string
  /** Null: one that nobody else has, so that a repeat is safe. */
  key: string | null
  onProgress?(sent: number, total: number): void
}

/** Throws CliError: the file can't be read, the service refuses it (ApiProblem), or does not answer. */
export const upload = async (
  target: ApiTarget,
  { file, pipeline: name, key, onProgress }: Upload,
): Promise<Receipt> => {
  const size = await sizeOf(file)
  const submission = { file, size, pipeline: name, key: key ?? `cli-${randomUUID()}` }
  for (let tries = 1; ; tries += 1) {
    try {
      const { status, text } = await send(target, submission, onProgress ?? (() => undefined))
      const receipt = Receipt.safeParse(readAnswer(target.url, status, text))
      if (receipt.success) return receipt.data
      throw new CliError(EXIT.unreachable, 'no-endstate', `The answer of ${target.url} is no receipt. Check --url.`)
    } catch (error) {
      const mayRepeat = error instanceof NoAnswer || (error instanceof ApiProblem && error.status === 503)
      if (mayRepeat && tries < TRIES && !refusedConnection(error)) {
        await pause(RETRY_MS * 2 ** (tries - 1)) // U1
        continue
      }
      throw error instanceof NoAnswer ? unreachable(target.url, error.cause) : error
    }
  }
}

class NoAnswer extends Error {}

/** Nothing listens there: repeating at once is no use. */
const refusedConnection = (error: unknown): boolean =>
  error instanceof Error && (error.cause as { code?: unknown } | undefined)?.code === 'ECONNREFUSED'

const sizeOf = async (file: string): Promise<number> => {
  const found = await stat(file).catch((error: NodeJS.ErrnoException) => error)
  if (!(found instanceof Error) && found.isFile()) return found.size
  const why =
    found instanceof Error ? (found.code === 'ENOENT' ? 'there is no such file' : found.code) : 'it is no file'
  throw new CliError(EXIT.usage, 'unreadable-file', `${file} can't be submitted: ${why}.`)
}

type Submission = { file: string; size: number; pipeline: string; key: string }

const send = async (
  target: ApiTarget,
  submission: Submission,
  onProgress: (sent: number, total: number) => void,
): Promise<{ status: number; text: string }> => {
  const boundary = `endstate-${randomUUID()}`
  const { head, tail } = frame(submission, boundary)
  const url = new URL('/v1/uploads', target.url)
  const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
    method: 'POST',
    agent: false,
    headers: {
      ...headersOf(target),
      'content-type': `multipart/form-data; boundary=${boundary}`,
      'content-length': head.length + submission.size + tail.length,
    },
  })
  request.setTimeout(IDLE_TIMEOUT_MS, () => request.destroy(new Error(`nothing moved for ${IDLE_TIMEOUT_MS / 1000} s`)))
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve)
    request.once('error', reject)
  })
  const sending = pipeline(Readable.from(body(submission, head, tail, onProgress)), request)
  // A refusal may come, and the connection close, while the file is still being sent: the answer is what counts.
  sending.catch(() => undefined)
  try {
    const response = await answered
    return { status: response.statusCode ?? 0, text: await readText(response) }
  } catch (error) {
    throw new NoAnswer('The service did not answer.', { cause: error })
  } finally {
    request.destroy()
  }
}

const frame = ({ file, pipeline: name, key }: Submission, boundary: string): { head: Buffer; tail: Buffer } => {
  const field = (label: string, value: string) =>
    `--${boundary}\r\ncontent-disposition: form-data; name="${label}"\r\n\r\n${value}\r\n`
  // As browsers do (WHATWG HTML, multipart/form-data encoding).
  const fileName = basename(file).replaceAll('"', '%22').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
  const mediaType = MEDIA_TYPES[extname(file).toLowerCase()] ?? 'application/octet-stream'
  const start =
    `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${fileName}"\r\n` +
    `content-type: ${mediaType}\r\n\r\n`
  return {
    head: Buffer.from(field('pipeline', name) + field('key', key) + start),
    tail: Buffer.from(`\r\n--${boundary}--\r\n`),
  }
}

async function* body(
  { file, size }: Submission,
  head: Buffer,
  tail: Buffer,
  onProgress: (sent: number, total: number) => void,
): AsyncGenerator<Buffer> {
  yield head
  let sent = 0
  // Exactly the bytes that were announced, also while somebody still writes to the file.
  for await (const chunk of createReadStream(file, { end: Math.max(0, size - 1) })) {
    if (size === 0) break
    yield chunk as Buffer
    sent += (chunk as Buffer).length
    onProgress(sent, size)
  }
  yield tail
}

const readText = async (response: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response) {
    bytes += (chunk as Buffer).length
    if (bytes > ANSWER_BYTES_MAX) throw new Error('the answer is too long')
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks).toString('utf8')
}
