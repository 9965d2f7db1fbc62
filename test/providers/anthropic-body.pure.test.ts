import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { anthropic, type AnthropicOptions } from '../../src/providers/anthropic/anthropic.js'
import { maxTokensOf } from '../../src/providers/anthropic/messages-body.js'
import type { BuiltRequest, RequestParts } from '../../src/providers/contract.js'
import { compareDecimal } from '../../src/providers/decimal.js'
import { anOptions, deps, FIELDS_SCHEMA } from './anthropic-run.js'
import { claude, older } from './anthropic-shown.js'
import { aRequest, bytesInput, jsonInput } from './call-inputs.js'

async function build(parts: Partial<RequestParts> = {}, more: Partial<AnthropicOptions> = {}): Promise<BuiltRequest> {
  const provider = anthropic(anOptions(more)).create('claude', deps)
  try {
    return await provider.build!(aRequest({ request: 'Who is it?', outputSchema: FIELDS_SCHEMA, ...parts }))
  } finally {
    await provider.close()
  }
}
const bodyOf = ({ body }: BuiltRequest): unknown => JSON.parse(body as string)

describe('the body', () => {
  test('is the same bytes each time, whatever the attempt', async () => {
    const first = await build()
    const again = await build(
      aRequest({ attempt: 9, generation: 2, request: 'Who is it?', outputSchema: FIELDS_SCHEMA }),
    )
    expect(again.body).toBe(first.body)
    expect(first.contentType).toBe('application/json')
    expect(bodyOf(first)).toEqual({
      model: 'claude-test',
      max_tokens: 100,
      stream: true,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: '{"text":"hello"}' },
            { type: 'text', text: 'Who is it?' },
          ],
        },
      ],
      tools: [{ name: 'answer', description: expect.any(String) as string, input_schema: FIELDS_SCHEMA }],
      tool_choice: { type: 'tool', name: 'answer', disable_parallel_tool_use: true },
    })
  })

  test('takes what the request says before what the options say', async () => {
    const request = { prompt: 'P', instructions: 'R', maxOutputTokens: 7, temperature: 0.2, attach: false }
    const older = { apiVersion: '2023-06-01', temperature: 0.9 } as const
    const more = { ...older, instructions: 'O', output: 'text', extra: { top_k: 3 } } as const
    expect(bodyOf(await build({ request }, more))).toEqual({
      model: 'claude-test',
      max_tokens: 7,
      stream: true,
      system: 'R',
      temperature: 0.2,
      messages: [{ role: 'user', content: [{ type: 'text', text: 'P' }] }],
      top_k: 3,
    })
    expect(bodyOf(await build({}, more))).toMatchObject({ max_tokens: 100, system: 'O', temperature: 0.9 })
  })

  test('of a tool takes no choice between forms at its top', async () => {
    const either = { type: 'object', oneOf: [{ required: ['a'] }, { required: ['b'] }] }
    expect(bodyOf(await build({ outputSchema: either }))).toMatchObject({
      tools: [{ input_schema: { type: 'object', properties: { answer: either }, required: ['answer'] } }],
    })
  })

  test('keeps what extra says beside the schema', async () => {
    const more = { output: 'schema', extra: { output_config: { effort: 'low' } } } as const
    expect(bodyOf(await build({}, more))).toMatchObject({
      output_config: { effort: 'low', format: { type: 'json_schema', schema: { type: 'object' } } },
    })
  })

  test.each<[string, Partial<RequestParts>, RegExp]>([
    ['a TIFF', { input: bytesInput('image/tiff', Buffer.from('II*')) }, /type image\/tiff .* PNG, JPEG, GIF or WebP/],
    ['a ZIP', { input: bytesInput('application/zip', Buffer.from('PK')) }, /type application\/zip can't be attached/],
    ['empty text', { input: bytesInput('text/plain', Buffer.from(' \n')) }, /empty text/],
    ['a temperature', { request: { prompt: 'x', temperature: 0 } }, /step "read" has temperature 0/],
    ['an unknown field', { request: { prompt: 'x', model: 'y' } }, /not one for a model/],
  ])('is not built for %s', async (_, parts, message) => {
    await expect(build(parts)).rejects.toThrow(message)
  })
})

describe('a structured output', () => {
  const schemaOf = async (outputSchema: z.ZodType): Promise<unknown> => {
    const built = await build({ outputSchema: z.toJSONSchema(outputSchema) }, { output: 'schema' })
    return (bodyOf(built) as { output_config: { format: { schema: unknown } } }).output_config.format.schema
  }

  test('keeps the form, and tells limits in words', async () => {
    const schema = z.object({
      n: z.int().min(1).max(9).describe('How many'),
      when: z.iso.date(),
      mail: z.string().regex(/^a/).optional(),
      tags: z.array(z.enum(['a', 'b'])).min(2),
      kind: z.discriminatedUnion('t', [z.object({ t: z.literal('x') }), z.object({ t: z.literal('y'), v: z.null() })]),
      size: z.int(),
      loose: z.looseObject({ a: z.boolean() }),
    })
    const closed = (properties: object, required: string[]) => ({
      type: 'object',
      properties,
      required,
      additionalProperties: false,
    })
    expect(await schemaOf(schema)).toEqual(
      closed(
        {
          n: { type: 'integer', description: 'How many\n\n{minimum: 1, maximum: 9}' },
          when: { type: 'string', format: 'date', description: expect.stringContaining('{pattern: ') as string },
          mail: { type: 'string', description: '{pattern: "^a"}' },
          tags: { type: 'array', items: { type: 'string', enum: ['a', 'b'] }, description: '{minItems: 2}' },
          kind: {
            anyOf: [
              closed({ t: { type: 'string', const: 'x' } }, ['t']),
              closed({ t: { type: 'string', const: 'y' }, v: { type: 'null' } }, ['t', 'v']),
            ],
          },
          size: { type: 'integer' },
          loose: closed({ a: { type: 'boolean' } }, ['a']),
        },
        ['n', 'when', 'tags', 'kind', 'size', 'loose'],
      ),
    )
  })

  test.each<[string, z.ZodType]>([
    ['a dictionary', z.object({ a: z.record(z.string(), z.number()) })],
    ['a tuple', z.object({ a: z.tuple([z.string(), z.number()]) })],
    ['a value of any type', z.object({ a: z.unknown() })],
    ['a value of any type', z.array(z.unknown())],
    ['a dictionary', z.looseObject({})],
  ])('%s can not be told, and is refused by name', async (what, schema) => {
    await expect(schemaOf(schema)).rejects.toThrow(`The output schema of step "read" holds ${what}, `)
  })
})

describe('what it can cost at most', () => {
  const amount = async (...given: Parameters<typeof build>): Promise<string> => (await build(...given)).spendMax!.amount

  test('text: a token for each byte of the body, and a frame', async () => {
    const built = await build({ request: { prompt: 'ü'.repeat(1000), attach: false } })
    const tokens = Buffer.byteLength(built.body as string) + 2000 + 20
    expect(built.spendMax).toEqual({ amount: String((tokens * 3 + 100 * 15) / 1e6), currency: 'USD' })
  })

  test('an image: its limit, however many bytes it has', async () => {
    const image = (bytes: number) => ({ input: bytesInput('image/png', Buffer.alloc(bytes)) })
    const small = await amount(image(3000))
    expect(await amount(image(3_000_000))).toBe(small)
    // 6,000 for the image alone.
    expect(compareDecimal(small, '0.0195')).toBe(1)
    expect(compareDecimal(small, '0.05')).toBe(-1)
  })

  test('a PDF: the window, because a small one may hold hundreds of pages', async () => {
    const input = bytesInput('application/pdf', Buffer.from('%PDF-1.7'))
    expect(await amount({ input })).toBe('3.0015')
    expect(await amount({ input }, { contextTokensMax: 200_000 })).toBe('0.6015')
  })

  test('never more than the window', async () => {
    expect(await amount({ input: jsonInput('x'.repeat(50_000)) }, { contextTokensMax: 10_000 })).toBe('0.0315')
  })

  test('is not told without a price', async () => {
    const provider = anthropic(anOptions({}, null)).create('claude', deps)
    expect((await provider.build!(aRequest({ request: 'x' }))).spendMax).toBeUndefined()
    await provider.close()
  })

  test('max_tokens is read from the frozen bytes', async () => {
    const { body } = await build({ request: { prompt: '"max_tokens":5,', maxOutputTokens: 77 } })
    expect(maxTokensOf(body)).toBe(77)
    expect(maxTokensOf(Buffer.from(body))).toBe(77)
    expect(maxTokensOf('{"messages":[],"max_tokens":5}')).toBeNull()
  })
})

describe('the options', () => {
  test('give the terms of a blind, paid provider', () => {
    const factory = anthropic(anOptions({ limits: { requestsPerMinute: 50 } }))
    expect(factory.terms('claude')).toEqual({
      name: 'claude',
      recovery: 'blind',
      cost: 'paid',
      longestRunMs: 600_000,
      keyTtlMs: 0,
      lookupLagMs: 0,
      findsByToken: false,
      // A full window and 100 tokens.
      spendMax: { amount: '3.0015', currency: 'USD' },
      model: 'claude-test',
    })
    const spendMax = { amount: '0.20', currency: 'EUR' }
    expect(anthropic(anOptions({ spendMax })).terms('claude').spendMax).toEqual(spendMax)
    expect(anthropic(anOptions({}, null)).terms('claude').spendMax).toBeNull()
    expect(factory.slots).toBe(8)
    expect(factory.limits).toEqual({ requestsPerMinute: 50 })
  })

  test.each<[string, object, RegExp]>([
    ['a key as text', { apiKey: 'sk-ant-123' }, /apiKey: is not written as env/],
    ['an unknown option', { maxTokens: 5 }, /maxTokens/],
    [
      'a price as a number',
      { prices: { currency: 'USD', inputPerMillion: 3 } },
      /prices.inputPerMillion: .*decimal string/,
    ],
    ['a base URL with the version', { baseUrl: 'https://api.anthropic.com/v1' }, /before "\/v1"/],
    ['a base URL with a query', { baseUrl: 'https://host/?key=x' }, /no user, password, query/],
    ['a base URL of another kind', { baseUrl: 'ftp://host' }, /https:\/\/ or http:\/\//],
    ['a base URL with a password', { baseUrl: 'https://a:b@host' }, /no user, password/],
    ['a field of its own in extra', { extra: { tools: [] } }, /extra.tools: is set by the provider/],
    ['a header of the wire', { headers: { 'Transfer-Encoding': 'x' } }, /Transfer-Encoding/],
    ['a model that thinks and is forced', { extra: { thinking: { type: 'adaptive' } } }, /write "schema" or "json"/],
    ['a temperature', { temperature: 0.2 }, /none since version 2026-10-21/],
    ['a temperature above 1', { temperature: 1.2, apiVersion: '2023-06-01' }, /temperature: Too big/],
    ['an unknown version', { apiVersion: '2024-01-01' }, /apiVersion/],
  ])('refuse %s', (_, more, message) => {
    expect(() => anthropic(anOptions(more))).toThrow(message)
  })

  test('never show the key', () => {
    expect(() => anthropic(anOptions({ apiKey: 'sk-ant-123' as never }))).toThrow(/^(?!.*sk-ant)/)
  })
})

test('docs/providers.md shows what is tested', () => {
  const page = readFileSync(new URL('../../docs/providers.md', import.meta.url), 'utf8')
  const shown = readFileSync(new URL('anthropic-shown.ts', import.meta.url), 'utf8')
  const code = shown.slice(shown.indexOf('const apiKey')).replaceAll('export const', 'const')
  expect(page).toContain(`import { anthropic, env } from 'endstate'\n\n${code}\`\`\``)
  expect([claude.terms('claude').spendMax, older.terms('older').spendMax]).toEqual([
    { amount: '4.08', currency: 'USD' },
    null,
  ])
})
