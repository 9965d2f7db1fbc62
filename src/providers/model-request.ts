/**
 * What a step asks of a language model, in words that every such provider shares. `openai` and `anthropic` turn it into
 * their own bodies.
 *
 * Owns the shape of what a step's `request` builds, and the reading of the record's input into a part of a message.
 * Does not own any provider's wire form. Deterministic: the same parts give the same conversation. Its errors name what
 * was wrong, never what was in it.
 */
import { z } from 'zod'
import type { CallInput, RequestParts } from './contract.js'

const Message = z.strictObject({
  role: z.enum(['user', 'assistant']),
  content: z.string().min(1),
})

const ModelRequestShape = z.strictObject({
  instructions: z.string().min(1).optional(),
  prompt: z.string().min(1).optional(),
  messages: z.array(Message).min(1).max(1000).optional(),
  attach: z.union([z.literal('input'), z.literal(false)]).optional(),
  maxOutputTokens: z.int().min(1).max(10_000_000).optional(),
  temperature: z.number().min(0).max(2).optional(),
})

/** What the step's `request` function may build for a model. A plain text is `{ prompt }`. */
export type ModelRequest = {
  /** What the model is told before everything else (system or developer message). */
  instructions?: string
  /** One message of the user. Not together with `messages`. */
  prompt?: string
  /** A conversation, oldest first, ending with the user. */
  messages?: readonly { role: 'user' | 'assistant'; content: string }[]
  /** Whether the record's input goes into the last message. Default `input`. */
  attach?: 'input' | false
  maxOutputTokens?: number
  temperature?: number
}

/** A piece of a message. `base64` is of the input's bytes as they are. */
export type ModelPart =
  | { kind: 'text'; text: string }
  | { kind: 'image'; mediaType: string; base64: string }
  | { kind: 'pdf'; fileName: string; base64: string }

export type ModelMessage = { role: 'user' | 'assistant'; parts: ModelPart[] }

/** The request with everything in its place: messages end with the user, and none is empty. */
export type ModelConversation = {
  instructions: string | null
  messages: ModelMessage[]
  maxOutputTokens: number | null
  temperature: number | null
}

/** What the provider's options say for requests that don't. */
export type ModelDefaults = { instructions?: string; maxOutputTokens?: number; temperature?: number }

/** Throws TypeError when the step's `request` built something else, or the input is of a kind that models don't take. */
export async function readConversation(parts: RequestParts, defaults: ModelDefaults): Promise<ModelConversation> {
  const request = readModelRequest(parts.request, parts.step)
  const messages: ModelMessage[] = (
    request.messages ?? (request.prompt === undefined ? [] : [{ role: 'user' as const, content: request.prompt }])
  ).map(({ role, content }) => ({ role, parts: [{ kind: 'text', text: content }] }))
  if (request.attach !== false) attach(messages, await attachmentOf(parts.input))
  if (messages.at(-1)?.role !== 'user') {
    throw new TypeError(
      `The request of step "${parts.step}" holds no message of the user at its end: give prompt, or messages that end with the user, or attach the input.`,
    )
  }
  return {
    instructions: request.instructions ?? defaults.instructions ?? null,
    messages,
    maxOutputTokens: request.maxOutputTokens ?? defaults.maxOutputTokens ?? null,
    temperature: request.temperature ?? defaults.temperature ?? null,
  }
}

/** Before the words of the last message: providers advise to put documents before the question about them. */
function attach(messages: ModelMessage[], part: ModelPart): void {
  const last = messages.at(-1)
  if (last?.role === 'user') last.parts.unshift(part)
  else messages.push({ role: 'user', parts: [part] })
}

/** Undefined is the empty request: the input alone. Throws TypeError naming the field, never its content. */
export function readModelRequest(request: unknown, step: string): ModelRequest {
  if (request === undefined) return {}
  if (typeof request === 'string' && request !== '') return { prompt: request }
  const parsed = ModelRequestShape.safeParse(request)
  if (!parsed.success) {
    const wrong = parsed.error.issues.map(describeIssue)
    throw new TypeError(
      `The request of step "${step}" is not one for a model: ${wrong.slice(0, 5).join('; ')}. Its fields are instructions, prompt or messages, attach, maxOutputTokens and temperature.`,
    )
  }
  const { instructions, prompt, messages, attach: attached, maxOutputTokens, temperature } = parsed.data
  if (prompt !== undefined && messages !== undefined) {
    throw new TypeError(`The request of step "${step}" gives both prompt and messages: give one of them.`)
  }
  return {
    ...(instructions !== undefined && { instructions }),
    ...(prompt !== undefined && { prompt }),
    ...(messages !== undefined && { messages }),
    ...(attached !== undefined && { attach: attached }),
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    ...(temperature !== undefined && { temperature }),
  }
}

/** The code and the path, without zod's message: that may quote what was found. Unknown names may be content too. */
function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return 'it has fields that are not known'
  return `${issue.path.map(String).join('.') || 'the request'} is not valid (${issue.code})`
}

const utf8 = new TextDecoder('utf-8', { fatal: true })
const TEXT = /^(text\/[\w.+-]+|application\/([\w.-]+\+)?(json|xml))$/

/** The record's input as a part of a message. Throws TypeError for a media type that models don't take. */
export async function attachmentOf(input: CallInput): Promise<ModelPart> {
  const mediaType = (input.mediaType.split(';')[0] ?? '').trim().toLowerCase()
  const isImage = mediaType.startsWith('image/')
  if (isImage || mediaType === 'application/pdf') {
    const bytes = await input.bytes()
    const base64 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
    if (isImage) return { kind: 'image', mediaType, base64 }
    // A name of our own: the file's may hold a patient's.
    return { kind: 'pdf', fileName: 'input.pdf', base64 }
  }
  if (!TEXT.test(mediaType)) {
    throw new TypeError(
      `An input of type ${mediaType.slice(0, 60)} can't be attached to a model's request: only images, PDF, JSON, XML and text. Write attach: false, or turn it into text in an earlier step.`,
    )
  }
  const bytes = await input.bytes()
  try {
    return { kind: 'text', text: utf8.decode(bytes) }
  } catch {
    throw new TypeError(`The input is declared as ${mediaType} and is no UTF-8.`)
  }
}
