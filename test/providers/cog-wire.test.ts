/**
 * `cog` on a wire that a real Cog server would not produce: one PUT for each call, whatever becomes of it, and refusals
 * that are not in Cog's own words.
 */
import type { Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { performCall, type CallResult } from '../../src/providers/call.js'
import { cog, predictionIdOf } from '../../src/providers/cog/cog.js'
import { aRequest, options } from './call-inputs.js'
import { reply, startWireServer, type SeenRequest } from './http-wire-server.js'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function callWith(
  respond: (socket: Socket) => void,
  path = '',
): Promise<{ result: CallResult; requests: readonly SeenRequest[] }> {
  const server = await startWireServer(respond)
  closing.push(() => server.close())
  const factory = cog({
    url: `http://127.0.0.1:${server.port}${path}`,
    cost: 'paid',
    spendMax: { amount: '1', currency: 'EUR' },
  })
  const provider = factory.create('cog', { secret: () => '' })
  closing.push(() => provider.close())
  const request = aRequest({ request: { input: { text: 'Alice' } }, deadlineMs: 300 })
  const built = await provider.build!(request)
  return { result: await performCall(provider, { ...request, built }, options()), requests: server.requests }
}

const uncertain = { kind: 'uncertain', spend: { amount: '1', currency: 'EUR', basis: 'upper-bound' } }
const ran = { kind: 'failed', spend: { amount: '1', currency: 'EUR', basis: 'upper-bound' } }
const notRun = { kind: 'failed', spend: null, error: { kind: 'not-executed' } }
const words = (error: string): string => JSON.stringify({ error, status: 'failed' })

test.each<{ name: string; respond: (socket: Socket) => void; result: object }>([
  { name: 'reads and cuts', respond: (socket) => socket.resetAndDestroy(), result: uncertain },
  { name: 'hangs', respond: () => {}, result: { ...uncertain, error: { code: 'deadline-exceeded' } } },
  {
    name: 'cuts within the answer',
    respond: (socket) =>
      void socket.write('HTTP/1.1 200 x\r\ncontent-length: 99\r\n\r\n{"status":"succ', () => socket.end()),
    result: { ...ran, error: { kind: 'partial', code: 'response-cut' } },
  },
  { name: 'answers 500', respond: (socket) => reply(socket, 500, '{}'), result: uncertain },
  {
    name: "answers 503 in Cog's words",
    respond: (socket) => reply(socket, 503, words('Setup has not finished yet.')),
    result: { ...notRun, retryable: true },
  },
  {
    name: 'answers 503 in those of a gateway',
    respond: (socket) => reply(socket, 503, '<html>no healthy upstream</html>'),
    result: { ...uncertain, error: { code: 'http-503' } },
  },
  {
    name: "answers 409 in Cog's words",
    respond: (socket) => reply(socket, 409, words('At capacity - all prediction slots busy')),
    result: { ...notRun, retryable: true },
  },
  {
    name: "answers 409 in someone else's",
    respond: (socket) => reply(socket, 409, '{}'),
    result: { ...uncertain, error: { code: 'http-409' } },
  },
  {
    name: 'answers something else than a prediction',
    respond: (socket) => reply(socket, 200, '<html>welcome</html>'),
    result: { ...ran, error: { kind: 'partial', code: 'bad-prediction' } },
  },
  {
    name: 'answers 200 with a prediction that still runs',
    respond: (socket) => reply(socket, 200, '{"id":"a","status":"processing"}'),
    result: { ...ran, error: { kind: 'partial', code: 'bad-prediction' } },
  },
  {
    name: 'answers 202 with one that has ended, at the moment of the repeat',
    respond: (socket) => reply(socket, 202, '{"id":"a","status":"succeeded","output":"hello","metrics":{}}'),
    result: { kind: 'succeeded', output: 'hello' },
  },
])('$name: one PUT', async ({ respond, result }) => {
  const made = await callWith(respond)
  expect(made.result).toMatchObject(result)
  expect(made.requests).toHaveLength(1)
})

test('the PUT goes below the path of the url, under the id of the request key', async () => {
  const { requests } = await callWith((socket) => reply(socket, 200, '{}'), '/models/reader/')
  const id = predictionIdOf('rec-1.read.gpt.1')
  expect(requests[0]?.head.split('\r\n')[0]).toBe(`PUT /models/reader/predictions/${id} HTTP/1.1`)
  expect(JSON.parse(requests[0]?.body ?? '')).toEqual({ input: { text: 'Alice' } })
  expect(requests[0]?.head).toMatch(/^idempotency-key: rec-1\.read\.gpt\.1$/im)
})
