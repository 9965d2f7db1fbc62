import { describe, expect, test } from 'vitest'
import { newMessage, takeEvent, type StreamedMessage } from '../../src/providers/anthropic/message-stream.js'
import type { AnthropicOutput } from '../../src/providers/anthropic/anthropic-options.js'
import { outputOf } from '../../src/providers/anthropic/message-output.js'
import { createOutputMeter } from '../../src/providers/anthropic/output-meter.js'

type Json = { type: string; [field: string]: unknown }

function read(...events: Json[]): StreamedMessage {
  const message = newMessage()
  for (const event of events) takeEvent(message, { event: event.type, data: JSON.stringify(event) })
  return message
}

const usage = { input_tokens: 5, output_tokens: 1 }
const start: Json = { type: 'message_start', message: { id: 'msg_1', model: 'm', usage } }
const block = (index: number, content_block: object): Json => ({ type: 'content_block_start', index, content_block })
const text = { type: 'text', text: '' }
const tool = { type: 'tool_use', id: 't', name: 'answer', input: {} }
const delta = (index: number, of: object): Json => ({ type: 'content_block_delta', index, delta: of })
const end = (index: number): Json => ({ type: 'content_block_stop', index })
const ended = (more: object = {}): Json => ({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, ...more })
const stop: Json = { type: 'message_stop' }

describe('a streamed message', () => {
  test('M1 nothing is read behind its end', () => {
    expect(read(start, ended(), stop, { type: 'error', error: { type: 'api_error' } }).errorType).toBeNull()
    expect(read(start, { type: 'error', error: { type: 'api_error' } }, ended(), stop)).toMatchObject({
      stopped: false,
      errorType: 'api_error',
    })
  })

  test('M2 what is not known is passed over', () => {
    const message = read(
      { type: 'ping' },
      { type: 'news_of_tomorrow', index: -1 },
      start,
      block(0, { type: 'hologram', shape: 'cube' }),
      delta(0, { type: 'shape_delta', shape: '…' }),
      end(0),
      block(1, text),
      delta(1, { type: 'citations_delta', citation: {} }),
      delta(1, { type: 'text_delta', text: 'a' }),
      end(1),
      ended(),
      stop,
    )
    expect(message).toMatchObject({ trouble: false, stopped: true })
    expect(message.blocks.get(1)).toEqual({ kind: 'text', text: ['a'], closed: true })
  })

  test('M2 a ping is nothing, whatever it holds', () => {
    const message = read(start)
    takeEvent(message, { event: 'ping', data: '' })
    expect(message).toEqual(read(start))
  })

  test.each<[string, Json[]]>([
    ['a second start', [start, start]],
    ['a block before the start', [block(0, text)]],
    ['an end before the start', [stop]],
    ['a block twice', [start, block(0, text), end(0), block(0, text)]],
    ['a delta without its block', [start, delta(0, { type: 'text_delta', text: 'a' })]],
    ['a delta behind its block', [start, block(0, text), end(0), delta(0, { type: 'text_delta', text: 'a' })]],
    ['text in a tool', [start, block(0, tool), delta(0, { type: 'text_delta', text: 'a' })]],
    ['a tool input in text', [start, block(0, text), delta(0, { type: 'input_json_delta', partial_json: '{' })]],
    ['text that is none', [start, block(0, text), delta(0, { type: 'text_delta', text: 5 })]],
    ['an index out of bounds', [start, block(100_000, text)]],
    ['usage that is none', [{ type: 'message_start', message: { id: 'a', model: 'm', usage: { input_tokens: -4 } } }]],
  ])('M2 %s is trouble, and nothing more is read', (_, events) => {
    expect(read(...events, ended(), stop)).toMatchObject({ trouble: true, stopped: false, stopReason: null })
  })

  test('M3 counts grow, and are never lowered', () => {
    const later = (counts: object) => ended({ usage: counts })
    expect(read(start, later({ output_tokens: 9, input_tokens: null }), later({ output_tokens: 4 })).usage).toEqual({
      input: 5,
      output: 9,
      cacheRead: 0,
      cacheWritten: 0,
    })
  })
})

describe('the output of a message', () => {
  const json = (index: number, partial_json: string) => delta(index, { type: 'input_json_delta', partial_json })
  const words = (index: number, added: string) => delta(index, { type: 'text_delta', text: added })
  const output = (mode: AnthropicOutput, ...events: Json[]) =>
    outputOf(read(start, ...events, ended(), stop), mode, false)

  test('is taken from closed blocks only', () => {
    expect(output('tool', block(0, tool), json(0, '{}'))).toMatchObject({ ok: false, code: 'malformed-stream' })
    expect(output('tool', block(0, tool), json(0, '{}'), end(0))).toEqual({ ok: true, value: {} })
  })

  test('is in the order of the blocks, whichever came first', () => {
    const blocks = [block(1, text), words(1, 'b'), block(0, text), words(0, 'a'), end(0), end(1)]
    expect(output('text', ...blocks)).toEqual({ ok: true, value: 'ab' })
  })

  test('may come whole with the start of its block', () => {
    expect(output('tool', block(0, { ...tool, input: { a: 1 } }), end(0))).toEqual({ ok: true, value: { a: 1 } })
    expect(output('text', block(0, { ...text, text: 'x' }), words(0, 'y'), end(0))).toEqual({ ok: true, value: 'xy' })
  })

  test('is not the input of another tool', () => {
    const other = [block(0, { ...tool, name: 'other' }), json(0, '{"a":1}'), end(0)]
    expect(output('tool', ...other)).toMatchObject({ ok: false, code: 'no-answer' })
    expect(output('tool', ...other, block(1, tool), json(1, '{"b":2}'), end(1))).toEqual({ ok: true, value: { b: 2 } })
  })

  test('is no JSON that is cut, nor names from the prototype', () => {
    expect(output('tool', block(0, tool), json(0, '{"a":'), end(0))).toMatchObject({ ok: false, code: 'not-json' })
    const message = read(start, block(0, tool), json(0, '{"a":1}'), end(0), ended(), stop)
    expect(outputOf(message, 'tool', true)).toMatchObject({ ok: false, code: 'no-answer' })
  })
})

test('the meter tells how far it is, at most once a second', () => {
  let nowMs = 0
  const told: unknown[] = []
  const meter = createOutputMeter(
    (progress) => told.push(progress),
    () => nowMs,
  )
  meter.read(0)
  expect(told).toEqual([])
  for (nowMs = 0; nowMs <= 3000; nowMs += 100) meter.read(4 + nowMs)
  expect(told).toEqual([1, 251, 501, 751].map((outputTokens) => ({ outputTokens })))
  nowMs = 9000
  meter.read(3004)
  expect(told).toHaveLength(4)
})
