/**
 * What the Messages API answers with: a message whole, or the events of its stream, in the SDK's own types.
 */
import type {
  ContentBlock,
  Message,
  RawMessageStreamEvent,
  StopReason,
  Usage,
} from '@anthropic-ai/sdk/resources/messages/messages'
import type { MessagesBody } from './anthropic-checks.js'

export type ServedMessage = {
  text?: string
  /** A call of the tool that the request names (or the first of its tools). */
  toolInput?: unknown
  /** A second call of the same tool. */
  toolInputAgain?: unknown
  /** Comes before the answer. */
  thinking?: string
  stopReason?: StopReason
  usage?: { input?: number; output?: number; cacheRead?: number; cacheWritten?: number }
  /** Characters in one delta. Default 12. */
  charsPerDelta?: number
  /** A ping before every event. There is always one behind the first. */
  pings?: boolean
  /** Ends the stream with an `error` event: before `message_start`, or in place of `message_delta`. */
  errorEvent?: { type: string; when: 'first' | 'within' }
}

export type ErrorEvent = { type: 'error'; error: { type: string; message: string }; request_id: string }
export type ServedEvent = RawMessageStreamEvent | { type: 'ping' } | ErrorEvent

export const sseBytes = (events: readonly ServedEvent[]): Buffer =>
  Buffer.from(events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(''))

export function wholeOf(served: ServedMessage, body: MessagesBody): Message {
  const message = startOf(served, body)
  return {
    ...message,
    content: blocksOf(served, body),
    stop_reason: stopReasonOf(served),
    usage: { ...message.usage, output_tokens: served.usage?.output ?? 7 },
  }
}

export function streamOf(served: ServedMessage, body: MessagesBody, requestId: string): ServedEvent[] {
  const { errorEvent } = served
  const error = (type: string): ErrorEvent => ({
    type: 'error',
    error: { type, message: `A secret of the prompt (${type})` },
    request_id: requestId,
  })
  if (errorEvent?.when === 'first') return [error(errorEvent.type)]

  const events: ServedEvent[] = [{ type: 'message_start', message: startOf(served, body) }, { type: 'ping' }]
  blocksOf(served, body).forEach((block, index) =>
    events.push(...blockEvents(block, index, served.charsPerDelta ?? 12)),
  )
  if (errorEvent !== undefined) events.push(error(errorEvent.type))
  else {
    events.push(
      {
        type: 'message_delta',
        delta: {
          stop_reason: stopReasonOf(served),
          stop_sequence: null,
          stop_details:
            served.stopReason === 'refusal'
              ? { type: 'refusal', category: 'bio', explanation: 'A secret of the prompt' }
              : null,
          container: null,
        },
        usage: {
          input_tokens: null,
          cache_creation_input_tokens: null,
          cache_read_input_tokens: null,
          output_tokens: served.usage?.output ?? 7,
          output_tokens_details: null,
          server_tool_use: null,
        },
      },
      { type: 'message_stop' },
    )
  }
  return served.pings === true ? events.flatMap((event) => [{ type: 'ping' as const }, event]) : events
}

const stopReasonOf = ({ stopReason, toolInput }: ServedMessage): StopReason =>
  stopReason ?? (toolInput === undefined ? 'end_turn' : 'tool_use')

function startOf({ usage = {} }: ServedMessage, body: MessagesBody): Message {
  const told: Usage = {
    cache_creation: null,
    cache_creation_input_tokens: usage.cacheWritten ?? 0,
    cache_read_input_tokens: usage.cacheRead ?? 0,
    inference_geo: null,
    input_tokens: usage.input ?? 11,
    output_tokens: 1,
    output_tokens_details: null,
    server_tool_use: null,
    service_tier: 'standard',
    speed: null,
  }
  return {
    id: 'msg_01Test',
    type: 'message',
    role: 'assistant',
    model: `${body.model}-20260101`,
    content: [],
    container: null,
    diagnostics: null,
    stop_reason: null,
    stop_sequence: null,
    stop_details: null,
    usage: told,
  }
}

function blocksOf(served: ServedMessage, body: MessagesBody): ContentBlock[] {
  const { thinking, text, toolInput, toolInputAgain } = served
  const name = body.tool_choice?.name ?? body.tools?.[0]?.name ?? 'none'
  const call = (input: unknown, n: number): ContentBlock => ({
    type: 'tool_use',
    id: `toolu_${n}`,
    name,
    input,
    caller: { type: 'direct' },
  })
  return [
    ...(thinking === undefined ? [] : [{ type: 'thinking', thinking, signature: 'c2ln' } as const]),
    ...(text === undefined ? [] : [{ type: 'text', text, citations: null } as const]),
    ...(toolInput === undefined ? [] : [call(toolInput, 1)]),
    ...(toolInputAgain === undefined ? [] : [call(toolInputAgain, 2)]),
  ]
}

function blockEvents(block: ContentBlock, index: number, charsPerDelta: number): ServedEvent[] {
  const delta = (of: Extract<ServedEvent, { type: 'content_block_delta' }>['delta']): ServedEvent => ({
    type: 'content_block_delta',
    index,
    delta: of,
  })
  const between = (start: ContentBlock, deltas: ServedEvent[]): ServedEvent[] => [
    { type: 'content_block_start', index, content_block: start } as ServedEvent,
    ...deltas,
    { type: 'content_block_stop', index },
  ]
  switch (block.type) {
    case 'text':
      return between(
        { ...block, text: '' },
        cutUp(block.text, charsPerDelta).map((text) => delta({ type: 'text_delta', text })),
      )
    case 'tool_use':
      return between(
        { ...block, input: {} },
        ['', ...cutUp(JSON.stringify(block.input), charsPerDelta)].map((partial_json) =>
          delta({ type: 'input_json_delta', partial_json }),
        ),
      )
    case 'thinking':
      return between({ ...block, thinking: '', signature: '' }, [
        delta({ type: 'thinking_delta', thinking: block.thinking } as never),
        delta({ type: 'signature_delta', signature: block.signature }),
      ])
    default:
      throw new Error(`The server has no events for ${block.type}.`)
  }
}

/** By characters, never within one: JSON text has no half ones. */
function cutUp(text: string, length: number): string[] {
  const characters = Array.from(text)
  return Array.from({ length: Math.ceil(characters.length / length) }, (_, at) =>
    characters.slice(at * length, (at + 1) * length).join(''),
  )
}
