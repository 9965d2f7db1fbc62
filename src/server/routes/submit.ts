/**
 * POST /v1/records: one record. The hot path: one JSON parse, one schema, one accept().
 */
import { z } from 'zod'
import type { Submission } from '../../ingest/contract.js'
import { JSON_BYTES_MAX, parseJson } from '../../ingest/json-limits.js'
import { answerReceipts } from '../answer-receipt.js'
import type { Identity, ServerDeps } from '../contract.js'
import { parsePart, Problem } from '../problem.js'
import { readWhole, whenGone } from '../read-body.js'
import { json, type Route, type RouteContext, type RouteSpec } from '../route.js'
import { receiptSchema, recordSchema, submitBody, submitHeaders, submitQuery } from '../schemas.js'

/** The envelope around the input: pipeline, metadata, braces. */
const ENVELOPE_BYTES_MAX = 64 * 1024
/** What `curl -d` says when nobody tells it otherwise counts as JSON. */
const JSON_BODY = /^(application\/(json|[a-z0-9.+-]+\+json|x-www-form-urlencoded)\s*(;|$)|$)/i

const spec: RouteSpec = {
  method: 'post',
  path: '/v1/records',
  summary: 'Submit a record',
  description:
    'Without `pipeline` in the query, the body is JSON: `{ pipeline, input, metadata? }`. With it, the body is the input itself, of any media type, streamed. ' +
    'The 202 means: a majority has the record in its journal. The same Idempotency-Key from the same source is the same record, and other content under it is refused with 422.',
  query: submitQuery,
  headers: submitHeaders,
  body: {
    description: 'The submission, or with `?pipeline=` the input itself',
    content: { 'application/json': submitBody, '*/*': z.string().meta({ format: 'binary' }) },
  },
  responses: {
    200: json('The record: it settled within the wait', recordSchema),
    202: json('The receipt', receiptSchema),
  },
}

export function submitRoutes(deps: ServerDeps): Route[] {
  return [
    {
      spec,
      async handle(ctx) {
        const identity = await deps.identify(ctx)
        const gone = () => whenGone(ctx.req, ctx.res)
        const submission = await readSubmission(ctx, identity, gone)
        const receipt = await deps.accept(submission)
        await answerReceipts(deps, ctx, [receipt], { list: false, gone })
      },
    },
  ]
}

/** `gone` is asked for only where it can save work: a signal costs as much as all else that is done for a small body. */
async function readSubmission(ctx: RouteContext, identity: Identity, gone: () => AbortSignal): Promise<Submission> {
  const { pipeline } = ctx.querystring === '' ? {} : parsePart(submitQuery, ctx.query, 'query')
  const common = {
    source: identity.source,
    via: 'http',
    key: idempotencyKey(ctx),
    fileName: null,
  }
  if (pipeline !== undefined) {
    const stream = { [Symbol.asyncIterator]: () => ctx.req.iterator({ destroyOnReturn: false }) }
    const mediaType = ctx.get('content-type') || null
    return { ...common, pipeline, mediaType, metadata: {}, content: { stream }, signal: gone() }
  }
  const contentType = ctx.get('content-type')
  if (!JSON_BODY.test(contentType)) {
    throw new Problem(
      415,
      'unsupported-media-type',
      'The body must be JSON `{ "pipeline": …, "input": … }`. To send a file as it is, name the pipeline in the query (?pipeline=NAME), or use POST /v1/uploads.',
    )
  }
  const body = parseJson(
    await readWhole(ctx.req, 'The body', JSON_BYTES_MAX + ENVELOPE_BYTES_MAX),
    'The body',
    Infinity,
  )
  const parsed = parsePart(submitBody, body, 'body')
  // A missing input passes `unknown`; and zod drops `__proto__` from metadata, where accept() must see it.
  const { input, metadata } = body as { input?: unknown; metadata?: { [name: string]: string } }
  if (input === undefined)
    throw new Problem(400, 'invalid-request', 'The body has no `input`. Put the JSON to process there.')
  return { ...common, pipeline: parsed.pipeline, mediaType: null, metadata: metadata ?? {}, content: { json: input } }
}

export function idempotencyKey(ctx: RouteContext): string | null {
  const key = ctx.req.headers['idempotency-key']
  return typeof key === 'string' ? key : null
}
