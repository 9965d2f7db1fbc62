/**
 * A streamed message, put together from its events. Pure: no clock, no wire.
 *
 * Format: https://platform.claude.com/docs/en/build-with-claude/streaming
 *
 * - M1 Only `message_stop` completes a message. Whatever comes after it, or after an `error` event, is not read.
 * - M2 Events, blocks and deltas of unknown kinds are passed over, as the API's versioning asks for; a known one that
 *   is malformed, or out of its place, is `trouble`, and nothing more is read.
 * - M3 Usage is cumulative: a later count replaces an earlier one and never lowers it.
 */
import { z } from 'zod'
import type { SseEvent } from '../sse.js'

export type MessageUsage = {
  /** Neither read from a cache nor written to one. */
  input: number | null
  cacheRead: number
  cacheWritten: number
  output: number | null
}

export type MessageBlock =
  | { kind: 'text'; text: string[]; closed: boolean }
  /** `input`: what the block began with, for servers that send it whole. */
  | { kind: 'tool'; name: string; json: string[]; input: unknown; closed: boolean }
  | { kind: 'other'; closed: boolean }

export type StreamedMessage = {
  /** Null until `message_start`. */
  started: { id: string; model: string } | null
  usage: MessageUsage
  blocks: Map<number, MessageBlock>
  stopReason: string | null
  /** Of a refusal: its policy category, where the API names one. */
  refusalCategory: string | null
  stopped: boolean
  /** Of an `error` event: its type, for example `overloaded_error`. */
  errorType: string | null
  trouble: boolean
  /** Characters of output so far: text, tool input and thinking. */
  outputChars: number
}

export const newMessage = (): StreamedMessage => ({
  started: null,
  usage: { input: null, cacheRead: 0, cacheWritten: 0, output: null },
  blocks: new Map(),
  stopReason: null,
  refusalCategory: null,
  stopped: false,
  errorType: null,
  trouble: false,
  outputChars: 0,
})

const BLOCKS_MAX = 1000

const count = z.int().min(0).nullish()
const UsageShape = z.object({
  input_tokens: count,
  output_tokens: count,
  cache_read_input_tokens: count,
  cache_creation_input_tokens: count,
})
const index = z.int().min(0).max(BLOCKS_MAX)

const Kind = z.object({ type: z.string() })
const Events = {
  message_start: z.object({ message: z.object({ id: z.string(), model: z.string(), usage: UsageShape }) }),
  content_block_start: z.object({ index, content_block: z.looseObject({ type: z.string() }) }),
  content_block_delta: z.object({ index, delta: z.looseObject({ type: z.string() }) }),
  content_block_stop: z.object({ index }),
  message_delta: z.object({
    delta: z.object({
      stop_reason: z.string().nullish(),
      stop_details: z.object({ category: z.string().nullish() }).nullish().catch(null),
    }),
    usage: UsageShape.nullish(),
  }),
  error: z.object({ error: Kind }),
}
const TextBlock = z.object({ text: z.string() })
const ToolBlock = z.object({ name: z.string(), input: z.unknown() })
const Deltas = {
  text_delta: z.object({ text: z.string() }),
  input_json_delta: z.object({ partial_json: z.string() }),
  thinking_delta: z.object({ thinking: z.string() }),
}

/** Takes one event into the message. Never throws: what can't be read is `trouble` (M2). */
export function takeEvent(message: StreamedMessage, { event, data }: SseEvent): void {
  if (message.stopped || message.errorType !== null || message.trouble) return
  if (event === 'ping') return
  try {
    takeJson(message, JSON.parse(data) as unknown)
  } catch {
    message.trouble = true
  }
}

class Misplaced extends Error {}

function takeJson(message: StreamedMessage, json: unknown): void {
  const { type } = Kind.parse(json)
  if (type === 'error') {
    message.errorType = Events.error.parse(json).error.type
    return
  }
  if (type === 'message_start') {
    if (message.started !== null) throw new Misplaced()
    const { id, model, usage } = Events.message_start.parse(json).message
    message.started = { id, model }
    takeUsage(message.usage, usage)
    return
  }
  if (!isOfMessage(type)) return
  if (message.started === null) throw new Misplaced()
  if (type === 'message_stop') message.stopped = true
  else if (type === 'message_delta') {
    const { delta, usage } = Events.message_delta.parse(json)
    message.stopReason = delta.stop_reason ?? message.stopReason
    message.refusalCategory = delta.stop_details?.category ?? message.refusalCategory
    if (usage) takeUsage(message.usage, usage)
  } else if (type === 'content_block_start') startBlock(message, json)
  else if (type === 'content_block_delta') takeDelta(message, json)
  else openBlock(message, Events.content_block_stop.parse(json).index).closed = true
}

const OF_MESSAGE = [
  'content_block_start',
  'content_block_delta',
  'content_block_stop',
  'message_delta',
  'message_stop',
] as const
const isOfMessage = (type: string): type is (typeof OF_MESSAGE)[number] =>
  (OF_MESSAGE as readonly string[]).includes(type)

function takeUsage(usage: MessageUsage, told: z.infer<typeof UsageShape>): void {
  const higher = (now: number | null, then: number | null | undefined): number | null =>
    typeof then === 'number' ? Math.max(now ?? 0, then) : now
  usage.input = higher(usage.input, told.input_tokens)
  usage.output = higher(usage.output, told.output_tokens)
  usage.cacheRead = higher(usage.cacheRead, told.cache_read_input_tokens) ?? 0
  usage.cacheWritten = higher(usage.cacheWritten, told.cache_creation_input_tokens) ?? 0
}

function startBlock(message: StreamedMessage, json: unknown): void {
  const { index: at, content_block: block } = Events.content_block_start.parse(json)
  if (message.blocks.has(at)) throw new Misplaced()
  if (block.type === 'text') {
    const { text } = TextBlock.parse(block)
    message.blocks.set(at, { kind: 'text', text: text === '' ? [] : [text], closed: false })
  } else if (block.type === 'tool_use') {
    const { name, input } = ToolBlock.parse(block)
    message.blocks.set(at, { kind: 'tool', name, json: [], input, closed: false })
  } else message.blocks.set(at, { kind: 'other', closed: false })
}

function openBlock(message: StreamedMessage, at: number): MessageBlock {
  const block = message.blocks.get(at)
  if (block === undefined || block.closed) throw new Misplaced()
  return block
}

function takeDelta(message: StreamedMessage, json: unknown): void {
  const { index: at, delta } = Events.content_block_delta.parse(json)
  const block = openBlock(message, at)
  let added = ''
  if (delta.type === 'text_delta') {
    if (block.kind !== 'text') throw new Misplaced()
    block.text.push((added = Deltas.text_delta.parse(delta).text))
  } else if (delta.type === 'input_json_delta') {
    added = Deltas.input_json_delta.parse(delta).partial_json
    // Tools that the server runs itself get their input this way too: not ours to read.
    if (block.kind === 'tool') block.json.push(added)
    else if (block.kind === 'text') throw new Misplaced()
  } else if (delta.type === 'thinking_delta') added = Deltas.thinking_delta.parse(delta).thinking
  message.outputChars += added.length
}
