/**
 * Replicate's own client against our server of its protocol: that what we test against is not our idea alone. It asks
 * once for each call, because only statuses that we never answer here make it repeat.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import Replicate, { validateWebhook } from 'replicate'
import {
  API_TOKEN,
  MODEL,
  startReplicateServer,
  VERSION,
  WEBHOOK_KEY,
  type ReplicateServer,
} from '../support/protocol/replicate-server.js'

let server: ReplicateServer
let client: Replicate
beforeEach(async () => {
  server = await startReplicateServer()
  client = new Replicate({ auth: API_TOKEN, baseUrl: server.url })
})
afterEach(() => server.close())

test('creates, gets, lists and cancels', async () => {
  const input = { text: 'Alice' }
  const made = await client.predictions.create({
    version: VERSION,
    input,
    webhook: 'https://es.example/hook',
    webhook_events_filter: ['completed'],
  })
  expect(made).toMatchObject({ status: 'starting', input, urls: { get: `${server.url}/predictions/${made.id}` } })
  const official = await client.predictions.create({ model: MODEL, input })
  server.succeed(made.id, 'hello Alice', 2)
  expect(await client.predictions.get(made.id)).toMatchObject({
    status: 'succeeded',
    output: 'hello Alice',
    metrics: { predict_time: 2 },
  })
  expect(await client.predictions.cancel(official.id)).toMatchObject({ id: official.id, status: 'canceled' })
  const { results } = await client.predictions.list()
  expect(results.map(({ id }) => id)).toEqual([official.id, made.id])
  expect(server.posts).toHaveLength(2)
})

test('walks the pages of the list', async () => {
  server.pageSize = 2
  const ids = [1, 2, 3, 4, 5].map(() => server.add().id)
  const seen: string[] = []
  for await (const page of client.paginate(client.predictions.list)) seen.push(...page.map(({ id }) => id))
  expect(seen).toEqual(ids.reverse())
})

test('waits for an end by polling', async () => {
  const made = await client.predictions.create({ model: MODEL, input: {} })
  server.succeed(made.id, ['a'])
  expect(await client.wait(made, { interval: 1 })).toMatchObject({ output: ['a'] })
})

test('tells what was refused', async () => {
  const other = new Replicate({ auth: 'r8_other', baseUrl: server.url })
  await expect(other.predictions.list()).rejects.toThrow('401')
  await expect(client.predictions.get('unknown')).rejects.toThrow('404')
  await expect(client.predictions.create({ version: 'f'.repeat(64), input: {} })).rejects.toThrow('422')
})

test('accepts our signatures, and not those of another key or body', async () => {
  const { key } = await client.webhooks.default.secret.get()
  expect(key).toBe(WEBHOOK_KEY)
  const { id } = server.add({ webhook: 'https://es.example/hook' })
  const check = ({ headers, body }: { headers: { [name: string]: string }; body: Uint8Array }, secret = key) =>
    validateWebhook({
      id: headers['webhook-id'] ?? '',
      timestamp: headers['webhook-timestamp'] ?? '',
      signature: headers['webhook-signature'] ?? '',
      body: Buffer.from(body).toString('utf8'),
      secret,
    })
  const delivery = server.deliveryOf(id)
  expect(await check(delivery)).toBe(true)
  expect(await check(server.deliveryOf(id, { key: 'whsec_b3RoZXI=' }))).toBe(false)
  expect(await check({ ...delivery, body: Buffer.from(`${Buffer.from(delivery.body).toString()} `) })).toBe(false)
})
