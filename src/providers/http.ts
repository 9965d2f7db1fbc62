/**
 * `http`: a provider behind any endpoint that takes a POST or PUT and answers JSON, described in the config: the one
 * request, and where there is such, the job behind it, the look-up by our key, the cancel and the webhook.
 *
 * Owns the request's bytes and the call. What an exchange proves is decided in http-certainty.ts, what a question's
 * answer means in http-asking.ts; deadline and schema belong to the call layer.
 * Errors and evidence hold statuses, codes and the provider's request id; never a body, a header's value or the url.
 */
import type { BuiltRequest, CallAnswer, Provider, ProviderDeps, ProviderFactory, RequestParts } from './contract.js'
import type { CallRequest } from './contract.js'
import { isHandle } from './call.js'
import { readFinished } from './http-answer.js'
import { ask, BAD_HANDLE, cancel, flatten, FOREIGN_PATH, ready } from './http-asking.js'
import { parseRetryAfter } from './http-certainty.js'
import type { HttpOptions } from './http-options.js'
import { pathFor, readPlace } from './http-places.js'
import { openSession, parseJsonBody, readOutcome, type HttpSession, type Reading } from './http-session.js'
import { readHttpOptions, type HttpSettings, type JobSettings } from './http-settings.js'
import { carryUrl, checkCarrying, createWebhookReader } from './http-webhook.js'

export type { HttpOptions } from './http-options.js'

/** Throws TypeError when an option is not valid. Secrets are resolved in `create`, once per worker process. */
export function http(options: HttpOptions): ProviderFactory {
  const settings = readHttpOptions(options)
  const { limits, webhook } = settings
  return {
    slots: settings.slots,
    ...(limits && { limits: limits as NonNullable<ProviderFactory['limits']> }),
    terms: (name) => ({ name, ...settings.terms }),
    create: (name, deps) => createHttpProvider(name, settings, deps),
    ...(webhook && { webhook: (name, deps) => createWebhookReader(name, settings, webhook, deps) }),
  }
}

function createHttpProvider(name: string, settings: HttpSettings, deps: ProviderDeps): Provider {
  const session = openSession(name, { ...settings, baseUrl: settings.url }, deps)
  const { job, lookup } = settings
  return {
    terms: { name, ...settings.terms },
    slots: settings.slots,
    build: (parts) => build(parts, settings),
    call: (request, signal) => call(settings, session, request, signal),
    ...((job ?? lookup) && { ask: (question, signal) => ask({ settings, session, signal }, question) }),
    ...(job?.cancel && { cancel: (question, signal) => cancel({ settings, session, signal }, question) }),
    ...(settings.readyPath !== null && { ready: (signal) => ready({ settings, session, signal }) }),
    close() {
      session.close()
      return Promise.resolve()
    },
  }
}

async function call(
  settings: HttpSettings,
  session: HttpSession,
  { built, requestKey, webhookUrl }: CallRequest,
  signal: AbortSignal,
): Promise<CallAnswer> {
  const { recovery } = settings.terms
  // What can be asked for again is not lost with the answer that broke off.
  const cutIsUnknown = recovery === 'idempotent' || recovery === 'retrievable' || recovery === 'job'
  const { body, contentType } = built!
  const carried = carryUrl(settings.webhook, webhookUrl, { path: submitPath(settings, requestKey), headers: {}, body })
  const outcome = await session.exchange({
    method: settings.method,
    path: carried.path,
    body: carried.body,
    contentType,
    headers: { ...carried.headers, [settings.keyHeader]: requestKey },
    signal,
  })
  const reading = readOutcome(outcome, {
    statuses: settings.statuses,
    requestIdHeaders: settings.requestIdHeaders,
    cutIsUnknown,
  })
  if (!reading.ok) return pausing(reading.failure)
  return settings.job === null ? readAnswer(reading, settings) : readTaken(reading, settings, settings.job)
}

/** The braces are encoded in a parsed URL's path, but not in its query. */
const submitPath = ({ url }: HttpSettings, requestKey: string): string =>
  (url.pathname + url.search).replaceAll(/%7BrequestKey%7D|\{requestKey\}/g, encodeURIComponent(requestKey))

/** A refusal that names a time holds for every call to the provider, not for this one alone. */
function pausing<F extends Extract<Reading, { ok: false }>['failure']>(failure: F): F {
  if (failure.kind !== 'not-executed' || failure.retryAfterMs === undefined) return failure
  return { ...failure, limits: { ...failure.limits, pauseMs: failure.retryAfterMs } }
}

/** Throws when the input can't be read or the body function throws: nothing is sent. */
async function build(parts: RequestParts, settings: HttpSettings): Promise<BuiltRequest> {
  const content = await contentOf(parts, settings.body)
  checkCarrying(settings.webhook, content)
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

type Whole = Extract<Reading, { ok: true }>

function readAnswer({ body, evidence, limits }: Whole, settings: HttpSettings): CallAnswer {
  const json = parseJsonBody(body)
  if (json !== undefined) return readFinished(settings, json, json, { evidence, limits })
  const what = { code: 'not-json', message: 'The answer is no JSON.' }
  // Asking may still find the result; a certain failure would change the key and pay again.
  if (settings.terms.recovery === 'retrievable') return { kind: 'unknown', ...what, evidence, limits }
  return { kind: 'partial', ...what, retryable: true, evidence, limits }
}

/** A submission was answered: the job is there, and may run, whatever can be read of the answer. */
function readTaken({ body, headers, evidence, limits }: Whole, settings: HttpSettings, job: JobSettings): CallAnswer {
  const flat = flatten(headers)
  const answer = { status: Number(evidence['status']), headers: flat, json: parseJsonBody(body) }
  const handle = readPlace(job.handle, answer)
  if (!isHandle(handle)) return { ...BAD_HANDLE, evidence, limits }
  if (pathFor(settings.url, job.poll.url, 'handle', handle) === null) return { ...FOREIGN_PATH, evidence, limits }
  const pollAfterMs = parseRetryAfter(flat['retry-after'], flat['date']) ?? job.everyMs
  return { kind: 'accepted', handle, ...(pollAfterMs !== undefined && { pollAfterMs }), evidence, limits }
}
