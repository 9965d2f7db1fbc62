/**
 * The anthropic provider against a server that speaks the Messages API: what each answer, refusal and break means, and
 * that one call is one POST.
 */
import { describe, expect, test } from 'vitest'
import type { Progress } from '../../src/providers/contract.js'
import { anthropic, type AnthropicOptions } from '../../src/providers/anthropic/anthropic.js'
import { env } from '../../src/providers/secret.js'
import type { ServerPlan } from '../support/protocol/anthropic-server.js'
import { call, connect, deps, Fields, serve } from './anthropic-run.js'
import { bytesInput } from './call-inputs.js'

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
