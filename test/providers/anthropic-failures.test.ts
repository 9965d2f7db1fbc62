/** The anthropic provider against a server that speaks the Messages API: failures, and whether it is ready. */
import { describe, expect, test } from 'vitest'
import type { ServerPlan } from '../support/protocol/anthropic-server.js'
import { waitFor } from '../support/processes.js'
import { cases, error, started } from './anthropic-failures.js'
import { call, connect, serve } from './anthropic-run.js'
import { reply, startWireServer } from './http-wire-server.js'

const ANSWER = { name: 'Zoë Müller', age: 41 }
const TOOL: ServerPlan = { kind: 'message', message: { toolInput: ANSWER, usage: { input: 200, output: 40 } } }

describe('a failure', () => {
  test.each(cases)('$name', async (c) => {
    const server = await serve()
    server.reply(c.plan)
    const { result, spendMax } = await call(connect(server.url, c.options), { deadlineMs: c.deadlineMs ?? 5000 })
    expect(result).toMatchObject({ kind: c.kind, error: { code: c.code, kind: c.failure } })
    if (c.retryable !== undefined) expect(result).toMatchObject({ retryable: c.retryable })
    const bound = { amount: spendMax, basis: 'upper-bound' }
    const { spend } = result as { spend: unknown }
    if (c.spend === null) expect(spend).toBeNull()
    else expect(spend).toMatchObject(c.spend === 'bound' ? bound : c.spend)
    if (c.evidence !== undefined) expect(result.evidence).toMatchObject(c.evidence)
    expect(server.calls).toHaveLength(1)
    expect(server.executions).toBe(c.ran)
    // What the API says in its errors may quote the prompt.
    expect(JSON.stringify(result)).not.toContain('secret')
  })

  test('Retry-After and the account limits are told', async () => {
    const server = await serve()
    const headers = {
      'retry-after': '20',
      'anthropic-ratelimit-requests-limit': '50',
      'anthropic-ratelimit-requests-remaining': '0',
      'anthropic-ratelimit-tokens-limit': '40000',
      'anthropic-ratelimit-tokens-remaining': '39000',
    }
    server.reply(error(429, 'rate_limit_error', headers))
    const limits = { requestsPerMinute: 50, requestsRemaining: 0, tokensPerMinute: 40_000, tokensRemaining: 39_000 }
    const provider = connect(server.url)
    expect((await call(provider)).answer).toMatchObject({ kind: 'not-executed', retryAfterMs: 20_000, limits })
    server.reply({ ...TOOL, headers } as ServerPlan)
    expect((await call(provider)).answer).toMatchObject({ kind: 'succeeded', limits })
  })

  test('slow headers: the deadline ends the call, and the answer that comes later is not waited for', async () => {
    const server = await serve()
    let release = (): void => {}
    const before = new Promise<void>((resolve) => (release = resolve))
    server.reply({ ...TOOL, before } as ServerPlan)
    const { result } = await call(connect(server.url), { deadlineMs: 100 })
    release()
    expect(result).toMatchObject({ kind: 'uncertain', error: { code: 'deadline-exceeded' } })
    expect(server.calls).toHaveLength(1)
  })

  test('a refusal that is no JSON is read by its status', async () => {
    const server = await startWireServer((socket) => reply(socket, 529, '<html>', { 'request-id': 'req_x' }))
    const { result } = await call(connect(`http://127.0.0.1:${server.port}`))
    await server.close()
    expect(result).toMatchObject({ error: { code: 'http-529' }, retryable: true, evidence: { requestId: 'req_x' } })
    expect(result.evidence).not.toHaveProperty('errorType')
  })

  test('a status that this API does not have is no answer', async () => {
    const server = await startWireServer((socket) => reply(socket, 201, '{}'))
    const { result } = await call(connect(`http://127.0.0.1:${server.port}`))
    await server.close()
    expect(result).toMatchObject({ error: { code: 'not-a-stream', kind: 'partial' }, retryable: false })
  })

  test('within a kept connection it is one POST still', async () => {
    const server = await serve()
    const provider = connect(server.url)
    server.reply(TOOL)
    expect((await call(provider)).result.kind).toBe('succeeded')
    server.reply({ kind: 'cut' })
    expect((await call(provider)).result.kind).toBe('uncertain')
    expect(server.calls).toHaveLength(2)
  })

  test('a stream that stops in the middle is ended, and has run', async () => {
    const server = await serve()
    const message = { toolInput: ANSWER, usage: { input: 200 } }
    server.reply({ kind: 'message', message, stopAfterBytes: 1100, stopBy: 'hang' })
    // Ended when the output has begun to come: the deadline does the same.
    const stop = new AbortController()
    const request = { onProgress: () => stop.abort(), deadlineMs: 30_000 }
    expect((await call(connect(server.url), request, { signal: stop.signal })).result).toMatchObject({
      kind: 'failed',
      error: { kind: 'partial', code: 'stream-cut', message: 'The answer was not complete in time.' },
      retryable: true,
      spend: started,
    })
  })

  test('without a price the terms bound is booked, for a cut stream too', async () => {
    const server = await serve()
    server.reply({ ...TOOL, stopAfterBytes: 1100, stopBy: 'cut' } as ServerPlan)
    const provider = connect(server.url, { spendMax: { amount: '0.50', currency: 'EUR' } }, null)
    expect((await call(provider)).result).toMatchObject({
      error: { code: 'stream-cut' },
      spend: { amount: '0.50', currency: 'EUR', basis: 'upper-bound' },
    })
  })

  test('a call that is ended lets go of its connection', async () => {
    const server = await serve()
    server.reply({ kind: 'hang' })
    const provider = connect(server.url)
    const stop = new AbortController()
    const running = call(provider, {}, { signal: stop.signal })
    await waitFor(() => server.calls.length === 1, { what: 'the request to arrive' })
    stop.abort()
    expect((await running).result).toMatchObject({ kind: 'uncertain', error: { code: 'call-stopped' } })
  })
})

describe('ready', () => {
  const { signal } = new AbortController()
  test('asks for the model, and starts nothing', async () => {
    const server = await serve()
    expect(await connect(server.url).ready!(signal)).toEqual({ ready: true, detail: 'The model is available.' })
    expect(await connect(server.url, { model: 'claude-other' }).ready!(signal)).toEqual({
      ready: false,
      detail: 'Asked for the model claude-other: http-404.',
    })
    expect(server.calls).toHaveLength(0)
  })
})
