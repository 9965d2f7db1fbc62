/**
 * POST /v1/uploads: files as browsers and `curl -F` send them. Each file is a record, accepted while it arrives.
 */
import { Refusal, type Receipt, type Submission } from '../../ingest/contract.js'
import { parseJson } from '../../ingest/json-limits.js'
import { answerReceipts } from '../answer-receipt.js'
import type { ServerDeps } from '../contract.js'
import { readForm, type FormFile } from '../multipart.js'
import { parsePart, Problem } from '../problem.js'
import { whenGone } from '../read-body.js'
import { json, type Route, type RouteContext, type RouteSpec } from '../route.js'
import {
  receiptListSchema,
  receiptSchema,
  recordListSchema,
  recordSchema,
  submitHeaders,
  uploadBody,
  uploadQuery,
} from '../schemas.js'
import { idempotencyKey } from './submit.js'

const spec: RouteSpec = {
  method: 'post',
  path: '/v1/uploads',
  summary: 'Upload files',
  description:
    'Fields (`pipeline`, `key`, `metadata`) come before the files they are for. One file is answered with its receipt, several with a list of receipts, in order. ' +
    'A key that is not renewed between two files gets `#2`, `#3`, … from the second file on. When a file is refused, the files after it are not looked at; ' +
    'the problem lists in `accepted` the receipts of those before it, so sending all again with the same keys is safe.',
  query: uploadQuery,
  headers: submitHeaders,
  body: { description: 'The form', content: { 'multipart/form-data': uploadBody } },
  responses: {
    200: json('The record, or the list of records: all settled within the wait', recordSchema.or(recordListSchema)),
    202: json('The receipt, or the list of receipts', receiptSchema.or(receiptListSchema)),
  },
}

type Fields = {
  pipeline: string | undefined
  key: string | null
  keyUses: number
  metadata: { [name: string]: string }
}

export function uploadRoutes(deps: ServerDeps): Route[] {
  return [{ spec, handle: (ctx) => upload(deps, ctx) }]
}

async function upload(deps: ServerDeps, ctx: RouteContext): Promise<void> {
  const { source } = await deps.identify(ctx)
  const query = parsePart(uploadQuery, ctx.query, 'query')
  const gone = whenGone(ctx.req, ctx.res)
  const headerKey = idempotencyKey(ctx)
  const fields: Fields = { pipeline: query.pipeline, key: headerKey, keyUses: 0, metadata: {} }
  const receipts: Receipt[] = []
  let files = 0

  try {
    await readForm(ctx.req, {
      field: (name, value) => setField(fields, name, value, headerKey),
      file() {
        files += 1
        const envelope = takeEnvelope(fields)
        return async (file) => {
          receipts.push(await deps.accept(submissionOf(envelope, file, source, gone)))
        }
      },
    })
  } catch (error) {
    throw withReceipts(error, receipts)
  }
  if (files === 0) {
    throw new Problem(400, 'invalid-request', 'The form has no file. Send one as `curl -F file=@scan.png` does.')
  }
  await answerReceipts(deps, ctx, receipts, { list: files > 1, gone: () => gone })
}

function setField(fields: Fields, name: string, value: string, headerKey: string | null): void {
  if (name === 'pipeline') fields.pipeline = value
  else if (name === 'key') {
    if (headerKey !== null && headerKey !== value) {
      const detail = 'The header Idempotency-Key and the field `key` name different keys. Send one of them.'
      throw new Problem(400, 'invalid-request', detail)
    }
    fields.key = value
    fields.keyUses = 0
  } else if (name === 'metadata') fields.metadata = metadataOf(value)
  else {
    throw new Problem(
      400,
      'invalid-request',
      `The form has an unknown field "${shown(name)}". Fields are \`pipeline\`, \`key\` and \`metadata\`; a file needs a file name (\`-F file=@scan.png\`).`,
    )
  }
}

/** A name from outside, as far as it may stand in an answer. */
const shown = (name: string): string => name.slice(0, 40).replace(/[^\x20-\x7e]/g, '?')

function metadataOf(value: string): { [name: string]: string } {
  const parsed = parseJson(Buffer.from(value), 'The field `metadata`')
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw new Problem(400, 'invalid-request', 'The field `metadata` must be a JSON object of strings.')
  }
  // accept() checks the entries, for all ways in alike.
  return parsed as { [name: string]: string }
}

type Envelope = { pipeline: string | undefined; key: string | null; metadata: { [name: string]: string } }

function takeEnvelope(fields: Fields): Envelope {
  fields.keyUses += 1
  const { pipeline, key, keyUses, metadata } = fields
  return { pipeline, key: key !== null && keyUses > 1 ? `${key}#${keyUses}` : key, metadata }
}

function submissionOf(envelope: Envelope, file: FormFile, source: string, gone: AbortSignal): Submission {
  const { pipeline, key, metadata } = envelope
  if (pipeline === undefined) {
    throw new Problem(
      400,
      'invalid-request',
      'No pipeline was named before the file. Put `-F pipeline=NAME` before it, or ?pipeline=NAME into the address.',
    )
  }
  const { fileName, mediaType, stream } = file
  return { source, via: 'upload', pipeline, key, mediaType, fileName, metadata, content: { stream }, signal: gone }
}

function withReceipts(error: unknown, accepted: readonly Receipt[]): unknown {
  if (accepted.length === 0) return error
  if (error instanceof Refusal)
    return new Refusal(error.code, error.status, error.message, { ...error.details, accepted })
  if (error instanceof Problem) {
    const facts = { ...error.facts, accepted }
    return new Problem(error.status, error.code, error.message, { facts, headers: error.headers, cause: error.cause })
  }
  return error
}
