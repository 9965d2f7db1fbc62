/**
 * What the Messages API refuses before it runs anything: headers, the body's shape, the form of images and documents.
 * The official SDK's types are the reference for field names. Unknown fields are refused, as the API does.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { z } from 'zod'

export type KnownModels = { models: readonly string[]; alwaysThink: readonly string[] }
export type ApiError = { status: number; type: string; message: string; errorCode?: string }

const text = z.strictObject({
  type: z.literal('text'),
  text: z.string().regex(/\S/, 'must contain non-whitespace text'),
})
/** What a file of the type begins with, as hex. */
const MAGIC: { [mediaType: string]: RegExp } = {
  'image/png': /^89504e470d0a1a0a/,
  'image/jpeg': /^ffd8ff/,
  'image/gif': /^474946383[79]61/,
  'image/webp': /^52494646.{8}57454250/,
  'application/pdf': /^255044462d/,
}
const source = (mediaTypes: [string, ...string[]]) =>
  z
    .strictObject({ type: z.literal('base64'), media_type: z.enum(mediaTypes), data: z.base64().min(1) })
    .refine(
      ({ media_type, data }) => MAGIC[media_type]!.test(Buffer.from(data.slice(0, 64), 'base64').toString('hex')),
      {
        error: 'the content is not of its media type',
      },
    )
const image = z.strictObject({
  type: z.literal('image'),
  source: source(['image/png', 'image/jpeg', 'image/gif', 'image/webp']),
})
const document = z.strictObject({ type: z.literal('document'), source: source(['application/pdf']) })
const tool = z.strictObject({
  name: z.string().regex(/^[a-zA-Z0-9_-]{1,128}$/),
  description: z.string().optional(),
  input_schema: z
    .looseObject({ type: z.literal('object') })
    .refine((schema) => !['oneOf', 'anyOf', 'allOf'].some((form) => form in schema), {
      error: 'input_schema does not support oneOf, allOf, or anyOf at the top level',
    }),
})

/** https://platform.claude.com/docs/en/build-with-claude/structured-outputs: what a schema may hold. */
const KEYWORDS = new Set(
  'type enum const title description properties required additionalProperties items anyOf allOf format minItems $defs $ref'.split(
    ' ',
  ),
)
const isStructured = (schema: unknown): boolean => {
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return false
  const {
    properties = {},
    $defs = {},
    items,
    anyOf = [],
    allOf = [],
    ...rest
  } = schema as { [keyword: string]: unknown }
  const inner = [...Object.values(properties as object), ...Object.values($defs as object), anyOf, allOf].flat()
  return (
    Object.keys(schema).every((keyword) => KEYWORDS.has(keyword)) &&
    (rest['type'] !== 'object' || rest['additionalProperties'] === false) &&
    [...inner, ...(items === undefined ? [] : [items])].every(isStructured)
  )
}
const structured = z
  .looseObject({ type: z.literal('object') })
  .refine(isStructured, { error: 'the schema holds what structured outputs do not support' })

const Body = z.strictObject({
  model: z.string().min(1),
  max_tokens: z.int().min(1),
  stream: z.boolean().optional(),
  system: z.string().optional(),
  temperature: z.number().min(0).max(1).optional(),
  stop_sequences: z.array(z.string()).optional(),
  thinking: z.looseObject({ type: z.enum(['enabled', 'adaptive', 'disabled']) }).optional(),
  output_config: z
    .strictObject({
      effort: z.string().optional(),
      format: z.strictObject({ type: z.literal('json_schema'), schema: structured }).optional(),
    })
    .optional(),
  messages: z
    .array(
      z.strictObject({
        role: z.enum(['user', 'assistant']),
        content: z.union([z.string().min(1), z.array(z.discriminatedUnion('type', [text, image, document])).min(1)]),
      }),
    )
    .min(1),
  tools: z.array(tool).min(1).optional(),
  tool_choice: z
    .strictObject({
      type: z.enum(['auto', 'any', 'tool', 'none']),
      name: z.string().optional(),
      disable_parallel_tool_use: z.boolean().optional(),
    })
    .optional(),
})
export type MessagesBody = z.infer<typeof Body>

/** https://platform.claude.com/docs/en/api/overview#request-size-limits */
export const REQUEST_BYTES_MAX = 32 * 1024 * 1024

const invalid = (message: string): ApiError => ({ status: 400, type: 'invalid_request_error', message })

export function checkRequest(
  headers: IncomingHttpHeaders,
  raw: Buffer,
  { apiKey, known }: { apiKey: string; known: KnownModels },
): { body: MessagesBody } | { error: ApiError } {
  // The SDKs send the key as a bearer token since API version 2026-10-21; both are taken.
  if (headers['x-api-key'] !== apiKey && headers.authorization !== `Bearer ${apiKey}`)
    return { error: { status: 401, type: 'authentication_error', message: 'invalid x-api-key' } }
  if (raw.length > REQUEST_BYTES_MAX)
    return { error: { status: 413, type: 'request_too_large', message: 'Request exceeds the maximum size' } }
  const version = headers['anthropic-version']
  if (version !== '2023-06-01' && version !== '2026-10-21')
    return { error: invalid('anthropic-version: is missing or not known') }
  if (!headers['content-type']?.startsWith('application/json')) return { error: invalid('content-type: not JSON') }
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw))
  } catch {
    return { error: invalid('The request body is not valid JSON') }
  }
  const parsed = Body.safeParse(json)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    return { error: invalid(`${issue!.path.join('.')}: ${issue!.message}`) }
  }
  const wrong = checkMeaning(parsed.data, version, known)
  return wrong === null ? { body: parsed.data } : { error: wrong }
}

function checkMeaning(body: MessagesBody, version: string, { models, alwaysThink }: KnownModels): ApiError | null {
  const { model, tool_choice: choice, tools, thinking } = body
  const thinks = alwaysThink.includes(model)
  if (!models.includes(model) && !thinks) return { status: 404, type: 'not_found_error', message: `model: ${model}` }
  // https://platform.claude.com/docs/en/api/migration-2026-10-21
  if (body.temperature !== undefined && version !== '2023-06-01')
    return invalid('temperature: Extra inputs are not permitted')
  if (choice?.type === 'tool' && !tools?.some(({ name }) => name === choice.name))
    return invalid('tool_choice: the tool is not in tools')
  const forced = choice?.type === 'tool' || choice?.type === 'any'
  // https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5
  if (thinks && thinking !== undefined && thinking.type !== 'adaptive') return invalid('thinking.type is not supported')
  if (forced && (thinks || (thinking !== undefined && thinking.type !== 'disabled')))
    return invalid('Thinking may not be enabled when tool_choice forces tool use.')
  return null
}
