/** Jobs by description, against the three services that docs/providers.md shows and a team's own server. */
import { afterEach, describe, expect, test } from 'vitest'
import type { AskAnswer, CallAnswer, CallRequest, Provider, Question } from '../../src/providers/contract.js'
import { http, type HttpOptions } from '../../src/providers/http.js'
import type { JobOptions } from '../../src/providers/http-options.js'
import { startFaultyServer, type FaultyServer, type Protocol } from '../../src/testing/testing.js'
import { ANALYSIS, analysisState, documentIntelligenceServer } from '../support/protocol/document-intelligence.js'
import { FAL_RESULT, falServer, type FalState } from '../support/protocol/fal.js'
import { ANSWER, jobServer, keyedServer } from '../support/protocol/model-server.js'
import { RUNPOD_OUTPUT, runpodServer, runpodState } from '../support/protocol/runpod.js'
import { aRequest, bytesInput } from './call-inputs.js'
import { described, florence, layout, triage } from './described.js'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const signal = new AbortController().signal
const WEBHOOK_URL = 'https://endstate.example/v1/webhooks/gpt?token=abc&x=1'

async function serve(protocol: Protocol): Promise<FaultyServer> {
  const server = await startFaultyServer(protocol)
  closing.push(() => server.close())
  return server
}

function connect(factory: ReturnType<typeof http>): Provider {
  const provider = factory.create('gpt', { secret: (name) => `value-of-${name}` })
  closing.push(() => provider.close())
  return provider
}

async function submit(provider: Provider, more: Partial<CallRequest> = {}): Promise<CallAnswer> {
  const request = aRequest({ input: bytesInput('image/png', Buffer.from('scan')), ...more })
  return provider.call({ ...request, built: await provider.build!(request) }, signal)
}

const question = (handle: string | null, requestKey = 'rec-1.read.gpt.1'): Question => ({
  record: 'rec-1',
  step: 'read',
  attempt: 1,
  generation: 1,
  requestKey,
  handle,
  startedAt: new Date(),
  sendBy: new Date(),
  deadlineMs: 5000,
})
const ask = (provider: Provider, handle: string | null, key?: string): Promise<AskAnswer> =>
  provider.ask!(question(handle, key), signal)

/** Polls as often as the protocol servers need to end a job. */
async function ended(provider: Provider, handle: string): Promise<AskAnswer> {
  await ask(provider, handle)
  await ask(provider, handle)
  return ask(provider, handle)
}

const paths = (server: FaultyServer): string[] => server.requests.map(({ method, path }) => `${method} ${path}`)

describe('fal', () => {
  const ID = '80e732af-660e-45cd-bd63-000000000001'
  const start = async (state: FalState = { jobs: [] }) => {
    const server = await serve(falServer(state))
    return { server, state, provider: connect(described(florence, server.url)) }
  }

  test('a job is submitted, polled, and its output fetched from where it stands', async () => {
    const { server, provider } = await start()
    expect(await submit(provider)).toMatchObject({ kind: 'accepted', handle: ID, pollAfterMs: 2000 })
    expect(server.requests[0]!.headers['authorization']).toBe('Key value-of-FAL_KEY')
    expect(JSON.parse(String(server.requests[0]!.body))).toEqual({ image_url: 'data:image/png;base64,c2Nhbg==' })
    expect(await ask(provider, ID)).toMatchObject({ kind: 'accepted', handle: ID, evidence: { jobStatus: 'IN_QUEUE' } })
    expect(await ask(provider, ID)).toMatchObject({ kind: 'accepted', evidence: { jobStatus: 'IN_PROGRESS' } })
    expect(await ask(provider, ID)).toMatchObject({
      kind: 'succeeded',
      output: FAL_RESULT.results,
      usage: { seconds: 2.5 },
      spend: { amount: '0.0015', currency: 'USD', basis: 'reported' },
    })
    const job = `GET /fal-ai/florence-2-large/requests/${ID}`
    expect(paths(server).slice(1)).toEqual([`${job}/status`, `${job}/status`, `${job}/status`, job])
  })

  test('the webhook’s URL goes into the query', async () => {
    const { state, provider } = await start()
    await submit(provider, { webhookUrl: WEBHOOK_URL })
    expect(state.jobs[0]!.webhook).toBe(WEBHOOK_URL)
  })

  test.each<{ status: number; headers?: { [name: string]: string }; is: object }>([
    { status: 422, is: { kind: 'executed', code: 'job-http-422', retryable: false } },
    {
      status: 500,
      headers: { 'x-fal-error-type': 'runner_server_error' },
      is: { kind: 'executed', code: 'runner-server-error', retryable: true },
    },
    { status: 500, is: { kind: 'unknown', code: 'ask-http-500' } },
    { status: 401, is: { kind: 'unknown', code: 'ask-http-401' } },
    { status: 202, is: { kind: 'unknown', code: 'result-missing' } },
    { status: 404, is: { kind: 'unknown', code: 'result-missing' } },
  ])('a result of $status', async ({ status, headers, is }) => {
    const json = { detail: 'the page of Anna Muster could not be read' }
    const { provider } = await start({ jobs: [], response: { status, json, ...(headers && { headers }) } })
    await submit(provider)
    const answer = await ended(provider, ID)
    expect(answer).toMatchObject(is)
    expect(JSON.stringify(answer)).not.toContain('Anna')
  })

  test('cancelling is the PUT of the documentation', async () => {
    const { server, state, provider } = await start()
    await submit(provider)
    await provider.cancel!(question(ID), signal)
    expect(state.jobs[0]!.cancelled).toBe(true)
    expect(paths(server)[1]).toBe(`PUT /fal-ai/florence-2-large/requests/${ID}/cancel`)
    await provider.cancel!(question(null), signal)
    expect(server.requests).toHaveLength(2)
  })
})

describe('RunPod', () => {
  const ID = 'eaebd6e7-6a92-4bb8-a911-f996ac5ea001-u1'
  const start = async () => {
    const state = runpodState()
    const server = await serve(runpodServer(state))
    return { state, server, provider: connect(described(triage, server.url)) }
  }
  const request = { prompt: 'read it' }

  test('a job is submitted, polled and paid by the second', async () => {
    const { state, server, provider } = await start()
    expect(await submit(provider, { request })).toMatchObject({ kind: 'accepted', handle: ID, pollAfterMs: 1000 })
    expect(state.jobs[0]!.body).toEqual({ input: request, policy: { executionTimeout: 600_000, ttl: 600_000 } })
    expect(server.requests[0]!.headers['authorization']).toBe('Bearer value-of-RUNPOD_API_KEY')
    expect(await ended(provider, ID)).toMatchObject({
      kind: 'succeeded',
      output: RUNPOD_OUTPUT,
      usage: { seconds: 3.391 },
      spend: { amount: '0.00105121', currency: 'USD', basis: 'reported' },
    })
  })

  test('the webhook’s URL goes into the body, beside the frozen request', async () => {
    const { state, server, provider } = await start()
    await submit(provider, { request, webhookUrl: WEBHOOK_URL })
    expect(state.jobs[0]!.body).toMatchObject({ input: request, webhook: WEBHOOK_URL })
    const { body, headers } = server.requests[0]!
    expect(headers['content-length']).toBe(String(body.length))
  })

  test.each<{ end: object; is: object }>([
    { end: { status: 'FAILED', error: 'Anna Muster' }, is: { kind: 'executed', code: 'job-failed', retryable: true } },
    { end: { status: 'TIMED_OUT' }, is: { kind: 'executed', retryable: true } },
    { end: { status: 'CANCELLED' }, is: { kind: 'executed', retryable: false, rejects: false } },
    { end: { status: 'Anna Muster' }, is: { kind: 'unknown', code: 'unknown-status' } },
    { end: { status: 'constructor' }, is: { kind: 'unknown', code: 'unknown-status' } },
    { end: {}, is: { kind: 'unknown', code: 'unknown-status' } },
    { end: { status: 'COMPLETED' }, is: { kind: 'partial', code: 'output-missing' } },
  ])('an end of $end.status', async ({ end, is }) => {
    const { state, provider } = await start()
    state.end = end
    await submit(provider, { request })
    const answer = await ended(provider, ID)
    expect(answer).toMatchObject(is)
    expect(JSON.stringify(answer)).not.toContain('Anna')
  })

  test('a usage that was not told leaves the spend open, never smaller', async () => {
    const { state, provider } = await start()
    state.end = { status: 'COMPLETED', output: RUNPOD_OUTPUT }
    await submit(provider, { request })
    expect(await ended(provider, ID)).toMatchObject({ kind: 'succeeded', spend: null })
  })

  test('a job that is forgotten is missing; cancelled and readiness', async () => {
    const { server, provider } = await start()
    expect(await ask(provider, 'gone')).toMatchObject({ kind: 'missing', evidence: { status: 404 } })
    await submit(provider, { request })
    await provider.cancel!(question(ID), signal)
    expect(await ask(provider, ID)).toMatchObject({ kind: 'executed', retryable: false })
    expect(await provider.ready!(signal)).toEqual({ ready: true, detail: 'ready' })
    server.faults = { asks: { kind: 'instead', response: { status: 503 } } }
    expect(await provider.ready!(signal)).toEqual({ ready: false, detail: 'http-503' })
  })
})

describe('Document Intelligence', () => {
  const start = async () => {
    const state = analysisState()
    const server = await serve(documentIntelligenceServer(state))
    const provider = connect(described(layout, server.url))
    const location = `${server.url}/documentintelligence/documentModels/prebuilt-layout/analyzeResults/1?api-version=2024-11-30`
    return { state, server, provider, location }
  }

  test('the operation is followed by its location, as often as Retry-After says', async () => {
    const { state, provider, location } = await start()
    expect(await submit(provider)).toMatchObject({
      kind: 'accepted',
      handle: location,
      pollAfterMs: 1000,
      evidence: { status: 202, requestId: 'e2a1-1' },
    })
    expect(state.operations[0]).toMatchObject({ sent: Buffer.from('scan'), type: 'image/png' })
    expect(await ask(provider, location)).toMatchObject({ kind: 'accepted', pollAfterMs: 2000 })
    expect(await ask(provider, location)).toMatchObject({ kind: 'accepted', evidence: { jobStatus: 'running' } })
    expect(await ask(provider, location)).toMatchObject({
      kind: 'succeeded',
      output: ANALYSIS,
      spend: { amount: '0.02', currency: 'USD' },
    })
  })

  test('the key goes to no other host, whoever names it', async () => {
    const { state, server, provider } = await start()
    const other = await serve(documentIntelligenceServer())
    state.elsewhere = other.url
    expect(await submit(provider)).toMatchObject({ kind: 'unknown', code: 'foreign-url' })
    const before = server.requests.length
    const away = [
      `${other.url}/x`,
      '//127.0.0.1:1/x',
      'file:///etc/passwd',
      `http://user:pw@${new URL(server.url).host}/x`,
    ]
    for (const handle of away)
      expect(await ask(provider, handle)).toMatchObject({ kind: 'unknown', code: 'foreign-url' })
    expect(other.requests).toHaveLength(0)
    expect(server.requests).toHaveLength(before)
  })

  test('an error’s code is kept, its sentence is not', async () => {
    const { state, provider, location } = await start()
    state.end = { status: 'failed', error: { code: 'InternalServerError', message: 'Anna Muster' } }
    await submit(provider)
    const answer = await ended(provider, location)
    expect(answer).toMatchObject({ kind: 'executed', code: 'internalservererror', retryable: true })
    expect(JSON.stringify(answer)).not.toContain('Anna')
  })
})

describe('a team’s own server', () => {
  const poll: JobOptions['poll'] = {
    url: '/jobs/{handle}',
    status: '/state',
    means: { queued: 'running', running: 'running', done: 'succeeded', bad: 'rejected', lost: 'not-executed' },
    error: '/why',
    fraction: '/progress',
  }
  const jobs = (url: string, more: object = {}) =>
    http({
      url: `${url}/jobs`,
      cost: 'free',
      recovery: 'job',
      job: { handle: '/id', poll },
      lookup: { url: '/jobs?key={requestKey}', handle: '/items/0/id', lag: '2s' },
      ...more,
    } as HttpOptions)

  test('a job whose handle was lost is found by our key, and polled in the same question', async () => {
    const server = await serve(jobServer())
    const provider = connect(jobs(server.url))
    expect(await ask(provider, null)).toMatchObject({ kind: 'missing' })
    server.faults = { starts: { kind: 'read-and-cut', how: 'reset' } }
    expect(await submit(provider)).toMatchObject({ kind: 'unknown', code: 'connection-reset' })
    expect(await ask(provider, null)).toMatchObject({ kind: 'accepted', handle: 'job-1', fraction: 0.25 })
    expect(await ask(provider, null, 'another key')).toMatchObject({ kind: 'missing' })
    await ask(provider, 'job-1')
    expect(await ask(provider, null)).toMatchObject({ kind: 'succeeded', handle: 'job-1' })
  })

  test('a look-up that finds no usable handle decides nothing', async () => {
    const server = await serve(() => ({ status: 200, json: { items: [{ id: 7 }] } }))
    const provider = connect(jobs(server.url))
    expect(await ask(provider, null)).toMatchObject({ kind: 'unknown', code: 'bad-handle' })
    expect(server.requests).toHaveLength(1)
  })

  test('a cancellation goes to no other host', async () => {
    const [server, other] = [await serve(jobServer()), await serve(jobServer())]
    const cancel = { method: 'POST', url: (handle: string) => handle } as const
    const provider = connect(jobs(server.url, { job: { handle: '/id', poll, cancel } }))
    await provider.cancel!(question(`${other.url}/jobs`), signal)
    await provider.cancel!(question('http://'), signal)
    expect([server.requests, other.requests]).toEqual([[], []])
  })

  test.each([
    ['bad', { kind: 'executed', rejects: true, retryable: false, code: 'too-small' }],
    ['lost', { kind: 'not-executed', retryable: true }],
  ])('an end that means %s', async (state, is) => {
    const protocol = jobServer()
    const server = await serve((request, at) =>
      request.method === 'GET' ? { status: 200, json: { state, why: 'too_small' } } : protocol(request, at),
    )
    expect(await ask(connect(jobs(server.url)), 'job-1')).toMatchObject(is)
  })

  test('a failure told in a sentence has no code of it', async () => {
    const server = await serve(() => ({ status: 200, json: { state: 'bad', why: 'Anna Muster can not be read' } }))
    expect(await ask(connect(jobs(server.url)), 'job-1')).toMatchObject({ kind: 'executed', code: 'job-failed' })
  })

  test('a submission that is answered by no JSON is in doubt, also in part', async () => {
    const server = await serve(jobServer())
    const provider = connect(jobs(server.url))
    server.faults = { starts: { kind: 'instead', response: { status: 202, body: '<html>' } } }
    expect(await submit(provider)).toMatchObject({ kind: 'unknown', code: 'bad-handle' })
    server.faults = { starts: { kind: 'cut', afterBytes: 110, how: 'close' } }
    expect(await submit(provider)).toMatchObject({ kind: 'unknown', code: 'response-cut' })
  })

  test('a handle is one segment of a path, whatever it holds', async () => {
    const server = await serve(jobServer())
    const provider = connect(jobs(server.url))
    for (const handle of ['../admin', 'a/b?x=1#y', '..', '%2e%2e']) await ask(provider, handle)
    expect(paths(server)).toEqual([
      'GET /jobs/..%2Fadmin',
      'GET /jobs/a%2Fb%3Fx%3D1%23y',
      'GET /jobs/',
      'GET /jobs/%252e%252e',
    ])
  })

  test.each<[string, object]>([
    ['no handle', {}],
    ['a handle with a blank', { id: 'a b' }],
    ['a handle that is a number', { id: 7 }],
    ['a handle without end', { id: 'x'.repeat(513) }],
  ])('a submission that is answered with %s is in doubt', async (_, json) => {
    const server = await serve(() => ({ status: 200, json }))
    expect(await submit(connect(jobs(server.url)))).toMatchObject({ kind: 'unknown', code: 'bad-handle' })
  })

  test('functions of the description that throw decide nothing', async () => {
    const server = await serve(jobServer())
    const throws = (): never => {
      throw new Error('Anna')
    }
    const provider = connect(jobs(server.url, { job: { handle: throws, poll: { ...poll, url: throws } } }))
    expect(await submit(provider)).toMatchObject({ kind: 'unknown', code: 'bad-handle' })
    expect(await ask(provider, 'job-1')).toMatchObject({ kind: 'unknown', code: 'foreign-url' })
  })

  test('a refusal that names a time pauses the provider', async () => {
    const server = await serve(() => ({ status: 429, headers: { 'retry-after': '7' }, json: {} }))
    const provider = connect(jobs(server.url))
    expect(await submit(provider)).toMatchObject({
      kind: 'not-executed',
      retryAfterMs: 7000,
      limits: { pauseMs: 7000 },
    })
    expect(await ask(provider, 'job-1')).toMatchObject({ kind: 'unknown', limits: { pauseMs: 7000 } })
  })

  test('a call that was kept under our key is looked up; 202 says that it still runs', async () => {
    const server = await serve(keyedServer())
    const options: HttpOptions = {
      url: `${server.url}/infer`,
      cost: 'free',
      recovery: 'retrievable',
      lookup: { url: '/runs/{requestKey}', lag: '2s' },
    }
    const provider = connect(http(options))
    expect(await ask(provider, null)).toMatchObject({ kind: 'missing' })
    await submit(provider)
    expect(await ask(provider, null)).toMatchObject({ kind: 'succeeded', output: ANSWER })
    server.faults = { asks: { kind: 'instead', response: { status: 202, json: {} } } }
    expect(await ask(provider, null)).toMatchObject({ kind: 'accepted' })
    server.faults = { asks: { kind: 'instead', response: { status: 410, json: {} } } }
    expect(await ask(provider, null)).toMatchObject({ kind: 'missing' })
  })

  test('a look-up that reads a status', async () => {
    const states = ['running', 'done']
    const server = await serve(() => ({ status: 200, json: { state: states.shift(), output: ANSWER } }))
    const lookup = { url: '/runs/{requestKey}', lag: '2s', status: '/state', means: poll.means } as const
    const provider = connect(
      http({ url: `${server.url}/infer`, cost: 'free', recovery: 'retrievable', lookup, output: '/output' }),
    )
    expect(await ask(provider, null)).toMatchObject({ kind: 'accepted' })
    expect(await ask(provider, null)).toMatchObject({ kind: 'succeeded', output: ANSWER })
  })
})
