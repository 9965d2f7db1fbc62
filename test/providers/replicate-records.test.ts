/**
 * Records on Replicate and on Cog, end to end on real servers: by the poll, by the webhook, by the list, and what a lost
 * answer costs. The providers' own counts of executions are compared with the ledger.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { freePort } from '../../src/embedded/free-port.js'
import { cog, createEndstate, endstate, replicate } from '../../src/index.js'
import type { EndstateInstance } from '../../src/index.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { listen, type Listening } from '../../src/server/listen.js'
import { INSTALL_MS_MAX, startCog, type CogServer } from '../support/cog-server.js'
import {
  MODEL,
  startReplicateServer,
  type Delivery,
  type ReplicateServer,
} from '../support/protocol/replicate-server.js'
import { waitFor } from '../support/processes.js'
import { freshDb, freshNats, type FreshDb, type FreshNats } from '../support/servers.js'
import { apiKey, prices, secrets, webhookSecret } from './replicate-rig.js'

const Page = z.object({ text: z.string() })
const price = { fixed: '0.40', currency: 'EUR' }

let remote: ReplicateServer
let model: CogServer
let db: FreshDb
let nats: FreshNats
let instance: EndstateInstance
let listening: Listening

function configOf() {
  const shared = { model: MODEL, apiKey, prices, baseUrl: remote.url }
  const es = endstate({
    providers: {
      told: replicate({ ...shared, webhookSecret }),
      listed: replicate({ ...shared, tokenField: 'reference' }),
      own: cog({ url: model.url, output: (output) => ({ text: (output as { key: string }).key }) }),
    },
  })
  const pipeline = (name: string, use: 'told' | 'listed' | 'own', attempts = 1) =>
    es
      .pipeline(name, { revision: 1, accepts: ['application/json'] })
      .step('read', { use: [use], output: Page, deadline: '5s', attempts, onUncertain: 'investigate', price })
  return es.config({ pipelines: [pipeline('told', 'told'), pipeline('listed', 'listed'), pipeline('own', 'own', 3)] })
}

beforeAll(async () => {
  ;[remote, model, db, nats] = await Promise.all([startReplicateServer(), startCog(), freshDb(), freshNats()])
  const port = await freePort()
  instance = await createEndstate(configOf(), {
    mongo: db.client,
    database: db.db.databaseName,
    nats: nats.connection,
    roles: ['api', 'worker', 'sweeper'],
    prefix: nats.prefix,
    publicUrl: `http://127.0.0.1:${port}`,
    secrets: (name) => secrets.secret(name),
  })
  await instance.start()
  const handle = (req: IncomingMessage, res: ServerResponse): void => instance.handler(req, res)
  listening = await listen(handle, { host: '127.0.0.1', port })
}, INSTALL_MS_MAX)
afterAll(async () => {
  await listening.close({ graceMs: 500 })
  await instance.close()
  await Promise.all([db.dispose(), nats.dispose(), remote.close(), model.stop()])
})

async function submit(pipeline: string, input: unknown): Promise<string> {
  const response = await fetch(`${listening.url}/v1/records`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ pipeline, input }),
  })
  return ((await response.json()) as { id: string }).id
}

const until = (id: string, what: string, is: (doc: RecordDocument) => boolean): Promise<RecordDocument> =>
  waitFor(
    async () => {
      const doc = await instance.records.get(id)
      return doc !== null && is(doc) ? doc : null
    },
    { timeoutMs: 40_000, what: `record ${id} to be ${what}` },
  )
const settled = (id: string) => until(id, 'settled', ({ status }) => status !== 'processing')
const attemptsOf = (doc: RecordDocument) => doc.steps['read']?.attempts ?? []

/** The prediction that was made for this input, once it has been. */
const predictionFor = (text: string) =>
  waitFor(() => remote.predictions.find(({ input }) => input['text'] === text), { what: `a prediction for ${text}` })

const send = async (url: string, { headers, body }: Delivery): Promise<{ status: number; body: unknown }> => {
  const response = await fetch(url, { method: 'POST', headers, body: Buffer.from(body) })
  return { status: response.status, body: await response.json() }
}
const postsFor = (text: string): number => remote.posts.filter(({ body }) => body.includes(`"${text}"`)).length

it('a signed webhook brings the record to its end; repeated and forged ones change nothing', async () => {
  const [id, other] = await Promise.all([submit('told', { text: 'one' }), submit('told', { text: 'two' })])
  const [one, two] = await Promise.all([predictionFor('one'), predictionFor('two')])
  for (const record of [id, other]) await until(record, 'waiting', (doc) => attemptsOf(doc)[0]?.handle !== undefined)
  remote.change(one.id, { status: 'processing' })
  remote.change(two.id, { status: 'processing' })

  const end = { ...one, status: 'succeeded' as const, output: { text: 'hello one' }, metrics: { predict_time: 2 } }
  remote.change(one.id, end)
  const forged = remote.deliveryOf(one.id, { key: 'whsec_b3RoZXI=' })
  expect(await send(one.webhook ?? '', forged)).toMatchObject({ status: 401, body: { code: 'webhook-refused' } })
  const right = remote.deliveryOf(one.id)
  expect(await send(one.webhook ?? '', right)).toMatchObject({ status: 200 })
  const doc = await settled(id)
  expect(doc).toMatchObject({ status: 'completed', charges: { read: { amount: '0.40' } } })
  expect(attemptsOf(doc)).toMatchObject([
    { outcome: 'succeeded', handle: one.id, usage: { seconds: 2 }, spend: { amount: '0.002', basis: 'reported' } },
  ])
  const { version } = doc
  expect(await send(one.webhook ?? '', right)).toMatchObject({ status: 200, body: { taken: 'known' } })
  expect((await instance.records.get(id))?.version).toBe(version)

  remote.succeed(two.id, { text: 'hello two' })
  expect(await remote.deliver(two.id)).toBe(200)
  expect((await settled(other)).status).toBe('completed')
  expect([postsFor('one'), postsFor('two')]).toEqual([1, 1])
})

it('a POST that was cut after it was taken is told by its webhook, and nothing is paid twice', async () => {
  remote.fault({ kind: 'cut', taken: true })
  const id = await submit('told', { text: 'three' })
  const three = await predictionFor('three')
  remote.succeed(three.id, { text: 'hello three' })
  await until(id, 'in doubt', (doc) => JSON.stringify(doc.history).includes('CALL_UNCERTAIN'))
  expect(await remote.deliver(three.id)).toBe(200)
  const doc = await settled(id)
  expect(doc.status).toBe('completed')
  expect(postsFor('three')).toBe(1)
  expect(attemptsOf(doc).map(({ possibleDuplicate }) => possibleDuplicate ?? false)).toEqual([false])
})

it('a POST that was cut after it was taken is found in the list by its key', async () => {
  remote.fault({ kind: 'cut', taken: true })
  const id = await submit('listed', { text: 'four' })
  const four = await predictionFor('four')
  remote.succeed(four.id, { text: 'hello four' })
  const doc = await settled(id)
  expect(doc.status).toBe('completed')
  expect(attemptsOf(doc).at(-1)).toMatchObject({ outcome: 'succeeded', spend: { basis: 'reported' } })
  expect(postsFor('four')).toBe(1)
})

it('a run on Cog is one run, and what it refuses ends the record without one', async () => {
  const doc = await settled(await submit('own', { key: 'five' }))
  expect(doc.status).toBe('completed')
  expect(attemptsOf(doc)).toHaveLength(1)
  expect(await model.runs('five')).toBe(1)
  const refused = await settled(await submit('own', { key: 'six', seconds: 'many' }))
  expect(refused.status).toBe('investigation')
  expect(attemptsOf(refused)).toMatchObject([{ outcome: 'failed', spend: null, error: { code: 'input-refused' } }])
  expect(await model.runs('six')).toBe(0)
})
