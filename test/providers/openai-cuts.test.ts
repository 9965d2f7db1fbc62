/**
 * A stream cut at every byte, on the wire: never a result, never anything but doubt where the call can be looked up, and
 * the id is known as soon as the first event was whole. One POST each. The same over long streams, without the wire, is in
 * openai-streams.pure.test.ts.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { OpenAiOptions } from '../../src/providers/openai/openai.js'
import { startOpenAiServer, type OpenAiServer } from '../support/protocol/openai-server.js'
import { callOnce, providerFor } from './openai-fixture.js'
import { SHORT_COMPLETION_STREAM, SHORT_OUTPUT, SHORT_RESPONSE_STREAM } from './openai-short-streams.js'

let server: OpenAiServer
beforeAll(async () => {
  server = await startOpenAiServer()
})
afterAll(() => server.close())

test.each<{ mode: Partial<OpenAiOptions>; body: string; kind: string }>([
  { mode: {}, body: SHORT_RESPONSE_STREAM, kind: 'unknown' },
  { mode: { api: 'chat', stream: true }, body: SHORT_COMPLETION_STREAM, kind: 'unknown' },
  { mode: { api: 'chat', stream: true, store: false }, body: SHORT_COMPLETION_STREAM, kind: 'partial' },
])('$mode', async ({ mode, body, kind }) => {
  const bytesTotal = Buffer.byteLength(body)
  // Its characters are all ASCII up to there.
  const firstEventBytes = mode.api === 'chat' ? Infinity : body.indexOf('\n\n') + 2
  const before = { requests: server.requests.length, runs: server.runs }
  const gpt = providerFor(server, mode)

  // The very last byte ends the last event: without it the end was not said.
  for (let cut = 0; cut < bytesTotal; cut += 1) {
    server.plan({ body, cut })
    const { answer, progress } = await callOnce(gpt)
    const known = cut >= firstEventBytes
    expect({ cut, kind: answer.kind, progress }).toEqual({ cut, kind, progress: known ? [{ handle: 'resp_7' }] : [] })
    expect(answer.handle).toBe(known ? 'resp_7' : undefined)
  }
  expect(server.requests.length - before.requests).toBe(bytesTotal)
  expect(server.runs - before.runs).toBe(bytesTotal)

  // Whole, and then cut: the end was said.
  server.plan({ body, cut: bytesTotal })
  expect(await callOnce(gpt)).toMatchObject({ answer: { kind: 'succeeded', output: SHORT_OUTPUT } })
  await gpt.close()
})
