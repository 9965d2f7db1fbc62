/**
 * `replicate`: a model, version or deployment on Replicate, as a job that is polled or told by a signed webhook.
 *
 * Owns the requests of Replicate's HTTP API and what their answers prove. What a prediction means is prediction.ts, what
 * the model is given is model-input.ts, the list is find-prediction.ts, the webhook is webhook.ts.
 *
 * - J1 One POST per call. Replicate honours no key of ours, so a POST without an answer is in doubt until the prediction
 *   is found (`tokenField`) or its webhook comes.
 * - J2 The frozen body is the version and the input: all that decides what runs and what it costs. `call` puts `webhook`
 *   and its filter behind it, because where to tell comes with the call and may differ between two processes. The hash
 *   of the frozen body so stays the same for every attempt under a key.
 * - J3 A 2xx whose body breaks off or names no id is in doubt, never failed: the prediction was made.
 *
 * https://replicate.com/docs/reference/http
 */
import type {
  AskAnswer,
  BuiltRequest,
  CallAnswer,
  CallRequest,
  Provider,
  ProviderDeps,
  ProviderFactory,
  Question,
  RequestParts,
} from '../contract.js'
import { openSession, NO_STATUS_RULES, parseJsonBody, readOutcome, type HttpSession } from '../http-session.js'
import { findPrediction } from './find-prediction.js'
import { buildModelInput } from '../predictions/model-input.js'
import { readReplicateOptions, type ReplicateOptions, type ReplicateSettings } from './options.js'
import {
  isRunning,
  parsePrediction,
  readEnded,
  type Prediction,
  type ToldWithPrediction,
} from '../predictions/prediction.js'
import { createWebhookReader } from './webhook.js'

export type { ReplicateOptions } from './options.js'

/** 202: "created but not yet complete", where the API waits for the run by itself. */
const RULES = { statuses: { ...NO_STATUS_RULES, answers: new Set([202]) }, cutIsUnknown: true }

/**
 * A provider on Replicate. What the model is given follows the rule of `buildModelInput`: the step's `request` gives
 * `{ input: { … } }`, and the record's file goes in as a data URL under `inputField`. Replicate advises data URLs up to
 * 256 KiB; for larger files let an earlier step give a URL, and set `inputField: false`.
 *
 * Throws TypeError when an option is not valid. Secrets are resolved in `create` and `webhook`.
 */
export function replicate(options: ReplicateOptions): ProviderFactory {
  const settings = readReplicateOptions(options)
  const { webhookSecret } = settings
  return {
    slots: settings.slots,
    limits: { requestsPerMinute: settings.requestsPerMinute },
    terms: (name) => ({ name, ...settings.terms }),
    create: (name, deps) => createReplicateProvider(name, settings, deps),
    ...(webhookSecret !== null && {
      webhook: (name: string, deps: ProviderDeps) =>
        createWebhookReader(name, webhookSecret, settings.prediction, deps),
    }),
  }
}

function createReplicateProvider(name: string, settings: ReplicateSettings, deps: ProviderDeps): Provider {
  const session = openSession(name, { ...settings, headers: {} }, deps)
  return {
    terms: { name, ...settings.terms },
    slots: settings.slots,
    build: (parts) => build(parts, settings),
    call: (request, signal) => create(session, settings, request, signal),
    ask: (question, signal) =>
      question.handle === null
        ? look(session, settings, question, signal)
        : get(session, settings, question.handle, signal),
    async cancel({ handle }, signal) {
      if (handle === null) return
      await session.exchange({ method: 'POST', path: `${pathOf(session, handle)}/cancel`, signal })
    },
    async ready(signal) {
      const path = `${session.basePath}${settings.readyPath}`
      const reading = readOutcome(await session.exchange({ method: 'GET', path, signal }), RULES)
      if (reading.ok) return { ready: true, detail: 'The API answers for it.' }
      return { ready: false, detail: reading.failure.message }
    },
    close() {
      session.close()
      return Promise.resolve()
    },
  }
}

async function build(parts: RequestParts, { version, input: rules }: ReplicateSettings): Promise<BuiltRequest> {
  const input = await buildModelInput(parts, rules)
  return { body: JSON.stringify({ ...(version !== null && { version }), input }), contentType: 'application/json' }
}

/** J2. `body` is an object that holds at least `input`. */
export const withWebhook = (body: string, url: string): string =>
  `${body.slice(0, -1)},"webhook":${JSON.stringify(url)},"webhook_events_filter":["completed"]}`

async function create(
  session: HttpSession,
  settings: ReplicateSettings,
  { built, webhookUrl }: CallRequest,
  signal: AbortSignal,
): Promise<CallAnswer> {
  const { body, contentType } = built!
  const text = typeof body === 'string' ? body : Buffer.from(body).toString('utf8')
  const asked = webhookUrl !== null && settings.webhookSecret !== null
  const outcome = await session.exchange({
    method: 'POST',
    path: `${session.basePath}${settings.createPath}`,
    body: asked ? withWebhook(text, webhookUrl) : text,
    contentType,
    signal,
  })
  const reading = readOutcome(outcome, RULES)
  if (!reading.ok) return withThrottle(reading.failure, reading.body)
  const { evidence, limits } = reading
  const prediction = parsePrediction(parseJsonBody(reading.body))
  if (prediction === null || prediction.id === null) {
    const message = 'A prediction was made, and the answer names no id.' // J3
    return { kind: 'unknown', code: 'no-id', message, evidence, limits }
  }
  // A status that nobody has documented tells nothing, but the id finds it again.
  return (
    readEnded(prediction, { evidence, limits }, settings.prediction) ?? {
      kind: 'accepted',
      handle: prediction.id,
      evidence,
      limits,
    }
  )
}

/**
 * A 429 names its pause in the body's words alone: "Request was throttled. Expected available in 1 second."
 * https://replicate.com/docs/topics/predictions/rate-limits
 */
function withThrottle(failure: CallAnswer, body: Buffer | null): CallAnswer {
  if (failure.kind !== 'not-executed' || failure.code !== 'http-429') return failure
  const said = /available in (\d{1,5}) second/.exec(body?.toString('utf8').slice(0, 1000) ?? '')
  const retryAfterMs = failure.retryAfterMs ?? (said === null ? undefined : Number(said[1]) * 1000)
  if (retryAfterMs === undefined) return failure
  return { ...failure, retryAfterMs, limits: { ...failure.limits, pauseMs: retryAfterMs } }
}

const pathOf = (session: HttpSession, id: string): string => `${session.basePath}/predictions/${encodeURIComponent(id)}`

/** A question that failed proves nothing about the call. */
async function fetchJson(
  session: HttpSession,
  path: string,
  signal: AbortSignal,
): Promise<({ json: unknown } & ToldWithPrediction) | { failure: AskAnswer; status: unknown }> {
  const reading = readOutcome(await session.exchange({ method: 'GET', path, signal }), RULES)
  if (reading.ok) return { json: parseJsonBody(reading.body), evidence: reading.evidence, limits: reading.limits }
  const { evidence, limits } = reading.failure
  const told = { ...(evidence && { evidence }), ...(limits && { limits }) }
  const { code, message } = reading.failure
  return { failure: { kind: 'unknown', code, message, ...told }, status: evidence?.['status'] }
}

async function get(
  session: HttpSession,
  settings: ReplicateSettings,
  handle: string,
  signal: AbortSignal,
): Promise<AskAnswer> {
  const got = await fetchJson(session, pathOf(session, handle), signal)
  if ('failure' in got) return got.status === 404 ? { kind: 'missing', evidence: { status: 404 } } : got.failure
  const prediction = parsePrediction(got.json)
  // Another prediction than the one asked for would be another record's result.
  if (prediction?.id !== handle) return badPrediction(got)
  return readState(prediction, handle, got, settings)
}

async function look(
  session: HttpSession,
  settings: ReplicateSettings,
  question: Question,
  signal: AbortSignal,
): Promise<AskAnswer> {
  const { tokenField } = settings.input
  if (tokenField === null) {
    const message = 'The prediction has no id that we know, and the model no tokenField to find it by.'
    return { kind: 'unknown', code: 'cannot-be-asked', message }
  }
  let told: ToldWithPrediction = { evidence: {}, limits: null }
  const found = await findPrediction(question, tokenField, async (query) => {
    const got = await fetchJson(session, `${session.basePath}/predictions${query}`, signal)
    if (!('failure' in got)) told = { evidence: got.evidence, limits: got.limits }
    return got
  })
  if (found.kind === 'answer') return found.answer
  const { id } = found.prediction
  if (id === null) return badPrediction(told)
  return readState(found.prediction, id, told, settings)
}

function readState(
  prediction: Prediction,
  handle: string,
  { evidence, limits }: ToldWithPrediction,
  settings: ReplicateSettings,
): AskAnswer {
  if (isRunning(prediction)) return { kind: 'accepted', handle, evidence, limits }
  return readEnded(prediction, { evidence, limits }, settings.prediction) ?? badPrediction({ evidence, limits })
}

const badPrediction = ({ evidence, limits }: ToldWithPrediction): AskAnswer => ({
  kind: 'unknown',
  code: 'bad-prediction',
  message: 'The answer is no prediction in a documented state.',
  evidence,
  limits,
})
