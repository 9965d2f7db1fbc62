/**
 * The kserve provider against a real MLServer, whose counter says independently of us what was executed.
 */
import { once } from 'node:events'
import { connect as connectTo, createServer, type AddressInfo, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { performCall, type CallResult } from '../../src/providers/call.js'
import type { CallRequest, Provider } from '../../src/providers/contract.js'
import { KserveAnswer } from '../../src/providers/kserve/inference.js'
import { kserve, type KserveOptions } from '../../src/providers/kserve/kserve.js'
import { tensor } from '../../src/providers/kserve/tensor.js'
import { INSTALL_MS_MAX, startMlserver, type Mlserver } from '../support/model-servers.js'
import { waitFor } from '../support/processes.js'
import { aRequest, options } from './call-inputs.js'

let mlserver: Mlserver
beforeAll(async () => {
  mlserver = await startMlserver()
}, INSTALL_MS_MAX)
afterAll(() => mlserver.stop())

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

function connect(more: Partial<KserveOptions> = {}): Provider {
  const factory = kserve({ url: mlserver.url, model: mlserver.model, ...more })
  const provider = factory.create('risk', { secret: () => '' })
  closing.push(() => provider.close())
  return provider
}

const requestFor = (rows: number[][]) => ({
  inputs: [tensor('rows', 'FP64', [rows.length, rows[0]!.length], rows.flat())],
})
const aRow = () => mlserver.known[0]!.row

async function call(provider: Provider, more: Partial<CallRequest> = {}): Promise<CallResult> {
  const request = aRequest({ request: requestFor([aRow()]), requestKey: 'rec-1.read.risk.1', ...more })
  return performCall(provider, { ...request, built: await provider.build!(request) }, options())
}

/** What was executed from here on. */
async function counting() {
  const before = await mlserver.executions()
  return async () => {
    const after = await mlserver.executions()
    return { succeeded: after.succeeded - before.succeeded, failed: after.failed - before.failed }
  }
}

describe('a call', () => {
  test('predicts what is true of rows that the model has not seen, and is one execution', async () => {
    const executed = await counting()
    const known = mlserver.known
    const result = await call(connect(), { request: requestFor(known.map(({ row }) => row)) })
    if (result.kind !== 'succeeded') throw new Error(JSON.stringify(result))
    const { outputs, ...rest } = KserveAnswer.parse(result.output)
    expect(rest).toMatchObject({ modelName: 'breast-cancer', modelVersion: '1' })
    expect(outputs).toHaveLength(1)
    expect(outputs[0]).toMatchObject({ name: 'predict', datatype: 'INT64', shape: [known.length, 1] })
    const right = known.filter(({ target }, place) => outputs[0]!.data[place] === target)
    expect(right.length / known.length).toBeGreaterThanOrEqual(0.9)
    expect(result.evidence).toMatchObject({
      status: 200,
      model: 'breast-cancer',
      modelVersion: '1',
      requestId: 'rec-1.read.risk.1',
    })
    expect(await executed()).toEqual({ succeeded: 1, failed: 0 })
  })

  test('names the outputs that it wants, and maps them', async () => {
    const provider = connect({ version: '1', output: ({ outputs }) => outputs[0]!.data })
    const result = await call(provider, { request: { ...requestFor([aRow()]), outputs: [{ name: 'predict_proba' }] } })
    if (result.kind !== 'succeeded') throw new Error(JSON.stringify(result))
    const [no, yes] = result.output as [number, number]
    expect(no + yes).toBeCloseTo(1, 9)
  })

  test('runs again under the same id: nothing can be asked, so the provider is blind', async () => {
    const executed = await counting()
    const provider = connect()
    const [first, second] = [await call(provider), await call(provider)]
    expect(await executed()).toEqual({ succeeded: 2, failed: 0 })
    expect(first).toMatchObject({ kind: 'succeeded' })
    expect(second).toMatchObject({ kind: 'succeeded', output: (first as { output: unknown }).output })
  })
})

describe('what the server refuses', () => {
  test('a wrong shape is answered with 500: in doubt, and the model did not succeed', async () => {
    const executed = await counting()
    const result = await call(connect(), { request: requestFor([[1, 2, 3]]) })
    expect(result).toMatchObject({ kind: 'uncertain', error: { code: 'http-500', kind: 'unknown' } })
    expect(await executed()).toEqual({ succeeded: 0, failed: 1 })
  })

  test('an output that the model does not have, by the protocol', async () => {
    const result = await call(connect(), { request: { ...requestFor([aRow()]), outputs: [{ name: 'nonsense' }] } })
    expect(result).toMatchObject({
      kind: 'failed',
      retryable: false,
      error: { code: 'input-refused', kind: 'not-executed' },
    })
  })

  test.each<[string, Partial<KserveOptions>]>([
    ['a model that it does not have', { model: 'nothing' }],
    ['a version that it does not have', { version: '9' }],
  ])('%s', async (_, more) => {
    const executed = await counting()
    expect(await call(connect(more))).toMatchObject({
      kind: 'failed',
      retryable: false,
      error: { code: 'model-unknown', kind: 'not-executed' },
    })
    expect((await executed()).succeeded).toBe(0)
  })
})

test('readiness tells of the model, and of one that is not there', async () => {
  const ask = (provider: Provider) => provider.ready!(AbortSignal.timeout(5_000))
  expect(await ask(connect())).toEqual({ ready: true, detail: 'breast-cancer' })
  expect(await ask(connect({ version: '1' }))).toEqual({ ready: true, detail: 'breast-cancer' })
  expect(await ask(connect({ model: 'nothing' }))).toMatchObject({
    ready: false,
    detail: expect.stringMatching(/does not know the model/) as string,
  })
  expect(await ask(connect({ version: '9' }))).toMatchObject({
    ready: false,
    detail: expect.stringMatching(/knows the model, but this version/) as string,
  })
})

/** Between us and the server: counts what went through, and may lose the answers. */
async function startProxy({ losesAnswers }: { losesAnswers: boolean }) {
  const sockets = new Set<Socket>()
  let connections = 0
  let bytesSent = 0
  const server = createServer((client) => {
    connections += 1
    const upstream = connectTo(Number(new URL(mlserver.url).port), '127.0.0.1')
    for (const socket of [client, upstream]) sockets.add(socket.on('error', () => {}))
    client.on('data', (part) => upstream.write(part, () => (bytesSent += part.length)))
    upstream.on('data', (part) => (losesAnswers ? client.resetAndDestroy() : client.write(part)))
    upstream.on('close', () => client.resetAndDestroy())
    client.on('close', () => upstream.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(async () => {
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    bytesSent: () => bytesSent,
  }
}

describe('no answer', () => {
  test('a call that is given up on runs all the same: it is in doubt, and the doubt is right', async () => {
    const executed = await counting()
    const provider = connect()
    mlserver.signal('SIGSTOP')
    const result = await call(provider, { deadlineMs: 200 }).finally(() => mlserver.signal('SIGCONT'))
    expect(result).toMatchObject({ kind: 'uncertain', error: { code: 'deadline-exceeded', kind: 'unknown' } })
    await waitFor(async () => (await executed()).succeeded === 1, { what: 'the server to run what it was sent' })
  })

  test('an answer that is lost on its way leaves an execution that nobody can ask about', async () => {
    const executed = await counting()
    const proxy = await startProxy({ losesAnswers: true })
    expect(await call(connect({ url: proxy.url }))).toMatchObject({
      kind: 'uncertain',
      error: { code: 'connection-reset', kind: 'unknown' },
    })
    expect(await executed()).toEqual({ succeeded: 1, failed: 0 })
    expect(proxy.connections()).toBe(1)
  })

  // The last test of the file, because it ends the server.
  test('a server that is killed in the middle of a call leaves it in doubt; the next is certainly not sent', async () => {
    const proxy = await startProxy({ losesAnswers: false })
    mlserver.signal('SIGSTOP')
    const calling = call(connect({ url: proxy.url }), { deadlineMs: 20_000 })
    await waitFor(() => proxy.bytesSent() > 0, { what: 'the request to be on its way' })
    await mlserver.stop()
    expect(await calling).toMatchObject({ kind: 'uncertain', error: { code: 'connection-reset', kind: 'unknown' } })
    const provider = connect()
    expect(await call(provider)).toMatchObject({
      kind: 'failed',
      retryable: true,
      error: { code: 'connection-refused', kind: 'not-executed' },
    })
    expect(await provider.ready!(AbortSignal.timeout(5_000))).toMatchObject({ ready: false })
  })
})
