/**
 * One stream, cut at every byte, by a connection that closes and by a body that ends as if it were whole: never an
 * answer, always a certain failure, and a bill that is never below what may be due.
 */
import { describe, expect, test } from 'vitest'
import { compareDecimal } from '../../src/providers/decimal.js'
import type { MessagesBody } from '../support/protocol/anthropic-checks.js'
import { sseBytes, streamOf } from '../support/protocol/anthropic-stream.js'
import { call, connect, serve } from './anthropic-run.js'

const ANSWER = { name: 'Zoë 🩺', age: 41 }
const message = { toolInput: ANSWER, usage: { input: 200, output: 40 }, charsPerDelta: 20 }
const request = {
  model: 'claude-test',
  max_tokens: 100,
  messages: [],
  tool_choice: { type: 'tool', name: 'answer' },
} satisfies MessagesBody
const bytes = sseBytes(streamOf(message, request, 'req_000001'))
const text = bytes.toString('latin1')
/** Where an event is whole: the first byte behind its blank line. */
const endOf = (event: string): number => text.indexOf('\n\n', text.indexOf(`event: ${event}`)) + 2
const knowsInput = endOf('message_start')
const knowsOutput = endOf('message_delta')

/** Three thousand calls: seconds, and more on a busy machine. */
const TIMEOUT_MS = 240_000

describe.each(['cut', 'end'] as const)('a stream that ends too early (%s)', (stopBy) => {
  test(
    `at each of its ${bytes.length} bytes`,
    async () => {
      const server = await serve()
      const provider = connect(server.url, { slots: 16 })
      // The last byte is the second line feed of message_stop: without it the event has not been told.
      const offsets = Array.from({ length: bytes.length }, (_, at) => at)
      const stops = new Map<string, number>()
      server.reply(({ body }) => ({
        kind: 'message',
        message,
        bytes,
        stopAfterBytes: stops.get(body!.system!)!,
        stopBy,
      }))

      const cutAt = async (at: number): Promise<void> => {
        stops.set(String(at), at)
        const { result, spendMax } = await call(provider, {
          request: { prompt: 'Who?', instructions: String(at) },
          deadlineMs: 30_000,
        })
        const { spend, ...rest } = result as Extract<typeof result, { kind: 'failed' }>
        expect(rest, `cut at ${at}`).toMatchObject({
          kind: 'failed',
          error: { kind: 'partial', code: 'stream-cut' },
          retryable: true,
        })
        const counted = at < knowsInput ? null : { inputTokens: 200, cachedInputTokens: 0 }
        expect(rest.usage, `cut at ${at}`).toEqual(at < knowsOutput ? counted : { ...counted, outputTokens: 40 })
        if (at < knowsInput) expect(spend, `cut at ${at}`).toMatchObject({ amount: spendMax, basis: 'upper-bound' })
        // 200 * 3 + 100 * 15: the output as if all of max_tokens had been written.
        else if (at < knowsOutput)
          expect(spend, `cut at ${at}`).toMatchObject({ amount: '0.0021', basis: 'upper-bound' })
        // 200 * 3 + 40 * 15: all has been counted, only the result is not whole.
        else expect(spend, `cut at ${at}`).toMatchObject({ amount: '0.0012', basis: 'reported' })
        expect(compareDecimal(spend!.amount, '0.0012')).toBeGreaterThanOrEqual(0)
      }
      for (let from = 0; from < offsets.length; from += 16) await Promise.all(offsets.slice(from, from + 16).map(cutAt))
      expect(server.calls).toHaveLength(bytes.length)
      expect(server.executions).toBe(bytes.length)
    },
    TIMEOUT_MS,
  )

  test('but behind its last byte it is whole', async () => {
    const server = await serve()
    server.reply({ kind: 'message', message, bytes, stopAfterBytes: bytes.length, stopBy })
    expect((await call(connect(server.url))).result).toMatchObject({
      kind: 'succeeded',
      output: ANSWER,
      spend: { amount: '0.0012', basis: 'reported' },
    })
  })
})

test('a connection that stays open behind its last byte costs the deadline, not the answer', async () => {
  const server = await serve()
  server.reply({ kind: 'message', message, bytes, stopBy: 'hang' })
  const { result } = await call(connect(server.url), { deadlineMs: 2000 })
  expect(result).toMatchObject({ kind: 'succeeded', output: ANSWER })
})

test('split into two packets at every byte, it is the same answer', async () => {
  const server = await serve()
  const provider = connect(server.url)
  for (let at = 1; at < bytes.length; at += 7) {
    server.reply({ kind: 'message', message, bytes, bytesPerWrite: at })
    expect((await call(provider)).result, `split at ${at}`).toMatchObject({ kind: 'succeeded', output: ANSWER })
  }
})
