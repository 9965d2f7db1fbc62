/**
 * The one POST of a call, in each mode, and what its answer means.
 *
 * - O1 One POST a call. What breaks off is in doubt where the call can be looked up, and lost where it can't.
 * - O2 A stream without its end is never a result, whatever came before.
 */
import type { CallAnswer, CallRequest } from '../contract.js'
import type { Failure } from '../http-certainty.js'
import {
  NO_STATUS_RULES,
  parseJsonBody,
  readOutcome,
  type Exchange,
  type HttpSession,
  type Reading,
} from '../http-session.js'
import type { WireOutcome } from '../http-wire.js'
import { unusable, type Carried } from './answers.js'
import { parseCompletion, readCompletion } from './completion-object.js'
import { readCompletionStream } from './completion-stream.js'
import type { OpenAiSettings } from './openai-options.js'
import { refine } from './refusals.js'
import { failed, parseResponse, readResponse } from './response-object.js'
import { readResponseStream } from './response-stream.js'
import { streamOnce } from './stream-reader.js'

export function callOpenAi(
  session: HttpSession,
  settings: OpenAiSettings,
  request: CallRequest,
  signal: AbortSignal,
): Promise<CallAnswer> {
  const { body, contentType } = request.built!
  const exchange = {
    method: 'POST' as const,
    path: `${session.basePath}/${settings.mode === 'chat' ? 'chat/completions' : 'responses'}`,
    body,
    contentType,
    headers: {
      // Support finds a call by it: https://developers.openai.com/api/reference/overview#debugging-requests
      ...(!settings.compatible && { 'x-client-request-id': request.requestKey }),
      ...(settings.streams && { accept: 'text/event-stream' }),
      // llama.cpp closes a kept connection after a stream, whatever it announced: the next call on it would be in doubt.
      ...(settings.compatible && settings.streams && { connection: 'close' }),
    },
    signal,
  }
  if (settings.mode === 'job') return callJob(session, settings, exchange)
  if (settings.mode === 'stream') return callStreamed(session, settings, exchange, request)
  return settings.streams ? chatStreamed(session, settings, exchange, request) : chatWhole(session, settings, exchange)
}

type Post = Omit<Exchange, 'onChunk'>

/** Status, codes and certainty of an exchange. A failure's code is OpenAI's where it gave one. */
export function read(outcome: WireOutcome, settings: OpenAiSettings): Reading {
  const reading = readOutcome(outcome, { statuses: NO_STATUS_RULES, cutIsUnknown: settings.store })
  if (reading.ok || outcome.kind !== 'answered') return reading
  return { ...reading, failure: refine(reading.failure, outcome.status, outcome.body, outcome.headers) }
}

async function callJob(session: HttpSession, settings: OpenAiSettings, exchange: Post): Promise<CallAnswer> {
  const reading = read(await session.exchange(exchange), settings)
  if (!reading.ok) return reading.failure
  const carried = carriedBy(reading)
  const response = parseResponse(parseJsonBody(reading.body))
  if (response === null) {
    const message = 'The job was taken, and the answer does not tell its id.'
    return { kind: 'unknown', code: 'handle-lost', message, ...carried }
  }
  const answer = readResponse(response, carried, settings)
  // A state that is not known yet: the job is there, and can be asked about.
  if (answer === null || answer.kind === 'missing') return { kind: 'accepted', handle: response.id, ...carried }
  return answer
}

async function callStreamed(
  session: HttpSession,
  settings: OpenAiSettings,
  exchange: Post,
  { onProgress }: CallRequest,
): Promise<CallAnswer> {
  const reader = readResponseStream(onProgress)
  const outcome = await streamOnce(session, exchange, reader)
  const reading = read(outcome, settings)
  const carried = carriedBy(reading)
  // A server that does not stream answers whole.
  const whole = reading.ok && reader.handle === null ? parseResponse(parseJsonBody(reading.body)) : null
  const id = reader.handle ?? whole?.id
  const handle = id === undefined ? {} : { handle: id }
  if (reader.end?.kind === 'error') return failed(reader.end.code, { ...carried, usage: null, ...handle }, settings)
  const response = reader.end?.response ?? whole
  const answer = response && readResponse(response, carried, settings)
  if (answer !== null && answer.kind !== 'missing' && answer.kind !== 'accepted') return answer
  return { ...endless(reading, settings), ...handle }
}

async function chatStreamed(
  session: HttpSession,
  settings: OpenAiSettings,
  exchange: Post,
  { onProgress }: CallRequest,
): Promise<CallAnswer> {
  const reader = readCompletionStream(onProgress)
  const outcome = await streamOnce(session, exchange, reader)
  const reading = read(outcome, settings)
  const carried = carriedBy(reading)
  if (reader.end?.kind === 'error') return failed(reader.end.code, { ...carried, usage: null }, settings)
  const completion = reader.end?.completion ?? (reading.ok ? parseCompletion(parseJsonBody(reading.body)) : null)
  return completion ? readCompletion(completion, carried, settings) : endless(reading, settings)
}

async function chatWhole(session: HttpSession, settings: OpenAiSettings, exchange: Post): Promise<CallAnswer> {
  const reading = read(await session.exchange(exchange), settings)
  if (!reading.ok) return reading.failure
  const carried = carriedBy(reading)
  const completion = parseCompletion(parseJsonBody(reading.body))
  if (completion !== null) return readCompletion(completion, carried, settings)
  return lost('unexpected-answer', 'The answer is no chat completion.', carried, settings)
}

const carriedBy = (reading: Reading): Carried =>
  reading.ok
    ? { evidence: reading.evidence, limits: reading.limits }
    : { evidence: reading.failure.evidence ?? {}, limits: reading.failure.limits ?? null }

/** A stream that did not say its end. */
function endless(reading: Reading, settings: OpenAiSettings): Failure {
  const cut = reading.ok || reading.failure.code === 'response-cut' || reading.failure.code === 'response-too-large'
  if (!cut) return reading.failure
  return lost('stream-cut', 'The stream ended before it was complete.', carriedBy(reading), settings)
}

/** It ran, and what it answered can't be read here. */
function lost(code: string, message: string, carried: Carried, settings: OpenAiSettings): Failure {
  if (settings.store) return { kind: 'unknown', code, message, ...carried }
  return unusable(code, message, true, { ...carried, usage: null }, settings)
}
