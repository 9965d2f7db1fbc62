/**
 * Errors as HTTP shows them: problem details (RFC 9457). `type` is a stable URN per code, `detail` says what was
 * wrong, what was found, and what to do.
 */
import type { z } from 'zod'
import { Refusal } from '../ingest/contract.js'

export type ProblemBody = {
  type: string
  title: string
  status: number
  code: string
  detail: string
  requestId: string
  [fact: string]: unknown
}

export class Problem extends Error {
  readonly status: number
  readonly code: string
  readonly facts: { [name: string]: unknown }
  readonly headers: { [name: string]: string }
  constructor(
    status: number,
    code: string,
    detail: string,
    more: { facts?: { [name: string]: unknown }; headers?: { [name: string]: string }; cause?: unknown } = {},
  ) {
    super(detail, { cause: more.cause })
    this.status = status
    this.code = code
    this.facts = more.facts ?? {}
    this.headers = more.headers ?? {}
  }
}

const TITLES: { [code: string]: string } = {
  'unknown-pipeline': 'Unknown pipeline',
  'invalid-submission': 'Invalid submission',
  'empty-input': 'Empty input',
  'unsupported-media-type': 'Unsupported media type',
  'too-large': 'Content too large',
  'key-conflict': 'Idempotency key in use',
  'too-deep': 'JSON nested too deeply',
  'broken-upload': 'Broken upload',
  'upload-aborted': 'Upload aborted',
  unavailable: 'Storage unavailable',
  'invalid-request': 'Invalid request',
  'unknown-route': 'No such route',
  'method-not-allowed': 'Method not allowed',
  'unknown-record': 'No such record',
  'unknown-result': 'No such result',
  'record-moved': 'The record has changed',
  'action-refused': 'The record does not take this now',
  'content-missing': 'Content missing',
  'unknown-provider': 'No such provider',
  'unknown-call': 'No such call',
  'webhook-refused': 'Delivery refused',
  'report-too-large': 'Report too large',
  'foreign-host': 'Host not allowed',
  'foreign-source': 'Source not visible',
  internal: 'Internal error',
}

/** What the client may know of any error; anything unforeseen becomes a 500 without its message. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error
  if (error instanceof Refusal) {
    const headers: { [name: string]: string } = error.status === 503 ? { 'retry-after': '1' } : {}
    return new Problem(error.status, error.code, error.message, { facts: error.details, headers, cause: error.cause })
  }
  if (codeOf(error) === 'store-unavailable') {
    const detail = 'The storage did not answer in time. Records keep their state: ask again in a moment.'
    return new Problem(503, 'unavailable', detail, { headers: { 'retry-after': '1' }, cause: error })
  }
  if (codeOf(error) === 'bad-page-token') return badPageToken()
  if (codeOf(error) === 'ledger-too-large') return new Problem(422, 'report-too-large', (error as Error).message)
  return new Problem(
    500,
    'internal',
    'Endstate failed to answer this request. The log has the cause under this requestId.',
    {
      cause: error,
    },
  )
}

export function badPageToken(): Problem {
  const detail = 'The page token is not valid. Pass `next` of the page before as it was, or none for the first page.'
  return new Problem(400, 'invalid-request', detail)
}

export function problemBody(problem: Problem, requestId: string): ProblemBody {
  return {
    ...problem.facts,
    type: `urn:endstate:problem:${problem.code}`,
    title: TITLES[problem.code] ?? problem.code,
    status: problem.status,
    code: problem.code,
    detail: problem.message,
    requestId,
  }
}

/** Parses one part of a request. Names the fields that are wrong; their values stay out. */
export function parsePart<T extends z.ZodType>(schema: T, value: unknown, part: string): z.output<T> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues.slice(0, 5).map((issue) => {
    const path = issue.path.map(String).join('.')
    const message = plain(issue.message)
    return path === '' ? message : `${path}: ${message}`
  })
  throw new Problem(400, 'invalid-request', `The ${part} is not valid. ${issues.join('. ')}. See /openapi.json.`)
}

/** zod says what JavaScript found; the sender wants to know what to send. */
function plain(message: string): string {
  if (message.endsWith('received undefined')) return 'is missing'
  return message.endsWith('received NaN') ? 'is no number' : message
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
