/**
 * `http`: a provider behind any endpoint that takes a POST and answers JSON.
 *
 * Owns the request's bytes and headers, and reading the answer. What an exchange proves is decided in
 * http-certainty.ts, the one request is made in http-wire.ts, deadline and schema belong to the call layer.
 * Errors and evidence hold statuses, codes and the provider's request id; never a body, a header's value or the url.
 */
import type { OutgoingHttpHeaders } from 'node:http'
import type { Evidence, Spend } from '../machines/record.js'
import type { CallAnswer, CallRequest, Provider, ProviderFactory } from './contract.js'
import {
  parseRetryAfter,
  verdictOf,
  verdictOfBrokenExchange,
  verdictOfCutBody,
  type Failure,
} from './http-certainty.js'
import { readHttpOptions, type HttpOptions, type HttpSettings } from './http-settings.js'
import { createWireTarget, sendOnce, type WireOutcome } from './http-wire.js'
import { isSecret } from './secret.js'

export type { HttpOptions } from './http-settings.js'

/** Throws TypeError when an option is not valid. Secrets are resolved in `create`, once per worker process. */
export function http(options: HttpOptions): ProviderFactory {
  const settings = readHttpOptions(options)
  return {
    slots: settings.slots,
    terms: (name) => ({ name, ...settings.terms }),
    create: (name, deps) => createHttpProvider(name, settings, deps.secret),
  }
}

function createHttpProvider(name: string, settings: HttpSettings, secret: (name: string) => string): Provider {
  const target = createWireTarget(settings.url, settings.slots)
  const fixedHeaders = resolveHeaders(name, settings, secret)

  return {
    terms: { name, ...settings.terms },
    slots: settings.slots,
    async call(request, signal) {
      const built = await build(request, settings, signal)
      if ('kind' in built) return built
      const outcome = await sendOnce({
        target,
        method: settings.method,
        headers: {
          'content-type': built.contentType,
          ...fixedHeaders,
          'content-length': Buffer.byteLength(built.body),
          [settings.keyHeader]: request.requestKey,
        },
        body: built.body,
        connectTimeoutMs: settings.connectTimeoutMs,
        responseBytesMax: settings.responseBytesMax,
        signal,
      })
      return read(outcome, settings)
    },
    close() {
      target.agent.destroy()
      return Promise.resolve()
    },
  }
}

/** Names lower-case, so that a header that the config gives replaces ours and is never sent twice. */
function resolveHeaders(name: string, settings: HttpSettings, secret: (name: string) => string): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { accept: 'application/json', 'accept-encoding': 'identity' }
  const put = (header: string, value: string, what: string, prefix = ''): void => {
    if (!/^[\x20-\x7e]{1,8192}$/.test(value)) {
      throw new TypeError(`Provider ${name} can't send ${header}: ${what} is empty or holds more than visible ASCII.`)
    }
    headers[header.toLowerCase()] = prefix + value
  }
  for (const [header, value] of Object.entries(settings.headers)) {
    if (isSecret(value)) put(header, secret(value.secret), `the secret ${value.secret}`)
    else put(header, value, 'its value')
  }
  const { apiKey } = settings
  if (apiKey !== undefined) put('authorization', secret(apiKey.secret), `the secret ${apiKey.secret}`, 'Bearer ')
  return headers
}

type Built = { body: string | Uint8Array; contentType: string }

/** The bytes to send. Nothing has left yet: whatever goes wrong here is `not-executed`, also the deadline. */
async function build(request: CallRequest, settings: HttpSettings, signal: AbortSignal): Promise<Built | Failure> {
  const notBuilt = (code: string, message: string): Failure => ({
    kind: 'not-executed',
    code,
    message,
    retryable: true,
  })
  let content: unknown
  try {
    content = await unlessAborted(contentOf(request, settings.body), signal)
    if (content instanceof Uint8Array) return { body: content, contentType: request.input.mediaType }
    const text: string | undefined = JSON.stringify(content)
    if (text === undefined) return notBuilt('request-not-built', "The provider's body function answered nothing.")
    return { body: text, contentType: 'application/json' }
  } catch {
    if (signal.aborted) return notBuilt('not-sent-in-time', 'The request was not ready before the deadline.')
    return notBuilt(
      'request-not-built',
      'The request could not be built: the input could not be read, or the body function threw.',
    )
  }
}

async function contentOf(request: CallRequest, body: HttpSettings['body']): Promise<unknown> {
  if (body !== undefined) return body(request)
  if (request.request !== undefined) return request.request
  const { mediaType } = request.input
  if (/^application\/(json|[\w.-]+\+json)(;|$)/.test(mediaType)) return request.input.json()
  const bytes = await request.input.bytes()
  return { mediaType, base64: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64') }
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop: (() => void) | undefined
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new Error('aborted'))
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop)
  }
}

function read(outcome: WireOutcome, settings: HttpSettings): CallAnswer {
  if (outcome.kind === 'broken') {
    const failure = verdictOfBrokenExchange(outcome.connected, outcome.errorCode)
    // Tells a person that a kept connection may have died idle: the commonest harmless cause.
    return outcome.reused ? { ...failure, evidence: { reusedConnection: true } } : failure
  }
  const { status, headers } = outcome
  const evidence: Evidence = { status }
  for (const name of settings.requestIdHeaders) {
    const id = headers[name]
    if (typeof id === 'string' && /^[\x21-\x7e]{1,100}$/.test(id)) evidence['requestId'] ??= id
  }
  const verdict = verdictOf(status, settings.statuses, parseRetryAfter(headers['retry-after'], headers.date))
  if (verdict.kind !== 'succeeded') return { ...verdict, evidence }
  if (outcome.kind === 'cut') {
    return { ...verdictOfCutBody(outcome.why, settings.terms.recovery === 'idempotent'), evidence }
  }
  return readAnswer(outcome.body, settings, evidence)
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function readAnswer(body: Buffer, settings: HttpSettings, evidence: Evidence): CallAnswer {
  let json: unknown
  try {
    json = JSON.parse(utf8.decode(body))
  } catch {
    return { kind: 'partial', code: 'not-json', message: 'The answer is no JSON.', retryable: true, evidence }
  }
  const spend = readSpend(json, settings.spend, evidence)
  try {
    const output = settings.output === undefined ? json : settings.output(json)
    return { kind: 'succeeded', output, spend, evidence }
  } catch {
    const message = "The provider's output function threw on this answer."
    return { kind: 'partial', code: 'output-threw', message, retryable: true, spend, evidence }
  }
}

function readSpend(json: unknown, spend: HttpSettings['spend'], evidence: Evidence): Spend | null {
  try {
    return spend?.(json) ?? null
  } catch {
    evidence['spendRule'] = 'threw'
    return null
  }
}
