/**
 * The output of a whole message: a tool's input, JSON in the text, or the text. What it must look like is the step's
 * schema's business. Errors never quote it.
 */
import type { AnthropicOutput } from './anthropic-options.js'
import type { StreamedMessage } from './message-stream.js'
import { ANSWER_TOOL, WRAPPED } from './answer-form.js'

export type OutputReading = { ok: true; value: unknown } | { ok: false; code: string; message: string }

const wrong = (code: string, message: string): OutputReading => ({ ok: false, code, message })

/** `wrapped`: where the model was told a schema, its answer holds the output in a field of its own. */
export function outputOf(message: StreamedMessage, output: AnthropicOutput, wrapped: boolean): OutputReading {
  const blocks = [...message.blocks.entries()].sort(([a], [b]) => a - b).map(([, block]) => block)
  if (blocks.some((block) => !block.closed)) return wrong('malformed-stream', 'The message ended within a block.')
  if (output === 'tool') {
    const calls = blocks.filter((block) => block.kind === 'tool').filter(({ name }) => name === ANSWER_TOOL)
    const [call] = calls
    if (call === undefined) return wrong('no-answer', 'The model did not call the tool that takes the answer.')
    if (calls.length > 1) return wrong('two-answers', 'The model called the tool that takes the answer more than once.')
    const json = call.json.join('')
    const input = json === '' ? call.input : parse(json)
    if (input === undefined) return wrong('not-json', "The tool's input is no JSON.")
    return wrapped ? unwrap(input) : { ok: true, value: input }
  }
  const text = blocks.flatMap((block) => (block.kind === 'text' ? block.text : [])).join('')
  if (text.trim() === '') return wrong('no-answer', 'The answer holds no text.')
  if (output === 'text') return { ok: true, value: text }
  const value = parse(withoutFence(text))
  if (value === undefined) return wrong('not-json', 'The text of the answer is no JSON.')
  return wrapped && output === 'schema' ? unwrap(value) : { ok: true, value }
}

function unwrap(value: unknown): OutputReading {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, WRAPPED))
    return wrong('no-answer', 'The object that should hold the answer does not.')
  return { ok: true, value: (value as { [WRAPPED]: unknown })[WRAPPED] }
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json) as unknown
  } catch {
    return undefined
  }
}

/** Models like to put JSON between ```json and ```, whatever they are told. */
function withoutFence(text: string): string {
  const [, inner] = /^\s*```(?:json)?\s*\n([\s\S]*)\n\s*```\s*$/.exec(text) ?? []
  return inner ?? text
}
