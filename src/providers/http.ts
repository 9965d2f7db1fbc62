/**
 * `http`: a provider behind any endpoint that takes a POST and answers JSON.
 *
 * Owns the request's bytes and reading the answer. What an exchange proves is decided in http-certainty.ts, deadline and
 * schema belong to the call layer.
 * Errors and evidence hold statuses, codes and the provider's request id; never a body, a header's value or the url.
 */
import type { Evidence, Spend } from '../machines/record.js'
import type { BuiltRequest, CallAnswer, Provider, ProviderDeps, ProviderFactory, RequestParts } from './contract.js'
import { createHttpSession, parseJsonBody, readOutcome, type Reading } from './http-session.js'
import { readHttpOptions, type HttpOptions, type HttpSettings } from './http-settings.js'

export type { HttpOptions } from './http-settings.js'

/** Throws TypeError when an option is not valid. Secrets are resolved in `create`, once per worker process. */
export function http(options: HttpOptions): ProviderFactory {
  const settings = readHttpOptions(options)
  return {
    slots: settings.slots,
    terms: (name) => ({ name, ...settings.terms }),
    create: (name, deps) => createHttpProvider(name, settings, deps),
  }
}

function createHttpProvider(name: string, settings: HttpSettings, deps: ProviderDeps): Provider {
  const session = createHttpSession(
    {
      provider: name,
      baseUrl: settings.url,
      headers: settings.headers,
      apiKey: settings.apiKey,
      connectionsMax: settings.slots,
      connectTimeoutMs: settings.connectTimeoutMs,
      responseBytesMax: settings.responseBytesMax,
    },
    deps,
  )
  const rules = {
    statuses: settings.statuses,
    requestIdHeaders: settings.requestIdHeaders,
    cutIsUnknown: settings.terms.recovery === 'idempotent',
  }

  return {
    terms: { name, ...settings.terms },
    slots: settings.slots,
    build: (parts) => build(parts, settings.body),
    async call({ built, requestKey }, signal) {
      const { body, contentType } = built!
      const outcome = await session.exchange({
        method: settings.method,
        body,
        contentType,
        headers: { [settings.keyHeader]: requestKey },
        signal,
      })
      const reading = readOutcome(outcome, rules)
      return reading.ok ? readAnswer(reading, settings) : reading.failure
    },
    close() {
      session.close()
      return Promise.resolve()
    },
  }
}

/** Throws when the input can't be read or the body function throws: nothing is sent. */
async function build(parts: RequestParts, body: HttpSettings['body']): Promise<BuiltRequest> {
  const content = await contentOf(parts, body)
  if (content instanceof Uint8Array) return { body: content, contentType: parts.input.mediaType }
  const text: string | undefined = JSON.stringify(content)
  if (text === undefined) throw new TypeError("The provider's body function answered nothing.")
  return { body: text, contentType: 'application/json' }
}

async function contentOf(request: RequestParts, body: HttpSettings['body']): Promise<unknown> {
  if (body !== undefined) return body(request)
  if (request.request !== undefined) return request.request
  const { mediaType } = request.input
  if (/^application\/(json|[\w.-]+\+json)(;|$)/.test(mediaType)) return request.input.json()
  const bytes = await request.input.bytes()
  return { mediaType, base64: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64') }
}

function readAnswer({ body, evidence, limits }: Extract<Reading, { ok: true }>, settings: HttpSettings): CallAnswer {
  const json = parseJsonBody(body)
  if (json === undefined)
    return { kind: 'partial', code: 'not-json', message: 'The answer is no JSON.', retryable: true, evidence, limits }
  const spend = readSpend(json, settings.spend, evidence)
  try {
    const output = settings.output === undefined ? json : settings.output(json)
    return { kind: 'succeeded', output, spend, evidence, limits }
  } catch {
    const message = "The provider's output function threw on this answer."
    return { kind: 'partial', code: 'output-threw', message, retryable: true, spend, evidence, limits }
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
