/**
 * What an HTTP exchange proves about the provider's work. Pure: a table for statuses, a rule for broken exchanges.
 *
 * - H1 Never connected (DNS, refused, connect timeout, TLS) = `not-executed`. Bytes written prove nothing, so anything
 *   after the connection stood is `unknown` until a status arrives.
 * - H2 A status counts by the table; what is not in it, and 408 and 5xx, is `unknown` unless the endpoint's
 *   documentation says more (`notExecuted`, `executed`).
 * - H3 A 2xx whose body breaks off or is no JSON = `partial`: it ran, the result is lost. Where the provider honours
 *   our key, a body that breaks off is `unknown` instead: asking again with the same key returns the result, while a
 *   certain failure would change the key and pay again.
 * - H4 Redirects are not followed: a second request would be a second call. 301, 307 and 308 did not run it;
 *   303 says that it ran; 302 is used for both.
 */
import type { CallAnswer } from './contract.js'

/** What the endpoint's documentation says beyond the table. */
export type StatusRules = {
  notExecuted: ReadonlySet<number>
  executed: ReadonlySet<number>
  /** Null: the table's own, 429 and 529, and 5xx that are named above. */
  retryable: ReadonlySet<number> | null
  rejects: ReadonlySet<number>
  /** Statuses whose body is the answer all the same: 202 where a job is taken and fetched later. */
  answers?: ReadonlySet<number>
}

export type Failure = Exclude<CallAnswer, { kind: 'succeeded' | 'accepted' }>
export type StatusVerdict = { kind: 'succeeded' } | Failure

const NOT_EXECUTED: ReadonlySet<number> = new Set([301, 307, 308, 400, 401, 402, 403, 404, 413, 415, 422, 429, 529])
const RAN_WITHOUT_RESULT: ReadonlySet<number> = new Set([204, 205, 206, 303])
const RETRYABLE: ReadonlySet<number> = new Set([429, 529])

export function verdictOf(status: number, rules: StatusRules, retryAfterMs: number | undefined): StatusVerdict {
  const code = `http-${status}`
  const message = `The provider answered with status ${status}${hint(status)}.`
  const declared = rules.notExecuted.has(status) || rules.executed.has(status)
  const retryable = rules.retryable?.has(status) ?? (RETRYABLE.has(status) || (declared && status >= 500))
  const facts = {
    code,
    message,
    retryable,
    rejects: rules.rejects.has(status),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  }
  if (rules.answers?.has(status)) return { kind: 'succeeded' }
  if (rules.executed.has(status)) return { kind: 'executed', ...facts }
  if (rules.notExecuted.has(status) || NOT_EXECUTED.has(status)) return { kind: 'not-executed', ...facts }
  if (RAN_WITHOUT_RESULT.has(status)) return { kind: 'partial', ...facts }
  // 202 promises a later result that this adapter can't fetch.
  if (status === 202 || status < 200 || status > 299) return { kind: 'unknown', code, message }
  return { kind: 'succeeded' }
}

function hint(status: number): string {
  if (status === 401 || status === 403) return ': check its API key'
  if (status === 404) return ': check its url'
  if (status >= 301 && status <= 308) return ': redirects are not followed, write the final url'
  if (status === 202) return ': it accepted a job, whose result this provider cannot fetch'
  return ''
}

/** No status arrived. `connected`: TCP, and TLS where it is used, stood when it broke. */
export function verdictOfBrokenExchange(connected: boolean, errorCode: string): Failure {
  if (!connected) return { kind: 'not-executed', ...connectFailure(errorCode), retryable: true }
  if (errorCode === 'ABORTED') {
    return { kind: 'unknown', code: 'no-answer', message: 'The request was sent, and no answer came in time.' }
  }
  if (errorCode.startsWith('HPE_')) {
    return { kind: 'unknown', code: 'malformed-response', message: `The provider's answer is no HTTP (${errorCode}).` }
  }
  const message = `The connection broke after the request was sent (${errorCode}).`
  return { kind: 'unknown', code: 'connection-reset', message }
}

/** `tls` comes first: a certificate's error has many codes, and all mean that no request left. */
function connectFailure(errorCode: string): { code: string; message: string } {
  const tell = (code: string, what: string) => ({ code, message: `${what} (${errorCode}). Nothing was sent.` })
  if (errorCode === 'ABORTED') return tell('connect-timeout', 'The call ended before the connection stood')
  if (errorCode === 'CONNECT_TIMEOUT' || errorCode === 'ETIMEDOUT')
    return tell('connect-timeout', 'No connection in time')
  if (errorCode === 'ENOTFOUND' || errorCode.startsWith('EAI_')) return tell('dns-failed', 'The host name is not known')
  if (errorCode === 'ECONNREFUSED') return tell('connection-refused', 'The connection was refused')
  if (/^(EPROTO|ERR_SSL_|ERR_TLS_|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(errorCode)) {
    return tell('tls-failed', 'The TLS handshake failed')
  }
  return tell('connect-failed', 'No connection could be made')
}

/** A 2xx whose body did not arrive whole. See H3. */
export function verdictOfCutBody(why: 'reset' | 'aborted' | 'too-large', keyIsHonoured: boolean): Failure {
  if (why === 'too-large') {
    const message = 'The answer is larger than the limit of responseBytesMax.'
    return { kind: 'partial', code: 'response-too-large', message, retryable: false }
  }
  const message = why === 'reset' ? 'The answer broke off.' : 'The answer was not complete in time.'
  if (keyIsHonoured) return { kind: 'unknown', code: 'response-cut', message }
  return { kind: 'partial', code: 'response-cut', message, retryable: true }
}

const RETRY_AFTER_MS_MAX = 24 * 60 * 60 * 1000

/**
 * Retry-After (RFC 9110, 10.2.3): seconds, or a date, which is read against the answer's own Date where it has one,
 * so that a clock that is off does not matter.
 */
export function parseRetryAfter(retryAfter: string | undefined, date: string | undefined): number | undefined {
  if (retryAfter === undefined) return undefined
  const text = retryAfter.trim()
  const seconds = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : undefined
  const ms = seconds ?? Date.parse(text) - (date === undefined ? Date.now() : Date.parse(date))
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), RETRY_AFTER_MS_MAX) : undefined
}
