/**
 * `cog` against a real Cog server. What ran is counted by the model itself, in a file for each key: neither Cog nor we
 * could make that number right by mistake.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { CallRequest, Provider } from '../../src/providers/contract.js'
import { performCall, type CallResult } from '../../src/providers/call.js'
import { cog, type CogOptions } from '../../src/providers/cog/cog.js'
import { INSTALL_MS_MAX, startCog, type CogServer } from '../support/cog-server.js'
import { waitFor } from '../support/processes.js'
import { aRequest, bytesInput, options } from './call-inputs.js'

let server: CogServer
const providers: Provider[] = []
beforeAll(async () => {
  server = await startCog()
}, INSTALL_MS_MAX)
afterEach(async () => {
  for (const provider of providers.splice(0)) await provider.close()
})
afterAll(() => server.stop())

function connect(more: Partial<CogOptions> = {}, to: CogServer = server): Provider {
  const provider = cog({ url: to.url, ...more }).create('cog', { secret: () => '' })
  providers.push(provider)
  return provider
}

type Input = { key: string; seconds?: number; fail?: string; crash?: boolean }

/** The key of the run is the request key too, unless the request says otherwise. */
async function call(provider: Provider, input: Input, more: Partial<CallRequest> = {}): Promise<CallResult> {
  const request = aRequest({ request: { input }, requestKey: input.key, deadlineMs: 20_000, ...more })
  const built = (await provider.build?.(request)) ?? null
  return performCall(provider, { ...request, built }, options())
}

const began = (key: string, times = 1, at: CogServer = server): Promise<unknown> =>
  waitFor(async () => (await at.runs(key)) === times, { what: `run ${times} of ${key}` })
/** Cog answers a moment before it frees the slot: a call right behind may be refused as at capacity. */
const isFree = (provider: Provider): Promise<unknown> =>
  waitFor(async () => (await provider.ready?.(new AbortController().signal))?.detail === 'READY', {
    what: 'Cog to have a free slot',
  })
beforeEach(() => isFree(connect()))

test('a run that succeeds gives its output, its seconds and no spend', async () => {
  const result = await call(connect(), { key: 'ok' })
  expect(result).toMatchObject({
    kind: 'succeeded',
    output: { key: 'ok', bytes: null },
    usage: { seconds: expect.any(Number) as number },
    spend: null,
    evidence: { status: 200 },
  })
  expect(await server.runs('ok')).toBe(1)
})

test('a paid run costs what its seconds cost', async () => {
  const provider = connect({ cost: 'paid', prices: { currency: 'EUR', perSecond: '10' } })
  const result = await call(provider, { key: 'paid', seconds: 0.1 })
  expect(result).toMatchObject({ kind: 'succeeded', spend: { currency: 'EUR', basis: 'reported' } })
  const { spend } = result as { spend: { amount: string } }
  expect(Number(spend.amount)).toBeGreaterThanOrEqual(1)
  expect(Number(spend.amount)).toBeLessThan(10)
})

test('the file reaches the model whole', async () => {
  const input = bytesInput('image/png', Buffer.alloc(70_001, 7))
  expect(await call(connect(), { key: 'file' }, { input })).toMatchObject({ output: { bytes: 70_001 } })
})

test('a run that fails has been executed, and its words are kept nowhere', async () => {
  const result = await call(connect(), { key: 'fails', fail: 'patient Alice Miller' })
  expect(result).toMatchObject({
    kind: 'failed',
    error: { kind: 'executed', code: 'prediction-failed' },
    retryable: true,
  })
  expect(JSON.stringify(result)).not.toContain('Alice')
  expect(await server.runs('fails')).toBe(1)
})

test('a model whose process dies has been executed; Cog refuses from then on, and is not ready', async () => {
  const own = await startCog()
  try {
    const provider = connect({}, own)
    const result = await call(provider, { key: 'dies', crash: true })
    expect(result).toMatchObject({ kind: 'failed', error: { kind: 'executed' } })
    expect(await own.runs('dies')).toBe(1)
    const next = await call(provider, { key: 'next' })
    expect(next).toMatchObject({ kind: 'failed', error: { kind: 'not-executed' } })
    expect(await own.runs('next')).toBe(0)
    expect(await provider.ready?.(new AbortController().signal)).toEqual({ ready: false, detail: 'UNHEALTHY' })
  } finally {
    await own.stop()
  }
})

test('an input that the schema refuses is not executed and not tried again', async () => {
  const provider = connect()
  const refused = await call(provider, { key: 'refused', seconds: 'Alice' as never })
  expect(refused).toMatchObject({
    kind: 'failed',
    error: { kind: 'not-executed', code: 'input-refused' },
    retryable: false,
    spend: null,
    evidence: { status: 422 },
  })
  expect(JSON.stringify(refused)).not.toContain('Alice')
  await isFree(provider)
  expect(await call(provider, {} as Input, { requestKey: 'none' })).toMatchObject({ error: { code: 'input-refused' } })
  expect(await server.runs('refused')).toBe(0)
})

test('a repeat while it runs starts nothing, and after its end it runs again', async () => {
  const provider = connect({ slots: 2 })
  const first = call(provider, { key: 'twice', seconds: 1 })
  await began('twice')
  expect(await call(provider, { key: 'twice', seconds: 1 })).toMatchObject({
    kind: 'uncertain',
    error: { kind: 'unknown', code: 'still-running' },
    evidence: { status: 202 },
  })
  expect(await first).toMatchObject({ kind: 'succeeded', output: { key: 'twice' } })
  expect(await server.runs('twice')).toBe(1)
  await isFree(provider)
  expect(await call(provider, { key: 'twice' })).toMatchObject({ kind: 'succeeded' })
  expect(await server.runs('twice')).toBe(2)
})

test('another call while all slots are taken is not executed, and Cog counts as ready', async () => {
  const provider = connect({ slots: 2 })
  const first = call(provider, { key: 'holds', seconds: 1 })
  await began('holds')
  expect(await call(provider, { key: 'waits' })).toMatchObject({
    kind: 'failed',
    error: { kind: 'not-executed', code: 'at-capacity' },
    retryable: true,
    spend: null,
  })
  expect(await provider.ready?.(new AbortController().signal)).toEqual({ ready: true, detail: 'BUSY' })
  expect((await first).kind).toBe('succeeded')
  expect(await server.runs('waits')).toBe(0)
  await isFree(provider)
  expect(await call(provider, { key: 'waits' })).toMatchObject({ kind: 'succeeded' })
})

test('a call that we give up on is in doubt, and Cog ends the run whose connection is gone', async () => {
  const provider = connect()
  const result = await call(provider, { key: 'slow', seconds: 30 }, { deadlineMs: 300 })
  expect(result).toMatchObject({ kind: 'uncertain', error: { code: 'deadline-exceeded' } })
  expect(await server.runs('slow')).toBe(1)
  await waitFor(async () => (await server.runs('slow', 'cancelled')) === 1, { what: 'Cog to end the run' })
  await isFree(provider)
  expect(await call(provider, { key: 'slow' })).toMatchObject({ kind: 'succeeded' })
  expect(await server.runs('slow', 'ended')).toBe(1)
})

test('cancelling ends the run by its request key', async () => {
  const provider = connect({ slots: 2 })
  const running = call(provider, { key: 'cancelled', seconds: 30 })
  await began('cancelled')
  const question = { record: 'r', step: 's', attempt: 1, generation: 1, handle: null, startedAt: new Date() }
  const rest = { sendBy: new Date(), deadlineMs: 1000, requestKey: 'cancelled' }
  await provider.cancel?.({ ...question, ...rest }, new AbortController().signal)
  expect(await running).toMatchObject({
    kind: 'failed',
    error: { kind: 'executed', code: 'prediction-canceled' },
    retryable: false,
  })
  expect(await server.runs('cancelled', 'cancelled')).toBe(1)
  // Of a run that has ended there is nothing to cancel.
  await provider.cancel?.({ ...question, ...rest }, new AbortController().signal)
})

test('before its setup has ended nothing is executed', async () => {
  const own = await startCog({ holdSetup: true })
  try {
    const provider = connect({}, own)
    expect(await provider.ready?.(new AbortController().signal)).toEqual({ ready: false, detail: 'STARTING' })
    expect(await call(provider, { key: 'early' })).toMatchObject({
      kind: 'failed',
      error: { kind: 'not-executed', code: 'not-ready' },
      retryable: true,
    })
    await own.releaseSetup()
    expect(await call(provider, { key: 'early' })).toMatchObject({ kind: 'succeeded' })
    expect(await own.runs('early')).toBe(1)
  } finally {
    await own.stop()
  }
})

test('a server that is killed in mid-run leaves a doubt, rightly: the model may come to its end without it', async () => {
  const own = await startCog()
  try {
    const provider = connect({}, own)
    const running = call(provider, { key: 'killed', seconds: 0.5 })
    await began('killed', 1, own)
    await own.killServer()
    expect(await running).toMatchObject({
      kind: 'uncertain',
      error: { kind: 'unknown', code: 'connection-reset' },
    })
    expect(await own.runs('killed')).toBe(1)
    expect(await provider.ready?.(new AbortController().signal)).toMatchObject({ ready: false })
    expect(await call(provider, { key: 'killed' })).toMatchObject({
      kind: 'failed',
      error: { kind: 'not-executed', code: 'connection-refused' },
    })
    await waitFor(async () => (await own.runs('killed', 'ended')) === 1, { what: 'the orphaned run to end' })
  } finally {
    await own.stop()
  }
})
