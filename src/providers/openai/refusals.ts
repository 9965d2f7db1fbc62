/**
 * What OpenAI's error codes prove about a call. Pure.
 *
 * Source: https://developers.openai.com/api/docs/guides/error-codes. Only codes are kept, never messages: those quote
 * the request.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { z } from 'zod'
import { parseRetryAfter, type Failure } from '../http-certainty.js'
import { parseJsonBody } from '../http-session.js'

const OPENAI_CODE = /^[a-z0-9_-]{1,60}$/

/** In our own spelling; null when the provider gave none that fits. */
export const codeOf = (code: unknown): string | null =>
  typeof code === 'string' && OPENAI_CODE.test(code) ? code.replaceAll('_', '-') : null

/** Nothing changes by waiting: money or an approval is missing. */
const OUT_OF_MONEY: ReadonlySet<string> = new Set([
  'insufficient-quota',
  'credit-balance-exhausted',
  'billing-hard-limit-reached',
  'billing-not-active',
  'organization-usage-limit-exceeded',
  'organization-spend-limit-exceeded',
  'project-spend-limit-exceeded',
])

/** 503s that are documented as "not taken on". Others may have run. */
const OVERLOADED: ReadonlySet<string> = new Set(['server-is-overloaded', 'server-overloaded', 'slow-down'])

/** Of a response that failed, or an error in a stream: another try may go well. */
const PASSING: ReadonlySet<string> = new Set([
  'server-error',
  'rate-limit-exceeded',
  'vector-store-timeout',
  ...OVERLOADED,
])

export const TOO_LONG = 'context-length-exceeded'

export const isPassing = (code: string | null): boolean => code !== null && PASSING.has(code)

const ErrorObject = z.object({ code: z.unknown().optional(), type: z.unknown().optional() })
/** Of every refusal: https://developers.openai.com/api/docs/guides/error-codes */
export const ErrorBody = z.object({ error: ErrorObject })

/** Of an `error` member, which some servers fill with a plain text. */
export function codeOfError(error: unknown): string | null {
  const parsed = ErrorObject.safeParse(error)
  return parsed.success ? codeOf(parsed.data.code) : null
}

/** `failure` as the status alone tells it; what the body's code adds to that. */
export function refine(
  failure: Failure,
  status: number,
  body: Uint8Array | null,
  headers: IncomingHttpHeaders,
): Failure {
  const parsed = ErrorBody.safeParse(body === null ? undefined : parseJsonBody(body))
  const told = parsed.success ? parsed.data.error : { code: null, type: null }
  const code = codeOf(told.code)
  const waitMs = retryAfterMsOf(headers)
  const common = {
    evidence: failure.evidence ?? null,
    limits: failure.limits ?? null,
    code: code ?? failure.code,
    message: failure.message,
  }
  if (status === 503 && code !== null && OVERLOADED.has(code))
    return pausing({ ...common, kind: 'not-executed', retryable: true }, waitMs)
  if (status === 429) {
    const outOfMoney = [code, codeOf(told.type)].some((name) => name !== null && OUT_OF_MONEY.has(name))
    if (outOfMoney) return { ...common, kind: 'not-executed', retryable: false }
    return pausing({ ...common, kind: 'not-executed', retryable: true }, waitMs)
  }
  return { ...failure, code: common.code }
}

/** The account is told to wait, not this call alone: all of them do. */
function pausing(failure: Extract<Failure, { kind: 'not-executed' }>, waitMs: number | undefined): Failure {
  if (waitMs === undefined) return failure
  return { ...failure, retryAfterMs: waitMs, limits: { ...failure.limits, pauseMs: waitMs } }
}

/** `retry-after-ms` is finer, and comes from OpenAI and Azure; the official client reads it first, too. */
function retryAfterMsOf(headers: IncomingHttpHeaders): number | undefined {
  const ms = headers['retry-after-ms']
  if (typeof ms === 'string' && /^\d{1,9}(\.\d+)?$/.test(ms)) return Math.ceil(Number(ms))
  return parseRetryAfter(headers['retry-after'], headers.date)
}
