/**
 * The kserve provider on real sockets, against a server that does what real ones rarely do. Through performCall, so that
 * the deadline is the one that production has. What a real server does is in kserve-mlserver.test.ts.
 */
import type { Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { performCall, type CallResult } from '../../src/providers/call.js'
import type { CallRequest, Provider } from '../../src/providers/contract.js'
import { kserve, type KserveOptions } from '../../src/providers/kserve/kserve.js'
import { tensor } from '../../src/providers/kserve/tensor.js'
import { env } from '../../src/providers/secret.js'
import { aRequest, jsonInput, options } from './call-inputs.js'
import { reply, startWireServer, type SeenRequest, type WireServer } from './http-wire-server.js'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function serve(respond: (socket: Socket, request: SeenRequest) => void): Promise<WireServer> {
  const server = await startWireServer(respond)
  closing.push(() => server.close())
  return server
}

function connect({ port }: { port: number }, more: Partial<KserveOptions> = {}): Provider {
  const factory = kserve({ url: `http://127.0.0.1:${port}`, model: 'risk', ...more })
  const provider = factory.create('risk', { secret: (name) => `value-of-${name}` })
  closing.push(() => provider.close())
  return provider
}

const parts = { request: { inputs: [tensor('x', 'FP32', [1, 2], [1, 2])] }, requestKey: 'rec-1.read.risk.1' }

async function call(provider: Provider, more: Partial<CallRequest> = {}): Promise<CallResult> {
  const request = aRequest({ ...parts, ...more })
  return performCall(provider, { ...request, built: await provider.build!(request) }, options())
}

const answerTo = (request: SeenRequest, more: object = {}): string => {
  const { id } = JSON.parse(request.body) as { id: string }
  const y = { name: 'y', shape: [1], datatype: 'FP32', data: [0.25] }
  return JSON.stringify({ model_name: 'risk', model_version: '3', id, outputs: [y], ...more })
}
const whole = answerTo({ head: '', body: JSON.stringify({ id: parts.requestKey }) })

describe('a call', () => {
  test('is one POST to the model, with the request key as its id', async () => {
    const server = await serve((socket, request) => reply(socket, 200, answerTo(request)))
    const result = await call(connect(server, { apiKey: env('TOKEN') }))
    expect(result).toMatchObject({
      kind: 'succeeded',
      output: {
        modelName: 'risk',
        modelVersion: '3',
        outputs: [{ name: 'y', shape: [1], datatype: 'FP32', data: [0.25], parameters: {} }],
        parameters: {},
      },
      evidence: { status: 200, model: 'risk', modelVersion: '3', requestId: parts.requestKey },
      spend: null,
    })
    const [request] = server.requests
    expect(request!.head).toMatch(/^POST \/v2\/models\/risk\/infer HTTP\/1\.1\r\n/)
    expect(request!.head).toMatch(/^content-type: application\/json\r$/im)
    expect(request!.head).toMatch(/^authorization: Bearer value-of-TOKEN\r$/im)
    expect(JSON.parse(request!.body)).toEqual({
      id: parts.requestKey,
      inputs: [{ name: 'x', shape: [1, 2], datatype: 'FP32', data: [1, 2] }],
    })
  })

  test('names the version, below the path of the server, with names that need it encoded', async () => {
    const server = await serve((socket, request) => reply(socket, 200, answerTo(request)))
    const provider = connect(server, { url: `http://127.0.0.1:${server.port}/models/`, model: 'a/b', version: 'v 2' })
    await call(provider)
    expect(server.requests[0]!.head).toMatch(/^POST \/models\/v2\/models\/a%2Fb\/versions\/v%202\/infer /)
  })

  test('takes a record that is a request itself, where the step builds none', async () => {
    const server = await serve((socket, request) => reply(socket, 200, answerTo(request)))
    const result = await call(connect(server), { request: undefined, input: jsonInput(parts.request) })
    expect(result.kind).toBe('succeeded')
    expect(JSON.parse(server.requests[0]!.body)).toMatchObject({ inputs: [{ name: 'x' }] })
  })

  test('is not built from what is no request: nothing is sent', async () => {
    const server = await serve((socket, request) => reply(socket, 200, answerTo(request)))
    const provider = connect(server)
    await expect(call(provider, { request: { inputs: [{ name: 'x' }] } })).rejects.toThrow(/Input 0 "x" is no tensor/)
    await expect(call(provider, { request: undefined })).rejects.toThrow(/no inference request/)
    expect(server.requests).toHaveLength(0)
  })

  test('builds the same bytes again', async () => {
    const provider = connect({ port: 9 })
    expect(await provider.build!(aRequest(parts))).toEqual(await provider.build!(aRequest({ ...parts, attempt: 9 })))
  })

  test('gives the output function what the server answered', async () => {
    const server = await serve((socket, request) => reply(socket, 200, answerTo(request)))
    const provider = connect(server, { output: ({ outputs }) => ({ risk: outputs[0]!.data[0] }) })
    expect(await call(provider)).toMatchObject({ kind: 'succeeded', output: { risk: 0.25 } })
  })

  test('of a paid server books its upper bound', async () => {
    const server = await serve((socket, request) => reply(socket, 200, answerTo(request)))
    const spendMax = { amount: '0.02', currency: 'EUR' }
    const result = await call(connect(server, { cost: 'paid', spendMax }))
    expect(result).toMatchObject({ kind: 'succeeded', spend: { ...spendMax, basis: 'upper-bound' } })
  })
})

type Case = {
  name: string
  respond: (socket: Socket, request: SeenRequest) => void
  options?: Partial<KserveOptions>
  kind: 'failed' | 'uncertain'
  failure: 'not-executed' | 'executed' | 'partial' | 'unknown'
  code: string
  retryable?: boolean
  rejects?: boolean
  backoffMs?: number
}
const own = JSON.stringify({ error: 'the value Mary Smith is no number' })
const refusal = { kind: 'failed', failure: 'not-executed', retryable: false, rejects: false } as const
const doubt = { kind: 'uncertain', failure: 'unknown' } as const
const lost = { kind: 'failed', failure: 'partial' } as const

const cases: Case[] = [
  { name: 'refuses the input', respond: (s) => reply(s, 400, own), ...refusal, code: 'input-refused' },
  { name: 'refuses the form', respond: (s) => reply(s, 422, '{"detail":[]}'), ...refusal, code: 'input-refused' },
  {
    name: 'refuses the input, which rejects the record',
    respond: (s) => reply(s, 400, own),
    options: { rejects: [400] },
    ...refusal,
    rejects: true,
    code: 'input-refused',
  },
  { name: 'does not have the model', respond: (s) => reply(s, 404, own), ...refusal, code: 'model-unknown' },
  { name: 'is another server', respond: (s) => reply(s, 404, '<html>'), ...refusal, code: 'http-404' },
  {
    name: 'takes no requests now',
    respond: (s) => reply(s, 503, own, { 'retry-after': '2' }),
    ...refusal,
    retryable: true,
    backoffMs: 2500,
    code: 'not-ready',
  },
  {
    name: 'K2: is cut off by a proxy that answers 503',
    respond: (s) => reply(s, 503, 'upstream connect error or disconnect/reset before headers'),
    ...doubt,
    code: 'http-503',
  },
  { name: 'K3: fails in the middle', respond: (s) => reply(s, 500, own), ...doubt, code: 'http-500' },
  { name: 'wants less', respond: (s) => reply(s, 429, own), ...refusal, retryable: true, code: 'http-429' },
  { name: 'reads and cuts', respond: (s) => s.resetAndDestroy(), ...doubt, code: 'connection-reset' },
  { name: 'reads and closes', respond: (s) => s.end(), ...doubt, code: 'connection-reset' },
  { name: 'hangs', respond: () => {}, ...doubt, code: 'deadline-exceeded' },
  {
    name: 'answers no tensors',
    respond: (s) => reply(s, 200, '{"predictions":[1]}'),
    ...lost,
    retryable: false,
    code: 'no-inference',
  },
  { name: 'answers no JSON', respond: (s) => reply(s, 200, 'ok'), ...lost, retryable: true, code: 'not-json' },
  {
    name: "answers another's request",
    respond: (s, request) => reply(s, 200, answerTo(request, { id: 'rec-2.read.risk.1' })),
    ...lost,
    retryable: true,
    code: 'wrong-id',
  },
  {
    name: 'answers what the output function does not expect',
    respond: (s, request) => reply(s, 200, answerTo(request)),
    options: { output: ({ outputs }) => outputs[1]!.data },
    ...lost,
    retryable: false,
    code: 'output-threw',
  },
]

describe('a server that', () => {
  const byName = cases.map(({ name, ...rest }) => [name, rest] as const)
  test.each(byName)('%s', async (_, { respond, options: more, code, kind, failure, ...expected }) => {
    const server = await serve(respond)
    const result = await call(connect(server, more), { deadlineMs: code === 'deadline-exceeded' ? 100 : 5_000 })
    expect(result).toMatchObject({ kind, ...expected, error: { code, kind: failure } })
    expect(server.requests).toHaveLength(1)
    expect(JSON.stringify(result)).not.toContain('Mary')
  })

  test('cuts the answer anywhere in its body: it ran, and its result is lost', async () => {
    let at = 0
    const head = `HTTP/1.1 200 x\r\ncontent-type: application/json\r\ncontent-length: ${whole.length}\r\n\r\n`
    const server = await serve((socket) => socket.end(head + whole.slice(0, at)))
    const provider = connect(server)
    for (at = 0; at < whole.length; at += 7) {
      const result = await call(provider)
      expect(result, `cut after ${at} bytes`).toMatchObject({ kind: 'failed', error: { code: 'response-cut' } })
    }
    expect(server.requests).toHaveLength(Math.ceil(whole.length / 7))
  })

  test('is not there: nothing was sent', async () => {
    const server = await serve(() => {})
    await server.close()
    closing.splice(0)
    expect(await call(connect(server))).toMatchObject({
      kind: 'failed',
      retryable: true,
      error: { code: 'connection-refused', kind: 'not-executed' },
    })
  })
})

describe('readiness', () => {
  /** Answers by path; a path that is not named is answered with 404. */
  const answering = (paths: { [path: string]: [number, unknown] }) =>
    serve((socket, { head }) => {
      const [status, body] = paths[head.split(' ')[1] ?? ''] ?? [404, { error: 'not found' }]
      reply(socket, status, typeof body === 'string' ? body : JSON.stringify(body))
    })
  const ask = (server: WireServer, more?: Partial<KserveOptions>) =>
    connect(server, more).ready!(AbortSignal.timeout(5_000))

  const metadata = {
    name: 'risk',
    versions: ['1', '2'],
    platform: 'onnx',
    inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
    outputs: [{ name: 'y', datatype: 'FP32', shape: [-1] }],
  }
  const up: { [path: string]: [number, unknown] } = {
    '/v2/health/ready': [200, ''],
    '/v2/models/risk/ready': [200, { name: 'risk', ready: true }],
    '/v2/models/risk': [200, metadata],
  }

  test('says what goes into the model and comes out; it is read once', async () => {
    const server = await answering(up)
    const provider = connect(server)
    const ready = { ready: true, detail: 'risk (onnx): x FP32[-1,2] -> y FP32[-1]' }
    expect(await provider.ready!(AbortSignal.timeout(5_000))).toEqual(ready)
    expect(await provider.ready!(AbortSignal.timeout(5_000))).toEqual(ready)
    const reads = server.requests.filter(({ head }) => head.startsWith('GET /v2/models/risk HTTP'))
    expect(reads).toHaveLength(1)
    expect(server.requests.every(({ head }) => head.startsWith('GET '))).toBe(true)
  })

  test.each<[string, { [path: string]: [number, unknown] }, Partial<KserveOptions>, RegExp]>([
    ['the server is not ready', { ...up, '/v2/health/ready': [503, ''] }, {}, /server is not ready: .*503/],
    ['the model is unknown', { '/v2/health/ready': [200, ''] }, {}, /does not know the model/],
    ['it is not loaded', { ...up, '/v2/models/risk/ready': [400, ''] }, {}, /not ready \(yet\)/],
    ['it says so in the body', { ...up, '/v2/models/risk/ready': [200, { ready: false }] }, {}, /not ready \(yet\)/],
    ['the version is not there', up, { version: '9' }, /this version .* It has 1, 2\./],
  ])('tells that %s', async (_, paths, more, detail) => {
    const answer = await ask(await answering(paths), more)
    expect(answer).toMatchObject({ ready: false, detail: expect.stringMatching(detail) as string })
  })

  test('tells of a server that is away, and of one that hangs until the question ends', async () => {
    const away = await serve(() => {})
    await away.close()
    closing.splice(0)
    expect((await ask(away)).detail).toMatch(/not ready: The connection was refused/)
    const hanging = await serve(() => {})
    const answer = await connect(hanging).ready!(AbortSignal.timeout(50))
    expect(answer).toMatchObject({ ready: false, detail: expect.stringMatching(/not ready/) as string })
  })
})
