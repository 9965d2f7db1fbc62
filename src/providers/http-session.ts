/**
 * One origin over HTTP, for an adapter: fixed headers with late secrets, one exchange at a time on kept connections, and
 * the common reading of what came back. What an exchange proves is http-certainty.ts; the one request is http-wire.ts.
 *
 * - N1 One exchange is one request on the wire; nothing is sent again (see http-wire.ts).
 * - N2 Errors and evidence hold statuses, codes and the provider's request id; never a body, a header's value or the url.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http'
import type { Evidence } from '../machines/record.js'
import type { LearnedLimits, ProviderDeps } from './contract.js'
import type { Failure, StatusRules } from './http-certainty.js'
import { parseRetryAfter, verdictOf, verdictOfBrokenExchange, verdictOfCutBody } from './http-certainty.js'
import type { WireOutcome } from './http-wire.js'
import { createWireTarget, sendOnce } from './http-wire.js'
import { readRateHeaders } from './rate-headers.js'
import { isSecret, type Secret } from './secret.js'

export type Exchange = {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Of the origin, beginning with "/". Default: the base URL's own path. */
  path?: string
  body?: string | Uint8Array
  contentType?: string
  headers?: OutgoingHttpHeaders
  signal: AbortSignal
  onChunk?(chunk: Buffer): void
}

export interface HttpSession {
  exchange(exchange: Exchange): Promise<WireOutcome>
  /** The base URL's path without a "/" at its end, to put before an endpoint's own. */
  readonly basePath: string
  close(): void
}

export type SessionOptions = {
  provider: string
  baseUrl: URL
  headers: { [name: string]: string | Secret }
  /** Sent as `Authorization: Bearer …`. */
  apiKey?: Secret | undefined
  /** Instead of `Bearer`. */
  apiKeyScheme?: string | undefined
  connectionsMax: number
  connectTimeoutMs: number
  responseBytesMax: number
}

/** What the settings of every adapter over HTTP hold. */
export type ConnectionSettings = {
  baseUrl: URL
  headers: { [name: string]: string | Secret }
  apiKey?: Secret | undefined
  apiKeyScheme?: string | undefined
  slots: number
  connectTimeoutMs: number
  responseBytesMax: number
}

/** As many kept connections as calls at once. Throws TypeError for a header that can't be sent. */
export const openSession = (provider: string, settings: ConnectionSettings, deps: ProviderDeps): HttpSession => {
  const { baseUrl, headers, apiKey, apiKeyScheme, slots, connectTimeoutMs, responseBytesMax } = settings
  const key = { apiKey, ...(apiKeyScheme !== undefined && { apiKeyScheme }) }
  const limits = { connectionsMax: slots, connectTimeoutMs, responseBytesMax }
  return createHttpSession({ provider, baseUrl, headers, ...key, ...limits }, deps)
}

/** Resolves the secrets. Throws TypeError for a header that can't be sent. */
export function createHttpSession(options: SessionOptions, { secret }: ProviderDeps): HttpSession {
  const target = createWireTarget(options.baseUrl, options.connectionsMax)
  const fixed = resolveHeaders(options, secret)
  const { connectTimeoutMs, responseBytesMax } = options
  return {
    basePath: options.baseUrl.pathname.replace(/\/+$/, ''),
    exchange({ method, path, body, contentType, headers, signal, onChunk }) {
      return sendOnce({
        target,
        method,
        ...(path !== undefined && { path }),
        headers: {
          ...(contentType !== undefined && { 'content-type': contentType }),
          ...fixed,
          ...headers,
          ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }),
        },
        ...(body !== undefined && { body }),
        connectTimeoutMs,
        responseBytesMax,
        signal,
        ...(onChunk && { onChunk }),
      })
    },
    close: () => target.agent.destroy(),
  }
}

/** Names lower-case, so that a header that the config gives replaces ours and is never sent twice. */
function resolveHeaders(
  { provider, headers, apiKey, apiKeyScheme = 'Bearer' }: SessionOptions,
  secret: ProviderDeps['secret'],
) {
  const resolved: OutgoingHttpHeaders = { accept: 'application/json', 'accept-encoding': 'identity' }
  const put = (header: string, value: string, what: string, prefix = ''): void => {
    if (!/^[\x20-\x7e]{1,8192}$/.test(value)) {
      throw new TypeError(
        `Provider ${provider} can't send ${header}: ${what} is empty or holds more than visible ASCII.`,
      )
    }
    resolved[header.toLowerCase()] = prefix + value
  }
  for (const [header, value] of Object.entries(headers)) {
    if (isSecret(value)) put(header, secret(value.secret), `the secret ${value.secret}`)
    else put(header, value, 'its value')
  }
  if (apiKey !== undefined)
    put('authorization', secret(apiKey.secret), `the secret ${apiKey.secret}`, `${apiKeyScheme} `)
  return resolved
}

export type Told = { evidence: Evidence; limits: LearnedLimits | null; headers: IncomingHttpHeaders }
/** A whole 2xx answer, or what its absence proves. */
export type Reading = ({ ok: true; body: Buffer } & Told) | { ok: false; failure: Failure; body: Buffer | null }

const REQUEST_ID_HEADERS = ['x-request-id', 'request-id', 'x-amzn-requestid', 'apim-request-id'] as const

export type ReadingRules = {
  statuses: StatusRules
  requestIdHeaders?: readonly string[]
  /** A 2xx that breaks off is in doubt, not lost: the same key, or a look-up, still finds the result. */
  cutIsUnknown: boolean
}

export const NO_STATUS_RULES: StatusRules = {
  notExecuted: new Set(),
  executed: new Set(),
  retryable: null,
  rejects: new Set(),
}

/** Status, request id, rate limits and certainty of one exchange. `body` of a failure is for its error code only. */
export function readOutcome(outcome: WireOutcome, rules: ReadingRules): Reading {
  if (outcome.kind === 'broken') {
    const failure = verdictOfBrokenExchange(outcome.connected, outcome.errorCode)
    // Tells a person that a kept connection may have died idle: the commonest harmless cause.
    return {
      ok: false,
      failure: outcome.reused ? { ...failure, evidence: { reusedConnection: true } } : failure,
      body: null,
    }
  }
  const { status, headers } = outcome
  const evidence: Evidence = { status }
  for (const name of rules.requestIdHeaders ?? REQUEST_ID_HEADERS) {
    const id = headers[name]
    if (typeof id === 'string' && /^[\x21-\x7e]{1,100}$/.test(id)) evidence['requestId'] ??= id
  }
  const limits = readRateHeaders(headers)
  const verdict = verdictOf(status, rules.statuses, parseRetryAfter(headers['retry-after'], headers.date))
  if (verdict.kind !== 'succeeded') return { ok: false, failure: { ...verdict, evidence, limits }, body: outcome.body }
  if (outcome.kind === 'cut')
    return {
      ok: false,
      failure: { ...verdictOfCutBody(outcome.why, rules.cutIsUnknown), evidence, limits },
      body: outcome.body,
    }
  return { ok: true, body: outcome.body, evidence, limits, headers }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Undefined when the bytes are no JSON. */
export function parseJsonBody(body: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(body)) as unknown
  } catch {
    return undefined
  }
}
