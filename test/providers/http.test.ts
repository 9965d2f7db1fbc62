/**
 * The http provider on real sockets: exactly one request per call, and what its end proves.
 * Through performCall, so that the deadline is the one that production has.
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { CallRequest, Provider } from '../../src/providers/contract.js'
import { performCall, type CallResult } from '../../src/providers/call.js'
import { http, type HttpOptions } from '../../src/providers/http.js'
import { env } from '../../src/providers/secret.js'
import { waitFor } from '../support/processes.js'
import { aRequest, bytesInput, options } from './call-inputs.js'
import { reply, startWireServer, type SeenRequest, type WireServer } from './http-wire-server.js'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function serve(respond: (socket: Socket, request: SeenRequest) => void, tls = false): Promise<WireServer> {
  const server = await startWireServer(respond, { tls })
  closing.push(() => server.close())
  return server
}

const secrets = { secret: (name: string) => `value-of-${name}` }

function connect(url: string, more: Partial<HttpOptions> = {}): Provider {
  const options = { url, cost: 'paid', spendMax: { amount: '0.10', currency: 'EUR' }, ...more } as HttpOptions
  const provider = http(options).create('gpt', secrets)
  closing.push(() => provider.close())
  return provider
}

async function call(provider: Provider, request: Partial<CallRequest> = {}): Promise<CallResult> {
  const whole = aRequest(request)
  return performCall(provider, { ...whole, built: await provider.build!(whole) }, options())
}

const headOf = (status: number, length: number): string => `HTTP/1.1 ${status} x\r\ncontent-length: ${length}\r\n\r\n`
const upperBound = { amount: '0.10', currency: 'EUR', basis: 'upper-bound' }

type Case = {
  name: string
  respond: (socket: Socket) => void
  provider?: Partial<HttpOptions>
  deadlineMs?: number
  kind: CallResult['kind']
  failure?: 'not-executed' | 'executed' | 'partial' | 'unknown'
  code?: string
  retryable?: boolean
  spend?: unknown
}

const unknown = { kind: 'uncertain', failure: 'unknown', spend: upperBound } as const
const partial = { kind: 'failed', failure: 'partial', spend: upperBound } as const
const notExecuted = { kind: 'failed', failure: 'not-executed', spend: null } as const

const cases: Case[] = [
  { name: 'answers', respond: (socket) => reply(socket, 200, '{"ok":true}'), kind: 'succeeded' },
  { name: 'reads and cuts', respond: (socket) => socket.resetAndDestroy(), ...unknown, code: 'connection-reset' },
  { name: 'reads and closes', respond: (socket) => socket.end(), ...unknown, code: 'connection-reset' },
  { name: 'hangs', respond: () => {}, deadlineMs: 100, ...unknown, code: 'deadline-exceeded' },
  {
    name: 'stops within the headers',
    respond: (socket) => socket.write('HTTP/1.1 200 x\r\ncontent-le'),
    deadlineMs: 100,
    ...unknown,
    code: 'deadline-exceeded',
  },
  { name: 'answers no HTTP', respond: (socket) => socket.end('SSH-2.0-x\r\n'), ...unknown, code: 'malformed-response' },
  {
    name: 'cuts the body in mid-JSON',
    respond: (socket) => socket.write(`${headOf(200, 100)}{"ok":tr`, () => socket.end()),
    ...partial,
    code: 'response-cut',
    retryable: true,
  },
  {
    name: 'cuts the body in mid-JSON, where our key is honoured',
    respond: (socket) => socket.write(`${headOf(200, 100)}{"ok":tr`, () => socket.end()),
    provider: { recovery: 'idempotent', keyTtl: '24h' },
    ...unknown,
    code: 'response-cut',
  },
  {
    name: 'cuts a chunked body',
    respond: (socket) => socket.end('HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{"ok'),
    ...partial,
    code: 'response-cut',
  },
  {
    name: 'is slower than the deadline within the body',
    respond: (socket) => socket.write(`${headOf(200, 100)}{"ok":tr`),
    deadlineMs: 100,
    ...partial,
    code: 'response-cut',
  },
  { name: 'answers no JSON', respond: (socket) => reply(socket, 200, '<html>'), ...partial, code: 'not-json' },
  {
    name: 'answers bytes that are no UTF-8',
    respond: (socket) => socket.write(Buffer.from('HTTP/1.1 200 x\r\ncontent-length: 3\r\n\r\n"\xff"', 'latin1')),
    ...partial,
    code: 'not-json',
  },
  {
    name: 'announces a huge body',
    respond: (socket) => socket.write(`${headOf(200, 10 ** 12)}"`),
    ...partial,
    code: 'response-too-large',
    retryable: false,
  },
  {
    name: 'sends a huge body without end',
    respond: pour,
    provider: { responseBytesMax: 100_000 },
    ...partial,
    code: 'response-too-large',
  },
  { name: '500', respond: (socket) => reply(socket, 500, '{}'), ...unknown, code: 'http-500' },
  {
    name: '500, documented as ran and failed',
    respond: (socket) => reply(socket, 500, '{}'),
    provider: { executed: [500] },
    kind: 'failed',
    failure: 'executed',
    code: 'http-500',
    retryable: true,
    spend: upperBound,
  },
  {
    name: '500 whose body never comes',
    respond: (socket) => socket.write(headOf(500, 9)),
    deadlineMs: 100,
    ...unknown,
    code: 'http-500',
  },
  { name: '400', respond: (socket) => reply(socket, 400, '{}'), ...notExecuted, code: 'http-400', retryable: false },
  {
    name: 'a redirect to itself',
    respond: (socket) => reply(socket, 307, '', { location: '/infer' }),
    ...notExecuted,
    code: 'http-307',
    retryable: false,
  },
]

function pour(socket: Socket): void {
  socket.write('HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n')
  const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
  const more = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  }
  socket.on('drain', more)
  more()
}

describe('one request, whatever the provider does', () => {
  test.each(cases)('$name', async ({ respond, provider, deadlineMs, kind, failure, code, retryable, spend }) => {
    const server = await serve(respond)
    const adapter = connect(server.url, provider)
    const result = await call(adapter, deadlineMs === undefined ? {} : { deadlineMs })
    expect(result.kind).toBe(kind)
    if (result.kind === 'failed' || result.kind === 'uncertain') {
      expect(result.error).toMatchObject({ code, kind: failure, attempt: 3 })
      expect(result.spend).toEqual(spend)
    }
    if (result.kind === 'failed' && retryable !== undefined) expect(result.retryable).toBe(retryable)
    // Closed first: a repeat that was still to come would have been sent or dropped by now.
    await adapter.close()
    expect(server.requests).toHaveLength(1)
    expect(server.requests[0]?.head).toMatch(/^POST \/infer HTTP\/1\.1/)
  })

  test('429 waits as long as it is told', async () => {
    const server = await serve((socket) => reply(socket, 429, '{}', { 'retry-after': '7' }))
    const result = await call(connect(server.url))
    expect(result).toMatchObject({
      kind: 'failed',
      retryable: true,
      backoffMs: 7500,
      spend: null,
      error: { code: 'http-429', kind: 'not-executed' },
      evidence: { status: 429 },
    })
    expect(server.requests).toHaveLength(1)
  })

  test('an answer that is not read to its end gives its connection up', async () => {
    const sockets: Socket[] = []
    const server = await serve((socket) => {
      sockets.push(socket)
      pour(socket)
    })
    expect(await call(connect(server.url, { responseBytesMax: 100_000 }))).toMatchObject({ kind: 'failed' })
    await waitFor(() => sockets[0]?.destroyed, { what: 'the connection to be closed' })
  })

  test('a kept connection that the server resets is not tried again', async () => {
    const server = await serve((socket) => {
      if (server.requests.length === 1) reply(socket, 200, '{}')
      else socket.resetAndDestroy()
    })
    const provider = connect(server.url)
    expect(await call(provider)).toMatchObject({ kind: 'succeeded' })
    expect(await call(provider)).toMatchObject({
      kind: 'uncertain',
      error: { code: 'connection-reset' },
      evidence: { reusedConnection: true },
    })
    await provider.close()
    expect(server.connections).toBe(1)
    expect(server.requests).toHaveLength(2)
  })

  test('calls share connections, also after a refusal', async () => {
    const server = await serve((socket) => reply(socket, server.requests.length === 1 ? 429 : 200, '{}'))
    const provider = connect(server.url)
    for (let i = 0; i < 3; i += 1) await call(provider)
    expect(server.requests).toHaveLength(3)
    expect(server.connections).toBe(1)
  })
})

describe('a connection that never stood proves that nothing ran', () => {
  test('refused port', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    const result = await call(connect(`http://127.0.0.1:${port}/`))
    expect(result).toMatchObject({ ...notExecutedResult('connection-refused'), retryable: true })
  })

  test('a host name that does not exist', async () => {
    const result = await call(connect('http://provider.invalid/'))
    expect(result).toMatchObject(notExecutedResult('dns-failed'))
  })

  test('TLS to a plain port', async () => {
    const server = await serve((socket) => reply(socket, 200, '{}'))
    // A plain server that answers the handshake with text.
    const plain = createServer((socket) =>
      socket
        .resume()
        .on('error', () => {})
        .end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    )
    plain.listen(0, '127.0.0.1')
    await once(plain, 'listening')
    closing.push(() => new Promise((resolve) => plain.close(() => resolve())))
    const { port } = plain.address() as AddressInfo
    expect(await call(connect(`https://127.0.0.1:${port}/`))).toMatchObject(notExecutedResult('tls-failed'))

    // And one that waits for more: the handshake never ends.
    const silent = await call(connect(server.url.replace('http:', 'https:')), { deadlineMs: 100 })
    expect(silent).toMatchObject(notExecutedResult('connect-timeout'))
    const impatient = await call(connect(server.url.replace('http:', 'https:'), { connectTimeout: '50ms' }))
    expect(impatient).toMatchObject(notExecutedResult('connect-timeout'))
    expect(server.requests).toHaveLength(0)
  })

  test('a certificate that is not trusted: no byte of the request leaves', async () => {
    const server = await serve((socket) => reply(socket, 200, '{}'), true)
    expect(await call(connect(server.url))).toMatchObject(notExecutedResult('tls-failed'))
    expect(server.requests).toHaveLength(0)
  })

  test('over TLS that stands, a reset is in doubt as anywhere', async () => {
    const server = await serve((socket) => {
      if (server.requests.length === 1) reply(socket, 200, '{"ok":1}')
      else socket.destroy()
    }, true)
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      const first = connect(server.url)
      expect(await call(first)).toMatchObject({ kind: 'succeeded', output: { ok: 1 } })
      expect(await call(first)).toMatchObject({ kind: 'uncertain', error: { code: 'connection-reset' } })
      expect(await call(connect(server.url))).toMatchObject({ kind: 'uncertain', error: { code: 'connection-reset' } })
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    }
    expect(server.requests).toHaveLength(3)
  })

  function notExecutedResult(code: string) {
    return { kind: 'failed', spend: null, error: { code, kind: 'not-executed' } }
  }
})

describe('what is sent and what is read', () => {
  test('the key stands in the url where it is named there', async () => {
    const server = await serve((socket) => reply(socket, 200, '{}'))
    const url = `${server.url}/{requestKey}?id={requestKey}`
    await call(connect(url, { method: 'PUT', recovery: 'in-flight' }), { requestKey: 'a/b 1' })
    expect(server.requests[0]?.head).toMatch(/^PUT \/infer\/a%2Fb%201\?id=a%2Fb%201 HTTP/)
  })

  test('the key, the secrets and the length are in the headers', async () => {
    const server = await serve((socket) => reply(socket, 200, '{}'))
    const provider = connect(server.url, {
      keyHeader: 'X-Request-Key',
      apiKey: env('GPT_KEY'),
      headers: { 'X-Org': env('ORG'), 'X-Plain': 'plain', Accept: 'text/plain' },
    })
    await call(provider)
    const head = server.requests[0]?.head ?? ''
    expect(head).toMatch(/^x-request-key: rec-1\.read\.gpt\.1$/im)
    expect(head).toMatch(/^authorization: Bearer value-of-GPT_KEY$/im)
    expect(head).toMatch(/^x-org: value-of-ORG$/im)
    expect(head).toMatch(/^x-plain: plain$/im)
    expect(head.match(/^accept:/gim)).toHaveLength(1)
    expect(JSON.stringify(provider)).not.toContain('value-of')
  })

  test.each<{
    name: string
    request: Partial<CallRequest>
    provider?: Partial<HttpOptions>
    body: string
    type: string
  }>([
    { name: 'a JSON input itself', request: {}, body: '{"text":"hello"}', type: 'application/json' },
    {
      name: 'what the step built',
      request: { request: { prompt: 'read it' } },
      body: '{"prompt":"read it"}',
      type: 'application/json',
    },
    {
      name: 'bytes as base64',
      request: { input: bytesInput('image/png', Buffer.from('scan')) },
      body: '{"mediaType":"image/png","base64":"c2Nhbg=="}',
      type: 'application/json',
    },
    {
      name: 'what the body function builds',
      request: {},
      provider: { body: (request) => ({ step: request.step }) },
      body: '{"step":"read"}',
      type: 'application/json',
    },
    {
      name: 'raw bytes',
      request: { input: bytesInput('image/png', Buffer.from('scan')) },
      provider: { body: (request) => request.input.bytes() },
      body: 'scan',
      type: 'image/png',
    },
  ])('$name', async ({ request, provider, body, type }) => {
    const server = await serve((socket) => reply(socket, 200, '{}'))
    await call(connect(server.url, provider), request)
    expect(server.requests[0]?.body).toBe(body)
    expect(server.requests[0]?.head).toMatch(new RegExp(`^content-type: ${type}$`, 'im'))
  })

  test('a body function that throws or answers nothing sends nothing', async () => {
    const server = await serve((socket) => reply(socket, 200, '{}'))
    const throws = () => {
      throw new Error('no body')
    }
    await expect(connect(server.url, { body: throws }).build!(aRequest())).rejects.toThrow('no body')
    await expect(connect(server.url, { body: () => undefined }).build!(aRequest())).rejects.toThrow('answered nothing')
    expect(server.requests).toHaveLength(0)
  })

  test('output, spend and the provider’s own id come out of the answer', async () => {
    const answer = '{"choices":[{"text":"done"}],"cost":"0.013"}'
    const server = await serve((socket) => reply(socket, 200, answer, { 'X-Request-Id': 'req_42' }))
    const provider = connect(server.url, {
      output: (json) => (json as { choices: { text: string }[] }).choices[0]?.text,
      spend: (json) => ({ amount: (json as { cost: string }).cost, currency: 'USD', basis: 'reported' }),
    })
    expect(await call(provider)).toMatchObject({
      kind: 'succeeded',
      output: 'done',
      spend: { amount: '0.013', currency: 'USD', basis: 'reported' },
      evidence: { status: 200, requestId: 'req_42', durationMs: expect.any(Number) },
    })
  })

  test('an output function that throws fails the call, with its spend; nothing of the answer is kept', async () => {
    const server = await serve((socket) => reply(socket, 200, '{"patient":"Anna"}'))
    const output = (json: unknown) => {
      throw new Error(JSON.stringify(json))
    }
    const result = await call(connect(server.url, { output, spend: output }))
    expect(result).toMatchObject({
      kind: 'failed',
      spend: upperBound,
      error: { code: 'output-threw', kind: 'partial' },
      evidence: { spendRule: 'threw' },
    })
    expect(JSON.stringify(result)).not.toContain('Anna')
  })
})
