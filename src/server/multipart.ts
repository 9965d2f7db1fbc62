/**
 * multipart/form-data as a sequence of fields and files, streamed: a file is handed on while it arrives, one after
 * the other, and nothing is spooled.
 *
 * M1 A file's fields are those that came before it, even where several parts arrive in one chunk.
 * M2 When one file is refused, no later file is looked at: the first error ends the form.
 * M3 A form that breaks off, or whose client goes away, ends the file that is being read with an error.
 */
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { Busboy, type BusboyFileStream, type BusboyInstance } from '@fastify/busboy'
import { Refusal } from '../ingest/contract.js'
import { uploadAborted } from '../ingest/source.js'
import { Problem } from './problem.js'

export const FILES_MAX = 100
const FIELDS_MAX = 400
const FIELD_BYTES_MAX = 64 * 1024
const HEADER_BYTES_MAX = 16 * 1024

export type FormFile = { fileName: string | null; mediaType: string; stream: AsyncIterable<Uint8Array> }

export type FormHandlers = {
  field(name: string, value: string): void
  /** Called at once when the file begins; what it returns is called when its turn has come. */
  file(): (file: FormFile) => Promise<void>
}

/** Throws Problem or Refusal. Resolves when every file has been handled. */
export function readForm(req: IncomingMessage, handlers: FormHandlers): Promise<void> {
  const form = openForm(req)
  return new Promise((resolve, reject) => {
    let turn: Promise<void> = Promise.resolve()
    let ended = false
    const open = new Set<BusboyFileStream>()

    const end = (settle: () => void): void => {
      if (ended) return
      ended = true
      req.unpipe(form)
      req.off('close', onClose).off('error', onClose)
      settle()
    }
    const fail = (error: unknown): void => {
      for (const stream of open) stream.destroy(error instanceof Error ? error : new Error('form ended'))
      end(() => reject(error as Error))
    }
    const onClose = (): void => {
      if (!req.complete) fail(uploadAborted())
    }

    form.on('field', (name, value, _nameTruncated, valueTruncated) => {
      try {
        if (valueTruncated) throw tooMuch(`The field is longer than ${FIELD_BYTES_MAX} bytes.`)
        handlers.field(name, value)
      } catch (error) {
        fail(error)
      }
    })
    form.on('file', (_name, stream, fileName: string | undefined, _encoding, mediaType) => {
      open.add(stream)
      stream.on('error', () => undefined)
      const handle = handlers.file()
      turn = turn
        .then(() =>
          ended ? undefined : handle({ fileName: fileName ?? null, mediaType, stream: readKeeping(stream) }),
        )
        .catch(fail)
        .finally(() => {
          open.delete(stream)
          stream.resume()
        })
    })
    form.on('filesLimit', () => fail(tooMuch(`The form has more than ${FILES_MAX} files.`)))
    form.on('fieldsLimit', () => fail(tooMuch(`The form has more than ${FIELDS_MAX} fields.`)))
    form.on('error', () => fail(broken()))
    form.on('finish', () => void turn.then(() => end(resolve)))
    req.on('close', onClose).on('error', onClose)
    req.pipe(form)
  })
}

function openForm(req: IncomingMessage): BusboyInstance {
  const contentType = req.headers['content-type'] ?? ''
  if (!/^multipart\/form-data\s*(;|$)/i.test(contentType)) {
    throw new Problem(
      415,
      'unsupported-media-type',
      'Uploads are multipart/form-data, as `curl -F file=@scan.png` sends it. For other bodies use POST /v1/records?pipeline=NAME.',
    )
  }
  try {
    return new Busboy({
      headers: { ...req.headers, 'content-type': contentType },
      limits: { files: FILES_MAX, fields: FIELDS_MAX, fieldSize: FIELD_BYTES_MAX, headerSize: HEADER_BYTES_MAX },
    })
  } catch {
    throw new Problem(400, 'broken-upload', 'The Content-Type names no multipart boundary. Let the HTTP client set it.')
  }
}

/** Iterates without destroying the stream: a destroyed part would stop the parser for the parts after it. */
function readKeeping(stream: Readable): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => stream.iterator({ destroyOnReturn: false }) as AsyncIterator<Uint8Array> }
}

function broken(): Refusal {
  return new Refusal(
    'broken-upload',
    400,
    'The multipart body breaks off or is malformed. Nothing was kept of its last file: send it again.',
  )
}

function tooMuch(detail: string): Problem {
  return new Problem(413, 'too-large', `${detail} Split the upload.`)
}
