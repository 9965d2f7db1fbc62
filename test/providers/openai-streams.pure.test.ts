/**
 * Streams without the wire: the shared reader of events, and what the readers of both APIs make of streams that are cut
 * and split anywhere.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Progress } from '../../src/providers/contract.js'
import { readCompletionStream } from '../../src/providers/openai/completion-stream.js'
import { readResponseStream } from '../../src/providers/openai/response-stream.js'
import type { StreamReader } from '../../src/providers/openai/stream-reader.js'
import { createStreamProgress } from '../../src/providers/openai/stream-progress.js'
import { createSseReader, type SseEvent } from '../../src/providers/sse.js'
import { completionStream, responseStream } from '../support/protocol/openai-objects.js'

const read = (chunks: readonly Uint8Array[], eventCharsMax?: number) => {
  const events: SseEvent[] = []
  const reader = createSseReader((event) => events.push(event), eventCharsMax === undefined ? {} : { eventCharsMax })
  for (const chunk of chunks) reader.push(chunk)
  return { events, trouble: reader.trouble }
}

/** The bytes, split at the given places. */
function split(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end))
}

describe('events', () => {
  test('split anywhere, in characters and line ends, they are the same', () => {
    const lineEnd = fc.constantFrom('\n', '\r\n', '\r')
    const piece = fc.record({
      event: fc.constantFrom('', 'ping', 'a.b'),
      data: fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => text.replaceAll(/[\r\n]/g, '')),
      lineEnd,
    })
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 5 }), fc.array(fc.nat(), { maxLength: 12 }), (pieces, places) => {
        const text = pieces
          .map(({ event, data, lineEnd: end }) => `${event && `event: ${event}${end}`}data: ${data}${end}${end}`)
          .join('')
        const { events, trouble } = read([...split(Buffer.from(text), places), Buffer.from(':\n')])
        expect(trouble).toBeNull()
        expect(events).toEqual(pieces.map(({ event, data }) => ({ event, data })))
      }),
    )
  })

  test('what has no blank line behind it is not told', () => {
    expect(read([Buffer.from('data: one\n\ndata: two\n')]).events).toEqual([{ event: '', data: 'one' }])
  })

  test('bytes that are no UTF-8 end it', () => {
    const bytes = Buffer.concat([Buffer.from('data: one\n\ndata: '), Buffer.of(0xff), Buffer.from('\n\ndata: two\n\n')])
    for (const chunks of [[bytes], split(bytes, [11]), [...bytes].map((byte) => Buffer.of(byte))]) {
      const { events, trouble } = read(chunks)
      expect(trouble).toBe('not-utf8')
      expect(events.map(({ data }) => data)).not.toContain('two')
    }
  })

  test('an event without end is given up at its limit, and nothing after it counts', () => {
    const endless = [...Array(20).keys()].map(() => Buffer.from('data: 0123456789\n'))
    expect(read([...endless, Buffer.from('\n\ndata: x\n\n')], 100)).toEqual({ events: [], trouble: 'too-large' })
  })

  test('a reader that throws ends it; nothing is thrown at the socket', () => {
    let calls = 0
    const reader = createSseReader(() => {
      calls += 1
      throw new Error('no')
    })
    reader.push(Buffer.from('data: 1\n\ndata: 2\n\n'))
    reader.push(Buffer.from('data: 3\n\n'))
    expect({ calls, trouble: reader.trouble }).toEqual({ calls: 1, trouble: 'reader-threw' })
  })
})

const END = { text: '{"name":"Grüße, 患者 🩺"}', pieceLength: 3 }
const request = { model: 'gpt-test', input: 'x', stream: true, store: true }
const chatRequest = {
  model: 'gpt-test',
  messages: [{ role: 'user' as const, content: 'x' }],
  stream: true,
  stream_options: { include_usage: true },
}

function feed(reader: StreamReader<unknown>, chunks: readonly Buffer[]): void {
  const sse = createSseReader(({ data }) => reader.take(data))
  for (const chunk of chunks) sse.push(chunk)
}

const cutsOf = (bytes: Buffer): number[] => [...Array(bytes.length + 1).keys()]

describe('a whole stream of the protocol server, cut at every byte', () => {
  test('responses: no end before the last byte, the id from the first event on', () => {
    const bytes = responseStream('resp_7', request, END)
    const firstEnd = bytes.indexOf('\n\n') + 2
    const seen = cutsOf(bytes).map((cut) => {
      const told: Progress[] = []
      const reader = readResponseStream((progress) => told.push(progress))
      feed(reader, [bytes.subarray(0, cut)])
      return [cut, reader.end !== null, reader.handle, told.length]
    })
    expect(seen).toEqual(
      cutsOf(bytes).map((cut) => [cut, cut === bytes.length, cut < firstEnd ? null : 'resp_7', cut < firstEnd ? 0 : 1]),
    )
  })

  test('chat: no end before the last byte', () => {
    const bytes = completionStream('chatcmpl_7', chatRequest, END)
    const ends = cutsOf(bytes).map((cut) => {
      const reader = readCompletionStream(() => {})
      feed(reader, [bytes.subarray(0, cut)])
      return reader.end
    })
    expect(ends.slice(0, -1).filter((end) => end !== null)).toEqual([])
    expect(ends.at(-1)).toMatchObject({
      completion: { id: 'chatcmpl_7', usage: { prompt_tokens: 120 }, choices: [{ message: { content: END.text } }] },
    })
  })

  test('both: split anywhere, the same end', () => {
    const streams = [
      { bytes: responseStream('resp_7', request, END), reader: () => readResponseStream(() => {}) },
      { bytes: completionStream('chatcmpl_7', chatRequest, END), reader: () => readCompletionStream(() => {}) },
    ]
    for (const { bytes, reader: make } of streams) {
      const endOf = (chunks: readonly Buffer[]) => {
        const reader = make()
        feed(reader, chunks)
        return reader.end
      }
      const whole = endOf([bytes])
      expect(whole).not.toBeNull()
      fc.assert(
        fc.property(fc.array(fc.nat(), { maxLength: 40 }), (places) => {
          expect(endOf(split(bytes, places))).toEqual(whole)
        }),
        { numRuns: 50 },
      )
    }
  })
})

test('only the first end counts, and nothing after it', () => {
  const reader = readResponseStream(() => {})
  const response = (status: string) => ({ id: 'resp_7', status, output: [] })
  reader.take(JSON.stringify({ type: 'response.failed', response: response('failed') }))
  reader.take(JSON.stringify({ type: 'response.completed', response: response('completed') }))
  expect(reader.end).toMatchObject({ response: { status: 'failed' } })
})

test('progress: the id at once and once, pieces at most once a second', () => {
  const told: Progress[] = []
  let nowMs = 0
  const progress = createStreamProgress(
    (news) => told.push(news),
    () => nowMs,
  )
  progress.named('resp_1')
  progress.named('resp_2')
  for (let piece = 0; piece < 35; piece += 1) {
    nowMs += 100
    progress.pieceCame()
  }
  expect(told).toEqual([{ handle: 'resp_1' }, { outputTokens: 10 }, { outputTokens: 20 }, { outputTokens: 30 }])
  expect(progress.handle).toBe('resp_1')
})
