/**
 * What a streamed message means for the call: its output, or which failure it is, and what was spent.
 *
 * Stop reasons: https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons
 * Errors: https://platform.claude.com/docs/en/api/errors
 *
 * - A1 Only a message with `message_stop` and a stop reason that means completeness succeeds, also where the connection
 *   broke right behind it: it is whole.
 * - A2 An `error` event before `message_start` counts as the status that it stands for; after it, the call ran.
 * - A3 Spend is never below what may be billed: while the stream has not told its last count, the output is taken as
 *   `max_tokens`.
 */
import type { Evidence, Spend, Usage } from '../../machines/record.js'
import type { CallAnswer, LearnedLimits } from '../contract.js'
import { NO_STATUS_RULES } from '../http-session.js'
import { verdictOf } from '../http-certainty.js'
import { spendBound, spendOfUsage } from '../price-table.js'
import type { AnthropicSettings } from './anthropic-options.js'
import type { StreamedMessage } from './message-stream.js'
import { outputOf } from './message-output.js'

export type MessageEnd = {
  message: StreamedMessage
  /** Why the body is not whole; null when it is. */
  cut: { code: string; message: string; retryable: boolean } | null
  /** The answer's content type is the one of event streams. */
  isStream: boolean
  evidence: Evidence
  limits: LearnedLimits | null
  /** Of the request. Null when it is not known. */
  maxTokens: number | null
  /** The output is wrapped in an object (see answer-form.ts). */
  wrapped: boolean
}

type Settings = Pick<AnthropicSettings, 'output' | 'prices'>
type Trouble = { code: string; message: string; retryable: boolean }

export function readMessage(end: MessageEnd, settings: Settings): CallAnswer {
  const { message, limits } = end
  const told = { evidence: evidenceOf(end), limits, usage: usageOf(message) }
  const spend = spendOf(end, settings)
  if (message.stopped) {
    const stop = stopTrouble(message.stopReason)
    if (stop !== null) return { kind: 'partial', ...stop, spend, ...told }
    const output = outputOf(message, settings.output, end.wrapped)
    if (!output.ok)
      return { kind: 'partial', code: output.code, message: output.message, retryable: true, spend, ...told }
    return { kind: 'succeeded', output: output.value, spend, ...told }
  }
  if (message.errorType !== null) return readError(message.errorType, message.started !== null, spend, told)
  return { kind: 'partial', ...unfinished(end), spend, ...told }
}

function unfinished({ message, cut, isStream }: MessageEnd): Trouble {
  if (message.trouble) {
    return { code: 'malformed-stream', message: 'The stream holds an event that can not be read.', retryable: true }
  }
  if (cut?.code === 'response-too-large') return cut
  if (!isStream && message.started === null) {
    const hint = 'check that its baseUrl is one of the Messages API'
    return { code: 'not-a-stream', message: `The answer is no stream of events: ${hint}.`, retryable: false }
  }
  const why = cut === null ? 'The stream ended without message_stop.' : cut.message
  return { code: 'stream-cut', message: why, retryable: true }
}

const COMPLETE: ReadonlySet<string> = new Set(['end_turn', 'stop_sequence', 'tool_use'])

function stopTrouble(reason: string | null): Trouble | null {
  if (reason !== null && COMPLETE.has(reason)) return null
  switch (reason) {
    case 'max_tokens':
      return { code: 'max-tokens', message: 'The answer reached maxOutputTokens and is not whole.', retryable: false }
    case 'model_context_window_exceeded':
      return { code: 'context-window', message: "The answer reached the model's context window.", retryable: false }
    case 'refusal':
      return { code: 'refusal', message: 'The model refused to answer this request.', retryable: false }
    case 'pause_turn':
      return { code: 'pause-turn', message: 'The provider paused a long turn; it is not continued.', retryable: false }
    default:
      return { code: 'stop-reason', message: 'The message ended for a reason that is not known.', retryable: false }
  }
}

/** What an error's type stands for as a status. */
const STATUS_OF: { [type: string]: number | undefined } = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  timeout_error: 504,
  overloaded_error: 529,
}

type Told = { evidence: Evidence; limits: LearnedLimits | null; usage: Usage | null }

/** A2 */
function readError(type: string, started: boolean, spend: Spend | null, told: Told): CallAnswer {
  const status = Object.hasOwn(STATUS_OF, type) ? STATUS_OF[type] : undefined
  const code = status === undefined ? 'stream-error' : type.replaceAll('_', '-')
  const verdict = verdictOf(status ?? 500, NO_STATUS_RULES, undefined)
  if (!started) {
    const message = 'The stream began with an error.'
    if (verdict.kind !== 'not-executed') return { kind: 'unknown', code, message, ...told }
    return { kind: 'not-executed', code, message, retryable: verdict.retryable, ...told }
  }
  // The same request was good enough to begin with: trying again helps unless the error speaks of the request.
  const retryable = status === undefined || status === 429 || status >= 500
  return { kind: 'executed', code, message: 'The stream ended with an error.', retryable, spend, ...told }
}

function evidenceOf({ message, evidence }: MessageEnd): Evidence {
  const named = (name: string, value: string | null | undefined): Evidence =>
    typeof value === 'string' && /^[\w.:@/-]{1,100}$/.test(value) ? { [name]: value } : {}
  return {
    ...evidence,
    ...named('model', message.started?.model),
    ...named('messageId', message.started?.id),
    ...named('finishReason', message.stopReason),
    ...named('refusalCategory', message.refusalCategory),
    ...named('errorType', message.errorType),
  }
}

/** Cached tokens are part of the input's, and those written to a cache are input too. */
function usageOf({ started, usage, stopReason }: StreamedMessage): Usage | null {
  if (started === null) return null
  const { input, output, cacheRead, cacheWritten } = usage
  return {
    ...(input !== null && { inputTokens: input + cacheRead + cacheWritten, cachedInputTokens: cacheRead }),
    // Before the stop reason the count is of what had been written then, not of what was billed.
    ...(output !== null && stopReason !== null && { outputTokens: output }),
  }
}

/** Writing to a cache costs up to twice the input's rate (docs: prompt caching, pricing). */
const CACHE_WRITE_FACTOR = 2

/** A3. Null: not known, and the call layer books the call's upper bound. */
function spendOf({ message, maxTokens }: MessageEnd, { prices }: Settings): Spend | null {
  const { input, output, cacheRead, cacheWritten } = message.usage
  if (prices === null || input === null) return null
  const usage = usageOf(message)
  const ended = message.stopReason !== null && output !== null
  // Refused before it wrote anything, it is not billed; where exactly that line is, the stream does not tell.
  const certain = ended && cacheWritten === 0 && message.stopReason !== 'refusal'
  if (certain) return spendOfUsage(prices, usage)
  const outputTokens = ended ? output : maxTokens
  if (outputTokens === null) return null
  const inputTokens = input + cacheRead + cacheWritten * CACHE_WRITE_FACTOR
  const most = spendBound(prices, { inputTokens, outputTokens })
  return most === undefined ? null : { ...most, basis: 'upper-bound' }
}
