/**
 * The provider process that other tests count by: it must itself count right, and the http provider and it must
 * mean the same by each of its modes.
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { http, type HttpOptions } from '../../src/providers/http.js'
import { performCall, type CallResult } from '../../src/providers/call.js'
import type { Provider } from '../../src/providers/contract.js'
import { startProviderProcess, type ProviderProcess, type ProviderRule } from '../support/provider-process.js'
import { waitFor } from '../support/processes.js'
import { aRequest, options } from './call-inputs.js'

let remote: ProviderProcess
const providers: Provider[] = []
beforeAll(async () => {
  remote = await startProviderProcess()
})
afterEach(async () => {
  for (const provider of providers.splice(0)) await provider.close()
  await remote.control({ reset: true })
})
afterAll(() => remote.stop())

async function call(requestKey: string, more: Partial<HttpOptions> = {}, deadlineMs = 5000): Promise<CallResult> {
  const httpOptions = { url: `${remote.url}/infer`, cost: 'free', ...more } as HttpOptions
  const provider = http(httpOptions).create('gpt', { secret: () => '' })
  providers.push(provider)
  const request = aRequest({ requestKey, deadlineMs })
  return performCall(provider, { ...request, built: await provider.build!(request) }, options())
}

test.each<{ rule: ProviderRule; kind: CallResult['kind']; executions: number; deadlineMs?: number }>([
  { rule: { mode: 'answer', body: { text: 'told' } }, kind: 'succeeded', executions: 1 },
  { rule: { mode: 'delay', ms: 50 }, kind: 'succeeded', executions: 1 },
  { rule: { mode: 'hang' }, kind: 'uncertain', executions: 1, deadlineMs: 200 },
  { rule: { mode: 'cut-before-reply' }, kind: 'uncertain', executions: 1 },
  { rule: { mode: 'cut-body' }, kind: 'failed', executions: 1 },
  { rule: { mode: 'status', status: 500, run: true }, kind: 'uncertain', executions: 1 },
  { rule: { mode: 'status', status: 429, headers: { 'retry-after': '1' } }, kind: 'failed', executions: 0 },
  { rule: { mode: 'large', bytes: 5_000_000 }, kind: 'succeeded', executions: 1 },
])('$rule.mode ends as $kind', async ({ rule, kind, executions, deadlineMs }) => {
  await remote.control(rule)
  const result = await call('key-1', {}, deadlineMs)
  expect(result.kind).toBe(kind)
  expect(await remote.counts({ key: 'key-1' })).toMatchObject({ posts: 1, executions })
})

test('a rule fits by key or body, for as many calls as it says, and the newest goes first', async () => {
  await remote.control({ mode: 'status', status: 400 })
  await remote.control({ mode: 'answer', match: 'rec-7', times: 2 })
  expect((await call('rec-7.read')).kind).toBe('succeeded')
  expect((await call('rec-8.read')).kind).toBe('failed')
  expect((await call('other', { body: () => ({ id: 'rec-7' }) })).kind).toBe('succeeded')
  expect((await call('rec-7.read')).kind).toBe('failed')
  expect(await remote.counts()).toEqual({ posts: 4, executions: 2, keys: 3 })
  expect(await remote.counts({ match: 'rec-' })).toEqual({ posts: 3, executions: 1, keys: 2 })
})

test('where keys are honoured, a repeat is answered from the first run', async () => {
  await remote.control({ idempotent: true })
  await remote.control({ mode: 'cut-body', times: 1 })
  const idempotent = { recovery: 'idempotent', keyTtl: '1h' } as const
  expect((await call('key-1', idempotent)).kind).toBe('uncertain')
  expect(await call('key-1', idempotent)).toMatchObject({ kind: 'succeeded', output: { ok: true, execution: 1 } })
  expect(await remote.counts({ key: 'key-1' })).toMatchObject({ posts: 2, executions: 1 })
})

test('what hangs is answered when it is released', async () => {
  await remote.control({ mode: 'hang', times: 1 })
  const pending = call('key-1')
  await waitFor(async () => (await remote.hanging()) === 1, { what: 'the call to hang' })
  await remote.control({ release: true })
  expect(await pending).toMatchObject({ kind: 'succeeded' })
  expect(await remote.hanging()).toBe(0)
})
