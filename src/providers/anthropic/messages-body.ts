/**
 * The body of one POST /v1/messages, and what it can cost at most.
 *
 * Format: https://platform.claude.com/docs/en/api/messages/create
 * - Q1 Deterministic: the same parts give the same bytes.
 * - Q2 `model` and `max_tokens` stand first, so that the bound of the output is read from the frozen bytes themselves.
 * - Q3 The input's bound is never below what is billed: a token of text is at least one byte, an image has a limit, and
 *   a PDF, whose text and pages its size does not tell, is bounded by the model's window.
 */
import type { BuiltRequest, RequestParts } from '../contract.js'
import { readConversation, type ModelConversation, type ModelPart } from '../model-request.js'
import { spendBound } from '../price-table.js'
import { formOf } from './answer-form.js'
import type { AnthropicSettings } from './anthropic-options.js'

/** https://platform.claude.com/docs/en/build-with-claude/vision: larger images are scaled down before they are read. */
const IMAGE_TOKENS_MAX = 6000
/** What the API adds by itself: the system prompt for tools, and the frame of each message. */
const FRAME_TOKENS = 2000
const MESSAGE_FRAME_TOKENS = 20

const IMAGE_TYPES: ReadonlySet<string> = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp'])

type BodySettings = Pick<
  AnthropicSettings,
  'apiVersion' | 'model' | 'defaults' | 'output' | 'extra' | 'prices' | 'contextTokensMax'
>

/** Throws TypeError for an input or a request that the API can't take: nothing is sent. */
export async function buildMessages(parts: RequestParts, settings: BodySettings): Promise<BuiltRequest> {
  const conversation = await readConversation(parts, settings.defaults)
  const { instructions, temperature } = conversation
  if (temperature !== null && (temperature > 1 || settings.apiVersion !== '2023-06-01')) {
    throw new TypeError(
      `The request of step "${parts.step}" has temperature ${temperature}: this provider takes 0 to 1 with apiVersion "2023-06-01" and an older model, and none otherwise.`,
    )
  }
  const maxTokens = conversation.maxOutputTokens ?? settings.defaults.maxOutputTokens
  const body = JSON.stringify({
    model: settings.model,
    max_tokens: maxTokens,
    stream: true,
    ...(instructions !== null && { system: instructions }),
    ...(temperature !== null && { temperature }),
    messages: conversation.messages.map(({ role, parts: pieces }) => ({ role, content: pieces.map(blockOf) })),
    ...settings.extra,
    ...formOf(settings, parts),
  })
  const inputTokens = inputTokensMax(body, conversation, settings.contextTokensMax)
  const spendMax = spendBound(settings.prices, { inputTokens, outputTokens: maxTokens })
  return { body, contentType: 'application/json', ...(spendMax !== undefined && { spendMax }) }
}

function blockOf(part: ModelPart): { [field: string]: unknown } {
  switch (part.kind) {
    case 'text':
      if (part.text.trim() === '') throw new TypeError('The input is empty text: there is nothing to ask about.')
      return { type: 'text', text: part.text }
    case 'image':
      if (!IMAGE_TYPES.has(part.mediaType)) {
        throw new TypeError(
          `An input of type ${part.mediaType.slice(0, 60)} can't be sent to this provider: its images are PNG, JPEG, GIF or WebP. Convert it in an earlier step.`,
        )
      }
      return { type: 'image', source: { type: 'base64', media_type: part.mediaType, data: part.base64 } }
    case 'pdf':
      return { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: part.base64 } }
  }
}

/** Q3 */
function inputTokensMax(body: string, { messages }: ModelConversation, contextTokensMax: number): number {
  let tokens = Buffer.byteLength(body) + FRAME_TOKENS + messages.length * MESSAGE_FRAME_TOKENS
  for (const part of messages.flatMap((message) => message.parts)) {
    if (part.kind === 'pdf') return contextTokensMax
    if (part.kind === 'image') tokens += IMAGE_TOKENS_MAX - part.base64.length
  }
  return Math.min(tokens, contextTokensMax)
}

/** Of a body that was built here (Q2); null for any other. */
export function maxTokensOf(body: string | Uint8Array): number | null {
  const head = typeof body === 'string' ? body.slice(0, 400) : Buffer.from(body.subarray(0, 400)).toString('utf8')
  const [, digits] = /^\{"model":"[^"\\]*","max_tokens":(\d{1,8}),/.exec(head) ?? []
  return digits === undefined ? null : Number(digits)
}
