/** What `replicate` and `cog` build, and what their configs may say: the same parts give the same bytes, mistakes are named. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RequestParts } from '../../src/providers/contract.js'
import { cog, predictionIdOf, type CogOptions } from '../../src/providers/cog/cog.js'
import { findPrediction } from '../../src/providers/replicate/find-prediction.js'
import { buildModelInput, type InputRules } from '../../src/providers/predictions/model-input.js'
import { replicate, withWebhook, type ReplicateOptions } from '../../src/providers/replicate/replicate.js'
import { env } from '../../src/providers/secret.js'
import { aRequest, bytesInput, jsonInput } from './call-inputs.js'
import { aQuestion } from './replicate-rig.js'
import { ownReader, reader } from './replicate-shown.js'

const rules: InputRules = { inputField: null, tokenField: null }
const build = (parts: Partial<RequestParts>, more: Partial<InputRules> = {}) =>
  buildModelInput(aRequest(parts), { ...rules, ...more })
const scan = bytesInput('image/png', Buffer.from('pixels'))
const scanUrl = `data:image/png;base64,${Buffer.from('pixels').toString('base64')}`

describe('the input of a model', () => {
  test.each<{ name: string; parts: Partial<RequestParts>; more?: Partial<InputRules>; input: unknown }>([
    { name: 'the request, wrapped', parts: { request: { input: { a: 1 } } }, input: { a: 1 } },
    { name: 'the request, as it is', parts: { request: { a: 1, b: null } }, input: { a: 1, b: null } },
    {
      name: 'a field that is called input, among others',
      parts: { request: { input: {}, b: 2 } },
      input: { input: {}, b: 2 },
    },
    {
      name: 'a field that is called input and is no object',
      parts: { request: { input: 'x' } },
      input: { input: 'x' },
    },
    { name: 'a JSON record', parts: { input: jsonInput({ text: 'x' }) }, input: { text: 'x' } },
    { name: 'a JSON record, wrapped', parts: { input: jsonInput({ input: { text: 'x' } }) }, input: { text: 'x' } },
    { name: 'a JSON record beside a request', parts: { request: { a: 1 }, input: jsonInput(['x']) }, input: { a: 1 } },
    { name: 'an image', parts: { input: scan }, input: { image: scanUrl } },
    {
      name: 'an image in another field',
      parts: { input: scan },
      more: { inputField: 'scan' },
      input: { scan: scanUrl },
    },
    {
      name: 'an image that is not sent',
      parts: { input: scan, request: { a: 1 } },
      more: { inputField: false },
      input: { a: 1 },
    },
    {
      name: 'an image whose field the request gives',
      parts: { input: scan, request: { image: 'https://x' } },
      input: { image: 'https://x' },
    },
    {
      name: 'a PDF, its parameters left out',
      parts: { input: bytesInput('Application/PDF; name="miller.pdf"', Buffer.from('%PDF')) },
      input: { file: 'data:application/pdf;base64,JVBERg==' },
    },
    {
      name: 'the request key for a field of the model',
      parts: { request: { a: 1, ref: 'own' }, requestKey: 'k.1' },
      more: { tokenField: 'ref' },
      input: { a: 1, ref: 'k.1' },
    },
  ])('$name', async ({ parts, more, input }) => {
    expect(await build(parts, more)).toEqual(input)
  })

  test.each([['text'], [['a']], [5], [null]])('is no %j, and the error quotes nothing', async (request) => {
    await expect(build({ request })).rejects.toThrow('What is built by the request of step "read" is no object')
    await expect(build({ input: jsonInput(request) })).rejects.toThrow('The JSON input of step "read" is no object')
  })

  test('leaves what the request built as it was', async () => {
    const request = Object.freeze({ input: Object.freeze({ a: 1 }) })
    await build({ request, input: scan, requestKey: 'k' }, { tokenField: 'ref' })
    expect(request).toEqual({ input: { a: 1 } })
  })

  test('waits for the bytes, and passes on that there are none', async () => {
    const away = { ...scan, bytes: () => Promise.reject(new Error('storage is away')) }
    await expect(build({ input: away })).rejects.toThrow('storage is away')
  })
})

const secrets = { secret: () => 'r8_x' }
const apiKey = env('REPLICATE_API_TOKEN')
const model = 'clinic/reader'

describe('the frozen body', () => {
  const providers = [
    replicate({ model, apiKey }).create('rep', secrets),
    replicate({ version: 'a'.repeat(64), apiKey, tokenField: 'ref' }).create('rep', secrets),
    cog({ url: 'http://127.0.0.1:1' }).create('cog', secrets),
  ]

  test('is the same for the same parts, whatever the attempt, and parses to what was built', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue()), async (input) => {
        for (const provider of providers) {
          const first = await provider.build!(aRequest({ request: { input }, attempt: 1 }))
          const again = await provider.build!(
            aRequest({ request: { input }, attempt: 2, webhookUrl: 'https://es.example', deadlineMs: 1 }),
          )
          expect(again).toEqual(first)
          expect(JSON.parse(String(first.body))).toHaveProperty('input')
        }
      }),
      { numRuns: 50 },
    )
  })

  test('differs where the input does, by a single byte', async () => {
    for (const provider of providers) {
      const bodies = ['a', 'b'].map((text) => provider.build!(aRequest({ request: { input: { text } } })))
      const [one, other] = await Promise.all(bodies)
      expect(one?.body).not.toBe(other?.body)
    }
  })

  test('stands unchanged in front of the webhook', async () => {
    const body = '{"version":"v","input":{"a":"}"}}'
    const sent = withWebhook(body, 'https://es.example/w?t="')
    expect(JSON.parse(sent)).toEqual({
      version: 'v',
      input: { a: '}' },
      webhook: 'https://es.example/w?t="',
      webhook_events_filter: ['completed'],
    })
    expect(sent.startsWith(body.slice(0, -1))).toBe(true)
  })
})

describe('the list of predictions', () => {
  const key = 'rec-1.read.rep.1.0'
  const at = new Date('2026-01-02T03:04:05Z')
  const question = { ...aQuestion({ requestKey: key, startedAt: at, sendBy: at, deadlineMs: 60_000 }) }
  const entry = (id: string, status: string, ref: unknown = key) => ({ id, status, input: { ref } })
  /** Answers the pages one after the other, and writes down what was asked. */
  const walk = async (...pages: unknown[]) => {
    const asked: string[] = []
    const found = await findPrediction(question, 'ref', (query) => {
      asked.push(query)
      return Promise.resolve({ json: pages.shift() })
    })
    return { asked, found }
  }

  test('is asked for the time around the call', async () => {
    const { asked, found } = await walk({ next: null, results: [] })
    expect(found).toEqual({ kind: 'answer', answer: { kind: 'missing' } })
    const query = new URLSearchParams(asked[0])
    expect(query.get('created_after')).toBe('2026-01-02T02:49:05.000Z')
    expect(query.get('created_before')).toBe('2026-01-02T03:20:05.000Z')
  })

  test('is followed by the query alone, so that no page leads elsewhere', async () => {
    const { asked } = await walk({ next: 'https://evil.example/v2/x?cursor=2', results: [] }, { results: [] })
    expect(asked[1]).toBe('?cursor=2')
    expect((await walk({ next: 'https://evil.example/', results: [] })).asked).toHaveLength(1)
  })

  test('of several under one key gives the one with a result, then one that runs, then the newest', async () => {
    const failed = entry('a', 'failed')
    const runs = entry('b', 'processing')
    const done = entry('c', 'succeeded')
    const id = async (...results: unknown[]) => {
      const { found } = await walk({ results })
      return found.kind === 'found' ? found.prediction.id : null
    }
    expect(await id(failed, runs, done)).toBe('c')
    expect(await id(failed, runs)).toBe('b')
    expect(await id(failed, entry('d', 'canceled'))).toBe('a')
    expect(await id(entry('e', 'succeeded', 'rec-2.read.rep.1.0'), entry('f', 'succeeded', [key]))).toBeNull()
  })

  test.each([
    ['is no list', [{ results: 5 }], 'bad-list'],
    ['holds what is no prediction', [{ results: [{ id: '../x', status: 'failed' }] }], 'inputs-removed'],
    ['ends in a page that did not come', [{ next: '?cursor=2', results: [] }, undefined], 'bad-list'],
  ])('that %s leaves the doubt', async (_, pages, code) => {
    expect((await walk(...pages)).found).toMatchObject({ kind: 'answer', answer: { kind: 'unknown', code } })
  })
})

describe('the id of a prediction on Cog', () => {
  test('has the form that Cog advises, is the same for the same key and differs between keys', () => {
    const ids = Array.from({ length: 1000 }, (_, n) => predictionIdOf(`rec-1.read.cog.1.${n}`))
    expect(new Set(ids).size).toBe(1000)
    for (const id of ids) expect(id).toMatch(/^[a-z2-7]{26}$/)
    // Must never change: a repeat after an update would not meet the run that goes on.
    expect(predictionIdOf('rec-1.read.cog.1.0')).toBe(ids[0])
    expect(predictionIdOf('')).toBe('4oymiquy7qobjgx36tejs35zeq')
  })
})

describe('a config', () => {
  const wrong: [string, Partial<ReplicateOptions> & { [name: string]: unknown }, string][] = [
    ['no target', { model: undefined as never }, 'exactly one of model, version and deployment; it names none'],
    ['two targets', { deployment: 'a/b' }, 'exactly one of model, version and deployment; it names 2'],
    ['a model without an owner', { model: 'reader' }, 'model: is not written as "owner/name"'],
    ['a model that leaves its path', { model: '../account' }, 'model: is not written as "owner/name"'],
    ['a short version', { model: undefined as never, version: 'abc' }, 'version: is no version id'],
    ['a key in the config', { apiKey: 'r8_secret' as never }, "apiKey: is not written as env('NAME')"],
    ['a misspelt option', { webhooksecret: 'x' }, 'webhooksecret'],
    ['a rate as a number', { prices: { currency: 'USD', perSecond: 0.1 as never } }, 'prices.perSecond'],
    ['a field that is no name', { inputField: 'a b' }, "inputField: is no name of a model's field"],
    ['a duration that is none', { longestRun: 'soon' as never }, "A replicate provider's longestRun"],
  ]
  test.each(wrong)('of replicate with %s', (_, more, message) => {
    expect(() => replicate({ model, apiKey, ...more })).toThrow(message)
  })

  test.each(['https://user:pass@example.com', 'ftp://example.com', '/v1'])('with the url %s', (url) => {
    expect(() => replicate({ model, apiKey, baseUrl: url })).toThrow(TypeError)
    expect(() => cog({ url })).toThrow(TypeError)
    expect(() => cog({ url })).not.toThrow('pass@')
  })

  test.each<[string, Partial<CogOptions>, string]>([
    ['prices of what is free', { prices: { currency: 'EUR', perSecond: '1' } }, "write cost: 'paid'"],
    ['no slots', { slots: 0 }, 'slots'],
    ['a header that is none', { headers: { 'a b': 'x' } }, 'headers'],
  ])('of cog with %s', (_, more, message) => {
    expect(() => cog({ url: 'http://127.0.0.1:5000', ...more })).toThrow(message)
  })

  test('says what a doubt may cost: the longest run by the second, or what it is told', () => {
    const prices = { currency: 'USD', perSecond: '0.000225', perRequest: '0.01' }
    const terms = (more: Partial<ReplicateOptions>) => replicate({ model, apiKey, ...more }).terms('rep')
    expect(terms({})).toMatchObject({ recovery: 'job', cost: 'paid', spendMax: null, model, longestRunMs: 3_600_000 })
    expect(terms({ prices, longestRun: '10m' }).spendMax).toMatchObject({ currency: 'USD' })
    expect(Number(terms({ prices, longestRun: '10m' }).spendMax?.amount)).toBeCloseTo(0.145, 6)
    expect(terms({ prices, spendMax: { amount: '0.5', currency: 'USD' } }).spendMax?.amount).toBe('0.5')
    expect(replicate({ model, apiKey }).limits).toEqual({ requestsPerMinute: 600 })
  })

  test('of cog is free and in-flight, one call at a time, unless it says more', () => {
    const url = 'http://127.0.0.1:5000'
    expect(cog({ url }).slots).toBe(1)
    expect(cog({ url }).terms('cog')).toMatchObject({ recovery: 'in-flight', cost: 'free', spendMax: null })
    const paid = cog({ url, cost: 'paid', prices: { currency: 'EUR', perSecond: '0.01' }, longestRun: '1m' })
    expect(Number(paid.terms('cog').spendMax?.amount)).toBeCloseTo(0.6, 6)
  })
})

describe('docs/providers.md', () => {
  const page = readFileSync(new URL('../../docs/providers.md', import.meta.url), 'utf8')
  const source = readFileSync(new URL('./replicate-shown.ts', import.meta.url), 'utf8')

  test('shows configs that are valid, and says what a doubt about them costs', () => {
    const shown = source.slice(source.indexOf('export const reader')).replaceAll('export const', 'const').trim()
    expect(page).toContain(shown)
    expect(reader.terms('reader')).toMatchObject({
      recovery: 'job',
      findsByToken: true,
      model: 'clinic/referral-reader',
    })
    expect(Number(reader.terms('reader').spendMax?.amount)).toBeCloseTo(1.17, 6)
    expect(ownReader.terms('own')).toMatchObject({ recovery: 'in-flight', cost: 'free', longestRunMs: 120_000 })
  })
})
