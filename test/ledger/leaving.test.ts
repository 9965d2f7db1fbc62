/** The whole way: a record is processed, its charges leave by both sinks, and the report knows them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { endstate } from '../../src/config/builder.js'
import type { ChargesOptions } from '../../src/ledger/settings.js'
import { createEndstate } from '../../src/endstate.js'
import type { EndstateInstance } from '../../src/endstate.js'
import { chargesStream } from '../../src/ledger/nats-sink.js'
import { freeBlindTerms } from '../../src/machines/pipeline.js'
import type { ProviderFactory } from '../../src/providers/contract.js'
import { env } from '../../src/providers/secret.js'
import { waitFor } from '../support/processes.js'
import { freshDb, freshNats } from '../support/servers.js'
import type { FreshDb, FreshNats } from '../support/servers.js'
import { SECRET, startReceiver } from './receiver.js'
import type { Receiver } from './receiver.js'

const pages: ProviderFactory = {
  terms: (name) => freeBlindTerms(name, 1_000),
  slots: 4,
  create: (name) => ({
    terms: freeBlindTerms(name, 1_000),
    slots: 4,
    call: async () => ({ kind: 'succeeded', output: { text: 'x' }, spend: null, usage: { pages: 3 } }),
    close: async () => {},
  }),
}
const es = endstate({ providers: { pages } })
const pipeline = es
  .pipeline('scan', { revision: 1, accepts: ['application/json'], price: { fixed: '1', currency: 'EUR' } })
  .step('read', {
    use: ['pages'],
    deadline: '2s',
    output: z.object({ text: z.string() }),
    price: { perPage: '0.10', currency: 'EUR' },
  })

let db: FreshDb
let nats: FreshNats
let receiver: Receiver
beforeAll(async () => {
  db = await freshDb('leaving')
  nats = await freshNats('leaving')
  receiver = await startReceiver()
})
afterAll(async () => {
  await receiver.close()
  await nats.dispose()
  await db.dispose()
})

const running = async (charges: ChargesOptions | undefined, secrets: (name: string) => string | undefined) =>
  createEndstate(es.config({ pipelines: [pipeline], ...(charges && { charges }) }), {
    mongo: db.client,
    database: db.db.databaseName,
    nats: nats.connection,
    prefix: nats.prefix,
    roles: ['worker', 'sweeper'],
    secrets,
  })
const settled = async (instance: EndstateInstance): Promise<string> => {
  const { id } = await instance.accept({
    source: 'clinic-a',
    via: 'test',
    pipeline: 'scan',
    key: null,
    mediaType: null,
    fileName: null,
    metadata: {},
    content: { json: {} },
  })
  await waitFor(async () => (await instance.records.get(id))?.status === 'completed', {
    what: 'the record to complete',
  })
  return id
}

describe('charges of a record that was processed', () => {
  test('leave by JetStream and the webhook, with the amounts of the record', async () => {
    const webhook = { url: receiver.url, secret: env('CHARGES_SECRET') }
    const instance = await running({ nats: true, webhook }, () => SECRET)
    await instance.start()
    const id = await settled(instance)
    await waitFor(() => receiver.billed.length === 2, { what: 'both charges to arrive', timeoutMs: 30_000 })
    expect(receiver.billed).toEqual([`${id}/read`, `${id}/record`])
    const told = receiver.deliveries.map(({ body }) => (JSON.parse(body) as { data: object }).data)
    expect(told).toMatchObject([
      { record: id, key: 'read', amount: '0.30', currency: 'EUR', source: 'clinic-a', pipeline: 'scan', attempt: 1 },
      { record: id, key: 'record', amount: '1', attempt: null },
    ])
    const jsm = await nats.connection.jetstreamManager()
    const streamed = () =>
      jsm.streams.info(chargesStream(nats.prefix)).then(
        ({ state }) => state.messages,
        () => 0,
      )
    await waitFor(async () => (await streamed()) === 2, { what: 'both charges to be in the stream', timeoutMs: 30_000 })
    const doc = await instance.records.get(id)
    expect(doc?.charges).toMatchObject({ read: { amount: '0.30' }, record: { amount: '1' } })
    await instance.close()
  })

  test('nobody who wants them: no facts are kept', async () => {
    const instance = await running(undefined, () => undefined)
    await instance.start()
    const doc = await instance.records.get(await settled(instance))
    expect([doc?.outbox, Object.keys(doc?.charges ?? {})]).toEqual([[], ['read', 'record']])
    await instance.close()
  })

  test('a secret that is not set is named at start, not at the first charge', async () => {
    const instance = await running({ webhook: { url: receiver.url, secret: env('CHARGES_SECRET') } }, () => undefined)
    await expect(instance.start()).rejects.toThrow('The secret CHARGES_SECRET is not set')
    await instance.close()
  })
})
