/**
 * `replicate` against a server of its protocol: the life of a prediction, what a broken POST proves, and that one call is
 * one POST. The server's own list of predictions is the independent count of executions.
 */
import type { Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Provider } from '../../src/providers/contract.js'
import type { ReplicateOptions } from '../../src/providers/replicate/replicate.js'
import {
  DEPLOYMENT,
  startReplicateServer,
  VERSION,
  type Fault,
  type ReplicateServer,
} from '../support/protocol/replicate-server.js'
import { aRequest, bytesInput } from './call-inputs.js'
import { reply, startWireServer } from './http-wire-server.js'
import { ask, call, createProvider, upperBound } from './replicate-rig.js'

let server: ReplicateServer
let providers: Provider[] = []
beforeEach(async () => {
  server = await startReplicateServer()
})
afterEach(async () => {
  for (const provider of providers) await provider.close()
  providers = []
  await server.close()
})

function connect(more: Partial<ReplicateOptions> = {}): Provider {
  const provider = createProvider(server, more)
  providers.push(provider)
  return provider
}

/** The id of a job that was taken. */
async function submit(provider: Provider): Promise<string> {
  const result = await call(provider)
  if (result.kind !== 'accepted') throw new Error(`It was ${result.kind}.`)
  return result.handle
}

describe('the life of a prediction', () => {
  test('is taken, waits, runs and ends with its output, seconds and spend', async () => {
    const provider = connect()
    const handle = await submit(provider)
    expect(server.predictions.map(({ id }) => id)).toEqual([handle])
    expect(await ask(provider, { handle })).toMatchObject({ kind: 'accepted', handle })
    server.change(handle, { status: 'processing' })
    expect(await ask(provider, { handle })).toMatchObject({ kind: 'accepted', handle })
    server.succeed(handle, { text: 'hello Alice' }, 2.5)
    expect(await ask(provider, { handle })).toMatchObject({
      kind: 'succeeded',
      handle,
      output: { text: 'hello Alice' },
      usage: { seconds: 2.5 },
      spend: { amount: '0.0025', currency: 'USD', basis: 'reported' },
      evidence: { status: 200, requestId: 'req-1' },
    })
    expect(server.posts).toHaveLength(1)
  })

  test('takes the output apart as the config says', async () => {
    const provider = connect({ output: (output) => (output as { text: string }).text })
    const handle = await submit(provider)
    server.succeed(handle, { text: 'hello' })
    expect(await ask(provider, { handle })).toMatchObject({ kind: 'succeeded', output: 'hello' })
    server.succeed(handle, null)
    expect(await ask(provider, { handle })).toMatchObject({ kind: 'partial', code: 'output-threw' })
  })

  test('that fails has run, with its cost, and its words are kept nowhere', async () => {
    const provider = connect()
    const handle = await submit(provider)
    const error = 'Patient Alice Miller is not readable (E005)'
    server.change(handle, { status: 'failed', error, logs: error, metrics: { predict_time: 1 } })
    const answer = await ask(provider, { handle })
    expect(answer).toMatchObject({
      kind: 'executed',
      code: 'prediction-failed',
      retryable: true,
      spend: { amount: '0.001' },
      evidence: { errorCode: 'E005' },
    })
    expect(JSON.stringify(answer)).not.toContain('Alice')
  })

  test.each([
    ['canceled', 'prediction-canceled', false],
    ['aborted', 'prediction-aborted', true],
  ] as const)('that is %s has run', async (status, code, retryable) => {
    const provider = connect()
    const handle = await submit(provider)
    server.change(handle, { status })
    expect(await ask(provider, { handle })).toMatchObject({ kind: 'executed', code, retryable })
  })

  test('whose output was removed is a result lost, not the result null', async () => {
    const provider = connect()
    const handle = await submit(provider)
    server.succeed(handle, null)
    server.change(handle, { data_removed: true, input: {} })
    expect(await ask(provider, { handle })).toMatchObject({ kind: 'partial', code: 'output-removed' })
  })

  test('that the account does not have is missing', async () => {
    expect(await ask(connect(), { handle: 'gm3qorzdhgbfurvjtvhg6dckhu' })).toMatchObject({ kind: 'missing' })
  })

  test('with a state that nobody has documented is unknown', async () => {
    const provider = connect()
    const handle = await submit(provider)
    server.change(handle, { status: 'paused' as never })
    expect(await ask(provider, { handle })).toMatchObject({ kind: 'unknown', code: 'bad-prediction' })
  })

  test('is cancelled on request, and asking for it starts nothing', async () => {
    const provider = connect()
    const handle = await submit(provider)
    const question = { record: 'r', step: 's', attempt: 1, generation: 1, requestKey: 'k', startedAt: new Date() }
    const more = { sendBy: new Date(), deadlineMs: 1000 }
    await provider.cancel?.({ ...question, ...more, handle: null }, new AbortController().signal)
    expect(server.predictions[0]?.status).toBe('starting')
    await provider.cancel?.({ ...question, ...more, handle }, new AbortController().signal)
    expect(server.predictions[0]?.status).toBe('canceled')
    expect(server.requests.filter((line) => line.startsWith('POST'))).toEqual([
      'POST /v1/models/clinic/reader/predictions',
      `POST /v1/predictions/${handle}/cancel`,
    ])
  })

  test('that ended before the POST was answered is read from that answer', async () => {
    server.fault({ kind: 'ended', output: 'hello', seconds: 0.5 })
    expect(await call(connect())).toMatchObject({
      kind: 'succeeded',
      output: 'hello',
      spend: { amount: '0.0005', basis: 'reported' },
    })
  })
})

describe('what a POST proves', () => {
  const unknown = { kind: 'uncertain', spend: upperBound }
  const cases: { name: string; fault: Fault; taken: number; result: object }[] = [
    { name: 'cut before it was taken', fault: { kind: 'cut', taken: false }, taken: 0, result: unknown },
    { name: 'cut after it was taken', fault: { kind: 'cut', taken: true }, taken: 1, result: unknown },
    {
      name: 'answered with half a body',
      fault: { kind: 'cut-body' },
      taken: 1,
      result: { ...unknown, error: { code: 'response-cut' } },
    },
    {
      name: 'never answered',
      fault: { kind: 'hang' },
      taken: 1,
      result: { ...unknown, error: { code: 'deadline-exceeded' } },
    },
    {
      name: 'answered 500',
      fault: { kind: 'status', status: 500, body: {}, taken: true },
      taken: 1,
      result: { ...unknown, error: { code: 'http-500' } },
    },
    {
      name: 'answered without an id',
      fault: { kind: 'answer', status: 201, body: { status: 'starting' } },
      taken: 0,
      result: { ...unknown, error: { code: 'no-id' } },
    },
    {
      name: 'answered 202, as where the API waits by itself',
      fault: { kind: 'answer', status: 202, body: { id: 'abc123', status: 'processing' } },
      taken: 0,
      result: { kind: 'accepted', handle: 'abc123' },
    },
    {
      name: 'answered with a state that nobody has documented',
      fault: { kind: 'answer', status: 201, body: { id: 'abc123', status: 'paused' } },
      taken: 0,
      result: { kind: 'accepted', handle: 'abc123' },
    },
    {
      name: 'answered with an id that would not stay in its path',
      fault: { kind: 'answer', status: 201, body: { id: '../../account', status: 'starting' } },
      taken: 0,
      result: { ...unknown, error: { code: 'no-id' } },
    },
    {
      name: 'throttled, in the words of the body',
      fault: {
        kind: 'status',
        status: 429,
        body: { detail: 'Request was throttled. Expected available in 7 seconds.' },
      },
      taken: 0,
      // Half of the window of a first try is added, so that not all return at once.
      result: { kind: 'failed', retryable: true, backoffMs: 7500, spend: null, error: { kind: 'not-executed' } },
    },
    {
      name: 'refused: no credit',
      fault: { kind: 'status', status: 402, body: {} },
      taken: 0,
      result: { kind: 'failed', retryable: false, spend: null, error: { kind: 'not-executed', code: 'http-402' } },
    },
    {
      name: 'refused: input validation',
      fault: { kind: 'status', status: 422, body: {} },
      taken: 0,
      result: { kind: 'failed', retryable: false, spend: null, error: { kind: 'not-executed', code: 'http-422' } },
    },
  ]
  test.each(cases)('$name: one POST, $taken taken', async ({ fault, taken, result }) => {
    server.fault(fault)
    expect(await call(connect(), { deadlineMs: fault.kind === 'hang' ? 200 : 5000 })).toMatchObject(result)
    expect(server.posts).toHaveLength(1)
    expect(server.predictions).toHaveLength(taken)
  })

  test('a throttle holds the whole account for as long as it says', async () => {
    const detail = 'Request was throttled. Expected available in 7 seconds.'
    server.fault({ kind: 'status', status: 429, body: { detail } })
    server.fault({ kind: 'status', status: 429, body: { detail }, headers: { 'retry-after': '3' } })
    const provider = connect()
    const request = aRequest({ request: { input: {} } })
    const built = await provider.build!(request)
    const pauseMs = async () =>
      (await provider.call({ ...request, built }, new AbortController().signal)).limits?.pauseMs
    expect(await pauseMs()).toBe(7000)
    expect(await pauseMs()).toBe(3000)
  })

  test('an API token that is refused is no execution', async () => {
    const provider = connect({ apiKey: { secret: 'OTHER' } })
    expect(await call(provider)).toMatchObject({ kind: 'failed', error: { kind: 'not-executed', code: 'http-401' } })
    const asked = await ask(provider, { handle: 'abc' })
    // A look-up that was refused says nothing about the call.
    expect(asked).toMatchObject({ kind: 'unknown', code: 'http-401' })
  })
})

describe('what a look-up proves', () => {
  test('nothing, when it is refused, cut or finds no server: the call may have run all the same', async () => {
    const handle = await submit(connect())
    // Without a kept connection, which would break instead of being refused.
    const unconnected = connect()
    await server.close()
    expect(await ask(unconnected, { handle })).toMatchObject({ kind: 'unknown', code: 'connection-refused' })
    server = await startReplicateServer()
    for (const respond of [
      (socket: Socket) => reply(socket, 500, '{}'),
      (socket: Socket) => reply(socket, 429, '{}', { 'retry-after': '1' }),
      (socket: Socket) => reply(socket, 200, '<html>'),
      (socket: Socket) => socket.end('HTTP/1.1 200 x\r\ncontent-length: 99\r\n\r\n{"id"'),
      (socket: Socket) => socket.resetAndDestroy(),
    ]) {
      const wire = await startWireServer(respond)
      const asked = connect({ baseUrl: `http://127.0.0.1:${wire.port}/v1` })
      expect(await ask(asked, { handle })).toMatchObject({ kind: 'unknown' })
      expect(wire.requests).toHaveLength(1)
      await wire.close()
    }
  })

  test('nothing about this call, when another prediction comes back', async () => {
    const other = JSON.stringify({ id: 'other', status: 'succeeded', output: 'of another record' })
    const wire = await startWireServer((socket) => reply(socket, 200, other))
    const provider = connect({ baseUrl: `http://127.0.0.1:${wire.port}/v1` })
    expect(await ask(provider, { handle: 'mine' })).toMatchObject({ kind: 'unknown', code: 'bad-prediction' })
    await wire.close()
  })

  test('a handle never leaves its place in the path', async () => {
    expect(await ask(connect(), { handle: '../account?x=/' })).toMatchObject({ kind: 'missing' })
    expect(server.requests).toEqual(['GET /v1/predictions/..%2Faccount%3Fx%3D%2F'])
  })
})

describe('what is sent', () => {
  test.each<{ more: Partial<ReplicateOptions>; path: string; version?: string }>([
    { more: {}, path: '/v1/models/clinic/reader/predictions' },
    { more: { deployment: DEPLOYMENT }, path: '/v1/deployments/clinic/reader-eu/predictions' },
    { more: { version: VERSION }, path: '/v1/predictions', version: VERSION },
  ])('goes to $path', async ({ more, path, version }) => {
    const provider = connect(more)
    expect((await call(provider)).kind).toBe('accepted')
    const [post] = server.posts
    expect(post?.path).toBe(path)
    expect(JSON.parse(post?.body ?? '')).toEqual({ ...(version && { version }), input: { text: 'Alice' } })
    expect(await provider.ready?.(new AbortController().signal)).toMatchObject({ ready: true })
  })

  test('is not ready where the model is not there', async () => {
    const provider = connect({ model: 'clinic/other' })
    expect(await provider.ready?.(new AbortController().signal)).toMatchObject({ ready: false })
    expect(await call(provider)).toMatchObject({ kind: 'failed', error: { code: 'http-404' } })
  })

  test('carries the webhook behind the frozen body, and only where its deliveries can be verified', async () => {
    const webhookUrl = 'https://es.example/v1/webhooks/rep?token="a%22b'
    await call(connect(), { webhookUrl })
    await call(connect({ webhookSecret: undefined as never }), { webhookUrl })
    const [first, second] = server.posts.map(({ body }) => body)
    expect(JSON.parse(first ?? '')).toEqual({
      input: { text: 'Alice' },
      webhook: webhookUrl,
      webhook_events_filter: ['completed'],
    })
    expect(first?.startsWith((second ?? '').slice(0, -1))).toBe(true)
    expect(JSON.parse(second ?? '')).toEqual({ input: { text: 'Alice' } })
  })

  test('holds the file as a data URL', async () => {
    const input = bytesInput('image/png', Buffer.from('pixels'))
    await call(connect(), { input, request: { threshold: 2 } })
    expect(server.predictions[0]?.input).toEqual({
      threshold: 2,
      image: `data:image/png;base64,${Buffer.from('pixels').toString('base64')}`,
    })
  })
})

describe('a prediction whose id never came', () => {
  const requestKey = 'rec-1.read.rep.1.0'

  test('is found in the list by the request key that the model was given', async () => {
    const provider = connect({ tokenField: 'reference' })
    expect(provider.terms).toMatchObject({ recovery: 'job', findsByToken: true })
    server.fault({ kind: 'cut', taken: true })
    expect(await call(provider, { requestKey })).toMatchObject({ kind: 'uncertain' })
    server.add({ input: { reference: 'rec-2.read.rep.1.0' } })
    const [mine] = server.predictions
    expect(await ask(provider, { requestKey })).toMatchObject({ kind: 'accepted', handle: mine?.id })
    server.succeed(mine?.id ?? '', 'found')
    expect(await ask(provider, { requestKey })).toMatchObject({ kind: 'succeeded', output: 'found', handle: mine?.id })
    expect(server.posts).toHaveLength(1)
  })

  test('is missing when the POST was never taken', async () => {
    const provider = connect({ tokenField: 'reference' })
    server.add({ input: { reference: 'rec-2.read.rep.1.0' } })
    server.add({ input: {} })
    expect(await ask(provider, { requestKey })).toEqual({ kind: 'missing' })
  })

  test('is looked for on every page, and only in its time', async () => {
    const provider = connect({ tokenField: 'reference' })
    const old = new Date(Date.now() - 3_600_000).toISOString()
    server.add({ input: { reference: requestKey }, created_at: old, status: 'succeeded' })
    const mine = server.add({ input: { reference: requestKey } })
    for (let others = 0; others < 5; others++) server.add({ input: { text: 'x' } })
    server.pageSize = 2
    expect(await ask(provider, { requestKey })).toMatchObject({ kind: 'accepted', handle: mine.id })
    expect(server.requests).toHaveLength(3)
  })

  test('stays in doubt when inputs of that time were removed, or the list has no end', async () => {
    const provider = connect({ tokenField: 'reference' })
    const gone = server.add({ input: {}, data_removed: true, status: 'succeeded' })
    expect(await ask(provider, { requestKey })).toMatchObject({ kind: 'unknown', code: 'inputs-removed' })
    server.change(gone.id, { data_removed: false })
    expect(await ask(provider, { requestKey })).toEqual({ kind: 'missing' })
    server.pageSize = 1
    for (let others = 0; others < 20; others++) server.add({ input: {} })
    expect(await ask(provider, { requestKey })).toMatchObject({ kind: 'unknown', code: 'list-too-long' })
  })

  test('cannot be asked for without a field that carries the key', async () => {
    const provider = connect()
    expect(provider.terms.findsByToken).toBe(false)
    expect(await ask(provider)).toMatchObject({ kind: 'unknown', code: 'cannot-be-asked' })
    expect(server.requests).toEqual([])
  })
})
