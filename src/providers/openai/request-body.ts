/**
 * The bytes of a request to OpenAI or a compatible server. Deterministic: a repeat under the same key sends the same.
 *
 * Forms: https://developers.openai.com/api/reference/resources/responses/methods/create and
 * https://developers.openai.com/api/reference/resources/chat/subresources/completions/methods/create. Ours is never the
 * name of the input's file: it may be a patient's.
 */
import type { BuiltRequest, RequestParts } from '../contract.js'
import { readConversation, type ModelConversation, type ModelMessage, type ModelPart } from '../model-request.js'
import { spendBound } from '../price-table.js'
import type { OpenAiSettings } from './openai-options.js'
import { fitSchema } from './strict-schema.js'

/** Under this name in the metadata a stored call is found again. */
export const KEY_METADATA = 'endstate_key'

/** Throws where the input can't be read, or the step's request is none for a model: nothing is sent. */
export async function buildRequest(parts: RequestParts, settings: OpenAiSettings): Promise<BuiltRequest> {
  const conversation = await readConversation(parts, settings.defaults)
  const format = formatOf(parts, settings)
  const fields =
    settings.mode === 'chat'
      ? chatFields(conversation, format, settings)
      : responsesFields(conversation, format, settings)
  const body = JSON.stringify({
    ...settings.extra,
    model: settings.model,
    ...fields,
    // Said also where it is the default: what is kept at OpenAI is the deployment's decision, not the account's.
    ...(!settings.compatible && { store: settings.store }),
    ...(settings.store && { metadata: { [KEY_METADATA]: parts.requestKey } }),
  })
  const spendMax = boundOf(conversation, format, settings)
  return { body, contentType: 'application/json', ...(spendMax && { spendMax }) }
}

type Format = { name: string; schema: unknown; strict: boolean }

function formatOf({ step, outputSchema }: RequestParts, { schema, output }: OpenAiSettings): Format | null {
  if (!schema || output === 'text') return null
  const fitted = fitSchema(outputSchema)
  return fitted && { name: step, ...fitted }
}

function responsesFields(conversation: ModelConversation, format: Format | null, settings: OpenAiSettings) {
  const { instructions, messages, maxOutputTokens, temperature } = conversation
  return {
    ...(instructions !== null && { instructions }),
    input: messages.map(({ role, parts }) => ({
      role,
      content: parts.map((part) => (role === 'user' ? inputPart(part) : { type: 'output_text', text: textOf(part) })),
    })),
    ...(format && { text: { format: { type: 'json_schema', ...format } } }),
    ...(maxOutputTokens !== null && { max_output_tokens: maxOutputTokens }),
    ...(temperature !== null && { temperature }),
    ...(settings.mode === 'job' ? { background: true } : { stream: true }),
  }
}

function chatFields(conversation: ModelConversation, format: Format | null, settings: OpenAiSettings) {
  const { instructions, messages, maxOutputTokens, temperature } = conversation
  const { compatible, streams } = settings
  return {
    messages: [
      // Compatible servers' templates know `system` only.
      ...(instructions === null ? [] : [{ role: compatible ? 'system' : 'developer', content: instructions }]),
      ...messages.map(chatMessage),
    ],
    ...(format && { response_format: { type: 'json_schema', json_schema: format } }),
    ...(maxOutputTokens !== null && { [compatible ? 'max_tokens' : 'max_completion_tokens']: maxOutputTokens }),
    ...(temperature !== null && { temperature }),
    ...(streams && { stream: true, stream_options: { include_usage: true } }),
  }
}

/** Words alone go as a plain text: every compatible server takes that. */
function chatMessage({ role, parts }: ModelMessage) {
  const [only, more] = parts
  if (only?.kind === 'text' && more === undefined) return { role, content: only.text }
  return { role, content: parts.map(chatPart) }
}

const dataUrl = (mediaType: string, base64: string): string => `data:${mediaType};base64,${base64}`

function inputPart(part: ModelPart) {
  if (part.kind === 'image')
    return { type: 'input_image', image_url: dataUrl(part.mediaType, part.base64), detail: 'auto' }
  if (part.kind === 'pdf')
    return { type: 'input_file', filename: part.fileName, file_data: dataUrl('application/pdf', part.base64) }
  return { type: 'input_text', text: part.text }
}

function chatPart(part: ModelPart) {
  if (part.kind === 'image') return { type: 'image_url', image_url: { url: dataUrl(part.mediaType, part.base64) } }
  if (part.kind === 'pdf')
    return { type: 'file', file: { filename: part.fileName, file_data: dataUrl('application/pdf', part.base64) } }
  return { type: 'text', text: part.text }
}

/** The assistant's own messages hold words only. */
const textOf = (part: ModelPart): string => (part.kind === 'text' ? part.text : '')

/** More than any model counts for one picture at the highest detail. */
const IMAGE_TOKENS_MAX = 16_384
/** Roles and separators of a message. */
const MESSAGE_TOKENS_MAX = 16

/**
 * What the call may cost at most. A token is at least one byte of UTF-8, so words are bounded by their bytes; nothing
 * bounds a PDF's pages, so a PDF counts as a full context. Undefined without a limit on the answer.
 */
function boundOf(
  { instructions, messages, maxOutputTokens }: ModelConversation,
  format: Format | null,
  settings: OpenAiSettings,
) {
  if (settings.price === null || settings.terms.cost === 'free' || maxOutputTokens === null) return undefined
  let inputTokens = MESSAGE_TOKENS_MAX + Buffer.byteLength(instructions ?? '')
  if (format !== null) inputTokens += Buffer.byteLength(JSON.stringify(format))
  for (const { parts } of messages) {
    inputTokens += MESSAGE_TOKENS_MAX
    for (const part of parts) inputTokens += tokensMaxOf(part, settings.contextTokensMax)
  }
  return spendBound(settings.price, {
    inputTokens: Math.min(inputTokens, settings.contextTokensMax),
    outputTokens: maxOutputTokens,
  })
}

function tokensMaxOf(part: ModelPart, contextTokensMax: number): number {
  if (part.kind === 'text') return Buffer.byteLength(part.text)
  return part.kind === 'image' ? IMAGE_TOKENS_MAX : contextTokensMax
}
