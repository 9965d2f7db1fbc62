/**
 * The official SDK speaks to our protocol server: what we take for the Messages API is checked by someone else's client.
 */
import Anthropic, { APIError, APIConnectionError, RateLimitError, NotFoundError } from '@anthropic-ai/sdk'
import type { MessageCreateParamsNonStreaming } from '@anthropic-ai/sdk/resources/messages/messages'
import { describe, expect, test } from 'vitest'
import { anthropic } from '../../src/providers/anthropic/anthropic.js'
import { anOptions, deps, FIELDS_SCHEMA, serve } from './anthropic-run.js'
import { aRequest } from './call-inputs.js'

const sdk = (baseURL: string, apiKey = 'test-key') => new Anthropic({ baseURL, apiKey, maxRetries: 0, timeout: 5000 })

const ask = { model: 'claude-test', max_tokens: 100, messages: [{ role: 'user' as const, content: 'Who is it?' }] }
const tools: MessageCreateParamsNonStreaming = {
  ...ask,
  tools: [{ name: 'answer', input_schema: { type: 'object', properties: { name: { type: 'string' } } } }],
  tool_choice: { type: 'tool', name: 'answer' },
}

describe('the official SDK', () => {
  test('reads a whole message', async () => {
    const server = await serve()
    server.reply({ kind: 'message', message: { text: 'Zoë 🩺', usage: { input: 20, output: 5 } } })
    const message = await sdk(server.url).messages.create(ask)
    expect(message).toMatchObject({
      content: [{ type: 'text', text: 'Zoë 🩺' }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 20, output_tokens: 5 },
    })
    expect(message._request_id).toBe('req_000001')
  })

  test('puts the same message together from the stream', async () => {
    const server = await serve()
    server.reply({
      kind: 'message',
      message: { thinking: 'Hm.', text: 'Zoë 🩺 and more text', pings: true, usage: { input: 20, output: 5 } },
      bytesPerWrite: 3,
    })
    const whole = await sdk(server.url).messages.create(ask)
    const streamed = await sdk(server.url).messages.stream(ask).finalMessage()
    expect(streamed).toMatchObject({
      id: whole.id,
      model: whole.model,
      content: whole.content,
      stop_reason: 'end_turn',
      usage: { input_tokens: 20, output_tokens: 5 },
    })
  })

  test.each([true, false])('reads the use of a tool (streamed: %s)', async (streamed) => {
    const server = await serve()
    server.reply({ kind: 'message', message: { toolInput: { name: 'Zoë', tags: [1, null] }, charsPerDelta: 2 } })
    const client = sdk(server.url)
    const message = streamed ? await client.messages.stream(tools).finalMessage() : await client.messages.create(tools)
    expect(message.stop_reason).toBe('tool_use')
    expect(message.content).toMatchObject([
      { type: 'tool_use', name: 'answer', input: { name: 'Zoë', tags: [1, null] } },
    ])
  })

  test.each([
    [400, 'invalid_request_error'],
    [403, 'permission_error'],
    [413, 'request_too_large'],
    [429, 'rate_limit_error'],
    [500, 'api_error'],
    [529, 'overloaded_error'],
  ])('reads the error of status %i', async (status, type) => {
    const server = await serve()
    server.reply({
      kind: 'error',
      error: { status, type, message: 'no', errorCode: 'a_code' },
      headers: { 'retry-after': '3' },
    })
    const error = await sdk(server.url)
      .messages.create(ask)
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(APIError)
    expect(error).toMatchObject({ status, type, errorCode: 'a_code', requestID: 'req_000001' })
    expect((error as APIError).headers?.get('retry-after')).toBe('3')
    if (status === 429) expect(error).toBeInstanceOf(RateLimitError)
    expect(server.calls).toHaveLength(1)
  })

  test('is refused with a wrong key, and for a model that is not there', async () => {
    const server = await serve()
    await expect(sdk(server.url, 'other').messages.create(ask)).rejects.toMatchObject({ status: 401 })
    await expect(sdk(server.url).messages.create({ ...ask, model: 'gone' })).rejects.toBeInstanceOf(NotFoundError)
    expect(server.executions).toBe(0)
  })

  test('throws for an error event within the stream, and for a stream that is cut', async () => {
    const server = await serve()
    const client = sdk(server.url)
    server.reply({ kind: 'message', message: { text: 'a', errorEvent: { type: 'overloaded_error', when: 'within' } } })
    await expect(client.messages.stream(ask).finalMessage()).rejects.toMatchObject({ type: 'overloaded_error' })
    server.reply({ kind: 'message', message: { text: 'a' }, stopAfterBytes: 700, stopBy: 'cut' })
    await expect(client.messages.stream(ask).finalMessage()).rejects.toThrow()
    server.reply({ kind: 'cut' })
    await expect(client.messages.create(ask)).rejects.toBeInstanceOf(APIConnectionError)
  })

  test('has its structured output refused and taken as ours is', async () => {
    const server = await serve()
    server.reply({ kind: 'message', message: { text: '{"name":"Zoë"}' } })
    const properties = { name: { type: 'string' } }
    const asked = (schema: { [keyword: string]: unknown }) =>
      sdk(server.url).messages.create({ ...ask, output_config: { format: { type: 'json_schema', schema } } })
    await expect(asked({ type: 'object', properties })).rejects.toMatchObject({ status: 400 })
    expect((await asked({ type: 'object', properties, additionalProperties: false })).stop_reason).toBe('end_turn')
  })

  test('finds a model', async () => {
    const server = await serve()
    expect(await sdk(server.url).models.retrieve('claude-test')).toMatchObject({ id: 'claude-test', type: 'model' })
  })

  test('sends what our provider builds, and the server takes both', async () => {
    const server = await serve()
    server.reply({ kind: 'message', message: { toolInput: { name: 'Zoë', age: 3 } } })
    const provider = anthropic(anOptions({ instructions: 'Be brief.' })).create('claude', deps)
    const built = await provider.build!(aRequest({ request: 'Who?', outputSchema: FIELDS_SCHEMA }))
    await provider.close()
    const body = JSON.parse(built.body as string) as MessageCreateParamsNonStreaming
    const message = await sdk(server.url).messages.create({ ...body, stream: false })
    expect(message.content).toMatchObject([{ type: 'tool_use', input: { name: 'Zoë', age: 3 } }])
    expect(server.calls[0]!.body).toEqual({ ...body, stream: false })
  })
})
