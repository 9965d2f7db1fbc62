/** What `openai` makes of errors, deadlines and broken exchanges; and that a call is one POST in each mode. */
import { describe, expect, test } from 'vitest'
import type { Provider } from '../../src/providers/contract.js'
import type { OpenAiOptions } from '../../src/providers/openai/openai.js'
import { performCall } from '../../src/providers/call.js'
import type { Plan } from '../support/protocol/openai-server.js'
import { aRequest, options } from './call-inputs.js'
import { callOnce, USUAL_OUTPUT, serveEach } from './openai-fixture.js'

const { provider, posts, server } = serveEach()
describe('errors', () => {
  type Refused = {
    refuse: NonNullable<Plan['refuse']>
    kind: string
    code: string
    retryable?: boolean
    pauseMs?: number
  }
  test.each<Refused>([
    { refuse: { status: 400, code: 'invalid_value' }, kind: 'not-executed', code: 'invalid-value', retryable: false },
    {
      refuse: { status: 400, code: 'context_length_exceeded' },
      kind: 'not-executed',
      code: 'context-length-exceeded',
      retryable: false,
    },
    { refuse: { status: 400, code: 'Says hunter2!' }, kind: 'not-executed', code: 'http-400', retryable: false },
    { refuse: { status: 401 }, kind: 'not-executed', code: 'http-401', retryable: false },
    {
      refuse: { status: 403, code: 'unsupported_country_region_territory' },
      kind: 'not-executed',
      code: 'unsupported-country-region-territory',
      retryable: false,
    },
    { refuse: { status: 413 }, kind: 'not-executed', code: 'http-413', retryable: false },
    {
      refuse: { status: 429, code: 'rate_limit_exceeded', headers: { 'retry-after': '7' } },
      kind: 'not-executed',
      code: 'rate-limit-exceeded',
      retryable: true,
      pauseMs: 7000,
    },
    {
      refuse: { status: 429, code: 'slow_down', headers: { 'retry-after-ms': '250', 'retry-after': '7' } },
      kind: 'not-executed',
      code: 'slow-down',
      retryable: true,
      pauseMs: 250,
    },
    {
      refuse: { status: 429, code: 'insufficient_quota', headers: { 'retry-after': '7' } },
      kind: 'not-executed',
      code: 'insufficient-quota',
      retryable: false,
    },
    {
      refuse: { status: 429, code: 'credit_balance_exhausted', type: 'insufficient_quota' },
      kind: 'not-executed',
      code: 'credit-balance-exhausted',
      retryable: false,
    },
    {
      refuse: { status: 429, code: null, type: 'insufficient_quota' },
      kind: 'not-executed',
      code: 'http-429',
      retryable: false,
    },
    { refuse: { status: 500, code: 'server_error' }, kind: 'unknown', code: 'server-error' },
    { refuse: { status: 502 }, kind: 'unknown', code: 'http-502' },
    { refuse: { status: 503 }, kind: 'unknown', code: 'http-503' },
    {
      refuse: { status: 503, code: 'server_is_overloaded', headers: { 'retry-after': '2' } },
      kind: 'not-executed',
      code: 'server-is-overloaded',
      retryable: true,
      pauseMs: 2000,
    },
    { refuse: { status: 503, code: 'slow_down' }, kind: 'not-executed', code: 'slow-down', retryable: true },
  ])('$refuse.status $refuse.code is $kind', async ({ refuse, kind, code, retryable, pauseMs }) => {
    for (const gpt of [provider(), provider({ background: true }), provider({ api: 'chat' })]) {
      server().plan({ refuse })
      const { answer, progress } = await callOnce(gpt)
      expect(answer).toMatchObject({ kind, code, evidence: { status: refuse.status, requestId: 'req_test_1' } })
      if (retryable !== undefined) expect(answer).toMatchObject({ retryable })
      if (pauseMs !== undefined)
        expect(answer).toMatchObject({ retryAfterMs: pauseMs, limits: { pauseMs, requestsPerMinute: 500 } })
      else expect(answer.limits).not.toHaveProperty('pauseMs')
      expect(JSON.stringify(answer)).not.toContain('hunter2')
      expect(progress).toEqual([])
    }
    expect(posts()).toHaveLength(3)
    expect(server().runs).toBe(0)
  })

  test('the key goes before a header of the same name; a model that is not there is named', async () => {
    const gpt = provider({ headers: { authorization: 'Bearer nobody' } })
    expect(await callOnce(gpt)).toMatchObject({ answer: { kind: 'succeeded' } })
    const wrong = provider({ model: 'gpt-none' })
    expect(await callOnce(wrong)).toMatchObject({ answer: { kind: 'not-executed', code: 'model-not-found' } })
  })
})

describe('one call is one POST', () => {
  test.each<{ mode: Partial<OpenAiOptions>; plan: Plan }>(
    [
      { background: true },
      {},
      { store: false },
      { api: 'chat' as const },
      { api: 'chat' as const, stream: true },
    ].flatMap((mode) =>
      [{ cut: 'before-status' as const }, { cut: 0 }, { refuse: { status: 500 } }, { refuse: { status: 429 } }].map(
        (plan) => ({ mode, plan }),
      ),
    ),
  )('$mode, $plan', async ({ mode, plan }) => {
    const gpt = provider(mode)
    // On a fresh connection and on a kept one.
    for (let call = 1; call <= 2; call += 1) {
      server().plan(plan)
      const { answer } = await callOnce(gpt)
      expect(answer.kind).not.toBe('succeeded')
      server().plan({})
      await callOnce(gpt)
      expect(posts()).toHaveLength(2 * call)
    }
  })
})

describe('in time', () => {
  const inCallLayer = async (gpt: Provider, deadlineMs: number) => {
    const handles: (string | undefined)[] = []
    const request = aRequest({
      deadlineMs,
      request: { prompt: 'Who?' },
      onProgress: ({ handle }) => handles.push(handle),
    })
    const built = await gpt.build!(request)
    return { result: await performCall(gpt, { ...request, built }, options()), handles }
  }

  test('slow headers: the deadline ends the call in doubt', async () => {
    server().plan({ hold: 'status' })
    const { result } = await inCallLayer(provider(), 150)
    expect(result).toMatchObject({ kind: 'uncertain', error: { code: 'deadline-exceeded' } })
    expect(posts()).toHaveLength(1)
  })

  test('a slow body: the deadline ends it in doubt, with the id once it was told', async () => {
    server().plan({ hold: 'body' })
    expect(await inCallLayer(provider(), 150)).toMatchObject({ result: { kind: 'uncertain' }, handles: [] })
    const created = 'data: {"type":"response.created","response":{"id":"resp_7","status":"in_progress"}}\n\n'
    server().plan({ body: created, keepOpen: true })
    expect(await inCallLayer(provider(), 150)).toMatchObject({
      result: { kind: 'uncertain', error: { code: 'stream-cut' } },
      handles: ['resp_7'],
    })
    expect(posts()).toHaveLength(2)
  })

  test('headers that come late come in time', async () => {
    server().plan({ hold: 'status' })
    const gpt = provider({ api: 'chat' })
    const calling = callOnce(gpt)
    await expect.poll(() => server().runs).toBe(1)
    server().release()
    expect(await calling).toMatchObject({ answer: { kind: 'succeeded', output: USUAL_OUTPUT } })
  })
})
