/**
 * The replicate adapter through real workers that are killed, told by signed webhooks at the API's own port. The protocol
 * server runs here, so it outlives them; its predictions are the count of what was run.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../src/embedded/free-port.js'
import type { Deployment, RecordJson, TestNode, TestProvider } from '../support/deployment.js'
import { startDeployment } from '../support/deployment.js'
import {
  API_TOKEN,
  MODEL,
  startReplicateServer,
  WEBHOOK_KEY,
  type ReplicateServer,
} from '../support/protocol/replicate-server.js'
import { attemptsOf, expectCharged, hasHandle, inLedger, killAt, runWell } from './killed-worker.js'

let server: ReplicateServer
let deployment: Deployment
let api: TestNode
/** What the workers need to say where they can be told. */
let node: { publicUrl: string }
beforeAll(async () => {
  server = await startReplicateServer()
  const told: TestProvider = {
    adapter: 'replicate',
    model: MODEL,
    apiKey: { secret: 'REPLICATE_API_TOKEN' },
    webhookSecret: { secret: 'REPLICATE_WEBHOOK_KEY' },
    baseUrl: server.url,
    prices: { currency: 'USD', perSecond: '0.001' },
    longestRun: '1m',
  }
  const price = { fixed: '0.40', currency: 'EUR' }
  const pipeline = (name: string) => ({
    name,
    steps: [{ name: 'a', use: [name], price, attempts: 2, deadline: '5s', onUncertain: 'investigate' }],
  })
  deployment = await startDeployment({
    providers: {
      told,
      untold: { ...told, longestRun: '2s' },
      listed: { ...told, tokenField: 'token' },
    },
    pipelines: [pipeline('told'), pipeline('untold'), pipeline('listed')],
    secrets: { REPLICATE_API_TOKEN: API_TOKEN, REPLICATE_WEBHOOK_KEY: WEBHOOK_KEY },
  })
  const port = await freePort()
  node = { publicUrl: `http://127.0.0.1:${port}` }
  api = await deployment.node({ ...node, port, roles: ['api', 'sweeper'] })
})
afterAll(async () => {
  await deployment.dispose()
  await server.close()
})

const ANSWERED = { point: 'provider.call.after', event: 'a' } as const
const OUTPUT = { risk: 'low' }
const input = { scan: 'x' }

const counting = () => {
  const before = { posts: server.posts.length, predictions: server.predictions.length }
  return () => ({
    posts: server.posts.length - before.posts,
    executions: server.predictions.length - before.predictions,
  })
}

const newest = () => server.predictions.at(-1)!
/** The prediction ends, and the server tells us of it. Answers what it heard. */
const endAndTell = (): Promise<number> => {
  server.succeed(newest().id, OUTPUT)
  return server.deliver(newest().id)
}
const looksAt = (id: string) => server.requests.filter((line) => line === `GET /v1/predictions/${id}`).length

const byOf = async (id: string): Promise<string[]> => {
  const response = await fetch(`${api.url}/v1/records/${id}/history`)
  const { items } = (await response.json()) as { items: { by: string; event: { type: string } }[] }
  return items.filter(({ event }) => event.type === 'CALL_SUCCEEDED').map(({ by }) => by)
}

const expectAnswered = (record: RecordJson) => {
  expect(record.status).toBe('completed')
  expect(record.steps['a']!.result!.output).toEqual(OUTPUT)
  expect(attemptsOf(record)).toMatchObject([
    {
      outcome: 'succeeded',
      model: MODEL,
      evidence: { predictionId: newest().id },
      usage: { seconds: 1.5 },
      spend: { amount: '0.0015', currency: 'USD', basis: 'reported' },
    },
  ])
  expectCharged(record)
  expect(inLedger(record)).toBe(1)
}

describe('a prediction', () => {
  it('completes by its signed webhook: one POST, and the ledger holds what it used and cost', async () => {
    const count = counting()
    const record = await runWell(deployment, api, {
      pipeline: 'told',
      input,
      node,
      async meanwhile(id) {
        await hasHandle(deployment, api)(id)
        expect(await endAndTell()).toBe(200)
        expect(await server.deliver(newest().id)).toBe(200)
      },
    })
    expectAnswered(record)
    expect(attemptsOf(record)[0]!.handle).toBe(newest().id)
    expect(await byOf(record.id)).toEqual(['webhook:answer'])
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL after its id was saved, no webhook heard: polled, never made again', async () => {
    const count = counting()
    const stop = { point: 'store.save.after', event: 'CALL_ACCEPTED:a' } as const
    const record = await killAt(deployment, api, stop, {
      pipeline: 'told',
      input,
      node,
      after: () => Promise.resolve(server.succeed(newest().id, OUTPUT)),
    })
    expectAnswered(record)
    expect(looksAt(newest().id)).toBeGreaterThan(0)
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL before its id was saved: its webhook brings the result, and it is never made again', async () => {
    const count = counting()
    const record = await killAt(deployment, api, ANSWERED, {
      pipeline: 'told',
      input,
      node,
      after: async () => expect(await endAndTell()).toBe(200),
    })
    expectAnswered(record)
    expect(await byOf(record.id)).toEqual(['webhook:answer'])
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL before its id was saved, with a token in its input: found in the list, never made again', async () => {
    const count = counting()
    const record = await killAt(deployment, api, ANSWERED, {
      pipeline: 'listed',
      input,
      node,
      after: () => Promise.resolve(server.succeed(newest().id, OUTPUT)),
    })
    expectAnswered(record)
    expect(newest().input['token']).toBe(attemptsOf(record)[0]!.requestKey)
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL before its id was saved, and nothing heard: a person decides; the result that comes late is kept', async () => {
    const count = counting()
    const record = await killAt(deployment, api, ANSWERED, { pipeline: 'untold', input, node })
    expect(record.status).toBe('investigation')
    // For its longest run, rounded up.
    expect(attemptsOf(record)).toMatchObject([
      { outcome: 'uncertain', handle: null, spend: { amount: '0.002000001', currency: 'USD', basis: 'upper-bound' } },
    ])
    expectCharged(record)
    expect(inLedger(record)).toBe(1)
    expect(count()).toEqual({ posts: 1, executions: 1 })
    expect(await endAndTell()).toBe(200)
    const later = await deployment.read(api, record.id)
    expect(later.status).toBe('investigation')
    expect(attemptsOf(later)).toMatchObject([{ outcome: 'succeeded', spend: { amount: '0.0015', basis: 'reported' } }])
  })
})
