/** What the Messages API may answer instead of a result, and what that means for the record. */
import type { AnthropicOptions } from '../../src/providers/anthropic/anthropic.js'
import type { CallResult } from '../../src/providers/call.js'
import type { ServerPlan } from '../support/protocol/anthropic-server.js'

const ANSWER = { name: 'Zoë Müller', age: 41 }

type Case = {
  name: string
  plan: ServerPlan
  options?: Partial<AnthropicOptions>
  deadlineMs?: number
  kind: CallResult['kind']
  failure: 'not-executed' | 'executed' | 'partial' | 'unknown'
  code: string
  retryable?: boolean
  spend: { amount: string; basis: string } | 'bound' | null
  /** How often the model ran, by the server's own count. */
  ran: number
  evidence?: { [name: string]: unknown }
}

const certain = { kind: 'failed' } as const
const refused = { ...certain, failure: 'not-executed', spend: null, ran: 0 } as const
export const error = (status: number, type: string, headers = {}): ServerPlan => ({
  kind: 'error',
  error: { status, type, message: 'A secret of the prompt' },
  headers,
})
const limited = (status: number, type: string, errorCode: string): ServerPlan => ({
  kind: 'error',
  error: { status, type, errorCode, message: 'A secret of the prompt' },
})
const stops = (stopReason: 'max_tokens' | 'refusal' | 'pause_turn' | 'model_context_window_exceeded'): ServerPlan => ({
  kind: 'message',
  message: { text: 'Once upon', stopReason, usage: { input: 200, output: 100 } },
})
const stopped = {
  ...certain,
  failure: 'partial',
  retryable: false,
  spend: { amount: '0.0021', basis: 'reported' },
  ran: 1,
} as const
const breaks = (type: string, when: 'first' | 'within'): ServerPlan => ({
  kind: 'message',
  message: { toolInput: ANSWER, usage: { input: 200 }, errorEvent: { type, when } },
})
/** 200 * 3 + 100 * 15, in millionths: the input is known, the output is max_tokens. */
export const started = { amount: '0.0021', basis: 'upper-bound' } as const
const raw = (text: string, contentType?: string): ServerPlan => ({
  kind: 'message',
  message: {},
  bytes: Buffer.from(text, 'latin1'),
  ...(contentType !== undefined && { contentType }),
})

export const cases: Case[] = [
  { name: '400', plan: error(400, 'invalid_request_error'), ...refused, code: 'http-400', retryable: false },
  { name: '401', plan: error(401, 'authentication_error'), ...refused, code: 'http-401', retryable: false },
  { name: '402', plan: error(402, 'billing_error'), ...refused, code: 'http-402', retryable: false },
  { name: '403', plan: error(403, 'permission_error'), ...refused, code: 'http-403', retryable: false },
  { name: '404', plan: error(404, 'not_found_error'), ...refused, code: 'http-404', retryable: false },
  { name: '413', plan: error(413, 'request_too_large'), ...refused, code: 'http-413', retryable: false },
  { name: '429', plan: error(429, 'rate_limit_error'), ...refused, code: 'http-429', retryable: true },
  {
    name: '429 for the spend limit of the account',
    plan: limited(429, 'rate_limit_error', 'contract_spend_limit_reached'),
    ...refused,
    code: 'spend-limit',
    retryable: false,
    evidence: { status: 429, errorCode: 'contract_spend_limit_reached' },
  },
  {
    name: '429 for growing too fast',
    plan: limited(429, 'rate_limit_error', 'ramp_limit_exceeded'),
    ...refused,
    code: 'http-429',
    retryable: true,
    evidence: { errorCode: 'ramp_limit_exceeded' },
  },
  {
    name: '529',
    plan: error(529, 'overloaded_error'),
    ...refused,
    code: 'http-529',
    retryable: true,
    evidence: { status: 529, errorType: 'overloaded_error', requestId: 'req_000001' },
  },
  {
    name: '500',
    plan: error(500, 'api_error'),
    kind: 'uncertain',
    failure: 'unknown',
    code: 'http-500',
    spend: 'bound',
    ran: 0,
    evidence: { errorType: 'api_error' },
  },
  {
    name: '500, whatever its details say',
    plan: limited(500, 'api_error', 'contract_spend_limit_reached'),
    kind: 'uncertain',
    failure: 'unknown',
    code: 'http-500',
    spend: 'bound',
    ran: 0,
  },
  {
    name: '504',
    plan: error(504, 'timeout_error'),
    kind: 'uncertain',
    failure: 'unknown',
    code: 'http-504',
    spend: 'bound',
    ran: 0,
  },
  {
    name: 'max_tokens',
    plan: stops('max_tokens'),
    ...stopped,
    code: 'max-tokens',
    evidence: { finishReason: 'max_tokens' },
  },
  {
    name: 'a refusal, whose bill is not told for certain',
    plan: stops('refusal'),
    ...stopped,
    spend: { amount: '0.0021', basis: 'upper-bound' },
    code: 'refusal',
    evidence: { refusalCategory: 'bio' },
  },
  { name: 'pause_turn', plan: stops('pause_turn'), ...stopped, code: 'pause-turn' },
  { name: 'a full window', plan: stops('model_context_window_exceeded'), ...stopped, code: 'context-window' },
  {
    name: 'an unknown stop reason',
    plan: {
      kind: 'message',
      message: { text: 'x', stopReason: 'compaction' as never, usage: { input: 200, output: 100 } },
    },
    ...stopped,
    code: 'stop-reason',
  },
  {
    name: 'overloaded before anything',
    plan: breaks('overloaded_error', 'first'),
    ...refused,
    ran: 1,
    code: 'overloaded-error',
    retryable: true,
  },
  {
    name: 'invalid before anything',
    plan: breaks('invalid_request_error', 'first'),
    ...refused,
    ran: 1,
    code: 'invalid-request-error',
    retryable: false,
  },
  {
    name: 'an error of the API before anything',
    plan: breaks('api_error', 'first'),
    kind: 'uncertain',
    failure: 'unknown',
    code: 'api-error',
    spend: 'bound',
    ran: 1,
  },
  {
    name: 'overloaded within the stream',
    plan: breaks('overloaded_error', 'within'),
    ...certain,
    failure: 'executed',
    code: 'overloaded-error',
    retryable: true,
    spend: started,
    ran: 1,
    evidence: { errorType: 'overloaded_error', messageId: 'msg_01Test' },
  },
  {
    name: 'an unknown error within the stream',
    plan: breaks('toString', 'within'),
    ...certain,
    failure: 'executed',
    code: 'stream-error',
    retryable: true,
    spend: started,
    ran: 1,
  },
  {
    name: 'invalid within the stream',
    plan: breaks('invalid_request_error', 'within'),
    ...certain,
    failure: 'executed',
    code: 'invalid-request-error',
    retryable: false,
    spend: started,
    ran: 1,
  },
  {
    name: 'reads and cuts',
    plan: { kind: 'cut' },
    kind: 'uncertain',
    failure: 'unknown',
    code: 'connection-reset',
    spend: 'bound',
    ran: 1,
  },
  {
    name: 'says nothing',
    plan: { kind: 'hang' },
    deadlineMs: 100,
    kind: 'uncertain',
    failure: 'unknown',
    code: 'deadline-exceeded',
    spend: 'bound',
    ran: 1,
  },
  {
    name: 'a stream larger than the limit',
    plan: { kind: 'message', message: { toolInput: 'x'.repeat(5000), usage: { input: 200 } }, bytesPerWrite: 500 },
    options: { responseBytesMax: 4000 },
    ...certain,
    failure: 'partial',
    code: 'response-too-large',
    retryable: false,
    spend: started,
    ran: 1,
  },
  {
    name: 'no stream at all',
    plan: raw('<html>', 'text/html'),
    ...certain,
    failure: 'partial',
    code: 'not-a-stream',
    retryable: false,
    spend: 'bound',
    ran: 1,
  },
  {
    name: 'bytes that are no UTF-8',
    plan: raw('event: message_start\ndata: "\xff"\n\n'),
    ...certain,
    failure: 'partial',
    code: 'malformed-stream',
    retryable: true,
    spend: 'bound',
    ran: 1,
  },
  {
    name: 'an event that is no JSON',
    plan: raw('event: message_start\ndata: {"type":\n\n'),
    ...certain,
    failure: 'partial',
    code: 'malformed-stream',
    retryable: true,
    spend: 'bound',
    ran: 1,
  },
  {
    name: 'message_stop alone',
    plan: raw('event: message_stop\ndata: {"type":"message_stop"}\n\n'),
    ...certain,
    failure: 'partial',
    code: 'malformed-stream',
    retryable: true,
    spend: 'bound',
    ran: 1,
  },
  {
    name: 'text where the tool was forced',
    plan: { kind: 'message', message: { text: '{"name":"x","age":1}', usage: { input: 200, output: 100 } } },
    ...stopped,
    code: 'no-answer',
    retryable: true,
  },
  {
    name: 'two calls of the tool',
    plan: {
      kind: 'message',
      message: { toolInput: ANSWER, toolInputAgain: ANSWER, usage: { input: 200, output: 100 } },
    },
    ...stopped,
    code: 'two-answers',
    retryable: true,
  },
  {
    name: 'no text',
    plan: { kind: 'message', message: { usage: { input: 200, output: 100 } } },
    options: { output: 'json' },
    ...stopped,
    code: 'no-answer',
    retryable: true,
  },
  {
    name: 'text that is no JSON',
    plan: { kind: 'message', message: { text: 'Well, {"a":1}', usage: { input: 200, output: 100 } } },
    options: { output: 'json' },
    ...stopped,
    code: 'not-json',
    retryable: true,
  },
]
