/**
 * `openai` with `compatible` against llama.cpp's own server and a small model: a real server that is not OpenAI's, and
 * its count of tokens. What the model says is not looked at, only that it said it.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { performCall, type CallOptions, type CallResult } from '../../src/providers/call.js'
import type { CallRequest, Progress, Provider } from '../../src/providers/contract.js'
import { openai, type OpenAiOptions } from '../../src/providers/openai/openai.js'
import { INSTALL_MS_MAX, startLlama, type ModelServer } from '../support/model-servers.js'
import { waitFor } from '../support/processes.js'
import { aRequest, options } from './call-inputs.js'

let llama: ModelServer
beforeAll(async () => {
  llama = await startLlama()
}, INSTALL_MS_MAX)
afterAll(() => llama.stop())

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const made = (more: Partial<OpenAiOptions> = {}) =>
  openai({
    compatible: true,
    baseUrl: `${llama.url}/v1`,
    model: 'smollm2',
    output: 'text',
    schema: false,
    maxOutputTokens: 64,
    temperature: 0,
    ...more,
  })

function connect(more: Partial<OpenAiOptions> = {}): Provider {
  const provider = made(more).create('llama', { secret: () => '' })
  closing.push(() => provider.close())
  return provider
}

const SHORT = { prompt: 'Answer with one word: what is the capital of France?', attach: false }
/** A field of llama.cpp's own: the model goes on to its limit. */
const ENDLESS = { ignore_eos: true }
const LONG = { prompt: 'Tell me a long story about a lighthouse.', attach: false, maxOutputTokens: 120 }

async function call(
  provider: Provider,
  more: Partial<CallRequest> = {},
  how: Partial<CallOptions> = {},
): Promise<CallResult> {
  const request = aRequest({ request: SHORT, deadlineMs: 30_000, ...more })
  return performCall(provider, { ...request, built: await provider.build!(request) }, options(how))
}

/** The server's own count. */
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${llama.url}/metrics`, { signal: AbortSignal.timeout(5_000) })).text()
  return Number(new RegExp(`^llamacpp:${name} (\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN)
}
const tokensPredicted = () => metric('tokens_predicted_total')

test('is free and blind', () => {
  expect(made().terms('llama')).toMatchObject({ recovery: 'blind', cost: 'free', spendMax: null, model: 'smollm2' })
  expect(connect().ask).toBeUndefined()
})

describe.each([
  ['whole', { stream: false }],
  ['streamed', { stream: true }],
])('an answer that comes %s', (_, mode) => {
  test('is text, with the usage that the server counted, and costs nothing', async () => {
    const before = await tokensPredicted()
    const result = await call(connect(mode))
    expect(result).toMatchObject({
      kind: 'succeeded',
      output: expect.stringMatching(/\w/) as string,
      spend: null,
      usage: { inputTokens: expect.any(Number) as number, outputTokens: expect.any(Number) as number },
      evidence: { status: 200, model: 'smollm2', finishReason: 'stop' },
    })
    const { outputTokens } = (result as { usage: { outputTokens: number } }).usage
    expect(outputTokens).toBeGreaterThan(0)
    expect((await tokensPredicted()) - before).toBe(outputTokens)
  })

  test('that was cut by its limit is partial', async () => {
    const result = await call(connect(mode), { request: { ...LONG, maxOutputTokens: 4 } })
    expect(result).toMatchObject({
      kind: 'failed',
      retryable: false,
      error: { code: 'length', kind: 'partial' },
      usage: { outputTokens: 4 },
    })
  })
})

test('the same request runs again: blind, and nothing is remembered', async () => {
  const provider = connect()
  const before = await tokensPredicted()
  const usage = z.object({ kind: z.literal('succeeded'), usage: z.object({ outputTokens: z.number().min(1) }) })
  const [first, second] = [usage.parse(await call(provider)).usage, usage.parse(await call(provider)).usage]
  expect((await tokensPredicted()) - before).toBe(first.outputTokens + second.outputTokens)
})

test('a schema holds even a small model to the form that the step wants', async () => {
  const Capital = z.strictObject({ country: z.string(), isCapital: z.boolean() })
  const provider = connect({ schema: true, output: 'json' })
  const result = await call(provider, { outputSchema: z.toJSONSchema(Capital) })
  if (result.kind !== 'succeeded') throw new Error(JSON.stringify(result))
  Capital.parse(result.output)
})

const atRest = () =>
  waitFor(async () => (await metric('requests_processing')) === 0, { timeoutMs: 40_000, what: 'the server to rest' })

test('no answer within 50 ms is a doubt, and the doubt is right: the server runs the call all the same', async () => {
  const provider = connect()
  // The connection stands: what is in question is the call, not how quickly it connects.
  expect(await call(provider)).toMatchObject({ kind: 'succeeded' })
  const result = await call(provider, { request: LONG, deadlineMs: 50 })
  expect(result).toMatchObject({ kind: 'uncertain', error: { code: 'deadline-exceeded', kind: 'unknown' } })
  const before = await tokensPredicted()
  await waitFor(async () => (await tokensPredicted()) > before, { timeoutMs: 40_000, what: 'tokens for no one' })
  await atRest()
})

test('a stream tells how far it is; ended then, it is lost for certain, and the server stops', async () => {
  const before = await tokensPredicted()
  const stop = new AbortController()
  const provider = connect({ stream: true, extra: ENDLESS })
  const onProgress = ({ outputTokens = 0 }: Progress) => void (outputTokens > 0 && stop.abort())
  const request = { ...LONG, maxOutputTokens: 1_900 }
  const result = await call(provider, { request, onProgress }, { signal: stop.signal })
  expect(result).toMatchObject({ kind: 'failed', error: { code: 'stream-cut', kind: 'partial' } })
  await atRest()
  expect((await tokensPredicted()) - before).toBeLessThan(1_900)
})

test('a request that the server refuses was not executed', async () => {
  const result = await call(connect({ extra: { top_k: 'many' } }))
  expect(result).toMatchObject({ kind: 'failed', error: { kind: 'not-executed' } })
})

test('readiness tells whether the model is listed', async () => {
  const ask = (provider: Provider) => provider.ready!(AbortSignal.timeout(5_000))
  expect(await ask(connect())).toEqual({ ready: true, detail: 'The model smollm2 is there.' })
  expect((await ask(connect({ model: 'other' }))).detail).toBe('The server does not list the model other.')
})

test('a server that was killed was certainly not asked', async () => {
  await llama.stop()
  expect(await call(connect())).toMatchObject({
    kind: 'failed',
    retryable: true,
    error: { code: 'connection-refused', kind: 'not-executed' },
  })
})
