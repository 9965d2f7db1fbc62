/**
 * The openai adapter through real workers that are killed: a background job, a foreground stream and a stored chat
 * completion, each recovered in its own way. The protocol server runs here, so it outlives them and counts for itself.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deployment, RecordJson, TestNode } from '../support/deployment.js'
import { startDeployment } from '../support/deployment.js'
import { OPENAI_TEST_KEY, startOpenAiServer, type OpenAiServer } from '../support/protocol/openai-server.js'
import { attemptsOf, duplicatesIn, expectCharged, hasHandle, inLedger, killAt, runWell } from './killed-worker.js'

let server: OpenAiServer
let deployment: Deployment
let api: TestNode
beforeAll(async () => {
  server = await startOpenAiServer()
  const model = {
    adapter: 'openai' as const,
    baseUrl: server.baseUrl,
    model: 'gpt-test',
    apiKey: { secret: 'OPENAI_API_KEY' },
    // The answer is any JSON here: there is no schema to tell.
    schema: false,
    maxOutputTokens: 100,
    prices: { currency: 'USD', inputPerMillion: '2', cachedInputPerMillion: '0.50', outputPerMillion: '8' },
    longestRun: '2s',
    lookupLag: '1s',
  }
  const price = { fixed: '0.40', currency: 'EUR' }
  const pipeline = (name: string, use: string, onUncertain: unknown) => ({
    name,
    steps: [{ name: 'a', use: [use], price, attempts: 2, deadline: '5s', onUncertain }],
  })
  const retry = { retry: { duplicateBudget: 1 } }
  deployment = await startDeployment({
    providers: {
      job: { ...model, background: true, longestRun: '10s' },
      lost: { ...model, background: true, longestRun: '5s' },
      stream: model,
      chat: { ...model, api: 'chat' },
    },
    pipelines: [
      pipeline('job', 'job', 'investigate'),
      pipeline('lost', 'lost', 'investigate'),
      pipeline('lost-retry', 'lost', retry),
      pipeline('stream', 'stream', 'investigate'),
      pipeline('stream-retry', 'stream', retry),
      pipeline('chat', 'chat', undefined),
    ],
    secrets: { OPENAI_API_KEY: OPENAI_TEST_KEY },
  })
  api = await deployment.node({ roles: ['api', 'sweeper'] })
})
afterAll(async () => {
  await deployment.dispose()
  await server.close()
})

const USED = { inputTokens: 120, cachedInputTokens: 20, outputTokens: 9 }
/** 100 at 2, 20 at 0.50 and 9 at 8 dollars a million. */
const PAID = { amount: '0.000282', currency: 'USD', basis: 'reported' }
const OUTPUT = { name: 'Grüße, 患者 🩺' }
const input = { text: 'Who is it?' }

/** What reached the provider from here on. */
const counting = () => {
  const posts = () =>
    server.requests.filter(({ method, path }) => method === 'POST' && !path.endsWith('/cancel')).length
  const before = { posts: posts(), executions: server.runs }
  return () => ({ posts: posts() - before.posts, executions: server.runs - before.executions })
}

const expectAnswered = (record: RecordJson) => {
  expect(record.status).toBe('completed')
  const { attempts, result } = record.steps['a']!
  expect(result!.output).toEqual(OUTPUT)
  const answered = attempts.find(({ n }) => n === result!.attempt)!
  expect(answered).toMatchObject({ outcome: 'succeeded', model: 'gpt-test', usage: USED, spend: PAID })
  expect(answered.evidence).toMatchObject({ requestId: 'req_test_1', model: 'gpt-test-2026-08-01' })
  expect(answered.evidence!['finishReason']).toBe(record.pipeline === 'chat' ? 'stop' : 'completed')
  expectCharged(record)
}

const expectDoubt = (record: RecordJson) => {
  const [lost] = attemptsOf(record)
  expect(lost).toMatchObject({ outcome: 'uncertain', error: { kind: 'unknown' }, spend: { basis: 'upper-bound' } })
  expect(Number(lost!.spend!.amount)).toBeGreaterThan(Number(PAID.amount))
}

/** Ends the job by its handle, as soon as that is in the record. */
const finishJob = async (id: string) => {
  const record = await hasHandle(deployment, api)(id)
  server.finish(attemptsOf(record)[0]!.handle!, {})
}

describe('a background job', () => {
  it('completes: one POST, and the ledger holds what it used and cost', async () => {
    const count = counting()
    const record = await runWell(deployment, api, { pipeline: 'job', input, meanwhile: finishJob })
    expectAnswered(record)
    expect(inLedger(record)).toBe(1)
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL after its handle was saved: fetched by it, never called again', async () => {
    const count = counting()
    const stop = { point: 'store.save.after', event: 'CALL_ACCEPTED:a' } as const
    const record = await killAt(deployment, api, stop, { pipeline: 'job', input, after: finishJob })
    expectAnswered(record)
    expect(inLedger(record)).toBe(1)
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL when its end was heard and not saved: fetched again, never called again', async () => {
    const count = counting()
    const stop = { point: 'store.save.before', event: 'CALL_SUCCEEDED:a' } as const
    const record = await killAt(deployment, api, stop, { pipeline: 'job', input, meanwhile: finishJob })
    expectAnswered(record)
    expect(inLedger(record)).toBe(1)
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL before its handle was saved, policy investigate: no second call', async () => {
    const count = counting()
    const record = await killAt(
      deployment,
      api,
      { point: 'provider.call.after', event: 'a' },
      { pipeline: 'lost', input },
    )
    expect(record.status).toBe('investigation')
    expectDoubt(record)
    expectCharged(record)
    expect(count()).toEqual({ posts: 1, executions: inLedger(record) })
  })

  it('SIGKILL before its handle was saved, policy retry: a second call, and the first may be a duplicate', async () => {
    const count = counting()
    const stop = { point: 'provider.call.after', event: 'a' } as const
    const record = await killAt(deployment, api, stop, {
      pipeline: 'lost-retry',
      input,
      async after(id) {
        const found = await deployment.until(api, id, (seen) => attemptsOf(seen)[1]?.handle != null)
        server.finish(attemptsOf(found)[1]!.handle!, {})
      },
    })
    expectAnswered(record)
    expectDoubt(record)
    expect(duplicatesIn(record)).toBe(1)
    expect(inLedger(record)).toBe(2)
    expect(count()).toEqual({ posts: 2, executions: 2 })
  })
})

describe('a foreground stream', () => {
  it('completes: one POST, its first event’s id is the handle', async () => {
    const count = counting()
    const record = await runWell(deployment, api, { pipeline: 'stream', input })
    expectAnswered(record)
    expect(attemptsOf(record)).toMatchObject([{ handle: server.lastId() }])
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL between its end and the save: looked up by its id, never called again', async () => {
    const count = counting()
    const record = await killAt(
      deployment,
      api,
      { point: 'provider.call.after', event: 'a' },
      { pipeline: 'stream', input, before: hasHandle(deployment, api) },
    )
    expectAnswered(record)
    expect(inLedger(record)).toBe(1)
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL after the first event was saved, while it still streams: looked up until it has ended', async () => {
    const count = counting()
    server.plan({ hold: 'rest', running: true })
    const looks = () => server.requests.filter(({ path }) => path.endsWith(`/responses/${server.lastId()}`)).length
    const record = await killAt(
      deployment,
      api,
      { point: 'store.save.after', event: 'CALL_PROGRESSED:a' },
      {
        pipeline: 'stream',
        input,
        async after() {
          await deployment.eventually(() => Promise.resolve(looks() > 0), 'the response to be looked up')
          server.finish(server.lastId(), {})
          server.release()
        },
      },
    )
    expectAnswered(record)
    expect(attemptsOf(record)).toMatchObject([{ handle: server.lastId() }])
    expect(inLedger(record)).toBe(1)
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL before the id was saved, policy investigate: no second call, the upper bound is booked', async () => {
    const count = counting()
    server.plan({ hold: 'rest', running: true })
    const record = await killAt(
      deployment,
      api,
      { point: 'provider.progress', event: 'a' },
      { pipeline: 'stream', input },
    )
    server.release()
    expect(record.status).toBe('investigation')
    expect(attemptsOf(record)).toMatchObject([{ handle: null }])
    expectDoubt(record)
    expectCharged(record)
    expect(count()).toEqual({ posts: 1, executions: inLedger(record) })
  })

  it('SIGKILL before the id was saved, policy retry: a second call, and the first may be a duplicate', async () => {
    const count = counting()
    server.plan({ hold: 'rest', running: true })
    const stop = { point: 'provider.progress', event: 'a' } as const
    const record = await killAt(deployment, api, stop, { pipeline: 'stream-retry', input })
    server.release()
    expectAnswered(record)
    expectDoubt(record)
    expect(duplicatesIn(record)).toBe(1)
    expect(inLedger(record)).toBe(2)
    expect(count()).toEqual({ posts: 2, executions: 2 })
  })
})

describe('a stored chat completion', () => {
  it('completes: one POST, and the ledger holds what it used and cost', async () => {
    const count = counting()
    const record = await runWell(deployment, api, { pipeline: 'chat', input })
    expectAnswered(record)
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL between its answer and the save: found by our key, never called again', async () => {
    const count = counting()
    const stop = { point: 'provider.call.after', event: 'a' } as const
    const record = await killAt(deployment, api, stop, { pipeline: 'chat', input })
    expectAnswered(record)
    expect(inLedger(record)).toBe(1)
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })
})
