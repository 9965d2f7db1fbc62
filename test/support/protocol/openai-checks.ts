/**
 * What OpenAI refuses of a request: the published form of the two endpoints, as far as clients of ours may use it, and
 * refused beyond that. Sources: https://developers.openai.com/api/reference/resources/responses/methods/create and
 * https://developers.openai.com/api/reference/resources/chat/subresources/completions/methods/create; the rules of strict
 * schemas from https://developers.openai.com/api/docs/guides/structured-outputs#supported-schemas.
 */
import { z } from 'zod'

export type Refusal = { status: number; code: string | null; type: string; message: string; param: string | null }

export const invalid = (message: string, param: string | null = null, code: string | null = null): Refusal => ({
  status: 400,
  code,
  type: 'invalid_request_error',
  message,
  param,
})

const metadata = z
  .record(z.string().max(64), z.string().max(512))
  .refine((entries) => Object.keys(entries).length <= 16)
const dataUrl = (types: string) => z.string().regex(new RegExp(`^data:${types};base64,[A-Za-z0-9+/]+=*$`))
const image = dataUrl('image/(png|jpeg|webp|gif)')
const pdf = dataUrl('application/pdf')
const schemaFormat = {
  name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  schema: z.looseObject({ type: z.literal('object') }),
  strict: z.boolean().nullish(),
}

const inputContent = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('input_text'), text: z.string() }),
  z.strictObject({ type: z.literal('input_image'), image_url: image, detail: z.enum(['low', 'high', 'auto']) }),
  z.strictObject({ type: z.literal('input_file'), filename: z.string(), file_data: pdf }),
])
const outputContent = z.strictObject({ type: z.literal('output_text'), text: z.string() })

export const ResponseCreate = z.strictObject({
  model: z.string(),
  input: z.union([
    z.string(),
    z
      .array(
        z.union([
          z.strictObject({
            role: z.enum(['user', 'system', 'developer']),
            content: z.union([z.string(), z.array(inputContent).min(1)]),
          }),
          z.strictObject({
            role: z.literal('assistant'),
            content: z.union([z.string(), z.array(outputContent).min(1)]),
          }),
        ]),
      )
      .min(1),
  ]),
  instructions: z.string().nullish(),
  background: z.boolean().nullish(),
  store: z.boolean().nullish(),
  stream: z.boolean().nullish(),
  metadata: metadata.nullish(),
  text: z
    .strictObject({ format: z.strictObject({ type: z.literal('json_schema'), ...schemaFormat }).optional() })
    .optional(),
  max_output_tokens: z.int().min(16).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  reasoning: z.looseObject({ effort: z.string() }).nullish(),
})
export type ResponseCreate = z.infer<typeof ResponseCreate>

const chatContent = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text'), text: z.string() }),
  z.strictObject({ type: z.literal('image_url'), image_url: z.strictObject({ url: image }) }),
  z.strictObject({ type: z.literal('file'), file: z.strictObject({ filename: z.string(), file_data: pdf }) }),
])

export const CompletionCreate = z.strictObject({
  model: z.string(),
  messages: z
    .array(
      z.union([
        z.strictObject({ role: z.enum(['system', 'developer', 'assistant']), content: z.string() }),
        z.strictObject({ role: z.literal('user'), content: z.union([z.string(), z.array(chatContent).min(1)]) }),
      ]),
    )
    .min(1),
  store: z.boolean().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean() }).nullish(),
  metadata: metadata.nullish(),
  response_format: z
    .strictObject({ type: z.literal('json_schema'), json_schema: z.strictObject(schemaFormat) })
    .optional(),
  max_completion_tokens: z.int().min(1).nullish(),
  max_tokens: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
})
export type CompletionCreate = z.infer<typeof CompletionCreate>

/** Null when nothing is wrong. */
export function refusalOfResponse(body: ResponseCreate): Refusal | null {
  if (body.background && body.store === false) return invalid('Background requires store.', 'store')
  return strictTrouble(body.text?.format)
}

export function refusalOfCompletion(body: CompletionCreate): Refusal | null {
  // The metadata parameter is only allowed when store is enabled.
  if (body.metadata && !body.store) return invalid('metadata needs store.', 'metadata')
  if (body.stream_options && !body.stream) return invalid('stream_options needs stream.', 'stream_options')
  return strictTrouble(body.response_format?.json_schema)
}

function strictTrouble(format: { schema: unknown; strict?: boolean | null | undefined } | undefined): Refusal | null {
  const trouble = format?.strict ? troubleIn(format.schema, 0) : null
  return trouble === null ? null : invalid(`Invalid schema: ${trouble}.`, 'schema', 'invalid_json_schema')
}

const ALLOWED: ReadonlySet<string> = new Set(
  'type title description enum const multipleOf minimum maximum exclusiveMinimum exclusiveMaximum minItems maxItems anyOf items properties required additionalProperties $ref $defs format pattern'.split(
    ' ',
  ),
)
const object = z.record(z.string(), z.unknown())

function troubleIn(schema: unknown, depth: number): string | null {
  if (depth > 10) return 'nested too deep'
  const parsed = object.safeParse(schema)
  if (!parsed.success) return 'not an object'
  const node = parsed.data
  const unknown = Object.keys(node).find((keyword) => !ALLOWED.has(keyword))
  if (unknown !== undefined) return `${unknown} is not permitted`
  if (typeof node['pattern'] === 'string' && node['pattern'].includes('(?')) return 'look-around is not permitted'
  const below: unknown[] = []
  if (node['type'] === 'object') {
    const properties = object.safeParse(node['properties'])
    if (!properties.success) return 'an object needs properties'
    if (node['additionalProperties'] !== false) return 'additionalProperties has to be false'
    const names = Object.keys(properties.data)
    if (!Array.isArray(node['required']) || names.some((name) => !(node['required'] as unknown[]).includes(name)))
      return 'required has to name every property'
    below.push(...Object.values(properties.data))
  } else if (!['type', 'anyOf', '$ref', 'enum', 'const'].some((keyword) => keyword in node)) return 'no type'
  if ('items' in node) below.push(node['items'])
  if (Array.isArray(node['anyOf'])) below.push(...(node['anyOf'] as unknown[]))
  below.push(...Object.values(object.safeParse(node['$defs']).data ?? {}))
  return below.reduce<string | null>((found, child) => found ?? troubleIn(child, depth + 1), null)
}
