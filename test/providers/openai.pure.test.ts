/** `openai` without a server: its options and terms, the schema it sends, the requests it refuses, its webhook. */
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { WebhookRefused, type RequestParts } from '../../src/providers/contract.js'
import { readConversation } from '../../src/providers/model-request.js'
import { openai, type OpenAiOptions } from '../../src/providers/openai/openai.js'
import { fitSchema } from '../../src/providers/openai/strict-schema.js'
import { env } from '../../src/providers/secret.js'
import { refusalOfResponse } from '../support/protocol/openai-checks.js'
import { signedDelivery } from '../support/protocol/openai-server.js'
import { aRequest, bytesInput, jsonInput } from './call-inputs.js'
import { PRICE } from './openai-fixture.js'

const apiKey = env('OPENAI_API_KEY')
const good: OpenAiOptions = { model: 'gpt-test', apiKey }
const local: OpenAiOptions = { model: 'llama', compatible: true, baseUrl: 'http://127.0.0.1:11434/v1' }

describe('terms', () => {
  const MINUTE = 60_000
  test.each([
    { options: good, recovery: 'retrievable', findsByToken: false, longestRunMs: 5 * MINUTE, lookupLagMs: 10_000 },
    { options: { ...good, background: true }, recovery: 'job', findsByToken: false, longestRunMs: 10 * MINUTE },
    { options: { ...good, api: 'chat' as const }, recovery: 'retrievable', findsByToken: true, lookupLagMs: 10_000 },
    {
      options: { ...good, api: 'chat' as const, store: false },
      recovery: 'blind',
      findsByToken: false,
      lookupLagMs: 0,
    },
    { options: { ...good, store: false }, recovery: 'blind', cost: 'paid' },
    { options: local, recovery: 'blind', cost: 'free', model: 'llama', spendMax: null },
    { options: { ...local, cost: 'paid' as const }, recovery: 'blind', cost: 'paid' },
    {
      options: { ...good, longestRun: '1h' as const, lookupLag: '1m' as const },
      longestRunMs: 60 * MINUTE,
      lookupLagMs: MINUTE,
    },
    {
      options: { ...good, spendMax: { amount: '0.5', currency: 'USD' } },
      spendMax: { amount: '0.5', currency: 'USD' },
    },
  ])('$options', ({ options, ...terms }) => {
    expect(openai(options).terms('gpt')).toMatchObject({ name: 'gpt', keyTtlMs: 0, ...terms })
  })

  test('slots and limits', () => {
    expect(openai({ ...good, slots: 3, limits: { requestsPerMinute: 60 } })).toMatchObject({
      slots: 3,
      limits: { requestsPerMinute: 60 },
    })
    expect(openai(good)).toMatchObject({ slots: 8 })
    expect(openai(good)).not.toHaveProperty('limits')
    expect(openai(good)).not.toHaveProperty('webhook')
  })
})

describe('options that do not fit together are named', () => {
  test.each<{ wrong: object; says: string; of?: OpenAiOptions }>([
    { wrong: { model: '' }, says: 'model' },
    { wrong: { modell: 'x' }, says: 'modell' },
    { wrong: { apiKey: undefined }, says: 'apiKey: is missing' },
    { wrong: { apiKey: 'sk-hunter2' }, says: "apiKey: is not written as env('NAME')" },
    { wrong: { api: 'chat', background: true }, says: 'background' },
    { wrong: { background: true, store: false }, says: 'store' },
    { wrong: { stream: true }, says: 'stream' },
    { wrong: { cost: 'free' }, says: 'cost' },
    { wrong: { webhookSecret: apiKey }, says: 'webhookSecret' },
    { wrong: { baseUrl: '/v1' }, says: 'absolute url' },
    { wrong: { baseUrl: 'https://me:hunter2@x/v1' }, says: 'user' },
    { wrong: { headers: { 'Content-Length': '1' } }, says: 'Content-Length' },
    { wrong: { extra: { store: false } }, says: 'extra.store' },
    { wrong: { extra: { metadata: {} } }, says: 'extra.metadata' },
    { wrong: { prices: { currency: 'USD', inputPerMillion: 2 } }, says: 'prices.inputPerMillion' },
    { wrong: { longestRun: 'long' }, says: 'longestRun' },
    { wrong: { api: 'responses' }, says: 'api', of: local },
    { wrong: { store: true }, says: 'store', of: local },
    { wrong: { baseUrl: undefined }, says: 'baseUrl', of: local },
  ])('$says', ({ wrong, says, of = good }) => {
    const make = () => openai({ ...of, ...wrong } as OpenAiOptions)
    expect(make).toThrow(TypeError)
    expect(make).toThrow(says)
    expect(make).not.toThrow('hunter2')
  })

  test('a key may come by a header', () => {
    expect(() => openai({ model: 'gpt-test', headers: { 'Api-Key': env('AZURE_KEY') } })).not.toThrow()
  })

  test('a secret is read when the worker starts, and never shown', () => {
    const factory = openai(good)
    const provider = factory.create('gpt', { secret: () => 'sk-hunter2' })
    expect(JSON.stringify([factory, provider, factory.terms('gpt')])).not.toContain('hunter2')
  })
})

const bodyOf = async (options: OpenAiOptions, overrides: Partial<RequestParts> = {}) => {
  const provider = openai(options).create('gpt', { secret: () => 'sk' })
  const { body, spendMax } = await provider.build!(aRequest({ request: { prompt: 'Who?' }, ...overrides }))
  await provider.close()
  return { body: JSON.parse(body as string) as { [field: string]: unknown }, spendMax }
}

describe('the request', () => {
  test('more fields go along; ours stay ours', async () => {
    const { body } = await bodyOf({ ...good, extra: { reasoning: { effort: 'low' }, service_tier: 'flex' } })
    expect(body).toMatchObject({ reasoning: { effort: 'low' }, service_tier: 'flex', model: 'gpt-test', stream: true })
  })

  test('the step’s own words go before the defaults of the provider', async () => {
    const options = { ...good, instructions: 'Default.', maxOutputTokens: 5000, temperature: 1 }
    const request = { prompt: 'x', instructions: 'Own.', maxOutputTokens: 100, temperature: 0 }
    expect((await bodyOf(options)).body).toMatchObject({
      instructions: 'Default.',
      max_output_tokens: 5000,
      temperature: 1,
    })
    expect((await bodyOf(options, { request })).body).toMatchObject({
      instructions: 'Own.',
      max_output_tokens: 100,
      temperature: 0,
    })
  })

  test('the bound: words by their bytes, a picture and a PDF by more than they can cost, none without a limit', async () => {
    const options = { ...good, prices: PRICE, contextTokensMax: 100_000 }
    const limited = { ...options, maxOutputTokens: 1000 }
    const amount = async (overrides: Partial<RequestParts>) =>
      Number((await bodyOf(limited, overrides)).spendMax?.amount)
    const words = await amount({ input: jsonInput({ text: 'x'.repeat(10_000) }) })
    // 10,000 bytes in at 2.00 and 1,000 tokens out at 8.00.
    expect(words).toBeGreaterThan(0.028)
    expect(words).toBeLessThan(0.029)
    expect(await amount({ input: bytesInput('image/png', Buffer.alloc(100)) })).toBeGreaterThan(0.04)
    // Never more than the context.
    expect(await amount({ input: bytesInput('application/pdf', Buffer.alloc(100)) })).toBeCloseTo(0.208, 6)
    expect(await amount({ input: jsonInput('x'.repeat(1_000_000)) })).toBeCloseTo(0.208, 6)
    expect((await bodyOf(options)).spendMax).toBeUndefined()
    expect((await bodyOf({ ...good, maxOutputTokens: 10 })).spendMax).toBeUndefined()
    expect((await bodyOf({ ...local, prices: PRICE, maxOutputTokens: 10 })).spendMax).toBeUndefined()
  })

  test('a schema that is switched off, or is of no object, is not sent', async () => {
    const outputSchema = { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] }
    expect((await bodyOf(good, { outputSchema })).body).toHaveProperty('text.format.strict', true)
    expect((await bodyOf({ ...good, schema: false }, { outputSchema })).body).not.toHaveProperty('text')
    expect((await bodyOf(good, { outputSchema: { type: 'string' } })).body).not.toHaveProperty('text')
    expect((await bodyOf(good, { outputSchema: {} })).body).not.toHaveProperty('text')
  })
})

describe('what a step asks for', () => {
  const read = (request: unknown, input = jsonInput({ a: 1 })) => readConversation(aRequest({ request, input }), {})

  test('nothing: the input alone; a text: the prompt', async () => {
    expect(await read(undefined)).toMatchObject({ messages: [{ role: 'user', parts: [{ text: '{"a":1}' }] }] })
    expect(await read('Who?')).toMatchObject({ messages: [{ parts: [{ text: '{"a":1}' }, { text: 'Who?' }] }] })
    expect(await read({ prompt: 'Who?', attach: false })).toMatchObject({ messages: [{ parts: [{ text: 'Who?' }] }] })
  })

  test.each<{ request: unknown; says: string }>([
    { request: { promt: 'hunter2' }, says: 'fields that are not known' },
    { request: { prompt: 7 }, says: 'prompt is not valid' },
    { request: { prompt: '' }, says: 'prompt is not valid' },
    { request: 7, says: 'the request is not valid' },
    { request: { prompt: 'hunter2', messages: [{ role: 'user', content: 'x' }] }, says: 'both prompt and messages' },
    { request: { messages: [{ role: 'system', content: 'hunter2' }] }, says: 'messages.0.role' },
    {
      request: { messages: [{ role: 'assistant', content: 'hunter2' }], attach: false },
      says: 'no message of the user',
    },
    { request: { attach: false }, says: 'no message of the user' },
    { request: { prompt: 'x', hunter2: 1 }, says: 'fields that are not known' },
  ])('$says', async ({ request, says }) => {
    const error = await read(request).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(TypeError)
    expect(String(error)).toContain(says)
    expect(String(error)).not.toContain('hunter2')
  })

  test('an input that no model takes is refused, and may be left out', async () => {
    const dicom = bytesInput('application/dicom', Buffer.from('DICM'))
    await expect(read('Who?', dicom)).rejects.toThrow('application/dicom')
    await expect(read({ prompt: 'Who?', attach: false }, dicom)).resolves.toBeDefined()
    await expect(read('Who?', bytesInput('text/plain', Buffer.of(0xff)))).rejects.toThrow('no UTF-8')
    const typed = bytesInput('Text/Plain; charset=utf-8', Buffer.from('ä'))
    expect(await read(undefined, typed)).toMatchObject({ messages: [{ parts: [{ kind: 'text', text: 'ä' }] }] })
  })
})

describe('a schema for strict mode', () => {
  const jsonSchemaOf = (schema: z.ZodType) => z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' })
  const Finding = z.object({ name: z.string().max(80), value: z.number().min(0).nullable(), unit: z.enum(['mg', 'g']) })
  const page = z.object({
    findings: z.array(Finding).max(50),
    taken: z.iso.date(),
    mail: z.email(),
    pages: z.int().positive(),
    kind: z.discriminatedUnion('type', [
      z.object({ type: z.literal('a'), one: z.string() }),
      z.strictObject({ type: z.literal('b'), two: z.boolean() }),
    ]),
  })

  test('is one that OpenAI takes, and takes all that the step takes', () => {
    const fitted = fitSchema(jsonSchemaOf(page))
    expect(fitted?.strict).toBe(true)
    // By the checks of the protocol server, which are written from the guide.
    const format = {
      type: 'json_schema' as const,
      name: 'read',
      schema: fitted!.schema as { type: 'object' },
      strict: true,
    }
    expect(refusalOfResponse({ model: 'gpt-test', input: 'x', text: { format } })).toBeNull()
    const accepts = new Ajv2020({ strict: false, validateFormats: false }).compile(fitted!.schema)
    const output = {
      findings: [{ name: 'CRP', value: null, unit: 'mg' }],
      taken: '2026-11-25',
      mail: 'a@example.org',
      pages: 2,
      kind: { type: 'b', two: true },
    }
    expect(page.safeParse(output).success).toBe(true)
    expect(accepts(output)).toBe(true)
    expect(accepts({ ...output, more: 1 })).toBe(false)
    expect(accepts({ ...output, findings: [{ name: 'CRP' }] })).toBe(false)
  })

  test('a recursive one keeps its references', () => {
    type Node = { label: string; children: Node[] }
    const Tree: z.ZodType<Node> = z.object({ label: z.string(), children: z.array(z.lazy(() => Tree)) })
    const fitted = fitSchema(jsonSchemaOf(z.object({ tree: Tree })))
    expect(fitted?.strict).toBe(true)
    expect(JSON.stringify(fitted?.schema)).toContain('$ref')
    const format = {
      type: 'json_schema' as const,
      name: 'read',
      schema: fitted!.schema as { type: 'object' },
      strict: true,
    }
    expect(refusalOfResponse({ model: 'gpt-test', input: 'x', text: { format } })).toBeNull()
  })

  test.each<{ what: string; schema: z.ZodType }>([
    // The model would have to invent a value.
    { what: 'optional', schema: z.object({ a: z.string().optional() }) },
    { what: 'default', schema: z.object({ a: z.string().default('x') }) },
    { what: 'a map', schema: z.object({ a: z.record(z.string(), z.number()) }) },
    { what: 'open', schema: z.object({ a: z.string() }).catchall(z.number()) },
    { what: 'anything', schema: z.object({ a: z.unknown() }) },
    {
      what: 'an intersection',
      schema: z.object({ a: z.intersection(z.object({ b: z.string() }), z.union([z.string(), z.number()])) }),
    },
    { what: 'a tuple', schema: z.object({ a: z.tuple([z.string(), z.number()]) }) },
    { what: 'empty', schema: z.object({}) },
  ])('$what can not be strict, and is sent as it is', ({ schema }) => {
    const { $schema, ...given } = jsonSchemaOf(schema)
    expect($schema).toBeDefined()
    expect(fitSchema(jsonSchemaOf(schema))).toEqual({ schema: given, strict: false })
  })

  test('one that is nested too deep, or too large, is not strict', () => {
    let deep: z.ZodType = z.string()
    for (let level = 0; level < 12; level += 1) deep = z.object({ a: deep })
    expect(fitSchema(jsonSchemaOf(deep))).toMatchObject({ strict: false })
    const many = z.object({ a: z.enum(Array.from({ length: 1001 }, (_, n) => `v${n}`) as [string]) })
    expect(fitSchema(jsonSchemaOf(many))).toMatchObject({ strict: false })
  })
})

describe('the webhook', () => {
  const SECRET = 'whsec_aHVudGVyMg=='
  const read = openai({ ...good, background: true, webhookSecret: env('HOOK') }).webhook!('gpt', {
    secret: () => SECRET,
  })
  const event = { type: 'response.completed', id: 'resp_7' }

  test.each(['response.completed', 'response.failed', 'response.cancelled', 'response.incomplete'])(
    '%s says: ask now, about this response',
    async (type) => {
      expect(await read(signedDelivery(SECRET, { type, id: 'resp_7' }))).toEqual({ kind: 'ask', handle: 'resp_7' })
    },
  )

  const refusedWith = async (delivery: Parameters<typeof read>[0]) => {
    try {
      await read(delivery)
    } catch (error) {
      return error instanceof WebhookRefused ? error.status : error
    }
    return 'taken'
  }

  test('one byte more or less, another secret, no signature, or too old: refused', async () => {
    const { headers, body } = signedDelivery(SECRET, event)
    expect(await refusedWith({ headers, body: Buffer.concat([body, Buffer.from(' ')]) })).toBe(401)
    expect(await refusedWith({ headers, body: body.subarray(1) })).toBe(401)
    expect(await refusedWith({ headers: {}, body })).toBe(401)
    expect(await refusedWith(signedDelivery('whsec_b3RoZXI=', event))).toBe(401)
    expect(await refusedWith(signedDelivery(SECRET, event, new Date(Date.now() - 6 * 60_000)))).toBe(401)
    expect(await refusedWith({ headers: { ...headers, 'webhook-id': 'wh_2' }, body })).toBe(401)
    // A view into a larger buffer is read as what it is.
    const larger = Buffer.concat([Buffer.from('xx'), body, Buffer.from('xx')])
    expect(
      await refusedWith({ headers, body: new Uint8Array(larger.buffer, larger.byteOffset + 2, body.length) }),
    ).toBe('taken')
  })

  test('signed, and about something else: refused with what to do', async () => {
    expect(await refusedWith(signedDelivery(SECRET, { type: 'batch.completed', id: 'batch_1' }))).toBe(400)
    expect(await refusedWith(signedDelivery(SECRET, { ...event, id: 'two words' }))).toBe(400)
  })

  test('a secret that is none is named when the process starts', () => {
    const make = () =>
      openai({ ...good, background: true, webhookSecret: env('HOOK') }).webhook!('gpt', { secret: () => 'hunter2!' })
    expect(make).toThrow('HOOK')
    expect(make).not.toThrow('hunter2')
  })
})
