/**
 * `cog`: a model on a Cog server of one's own, called by PUT with an id that we chose.
 *
 * Owns the requests of Cog's HTTP API and what their answers prove. What a prediction means and what the model is given
 * is shared with `replicate`.
 *
 * - G1 One PUT per call, under an id that follows from the request key alone. While that prediction runs, another PUT
 *   starts nothing: Cog answers 202 with its state. Once it has ended the id is forgotten, and the same PUT runs again.
 * - G2 202 is in doubt (`still-running`): the run that goes on may be a twin of this call's, and its result will be told
 *   to another connection.
 * - G3 A refusal counts as not executed only in Cog's own words: a 409 or 503 of something in front of it proves nothing.
 *
 * Cog ends a run when the connection that asked for it is closed, so a call that we gave up on is most often ended; but
 * a model that does not look up from its work runs on, and so does the run of a server that was killed.
 * A Cog whose model's process has died stays up, refuses everything as at capacity and calls itself unhealthy: whoever
 * runs it must restart it by its health check.
 *
 * Seen with cog 0.23.1 and https://github.com/replicate/cog/blob/main/docs/http.md
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import type {
  BuiltRequest,
  CallAnswer,
  CallRequest,
  Provider,
  ProviderDeps,
  ProviderFactory,
  RequestParts,
} from '../contract.js'
import { openSession, NO_STATUS_RULES, parseJsonBody, readOutcome, type HttpSession } from '../http-session.js'
import { buildModelInput } from '../predictions/model-input.js'
import { isRunning, parsePrediction, readEnded } from '../predictions/prediction.js'
import { readCogOptions, type CogOptions, type CogSettings } from './options.js'

export type { CogOptions } from './options.js'

const RULES = { statuses: { ...NO_STATUS_RULES, answers: new Set([202]) }, cutIsUnknown: false }

/**
 * A provider on a Cog server. What the model is given follows the rule of `buildModelInput`: the step's `request` gives
 * `{ input: { … } }`, and the record's file goes in as a data URL under `inputField`. Cog leaves out fields that the
 * model does not have, without a word: name them right.
 *
 * Throws TypeError when an option is not valid. Secrets are resolved in `create`.
 */
export function cog(options: CogOptions): ProviderFactory {
  const settings = readCogOptions(options)
  return {
    slots: settings.slots,
    terms: (name) => ({ name, ...settings.terms }),
    create: (name, deps) => createCogProvider(name, settings, deps),
  }
}

function createCogProvider(name: string, settings: CogSettings, deps: ProviderDeps): Provider {
  const session = openSession(name, settings, deps)
  return {
    terms: { name, ...settings.terms },
    slots: settings.slots,
    build: (parts) => build(parts, settings),
    call: (request, signal) => predict(session, settings, request, signal),
    async cancel({ requestKey }, signal) {
      await session.exchange({ method: 'POST', path: `${pathOf(session, requestKey)}/cancel`, signal })
    },
    ready: (signal) => readHealth(session, signal),
    close() {
      session.close()
      return Promise.resolve()
    },
  }
}

async function build(parts: RequestParts, settings: CogSettings): Promise<BuiltRequest> {
  const input = await buildModelInput(parts, settings.input)
  return { body: JSON.stringify({ input }), contentType: 'application/json' }
}

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'

/**
 * G1. The form that Cog's documentation advises (128 bits in base32, 26 characters), made from the key instead of from
 * chance. A hash, because the key's own characters are not all for a path, and to name no record in a server's log.
 */
export function predictionIdOf(requestKey: string): string {
  const digest = createHash('sha256').update(requestKey).digest()
  let bits = BigInt(`0x${digest.subarray(0, 16).toString('hex')}`) << 2n
  let id = ''
  for (let at = 0; at < 26; at++, bits >>= 5n) id = (BASE32[Number(bits & 31n)] ?? '') + id
  return id
}

const pathOf = (session: HttpSession, requestKey: string): string =>
  `${session.basePath}/predictions/${predictionIdOf(requestKey)}`

async function predict(
  session: HttpSession,
  settings: CogSettings,
  { built, requestKey }: CallRequest,
  signal: AbortSignal,
): Promise<CallAnswer> {
  const { body, contentType } = built!
  const outcome = await session.exchange({
    method: 'PUT',
    path: pathOf(session, requestKey),
    body,
    contentType,
    // Not for Cog, which looks at none: for whoever reads the log of a gateway in front of it.
    headers: { 'idempotency-key': requestKey },
    signal,
  })
  const reading = readOutcome(outcome, RULES)
  if (!reading.ok) return refusalOf(reading.failure, reading.body)
  const { evidence, limits } = reading
  const prediction = parsePrediction(parseJsonBody(reading.body))
  if (prediction !== null && evidence['status'] === 202 && isRunning(prediction)) {
    const message = 'The same prediction runs already, asked for by an earlier call.' // G2
    return { kind: 'unknown', code: 'still-running', message, evidence, limits }
  }
  const answer = prediction === null ? null : readEnded(prediction, { evidence, limits }, settings.prediction)
  if (answer !== null) return answer
  // It ran, for a 2xx comes at the end, but what it told is lost.
  const message = 'The answer is no prediction that has ended.'
  return { kind: 'partial', code: 'bad-prediction', message, retryable: true, evidence, limits }
}

/** `{"error":"At capacity - all prediction slots busy","status":"failed"}` */
const Refusal = z.object({ status: z.literal('failed'), error: z.string() })

/** G3 */
function refusalOf(failure: CallAnswer, body: Buffer | null): CallAnswer {
  const status = failure.evidence?.['status']
  if (status === 422) {
    const message = "The input does not fit the model's schema, by status 422."
    return { ...failure, kind: 'not-executed', code: 'input-refused', message, retryable: false }
  }
  if ((status !== 409 && status !== 503) || body === null) return failure
  if (!Refusal.safeParse(parseJsonBody(body)).success) return failure
  const { evidence, limits } = failure
  const told = { ...(evidence && { evidence }), ...(limits && { limits }) }
  return status === 409
    ? { ...told, kind: 'not-executed', code: 'at-capacity', message: 'All of its slots are taken.', retryable: true }
    : { ...told, kind: 'not-executed', code: 'not-ready', message: 'The model is not set up (yet).', retryable: true }
}

const Health = z.object({ status: z.string().max(40) })

/** GET /health-check answers 200 always; its `status` says how it is. BUSY is ready, with its slots taken. */
async function readHealth(session: HttpSession, signal: AbortSignal): Promise<{ ready: boolean; detail: string }> {
  const path = `${session.basePath}/health-check`
  const reading = readOutcome(await session.exchange({ method: 'GET', path, signal }), RULES)
  if (!reading.ok) return { ready: false, detail: reading.failure.message }
  const health = Health.safeParse(parseJsonBody(reading.body))
  const status = health.success && /^[A-Z_]{1,40}$/.test(health.data.status) ? health.data.status : null
  if (status === null) return { ready: false, detail: 'The answer of /health-check names no status.' }
  return { ready: status === 'READY' || status === 'BUSY', detail: status }
}
