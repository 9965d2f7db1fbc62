/**
 * `anthropic`: the Messages API, streamed. Blind and paid: the API honours no key of ours, and a message can't be
 * looked up by its id, so an uncertain call is the step's `onUncertain` to decide.
 *
 * Owns the exchange. The request's bytes are messages-body.ts, the stream message-stream.ts, what it means
 * message-answer.ts. Errors and evidence hold statuses, types and ids; never a prompt, an answer or the API's message.
 * Source: https://platform.claude.com/docs/en/api/messages/create
 */
import { performance } from 'node:perf_hooks'
import { z } from 'zod'
import type { CallAnswer, CallRequest, Provider, ProviderDeps, ProviderFactory } from '../contract.js'
import {
  openSession,
  NO_STATUS_RULES,
  parseJsonBody,
  readOutcome,
  type HttpSession,
  type Reading,
} from '../http-session.js'
import { createSseReader } from '../sse.js'
import { isWrapped } from './answer-form.js'
import { readAnthropicOptions, type AnthropicOptions, type AnthropicSettings } from './anthropic-options.js'
import { readMessage } from './message-answer.js'
import { newMessage, takeEvent } from './message-stream.js'
import { buildMessages, maxTokensOf } from './messages-body.js'
import { createOutputMeter } from './output-meter.js'

export type { AnthropicOptions } from './anthropic-options.js'

const RULES = { statuses: NO_STATUS_RULES, requestIdHeaders: ['request-id', 'x-request-id'], cutIsUnknown: false }

/** Throws TypeError when an option is not valid. Secrets are resolved in `create`, once per worker process. */
export function anthropic(options: AnthropicOptions): ProviderFactory {
  const settings = readAnthropicOptions(options)
  return {
    slots: settings.slots,
    terms: (name) => ({ name, ...settings.terms }),
    ...(settings.limits !== null && { limits: settings.limits }),
    create: (name, deps) => createAnthropicProvider(name, settings, deps),
  }
}

function createAnthropicProvider(name: string, settings: AnthropicSettings, deps: ProviderDeps): Provider {
  const headers = { 'anthropic-version': settings.apiVersion, ...settings.headers, 'x-api-key': settings.apiKey }
  const session = openSession(name, { ...settings, apiKey: undefined, headers }, deps)
  return {
    terms: { name, ...settings.terms },
    slots: settings.slots,
    build: (parts) => buildMessages(parts, settings),
    call: (request, signal) => call(session, settings, request, signal),
    ready: (signal) => ready(session, settings.model, signal),
    close() {
      session.close()
      return Promise.resolve()
    },
  }
}

async function call(
  session: HttpSession,
  settings: AnthropicSettings,
  { built, outputSchema, onProgress }: CallRequest,
  signal: AbortSignal,
): Promise<CallAnswer> {
  const { body, contentType } = built!
  const message = newMessage()
  const reader = createSseReader((event) => takeEvent(message, event))
  const meter = createOutputMeter(onProgress, () => performance.now())
  const outcome = await session.exchange({
    method: 'POST',
    path: `${session.basePath}/v1/messages`,
    body,
    contentType,
    signal,
    onChunk(chunk) {
      reader.push(chunk)
      meter.read(message.outputChars)
    },
  })
  const reading = readOutcome(outcome, RULES)
  if (outcome.kind === 'broken' || outcome.status !== 200) return readRefusal(reading)

  if (reader.trouble !== null) message.trouble = true
  const { evidence, limits } = reading.ok ? reading : reading.failure
  return readMessage(
    {
      message,
      cut: reading.ok ? null : cutOf(reading.failure),
      isStream: outcome.headers['content-type']?.startsWith('text/event-stream') === true,
      evidence: evidence ?? {},
      limits: limits ?? null,
      maxTokens: maxTokensOf(body),
      wrapped: isWrapped(outputSchema),
    },
    settings,
  )
}

type Failure = Extract<Reading, { ok: false }>['failure']

function cutOf(failure: Failure): { code: string; message: string; retryable: boolean } | null {
  return failure.kind === 'partial' ? failure : null
}

const word = z.string().regex(/^[a-z_]{1,60}$/)
const ErrorBody = z.object({
  error: z.object({ type: word, details: z.object({ error_code: word }).nullish().catch(null) }),
})

/** No stream. The type that the API gives its error helps a person; its message may quote the request. */
function readRefusal(reading: Reading): CallAnswer {
  // Statuses of success besides 200 are not documented for this endpoint: whatever came, it ran.
  if (reading.ok) {
    const { evidence, limits } = reading
    const message = 'The provider answered with a status that the Messages API does not have.'
    return { kind: 'partial', code: 'not-a-stream', message, retryable: false, evidence, limits }
  }
  const { failure, body } = reading
  const error = body === null ? undefined : ErrorBody.safeParse(parseJsonBody(body)).data
  if (error === undefined) return failure
  const { type, details } = error.error
  const evidence = { ...failure.evidence, errorType: type, ...(details && { errorCode: details.error_code }) }
  // It comes as 429, and no pause helps before the month or the contract ends: on to the next provider.
  if (failure.kind === 'not-executed' && details?.error_code.endsWith('spend_limit_reached')) {
    const message = 'The account has reached its spend limit at the provider.'
    return { ...failure, code: 'spend-limit', message, retryable: false, evidence }
  }
  return { ...failure, evidence }
}

/** https://platform.claude.com/docs/en/api/models/retrieve: starts nothing and costs nothing. */
async function ready(session: HttpSession, model: string, signal: AbortSignal) {
  const path = `${session.basePath}/v1/models/${encodeURIComponent(model)}`
  const reading = readOutcome(await session.exchange({ method: 'GET', path, signal }), RULES)
  if (reading.ok) return { ready: true, detail: 'The model is available.' }
  return { ready: false, detail: `Asked for the model ${model}: ${reading.failure.code}.` }
}
