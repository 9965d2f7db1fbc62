/**
 * The objects and events that OpenAI sends, typed by the official client's own types so that they can't drift from it.
 * Sources: https://developers.openai.com/api/reference/resources/responses (and its streaming events) and
 * https://developers.openai.com/api/reference/resources/chat.
 */
import type OpenAI from 'openai'
import type { CompletionCreate, ResponseCreate } from './openai-checks.js'

/** `output_text` is the client's own addition. */
export type WireResponse = Omit<OpenAI.Responses.Response, 'output_text'>
type StreamEvent = OpenAI.Responses.ResponseStreamEvent
/** On the wire without what the client adds. */
type WireEvent = { type: StreamEvent['type']; sequence_number: number; [field: string]: unknown }

/** How a run ends. `text` is streamed in pieces of `pieceLength` characters. */
export type RunEnd = {
  text?: string
  refusal?: string
  /** Reason of an incomplete response, or `length` and `content_filter` in chat. */
  incomplete?: 'max_output_tokens' | 'content_filter'
  /** The code of a failed response, or of an error in a chat stream. */
  failed?: string
  cancelled?: boolean
  /** Put before the answer, as models do that think aloud. */
  commentary?: string
  usage?: { input: number; cached: number; output: number }
  pieceLength?: number
}

export const DEFAULT_TEXT = '{"name":"Grüße, 患者 🩺"}'
const DEFAULT_USAGE = { input: 120, cached: 20, output: 9 }
const CREATED_AT = 1_790_000_000

export function responseObject(
  id: string,
  body: ResponseCreate,
  status: NonNullable<WireResponse['status']>,
  end: RunEnd | null,
): WireResponse {
  const usage = end?.usage ?? DEFAULT_USAGE
  const ended = status === 'completed' || status === 'incomplete'
  return {
    id,
    object: 'response',
    created_at: CREATED_AT,
    status,
    background: body.background ?? false,
    access_programs: null,
    error:
      status === 'failed' && end?.failed !== undefined
        ? { code: end.failed as OpenAI.Responses.ResponseError['code'], message: 'The run failed: hunter2.' }
        : null,
    incomplete_details: status === 'incomplete' && end?.incomplete ? { reason: end.incomplete } : null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    model: `${body.model}-2026-08-01`,
    output: ended && end !== null ? outputOf(id, status, end) : [],
    parallel_tool_calls: true,
    temperature: body.temperature ?? 1,
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    ...(ended && {
      usage: {
        input_tokens: usage.input,
        input_tokens_details: { cached_tokens: usage.cached, cache_write_tokens: 0 },
        output_tokens: usage.output,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: usage.input + usage.output,
      },
    }),
  }
}

function outputOf(id: string, status: 'completed' | 'incomplete', end: RunEnd): OpenAI.Responses.ResponseOutputItem[] {
  const items: OpenAI.Responses.ResponseOutputItem[] = [{ id: `rs_${id}`, type: 'reasoning', summary: [] }]
  if (end.commentary !== undefined)
    items.push({ ...message(`msgc_${id}`, 'completed', [textPart(end.commentary)]), phase: 'commentary' })
  const content =
    end.refusal === undefined
      ? [textPart(end.text ?? DEFAULT_TEXT)]
      : [{ type: 'refusal' as const, refusal: end.refusal }]
  items.push(message(`msg_${id}`, status, content))
  return items
}

const textPart = (text: string): OpenAI.Responses.ResponseOutputText => ({ type: 'output_text', text, annotations: [] })

const message = (
  id: string,
  status: OpenAI.Responses.ResponseOutputMessage['status'],
  content: OpenAI.Responses.ResponseOutputMessage['content'],
): OpenAI.Responses.ResponseOutputMessage => ({ id, type: 'message', role: 'assistant', status, content })

/** Pieces by characters: an emoji is never split here, only by the transport. */
function piecesOf(text: string, length: number): string[] {
  const characters = Array.from(text)
  const pieces: string[] = []
  for (let at = 0; at < characters.length; at += length) pieces.push(characters.slice(at, at + length).join(''))
  return pieces
}

export const finalStatus = (end: RunEnd): NonNullable<WireResponse['status']> => {
  if (end.failed !== undefined) return 'failed'
  if (end.cancelled) return 'cancelled'
  return end.incomplete === undefined ? 'completed' : 'incomplete'
}

/** A whole streamed response, as bytes. */
export function responseStream(id: string, body: ResponseCreate, end: RunEnd): Buffer {
  let sequence = 0
  const lines: string[] = []
  const send = (type: StreamEvent['type'], fields: { [field: string]: unknown }): void => {
    const event: WireEvent = { type, ...fields, sequence_number: sequence++ }
    lines.push(`event: ${type}\ndata: ${JSON.stringify(event)}\n\n`)
  }
  send('response.created', { response: responseObject(id, body, 'in_progress', null) })
  send('response.in_progress', { response: responseObject(id, body, 'in_progress', null) })
  const status = finalStatus(end)
  if (status === 'completed' || status === 'incomplete') {
    const at = { item_id: `msg_${id}`, output_index: 1, content_index: 0 }
    send('response.output_item.added', { output_index: 1, item: message(`msg_${id}`, 'in_progress', []) })
    if (end.refusal === undefined) {
      const text = end.text ?? DEFAULT_TEXT
      send('response.content_part.added', { ...at, part: textPart('') })
      for (const delta of piecesOf(text, end.pieceLength ?? 4))
        send('response.output_text.delta', { ...at, delta, logprobs: [] })
      send('response.output_text.done', { ...at, text, logprobs: [] })
      send('response.content_part.done', { ...at, part: textPart(text) })
    } else {
      send('response.refusal.delta', { ...at, delta: end.refusal })
      send('response.refusal.done', { ...at, refusal: end.refusal })
    }
    send('response.output_item.done', { output_index: 1, item: outputOf(id, status, end).at(-1) })
  }
  const last: { [status: string]: StreamEvent['type'] } = {
    completed: 'response.completed',
    incomplete: 'response.incomplete',
    failed: 'response.failed',
  }
  send(last[status] ?? 'response.completed', { response: responseObject(id, body, status, end) })
  return Buffer.from(lines.join(''))
}

type Completion = OpenAI.Chat.ChatCompletion
type Chunk = OpenAI.Chat.ChatCompletionChunk

const finishReasonOf = (end: RunEnd): Completion['choices'][number]['finish_reason'] => {
  if (end.incomplete === 'max_output_tokens') return 'length'
  return end.incomplete === 'content_filter' ? 'content_filter' : 'stop'
}

const completionUsage = ({ usage = DEFAULT_USAGE }: RunEnd) => ({
  prompt_tokens: usage.input,
  completion_tokens: usage.output,
  total_tokens: usage.input + usage.output,
  prompt_tokens_details: { cached_tokens: usage.cached, audio_tokens: 0 },
})

export function completionObject(id: string, body: CompletionCreate, end: RunEnd): Completion {
  return {
    id,
    object: 'chat.completion',
    created: CREATED_AT,
    model: `${body.model}-2026-08-01`,
    choices: [
      {
        index: 0,
        finish_reason: finishReasonOf(end),
        logprobs: null,
        message: {
          role: 'assistant',
          content: end.refusal === undefined ? (end.text ?? DEFAULT_TEXT) : null,
          refusal: end.refusal ?? null,
        },
      },
    ],
    usage: completionUsage(end),
  }
}

export function completionStream(id: string, body: CompletionCreate, end: RunEnd): Buffer {
  const lines: string[] = []
  const send = (choice: Chunk['choices'], usage?: Chunk['usage']): void => {
    const chunk: Chunk = {
      id,
      object: 'chat.completion.chunk',
      created: CREATED_AT,
      model: `${body.model}-2026-08-01`,
      choices: choice,
      ...(usage !== undefined && { usage }),
    }
    lines.push(`data: ${JSON.stringify(chunk)}\n\n`)
  }
  const delta = (fields: Chunk['choices'][number]['delta']) => [{ index: 0, delta: fields, finish_reason: null }]
  send(delta({ role: 'assistant', content: '' }))
  if (end.failed !== undefined) {
    lines.push(`data: ${JSON.stringify({ error: { code: end.failed, message: 'hunter2', type: 'server_error' } })}\n\n`)
    return Buffer.from(lines.join(''))
  }
  if (end.refusal !== undefined) send(delta({ refusal: end.refusal }))
  else for (const content of piecesOf(end.text ?? DEFAULT_TEXT, end.pieceLength ?? 4)) send(delta({ content }))
  send([{ index: 0, delta: {}, finish_reason: finishReasonOf(end) }])
  if (body.stream_options?.include_usage) send([], completionUsage(end))
  lines.push('data: [DONE]\n\n')
  return Buffer.from(lines.join(''))
}
