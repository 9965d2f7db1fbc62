/**
 * The anthropic provider against a server that speaks the Messages API: what each answer, refusal and break means, and
 * that one call is one POST.
 */
import { describe, expect, test } from 'vitest'
import type { CallResult } from '../../src/providers/call.js'
import type { Progress } from '../../src/providers/contract.js'
import { anthropic, type AnthropicOptions } from '../../src/providers/anthropic/anthropic.js'
import { env } from '../../src/providers/secret.js'
import type { ServerPlan } from '../support/protocol/anthropic-server.js'
import { waitFor } from '../support/processes.js'
import { call, connect, deps, Fields, serve } from './anthropic-run.js'
import { bytesInput } from './call-inputs.js'
import { reply, startWireServer } from './http-wire-server.js'

const ANSWER = { name: 'Zoë Müller', age: 41 }
const TOOL: ServerPlan = { kind: 'message', message: { toolInput: ANSWER, usage: { input: 200, output: 40 } } }

describe('an answer', () => {
  test('as the input of the tool, with usage, spend and evidence', async () => {
    const server = await serve()
    server.reply(TOOL)
    const { result } = await call(connect(server.url), {}, { schema: Fields })
    expect(result).toEqual({
      kind: 'succeeded',
      output: ANSWER,
      charge: null,
      // 200 * 3 / 10^6 + 40 * 15 / 10^6
      spend: { amount: '0.0012', currency: 'USD', basis: 'reported' },
      usage: { inputTokens: 200, cachedInputTokens: 0, outputTokens: 40 },
      evidence: {
        status: 200,
        requestId: 'req_000001',
        model: 'claude-test-20260101',
        messageId: 'msg_01Test',
        finishReason: 'tool_use',
        durationMs: expect.any(Number) as number,
      },
    })
    const [seen] = server.calls
    expect(seen!.headers).toMatchObject({ 'x-api-key': 'test-key', 'anthropic-version': '2026-10-21' })
    expect(seen!.headers['authorization']).toBeUndefined()
    expect(seen!.body).toMatchObject({ stream: true, tool_choice: { type: 'tool', name: 'answer' } })
  })

  test('is asked for with the headers of the config, and with the key whatever they say', async () => {
    const server = await serve()
    server.reply(TOOL)
    const headers = { 'Anthropic-Beta': 'a-2026', 'X-API-Key': 'other', 'Anthropic-Version': '2023-06-01' }
    expect((await call(connect(server.url, { headers }))).result.kind).toBe('succeeded')
    expect(server.calls[0]!.headers).toMatchObject({
      'anthropic-beta': 'a-2026',
      'x-api-key': 'test-key',
      'anthropic-version': '2023-06-01',
    })
  })

  test.each<[NonNullable<AnthropicOptions['output']>, string, unknown]>([
    ['text', '  Ünïcödé 🩺 text ', '  Ünïcödé 🩺 text '],
    ['json', '{"name":"Zoë","age":1}', { name: 'Zoë', age: 1 }],
    ['json', '```json\n{"name":"Zoë","age":1}\n```\n', { name: 'Zoë', age: 1 }],
    ['schema', '{"name":"Zoë","age":1}', { name: 'Zoë', age: 1 }],
  ])('as %s', async (output, text, expected) => {
    const server = await serve()
    server.reply({ kind: 'message', message: { text, thinking: 'Hm.', charsPerDelta: 3, pings: true } })
    const { result } = await call(connect(server.url, { output }))
    expect(result).toMatchObject({ kind: 'succeeded', output: expected })
    expect(server.calls[0]!.body!.tools).toBeUndefined()
    const format = server.calls[0]!.body!.output_config?.format
    if (output === 'schema') expect(format).toMatchObject({ type: 'json_schema', schema: { type: 'object' } })
    else expect(format).toBeUndefined()
  })

  test.each(['tool', 'schema'] as const)('that is no object is wrapped for %s, and taken out again', async (output) => {
    const server = await serve()
    const answer = { answer: ['a', 'b'] }
    server.reply({
      kind: 'message',
      message: output === 'tool' ? { toolInput: answer } : { text: JSON.stringify(answer) },
    })
    const outputSchema = { type: 'array', items: { $ref: '#/$defs/item' }, $defs: { item: { type: 'string' } } }
    const provider = connect(server.url, { output })
    const { result } = await call(provider, { outputSchema })
    expect(result).toMatchObject({ kind: 'succeeded', output: ['a', 'b'] })
    const { tools, output_config: config } = server.calls[0]!.body!
    expect(output === 'tool' ? tools![0]!.input_schema : config!.format!.schema).toEqual({
      type: 'object',
      properties: { answer: { type: 'array', items: { $ref: '#/$defs/item' } } },
      required: ['answer'],
      additionalProperties: false,
      $defs: { item: { type: 'string' } },
    })
    server.reply({
      kind: 'message',
      message: output === 'tool' ? { toolInput: ['a'] } : { text: '["a"]' },
    })
    expect((await call(provider, { outputSchema })).result).toMatchObject({ error: { code: 'no-answer' } })
  })

  test('of a model that always thinks comes by schema, the default; a forced tool is refused there', async () => {
    const server = await serve()
    server.reply({ kind: 'message', message: { thinking: '', text: JSON.stringify(ANSWER) } })
    const model = 'claude-test-thinks'
    const provider = anthropic({ model, apiKey: env('ANTHROPIC_API_KEY'), baseUrl: server.url }).create('claude', deps)
    expect((await call(provider)).result).toMatchObject({ kind: 'succeeded', output: ANSWER, spend: null })
    await provider.close()
    const forced = await call(connect(server.url, { model }))
    expect(forced.result).toMatchObject({ error: { code: 'http-400', kind: 'not-executed' }, retryable: false })
    expect(server.executions).toBe(1)
  })

  test('whose characters are split between packets', async () => {
    const server = await serve()
    server.reply({ kind: 'message', message: { text: 'Übergröße 🫀 é', charsPerDelta: 2 }, bytesPerWrite: 1 })
    const { result } = await call(connect(server.url, { output: 'text' }))
    expect(result).toMatchObject({ kind: 'succeeded', output: 'Übergröße 🫀 é' })
  })

  test('with cached input costs less; with input written to a cache the bill is a bound', async () => {
    const server = await serve()
    const provider = connect(server.url)
    server.reply({
      kind: 'message',
      message: { toolInput: ANSWER, usage: { input: 100, cacheRead: 1000, output: 10 } },
    })
    expect((await call(provider)).result).toMatchObject({
      // 100 * 3 + 1000 * 0.30 + 10 * 15
      spend: { amount: '0.00075', basis: 'reported' },
      usage: { inputTokens: 1100, cachedInputTokens: 1000, outputTokens: 10 },
    })
    server.reply({
      kind: 'message',
      message: { toolInput: ANSWER, usage: { input: 100, cacheWritten: 1000, output: 10 } },
    })
    // (100 + 2 * 1000) * 3 + 10 * 15
    expect((await call(provider)).result).toMatchObject({ spend: { amount: '0.00645', basis: 'upper-bound' } })
  })

  test('an image and a PDF are sent as what they are', async () => {
    const server = await serve()
    server.reply(TOOL)
    const provider = connect(server.url)
    const png = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.alloc(50)])
    const pdf = Buffer.from('%PDF-1.7\n')
    expect((await call(provider, { input: bytesInput('image/png', png) })).result.kind).toBe('succeeded')
    expect((await call(provider, { input: bytesInput('application/pdf', pdf) })).result.kind).toBe('succeeded')
    const content = server.calls.map(({ body }) => body!.messages[0]!.content)
    const source = (media_type: string, bytes: Buffer) => ({
      type: 'base64',
      media_type,
      data: bytes.toString('base64'),
    })
    expect(content).toEqual([
      [
        { type: 'image', source: source('image/png', png) },
        { type: 'text', text: 'Who is it?' },
      ],
      [
        { type: 'document', source: source('application/pdf', pdf) },
        { type: 'text', text: 'Who is it?' },
      ],
    ])
  })

  test('progress is told while it comes, never as a handle', async () => {
    const server = await serve()
    const told: Progress[] = []
    server.reply({ kind: 'message', message: { text: 'word '.repeat(200) }, bytesPerWrite: 64 })
    const { result } = await call(connect(server.url, { output: 'text' }), { onProgress: (at) => told.push(at) })
    expect(result.kind).toBe('succeeded')
    expect(told.length).toBeGreaterThan(0)
    expect(told.every((at) => Object.keys(at).join() === 'outputTokens')).toBe(true)
  })
})

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
const error = (status: number, type: string, headers = {}): ServerPlan => ({
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
const started = { amount: '0.0021', basis: 'upper-bound' } as const
const raw = (text: string, contentType?: string): ServerPlan => ({
  kind: 'message',
  message: {},
  bytes: Buffer.from(text, 'latin1'),
  ...(contentType !== undefined && { contentType }),
})

const cases: Case[] = [
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

describe('a failure', () => {
  test.each(cases)('$name', async (c) => {
    const server = await serve()
    server.reply(c.plan)
    const { result, spendMax } = await call(connect(server.url, c.options), { deadlineMs: c.deadlineMs ?? 5000 })
    expect(result).toMatchObject({ kind: c.kind, error: { code: c.code, kind: c.failure } })
    if (c.retryable !== undefined) expect(result).toMatchObject({ retryable: c.retryable })
    const bound = { amount: spendMax, basis: 'upper-bound' }
    const { spend } = result as { spend: unknown }
    if (c.spend === null) expect(spend).toBeNull()
    else expect(spend).toMatchObject(c.spend === 'bound' ? bound : c.spend)
    if (c.evidence !== undefined) expect(result.evidence).toMatchObject(c.evidence)
    expect(server.calls).toHaveLength(1)
    expect(server.executions).toBe(c.ran)
    // What the API says in its errors may quote the prompt.
    expect(JSON.stringify(result)).not.toContain('secret')
  })

  test('Retry-After and the account limits are told', async () => {
    const server = await serve()
    const headers = {
      'retry-after': '20',
      'anthropic-ratelimit-requests-limit': '50',
      'anthropic-ratelimit-requests-remaining': '0',
      'anthropic-ratelimit-tokens-limit': '40000',
      'anthropic-ratelimit-tokens-remaining': '39000',
    }
    server.reply(error(429, 'rate_limit_error', headers))
    const limits = { requestsPerMinute: 50, requestsRemaining: 0, tokensPerMinute: 40_000, tokensRemaining: 39_000 }
    const provider = connect(server.url)
    expect((await call(provider)).answer).toMatchObject({ kind: 'not-executed', retryAfterMs: 20_000, limits })
    server.reply({ ...TOOL, headers } as ServerPlan)
    expect((await call(provider)).answer).toMatchObject({ kind: 'succeeded', limits })
  })

  test('slow headers: the deadline ends the call, and the answer that comes later is not waited for', async () => {
    const server = await serve()
    let release = (): void => {}
    const before = new Promise<void>((resolve) => (release = resolve))
    server.reply({ ...TOOL, before } as ServerPlan)
    const { result } = await call(connect(server.url), { deadlineMs: 100 })
    release()
    expect(result).toMatchObject({ kind: 'uncertain', error: { code: 'deadline-exceeded' } })
    expect(server.calls).toHaveLength(1)
  })

  test('a refusal that is no JSON is read by its status', async () => {
    const server = await startWireServer((socket) => reply(socket, 529, '<html>', { 'request-id': 'req_x' }))
    const { result } = await call(connect(`http://127.0.0.1:${server.port}`))
    await server.close()
    expect(result).toMatchObject({ error: { code: 'http-529' }, retryable: true, evidence: { requestId: 'req_x' } })
    expect(result.evidence).not.toHaveProperty('errorType')
  })

  test('a status that this API does not have is no answer', async () => {
    const server = await startWireServer((socket) => reply(socket, 201, '{}'))
    const { result } = await call(connect(`http://127.0.0.1:${server.port}`))
    await server.close()
    expect(result).toMatchObject({ error: { code: 'not-a-stream', kind: 'partial' }, retryable: false })
  })

  test('within a kept connection it is one POST still', async () => {
    const server = await serve()
    const provider = connect(server.url)
    server.reply(TOOL)
    expect((await call(provider)).result.kind).toBe('succeeded')
    server.reply({ kind: 'cut' })
    expect((await call(provider)).result.kind).toBe('uncertain')
    expect(server.calls).toHaveLength(2)
  })

  test('a stream that stops in the middle is ended, and has run', async () => {
    const server = await serve()
    const message = { toolInput: ANSWER, usage: { input: 200 } }
    server.reply({ kind: 'message', message, stopAfterBytes: 1100, stopBy: 'hang' })
    // Ended when the output has begun to come: the deadline does the same.
    const stop = new AbortController()
    const request = { onProgress: () => stop.abort(), deadlineMs: 30_000 }
    expect((await call(connect(server.url), request, { signal: stop.signal })).result).toMatchObject({
      kind: 'failed',
      error: { kind: 'partial', code: 'stream-cut', message: 'The answer was not complete in time.' },
      retryable: true,
      spend: started,
    })
  })

  test('without a price the terms bound is booked, for a cut stream too', async () => {
    const server = await serve()
    server.reply({ ...TOOL, stopAfterBytes: 1100, stopBy: 'cut' } as ServerPlan)
    const provider = connect(server.url, { spendMax: { amount: '0.50', currency: 'EUR' } }, null)
    expect((await call(provider)).result).toMatchObject({
      error: { code: 'stream-cut' },
      spend: { amount: '0.50', currency: 'EUR', basis: 'upper-bound' },
    })
  })

  test('a call that is ended lets go of its connection', async () => {
    const server = await serve()
    server.reply({ kind: 'hang' })
    const provider = connect(server.url)
    const stop = new AbortController()
    const running = call(provider, {}, { signal: stop.signal })
    await waitFor(() => server.calls.length === 1, { what: 'the request to arrive' })
    stop.abort()
    expect((await running).result).toMatchObject({ kind: 'uncertain', error: { code: 'call-stopped' } })
  })
})

describe('ready', () => {
  const { signal } = new AbortController()
  test('asks for the model, and starts nothing', async () => {
    const server = await serve()
    expect(await connect(server.url).ready!(signal)).toEqual({ ready: true, detail: 'The model is available.' })
    expect(await connect(server.url, { model: 'claude-other' }).ready!(signal)).toEqual({
      ready: false,
      detail: 'Asked for the model claude-other: http-404.',
    })
    expect(server.calls).toHaveLength(0)
  })
})
