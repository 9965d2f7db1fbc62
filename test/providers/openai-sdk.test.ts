/**
 * OpenAI's own client against the protocol server that our adapter is tested with: our idea of the protocol is checked by
 * who wrote it. Retries are off.
 */
import OpenAI from 'openai'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Provider } from '../../src/providers/contract.js'
import { DEFAULT_TEXT } from '../support/protocol/openai-objects.js'
import {
  OPENAI_TEST_KEY,
  signedDelivery,
  startOpenAiServer,
  type OpenAiServer,
} from '../support/protocol/openai-server.js'
import { askOnce, callOnce, providerFor, USUAL_OUTPUT } from './openai-fixture.js'

let server: OpenAiServer
let client: OpenAI
const providers: Provider[] = []
beforeEach(async () => {
  server = await startOpenAiServer()
  client = new OpenAI({ baseURL: server.baseUrl, apiKey: OPENAI_TEST_KEY, maxRetries: 0, timeout: 5000 })
})
afterEach(async () => {
  for (const provider of providers.splice(0)) await provider.close()
  await server.close()
})

test('a background response: created, retrieved, ended', async () => {
  const created = await client.responses.create({ model: 'gpt-test', input: 'Who?', background: true, store: true })
  expect(created.status).toBe('queued')
  server.finish(created.id, 'started')
  expect(await client.responses.retrieve(created.id)).toMatchObject({ status: 'in_progress' })
  server.finish(created.id, {})
  const ended = await client.responses.retrieve(created.id)
  expect(ended).toMatchObject({ status: 'completed', output_text: DEFAULT_TEXT, usage: { input_tokens: 120 } })
  expect(server.runs).toBe(1)
})

test('a background response: cancelled, twice', async () => {
  const { id } = await client.responses.create({ model: 'gpt-test', input: 'Who?', background: true })
  expect(await client.responses.cancel(id)).toMatchObject({ status: 'cancelled' })
  expect(await client.responses.cancel(id)).toMatchObject({ status: 'cancelled' })
  const foreground = await client.responses.create({ model: 'gpt-test', input: 'Who?' })
  await expect(client.responses.cancel(foreground.id)).rejects.toThrow('Only background responses')
})

test('a streamed response, event by event', async () => {
  const stream = await client.responses.create({ model: 'gpt-test', input: 'Who?', stream: true })
  const types: string[] = []
  let text = ''
  let final: OpenAI.Responses.Response | undefined
  for await (const event of stream) {
    types.push(event.type)
    if (event.type === 'response.output_text.delta') text += event.delta
    if (event.type === 'response.completed') final = event.response
  }
  expect(types[0]).toBe('response.created')
  expect(types.at(-1)).toBe('response.completed')
  expect(text).toBe(DEFAULT_TEXT)
  expect(final?.output_text ?? text).toBe(DEFAULT_TEXT)
})

test('the client’s own helper puts the stream together', async () => {
  const stream = client.responses.stream({ model: 'gpt-test', input: 'Who?' })
  expect(await stream.finalResponse()).toMatchObject({ output_text: DEFAULT_TEXT, status: 'completed' })
})

test('chat: stored, listed by metadata, retrieved from the list', async () => {
  const create = (key: string) =>
    client.chat.completions.create({
      model: 'gpt-test',
      messages: [{ role: 'user', content: 'Who?' }],
      store: true,
      metadata: { endstate_key: key },
    })
  await create('one')
  const two = await create('two')
  expect(two.choices[0]?.message.content).toBe(DEFAULT_TEXT)
  const page = await client.chat.completions.list({ metadata: { endstate_key: 'two' } })
  expect(page.data).toMatchObject([{ id: two.id, metadata: { endstate_key: 'two' } }])
  expect((await client.chat.completions.list({ metadata: { endstate_key: 'three' } })).data).toEqual([])
})

test('chat: streamed with usage', async () => {
  const stream = client.chat.completions.stream({
    model: 'gpt-test',
    messages: [{ role: 'user', content: 'Who?' }],
    stream_options: { include_usage: true },
  })
  expect(await stream.finalContent()).toBe(DEFAULT_TEXT)
  expect(await stream.totalUsage()).toMatchObject({ prompt_tokens: 120, completion_tokens: 9 })
})

test('errors come as the client knows them', async () => {
  const ask = () => client.responses.create({ model: 'gpt-test', input: 'Who?' })
  server.plan(
    { refuse: { status: 429, code: 'insufficient_quota', type: 'insufficient_quota' } },
    { refuse: { status: 500, code: 'server_error', type: 'server_error' } },
    { refuse: { status: 503, code: 'server_is_overloaded', type: 'service_unavailable_error' } },
  )
  const told = async () => {
    const error: unknown = await ask().catch((thrown: unknown) => thrown)
    if (!(error instanceof OpenAI.APIError)) throw new Error('The client threw something else.')
    return [error.constructor, error.status, error.code, error.requestID]
  }
  expect(await told()).toEqual([OpenAI.RateLimitError, 429, 'insufficient_quota', 'req_test_1'])
  expect(await told()).toEqual([OpenAI.InternalServerError, 500, 'server_error', 'req_test_1'])
  expect(await told()).toEqual([OpenAI.InternalServerError, 503, 'server_is_overloaded', 'req_test_1'])
  await expect(client.responses.retrieve('resp_none')).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  await expect(client.responses.create({ model: 'gpt-none', input: 'x' })).rejects.toMatchObject({ status: 404 })
  const stranger = new OpenAI({ baseURL: server.baseUrl, apiKey: 'sk-nobody', maxRetries: 0 })
  await expect(stranger.responses.create({ model: 'gpt-test', input: 'x' })).rejects.toBeInstanceOf(
    OpenAI.AuthenticationError,
  )
  expect(server.runs).toBe(0)
})

test('an error in the middle of a stream ends it', async () => {
  server.plan({ failed: 'server_error' })
  const stream = await client.chat.completions.create({
    model: 'gpt-test',
    messages: [{ role: 'user', content: 'Who?' }],
    stream: true,
  })
  const read = async () => {
    for await (const chunk of stream) expect(chunk.object).toBe('chat.completion.chunk')
  }
  await expect(read()).rejects.toBeInstanceOf(OpenAI.APIError)
})

test('a webhook that the server signs is one for the client', async () => {
  const secret = 'whsec_aHVudGVyMg=='
  const { body, headers } = signedDelivery(secret, { type: 'response.completed', id: 'resp_7' })
  const event = await client.webhooks.unwrap(body.toString(), headers, secret)
  expect(event).toMatchObject({ type: 'response.completed', data: { id: 'resp_7' } })
})

test('what one starts the other finds', async () => {
  const job = providerFor(server, { background: true })
  const chat = providerFor(server, { api: 'chat' })
  providers.push(job, chat)
  await callOnce(job)
  server.finish(server.lastId(), {})
  expect(await client.responses.retrieve(server.lastId())).toMatchObject({
    output_text: DEFAULT_TEXT,
    metadata: { endstate_key: 'rec-1.read.gpt.1' },
  })
  await client.chat.completions.create({
    model: 'gpt-test',
    messages: [{ role: 'user', content: 'Who?' }],
    store: true,
    metadata: { endstate_key: 'rec-1.read.gpt.1' },
  })
  expect(await askOnce(chat)).toMatchObject({ kind: 'succeeded', output: USUAL_OUTPUT })
})
