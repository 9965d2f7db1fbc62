/**
 * Every mode of `openai` against a server that speaks the published protocol: what a call's end means, and how a call in
 * doubt is found again.
 */
import { describe, expect, test } from 'vitest'
import type { OpenAiOptions } from '../../src/providers/openai/openai.js'
import type { Plan } from '../support/protocol/openai-server.js'
import { reply, startWireServer } from './http-wire-server.js'
import {
  askOnce,
  callOnce,
  providerFor,
  USUAL_OUTPUT,
  USUAL_SPEND,
  USUAL_USAGE,
  nameSchema,
  serveEach,
} from './openai-fixture.js'

const { provider, posts, server } = serveEach()

describe('a background response is a job', () => {
  const job = () => provider({ background: true })

  test('it is taken, waits, runs and ends; the look-up tells each', async () => {
    const gpt = job()
    const { answer } = await callOnce(gpt, { outputSchema: nameSchema })
    expect(answer).toMatchObject({ kind: 'accepted', handle: server().lastId() })
    const handle = server().lastId()
    expect(await askOnce(gpt, { handle })).toMatchObject({ kind: 'accepted', handle })
    server().finish(handle, 'started')
    expect(await askOnce(gpt, { handle })).toMatchObject({ kind: 'accepted', handle })
    server().finish(handle, { commentary: 'Let me see.' })
    expect(await askOnce(gpt, { handle })).toMatchObject({
      kind: 'succeeded',
      output: USUAL_OUTPUT,
      spend: USUAL_SPEND,
      usage: USUAL_USAGE,
      limits: { requestsPerMinute: 500, tokensRemaining: 29_800 },
      evidence: {
        status: 200,
        requestId: 'req_test_1',
        responseId: handle,
        model: 'gpt-test-2026-08-01',
        finishReason: 'completed',
      },
    })
    expect(posts()).toHaveLength(1)
    expect(JSON.parse(posts()[0]!.body)).toMatchObject({
      background: true,
      store: true,
      metadata: { endstate_key: 'rec-1.read.gpt.1' },
    })
  })

  test.each<{ end: Plan; kind: string; code: string; retryable: boolean }>([
    { end: { failed: 'server_error' }, kind: 'executed', code: 'server-error', retryable: true },
    { end: { failed: 'invalid_image' }, kind: 'executed', code: 'invalid-image', retryable: false },
    { end: { failed: 'hunter2 said: x' }, kind: 'executed', code: 'failed', retryable: false },
    { end: { cancelled: true }, kind: 'executed', code: 'cancelled', retryable: true },
    {
      end: { failed: 'context_length_exceeded' },
      kind: 'not-executed',
      code: 'context-length-exceeded',
      retryable: false,
    },
    {
      end: { incomplete: 'max_output_tokens', text: '{"name":' },
      kind: 'partial',
      code: 'max-output-tokens',
      retryable: false,
    },
    { end: { incomplete: 'content_filter' }, kind: 'partial', code: 'content-filter', retryable: false },
    { end: { refusal: 'I can not do that.' }, kind: 'partial', code: 'refused', retryable: false },
    { end: { text: 'Sure! Here is it.' }, kind: 'partial', code: 'not-json', retryable: true },
    { end: { text: '' }, kind: 'partial', code: 'no-text', retryable: true },
  ])('$code is $kind', async ({ end, kind, code, retryable }) => {
    const gpt = job()
    await callOnce(gpt)
    const handle = server().lastId()
    server().finish(handle, end)
    const answer = await askOnce(gpt, { handle })
    expect(answer).toMatchObject({ kind, code, retryable })
    expect(JSON.stringify(answer)).not.toContain('hunter2')
    // What ran to an end of its own was billed, and the bill is known.
    if (kind === 'partial') expect(answer).toMatchObject({ spend: USUAL_SPEND })
  })

  test('an id that is not known is missing; another 404, or no answer, says nothing', async () => {
    const gpt = job()
    expect(await askOnce(gpt, { handle: 'resp_9999' })).toMatchObject({ kind: 'missing', evidence: { status: 404 } })
    const wrong = provider({ background: true }, { baseUrl: server().baseUrl.replace('/v1', '/v2') })
    expect(await askOnce(wrong, { handle: 'resp_9999' })).toMatchObject({ kind: 'unknown', code: 'http-404' })
    expect(await askOnce(gpt)).toMatchObject({ kind: 'unknown', code: 'cannot-be-asked' })
    const gone = provider({ background: true }, { baseUrl: 'http://127.0.0.1:9/v1' })
    expect(await askOnce(gone, { handle: 'resp_0001' })).toMatchObject({ kind: 'unknown', code: 'connection-refused' })
  })

  test('another response than the one that was asked for says nothing', async () => {
    const body = JSON.stringify({ id: 'resp_8', status: 'completed', output: [] })
    const confused = await startWireServer((socket) => reply(socket, 200, body))
    const gpt = providerFor({ baseUrl: new URL('/v1', confused.url).href }, { background: true })
    expect(await askOnce(gpt, { handle: 'resp_7' })).toMatchObject({ kind: 'unknown', code: 'unexpected-answer' })
    expect(await askOnce(gpt, { handle: 'resp_8' })).toMatchObject({ kind: 'partial', code: 'no-text' })
    await gpt.close()
    await confused.close()
  })

  test('cancelling asks for it, and only once there is an id', async () => {
    const gpt = job()
    await callOnce(gpt)
    const handle = server().lastId()
    const question = { record: 'rec-1', step: 'read', attempt: 1, generation: 1, requestKey: 'k' }
    const times = { startedAt: new Date(), sendBy: new Date(), deadlineMs: 1000 }
    await gpt.cancel!({ ...question, ...times, handle: null }, AbortSignal.timeout(1000))
    expect(posts()).toHaveLength(1)
    await gpt.cancel!({ ...question, ...times, handle }, AbortSignal.timeout(1000))
    expect(posts().at(-1)!.path).toBe(`/v1/responses/${handle}/cancel`)
    expect(await askOnce(gpt, { handle })).toMatchObject({ kind: 'executed', code: 'cancelled' })
  })

  test.each<Plan>([{ cut: 'before-status' }, { cut: 0 }, { cut: 40 }, { body: '<html>' }, { body: '{"id":7}' }])(
    'an answer that breaks off is in doubt: the job may run (%j)',
    async (plan) => {
      server().plan(plan)
      expect(await callOnce(job())).toMatchObject({ answer: { kind: 'unknown' } })
      expect(posts()).toHaveLength(1)
      expect(server().runs).toBe(1)
    },
  )

  test('a state that OpenAI adds one day is a job that can be asked about', async () => {
    server().plan({ body: '{"id":"resp_0001","status":"thinking"}' })
    expect(await callOnce(job())).toMatchObject({ answer: { kind: 'accepted', handle: 'resp_0001' } })
  })
})

describe('a streamed response', () => {
  test('tells its id at once and its result at the end', async () => {
    const { answer, progress } = await callOnce(provider(), { outputSchema: nameSchema })
    expect(progress).toEqual([{ handle: server().lastId() }])
    expect(answer).toMatchObject({
      kind: 'succeeded',
      output: USUAL_OUTPUT,
      spend: USUAL_SPEND,
      usage: USUAL_USAGE,
      handle: server().lastId(),
      evidence: { status: 200, finishReason: 'completed', responseId: server().lastId() },
    })
    expect(posts()).toHaveLength(1)
    expect(JSON.parse(posts()[0]!.body)).toMatchObject({ stream: true, store: true })
  })

  test('the id is told while the run still goes on', async () => {
    server().plan({ cut: 700, keepOpen: true })
    const gpt = provider()
    const { answer, progress } = await callOnce(gpt)
    expect(progress).toEqual([{ handle: 'resp_0001' }])
    expect(answer).toMatchObject({ kind: 'unknown', code: 'stream-cut', handle: 'resp_0001' })
    // The run ended well all the same: the look-up finds what the stream lost.
    expect(await askOnce(gpt, { handle: 'resp_0001' })).toMatchObject({ kind: 'succeeded', output: USUAL_OUTPUT })
    expect(server().runs).toBe(1)
  })

  test.each<{ end: Plan; kind: string; code: string }>([
    { end: { incomplete: 'max_output_tokens' }, kind: 'partial', code: 'max-output-tokens' },
    { end: { refusal: 'No.' }, kind: 'partial', code: 'refused' },
    { end: { failed: 'server_error' }, kind: 'executed', code: 'server-error' },
    { end: { failed: 'context_length_exceeded' }, kind: 'not-executed', code: 'context-length-exceeded' },
    {
      end: { body: 'event: error\ndata: {"type":"error","code":"rate_limit_exceeded","message":"hunter2"}\n\n' },
      kind: 'executed',
      code: 'rate-limit-exceeded',
    },
    {
      end: { body: 'data: {"type":"error","error":{"code":"server_error"}}\n\n' },
      kind: 'executed',
      code: 'server-error',
    },
    { end: { body: ': nothing\n\n' }, kind: 'unknown', code: 'stream-cut' },
  ])('$code in a stream is $kind', async ({ end, kind, code }) => {
    server().plan(end)
    const { answer } = await callOnce(provider())
    expect(answer).toMatchObject({ kind, code })
    expect(JSON.stringify(answer)).not.toContain('hunter2')
  })

  test('a stream that said its end is over, also when the server leaves it open', async () => {
    server().plan({ keepOpen: true })
    const deadline = AbortSignal.timeout(8000)
    const { answer } = await callOnce(provider(), {}, deadline)
    expect(answer).toMatchObject({ kind: 'succeeded', output: USUAL_OUTPUT })
    expect(deadline.aborted).toBe(false)
  })

  test('one that is larger than the limit is in doubt: the look-up is smaller', async () => {
    const gpt = provider({ responseBytesMax: 2500 })
    server().plan({ byteByByte: true })
    const { answer } = await callOnce(gpt)
    expect(answer).toMatchObject({ kind: 'unknown', code: 'stream-cut', handle: 'resp_0001' })
    expect(await askOnce(gpt, { handle: 'resp_0001' })).toMatchObject({ kind: 'succeeded' })
  })

  test('bytes that come one by one, in the middle of characters, are the same answer', async () => {
    server().plan({ byteByByte: true })
    expect(await callOnce(provider())).toMatchObject({ answer: { kind: 'succeeded', output: USUAL_OUTPUT } })
  })

  test('not stored, nothing can be looked up: what is cut is lost', async () => {
    const gpt = provider({ store: false })
    expect(gpt.terms).toMatchObject({ recovery: 'blind', cost: 'paid' })
    expect(gpt.ask).toBeUndefined()
    server().plan({ cut: 900 })
    expect(await callOnce(gpt)).toMatchObject({ answer: { kind: 'partial', code: 'stream-cut', retryable: true } })
    expect(JSON.parse(posts()[0]!.body)).toMatchObject({ store: false })
    expect(JSON.parse(posts()[0]!.body)).not.toHaveProperty('metadata')
  })
})

describe('a stored chat completion', () => {
  const chat = (more: Partial<OpenAiOptions> = {}) => provider({ api: 'chat', ...more })

  test.each([{ stream: false }, { stream: true }])('answers, %j', async ({ stream }) => {
    const { answer } = await callOnce(chat({ stream }), { outputSchema: nameSchema })
    expect(answer).toMatchObject({
      kind: 'succeeded',
      output: USUAL_OUTPUT,
      spend: USUAL_SPEND,
      usage: USUAL_USAGE,
      evidence: { finishReason: 'stop', model: 'gpt-test-2026-08-01', responseId: server().lastId() },
    })
    expect(posts()).toHaveLength(1)
    expect(JSON.parse(posts()[0]!.body)).toMatchObject({
      store: true,
      metadata: { endstate_key: 'rec-1.read.gpt.1' },
      response_format: { type: 'json_schema', json_schema: { name: 'read', strict: true } },
    })
  })

  test.each<Plan>([{ cut: 'before-status' }, { cut: 0 }, { cut: 100 }, { body: 'oops' }])(
    'what breaks off is found by our key, and belongs to it (%j)',
    async (plan) => {
      const gpt = chat()
      // Another record's, before and after ours.
      await callOnce(gpt, { requestKey: 'rec-0.read.gpt.1' })
      server().plan({ ...plan, text: '{"name":"ours"}' })
      expect(await callOnce(gpt)).toMatchObject({ answer: { kind: 'unknown' } })
      await callOnce(gpt, { requestKey: 'rec-2.read.gpt.1' })
      expect(await askOnce(gpt)).toMatchObject({ kind: 'succeeded', output: { name: 'ours' }, spend: USUAL_SPEND })
      expect(server().runs).toBe(3)
    },
  )

  test('a key with characters that mean something in a url finds its own', async () => {
    const gpt = chat()
    const requestKey = 'a&limit=1#?=[ö] %5D.read.gpt.1.0'
    await callOnce(gpt, { requestKey })
    expect(await askOnce(gpt, { requestKey })).toMatchObject({ kind: 'succeeded' })
    expect(await askOnce(gpt, { requestKey: `${requestKey}1` })).toMatchObject({ kind: 'missing' })
  })

  test('nothing under our key is missing, and a list that is not filtered says nothing', async () => {
    const gpt = chat()
    expect(await askOnce(gpt)).toMatchObject({ kind: 'missing' })
    await callOnce(gpt, { requestKey: 'rec-0.read.gpt.1' })
    expect(await askOnce(gpt)).toMatchObject({ kind: 'missing' })
    server().ignoreFilters()
    expect(await askOnce(gpt)).toMatchObject({ kind: 'unknown', code: 'unexpected-answer' })
    await callOnce(gpt)
    expect(await askOnce(gpt)).toMatchObject({ kind: 'succeeded', output: USUAL_OUTPUT })
  })

  test('two runs under one key: the first one counts, and both are told', async () => {
    const gpt = chat()
    server().plan({ text: '{"name":"first"}' }, { text: '{"name":"second"}' })
    await callOnce(gpt)
    await callOnce(gpt)
    expect(await askOnce(gpt)).toMatchObject({ output: { name: 'first' }, evidence: { matches: 2 } })
  })

  test.each<{ end: Plan; stream: boolean; kind: string; code: string }>([
    ...[false, true].flatMap((stream) => [
      { end: { incomplete: 'max_output_tokens' as const }, stream, kind: 'partial', code: 'length' },
      { end: { incomplete: 'content_filter' as const }, stream, kind: 'partial', code: 'content-filter' },
      { end: { refusal: 'No.' }, stream, kind: 'partial', code: 'refused' },
      { end: { text: 'plain' }, stream, kind: 'partial', code: 'not-json' },
    ]),
    { end: { failed: 'server_error' }, stream: true, kind: 'executed', code: 'server-error' },
    { end: { body: 'data: {"error":"hunter2"}\n\n' }, stream: true, kind: 'executed', code: 'failed' },
  ])('$code is $kind (stream $stream)', async ({ end, stream, kind, code }) => {
    server().plan(end)
    const { answer } = await callOnce(chat({ stream }))
    expect(answer).toMatchObject({ kind, code })
    expect(JSON.stringify(answer)).not.toContain('hunter2')
  })

  test.each(['tool_calls', 'function_call'])('an end by %s gives no answer', async (finish_reason) => {
    server().plan({ body: JSON.stringify({ choices: [{ finish_reason, message: { content: '{}' } }] }) })
    expect(await callOnce(chat())).toMatchObject({ answer: { kind: 'partial', code: 'unexpected-end' } })
  })

  test('[DONE] without a finish_reason is no end: it is looked up', async () => {
    const gpt = chat({ stream: true })
    server().plan({ body: 'data: {"choices":[{"index":0,"delta":{"content":"{}"}}]}\n\ndata: [DONE]\n\n' })
    expect(await callOnce(gpt)).toMatchObject({ answer: { kind: 'unknown', code: 'stream-cut' } })
    expect(await askOnce(gpt)).toMatchObject({ kind: 'succeeded', output: USUAL_OUTPUT })
  })

  test('usage that can not be read does not cost the result', async () => {
    const completion = {
      choices: [{ finish_reason: 'stop', message: { content: '{}' } }],
      usage: { prompt_tokens: 'x' },
    }
    server().plan({ body: JSON.stringify(completion) })
    expect(await callOnce(chat())).toMatchObject({
      answer: { kind: 'succeeded', output: {}, usage: null, spend: null },
    })
  })
})

describe('a compatible server', () => {
  const { server: own, provider: made } = serveEach({ keyless: true })
  const local = (more: Partial<OpenAiOptions> = {}) => made({ compatible: true, ...more })

  test.each([{ stream: false }, { stream: true }])(
    'free, blind, without store, metadata or key (%j)',
    async ({ stream }) => {
      const llama = local({ stream, instructions: 'Be short.', maxOutputTokens: 50 })
      expect(llama.terms).toMatchObject({ recovery: 'blind', cost: 'free', findsByToken: false, spendMax: null })
      expect(llama.ask).toBeUndefined()
      expect(llama.cancel).toBeUndefined()
      expect(await callOnce(llama)).toMatchObject({ answer: { kind: 'succeeded', output: USUAL_OUTPUT } })
      const [{ body, headers } = { body: '', headers: {} }] = own().requests
      expect(Object.keys(JSON.parse(body) as object)).not.toEqual(expect.arrayContaining(['store']))
      expect(JSON.parse(body)).not.toHaveProperty('metadata')
      expect(JSON.parse(body)).toMatchObject({ max_tokens: 50, messages: [{ role: 'system' }, { role: 'user' }] })
      expect(headers).not.toHaveProperty('authorization')
    },
  )

  test.each([{ stream: false }, { stream: true }])('what is cut is lost (%j)', async ({ stream }) => {
    own().plan({ cut: 60 })
    expect(await callOnce(local({ stream }))).toMatchObject({ answer: { kind: 'partial', retryable: true } })
  })

  test('a stream that ends without [DONE] is not complete', async () => {
    own().plan({ body: 'data: {"choices":[{"index":0,"delta":{"content":"{}"},"finish_reason":"stop"}]}\n\n' })
    expect(await callOnce(local({ stream: true }))).toMatchObject({ answer: { kind: 'partial', code: 'stream-cut' } })
  })

  test('a piece that can not be read makes the whole unusable', async () => {
    const piece = (content: string, end: string | null) =>
      `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: end }] })}\n\n`
    own().plan({ body: `${piece('{"a":1', null)}data: oops\n\n${piece('}', 'stop')}data: [DONE]\n\n` })
    expect(await callOnce(local({ stream: true }))).toMatchObject({ answer: { kind: 'partial', code: 'stream-cut' } })
  })

  test('a server that does not know streams is read whole', async () => {
    own().plan({ body: JSON.stringify({ choices: [{ finish_reason: 'stop', message: { content: '{"a":1}' } }] }) })
    expect(await callOnce(local({ stream: true }))).toMatchObject({ answer: { kind: 'succeeded', output: { a: 1 } } })
  })
})
