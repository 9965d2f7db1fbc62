/**
 * The bytes that belong to a record: its input, and results too large to be inline. They came from outside, so they
 * are served as nothing that a browser would run: sniffing off, sandboxed, and as a download unless an image or PDF.
 */
import { Readable } from 'node:stream'
import { z } from 'zod'
import type { Payload } from '../../machines/record.js'
import type { ServerDeps } from '../contract.js'
import { parsePart, Problem } from '../problem.js'
import { json, loadVisible, type Route, type RouteContext } from '../route.js'
import { idParams, noQuery, stepParams } from '../schemas.js'

const SHOWN_INLINE = /^(image\/(png|jpeg|gif|webp|tiff|bmp|avif|apng)|application\/pdf)$/

export function contentRoutes(deps: ServerDeps): Route[] {
  return [
    {
      spec: {
        method: 'get',
        path: '/v1/records/{id}/input',
        summary: 'The input as it was submitted',
        description: 'With the media type that its content showed. JSON comes in canonical form (RFC 8785).',
        params: idParams,
        query: noQuery,
        responses: { 200: { description: 'The bytes', content: { '*/*': z.string().meta({ format: 'binary' }) } } },
      },
      handle: (ctx) => sendInput(deps, ctx),
    },
    {
      spec: {
        method: 'get',
        path: '/v1/records/{id}/steps/{step}/result',
        summary: "A step's result, also when it is too large to be inline",
        params: stepParams,
        query: noQuery,
        responses: { 200: json('The output', z.unknown()) },
      },
      handle: (ctx) => sendResult(deps, ctx),
    },
  ]
}

async function sendInput(deps: ServerDeps, ctx: RouteContext): Promise<void> {
  const identity = await deps.identify(ctx)
  parsePart(noQuery, ctx.query, 'query')
  const { id } = parsePart(idParams, ctx.params, 'path')
  const { input } = await loadVisible(deps, identity, id)
  const { payload, mediaType, encoding } = input
  if ('inline' in payload) {
    const bytes = Buffer.from(payload.inline, encoding === 'base64' ? 'base64' : 'utf8')
    send(ctx, mediaType, input.fileName, payload, bytes)
  } else {
    send(ctx, mediaType, input.fileName, payload, await openBlob(deps, ctx, payload.blob))
  }
}

async function sendResult(deps: ServerDeps, ctx: RouteContext): Promise<void> {
  const identity = await deps.identify(ctx)
  parsePart(noQuery, ctx.query, 'query')
  const { id, step } = parsePart(stepParams, ctx.params, 'path')
  const doc = await loadVisible(deps, identity, id)
  const payload = Object.hasOwn(doc.steps, step) ? doc.steps[step]?.result?.payload : undefined
  if (payload === undefined) {
    throw new Problem(
      404,
      'unknown-result',
      `Record ${id} has no result for the step "${step}". See GET /v1/records/${id}.`,
    )
  }
  if ('inline' in payload) {
    send(ctx, 'application/json', null, payload, Buffer.from(payload.inline))
  } else {
    send(ctx, 'application/json', null, payload, await openBlob(deps, ctx, payload.blob))
  }
}

function send(
  ctx: RouteContext,
  mediaType: string,
  fileName: string | null,
  payload: Payload,
  body: Buffer | Readable,
): void {
  ctx.status = 200
  ctx.body = body
  ctx.set({
    'content-type': mediaType,
    'content-length': String(payload.bytes),
    'content-disposition': disposition(SHOWN_INLINE.test(mediaType) ? 'inline' : 'attachment', fileName),
    'content-security-policy': "sandbox; default-src 'none'",
    etag: `"${payload.sha256}"`,
  })
}

/** RFC 6266 with RFC 8187: an ASCII fallback, and the name itself percent-encoded. */
function disposition(kind: 'inline' | 'attachment', fileName: string | null): string {
  if (fileName === null) return kind
  const ascii = fileName.replace(/[^\x20-\x7e]|["\\%]/g, '_')
  const encoded = encodeURIComponent(fileName).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`)
  return `${kind}; filename="${ascii}"; filename*=UTF-8''${encoded}`
}

/** Reads the first chunk before the answer begins, so that a missing blob is a 500 with a reason and not a cut body. */
async function openBlob(deps: ServerDeps, ctx: RouteContext, blob: string): Promise<Buffer | Readable> {
  if (ctx.method === 'HEAD') return Buffer.alloc(0)
  const iterator = deps.blobs.get(blob)[Symbol.asyncIterator]()
  try {
    const first = await iterator.next()
    return Readable.from(startingWith(first, iterator), { objectMode: false })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'blob-missing') {
      const detail =
        'The content of this record is missing from the blob store. Restore it from a backup of the database.'
      throw new Problem(500, 'content-missing', detail, { cause: error })
    }
    throw error
  }
}

async function* startingWith(
  first: IteratorResult<Uint8Array>,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    for (let step = first; step.done !== true; step = await rest.next()) yield step.value
  } finally {
    await rest.return?.()
  }
}
