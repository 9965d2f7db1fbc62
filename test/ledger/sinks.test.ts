/** Charges on real servers: a receiver over HTTP, JetStream, MongoDB, and a process that is killed. */
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ChargeSink } from '../../src/ledger/contract.js'
import { chargesStream, chargesSubject, createNatsSink } from '../../src/ledger/nats-sink.js'
import { createRelay } from '../../src/ledger/relay.js'
import type { Relay } from '../../src/ledger/relay.js'
import { createWebhookSink } from '../../src/ledger/webhook-sink.js'
import type { RecordStore } from '../../src/persistence/contract.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { env } from '../../src/providers/secret.js'
import { silent } from '../../src/worker/logger.js'
import { createServerClock } from '../../src/worker/server-clock.js'
import { startChild, waitFor } from '../support/processes.js'
import { freshDb, freshNats } from '../support/servers.js'
import type { FreshDb, FreshNats } from '../support/servers.js'
import { bodyOf, charged } from './charged.js'
import { SECRET, startReceiver } from './receiver.js'
import type { Receiver } from './receiver.js'

const SINKS = ['charges-nats', 'charges-webhook']

let db: FreshDb
let receiver: Receiver
let store: RecordStore
const running: Relay[] = []

beforeEach(async () => {
  db = await freshDb('ledger')
  await ensureIndexes(db.db, { sinks: SINKS })
  store = createMongoRecordStore(db.db, { sinks: SINKS })
  receiver = await startReceiver()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((relay) => relay.close()))
  await receiver.close()
  await store.close()
  await db.dispose()
})

const relayOn = (sink: ChargeSink): Relay => {
  const clock = createServerClock()
  // No pauses but the shortest: what they are is tested under time in the hand of the test.
  const relay = createRelay({ sink, store, isLeader: async () => true, clock, random: () => 0.01, log: silent })
  running.push(relay)
  relay.start()
  return relay
}
const webhook = (forgets: { afterMs: number; askUrl: string } | null = null, now = () => new Date()) =>
  createWebhookSink(
    { url: receiver.url, secret: env('CHARGES_SECRET'), forgets },
    { secret: () => SECRET, now, timeoutMs: 2_000 },
  )
const nothingLeft = (sink: string) =>
  waitFor(async () => (await store.unsent(sink, 1)).length === 0, {
    what: `${sink} to have everything`,
    timeoutMs: 30_000,
  })

describe('the webhook', () => {
  test('a process killed between send and mark: the charge comes again, with the same id and the same bytes', async () => {
    await store.insert([charged('r-1', ['read'])])
    const setting = { mongoUrl: db.url, url: receiver.url, secret: SECRET }
    const child = startChild(join(import.meta.dirname, 'relay-child.mjs'), {
      env: { TEST_RELAY: JSON.stringify(setting) },
    })
    await child.line(/UNMARKED/)
    await child.kill()
    expect(receiver.deliveries).toHaveLength(1)
    relayOn(webhook())
    await nothingLeft('charges-webhook')
    const once = { id: 'r-1/read', body: bodyOf('r-1', 'read', 1), answered: 200 }
    expect(receiver.deliveries).toEqual([once, once])
    // The receiver keeps to the id.
    expect(receiver.billed).toEqual(['r-1/read'])
  })

  test('a receiver that was down gets all, in order per record, each signed', async () => {
    receiver.answers(() => 503)
    const ids = Array.from({ length: 40 }, (_, n) => `r-${n}`)
    await store.insert(ids.map((id) => charged(id, ['read', 'extract', 'record'])))
    relayOn(webhook())
    await waitFor(() => receiver.deliveries.length >= 12, { what: 'some to be refused' })
    receiver.answers(() => 200)
    await nothingLeft('charges-webhook')
    expect(receiver.billed).toHaveLength(120)
    for (const id of ids)
      expect(receiver.billed.filter((one) => one.startsWith(`${id}/`))).toEqual([
        `${id}/read`,
        `${id}/extract`,
        `${id}/record`,
      ])
  })

  test('an answer that is lost means a repeat under the same id, billed once', async () => {
    let lost = 0
    receiver.answers(() => (lost++ < 2 ? 'cut' : 200))
    await store.insert([charged('r-1', ['read'])])
    relayOn(webhook())
    await nothingLeft('charges-webhook')
    expect(receiver.deliveries.map(({ id, answered }) => [id, answered])).toEqual([
      ['r-1/read', 'cut'],
      ['r-1/read', 'cut'],
      ['r-1/read', 200],
    ])
    expect(receiver.billed).toEqual(['r-1/read'])
  })

  test('a receiver that never answers is given up in time, and may have it', async () => {
    receiver.answers(() => 'silence')
    const sent = await webhook().send({ id: 'r-1/read', body: '{}' }, new AbortController().signal)
    expect(sent).toEqual({ kind: 'failed', code: 'timed-out' })
  })

  test('a redirect is not followed, and says nothing about arrival', async () => {
    receiver.answers(() => 307)
    expect(await webhook().send({ id: 'r-1/read', body: '{}' }, new AbortController().signal)).toEqual({
      kind: 'failed',
      code: 'status-307',
    })
  })

  test('a secret that is none is named, not shown', () => {
    const make = (value: string) => () =>
      createWebhookSink(
        { url: receiver.url, secret: env('CHARGES_SECRET'), forgets: null },
        { secret: () => value, now: () => new Date() },
      )
    for (const value of ['hush', 'whsec_hush', 'whsec_!!!', `whsec_${'A'.repeat(200)}`]) {
      expect(make(value)).toThrow('The secret CHARGES_SECRET signs no webhook')
      expect(make(value)).not.toThrow(value)
    }
  })
})

describe('a receiver that forgets', () => {
  const DAY = 86_400_000
  /** As if the process had died after a send, `ago` before now. */
  const inDoubtSince = async (agoMs: number) => {
    const then = new Date(Date.now() - agoMs)
    await store.insert([charged('r-1', ['read'])])
    await db.db
      .collection<{ _id: string }>('records')
      .updateOne({ _id: 'r-1' }, { $set: { 'outbox.0.sending': { 'charges-webhook': { first: then, last: then } } } })
  }
  const forgetting = () => webhook({ afterMs: DAY, askUrl: receiver.askUrl })

  test('is asked before a repeat past its memory, and never bills twice', async () => {
    receiver.answers(() => 'cut')
    await webhook().send({ id: 'r-1/read', body: bodyOf('r-1', 'read', 1) }, new AbortController().signal)
    receiver.answers(() => 200)
    receiver.forget()
    await inDoubtSince(2 * DAY)
    relayOn(forgetting())
    await nothingLeft('charges-webhook')
    expect(receiver.asked).toEqual(['r-1/read'])
    expect(receiver.billed).toEqual(['r-1/read'])
  })

  test('gets what it says it has not', async () => {
    await inDoubtSince(2 * DAY)
    relayOn(forgetting())
    await nothingLeft('charges-webhook')
    expect([receiver.asked, receiver.billed]).toEqual([['r-1/read'], ['r-1/read']])
  })

  test.each([
    ['a wrong address', { status: 404, body: 'Not found' }],
    ['another service', { status: 200, body: '<html>' }],
    ['an answer of another form', { status: 200, body: '{"known":"no"}' }],
  ])('H2: %s is no answer: nothing is sent', async (_what, answer) => {
    receiver.asking(() => answer)
    await inDoubtSince(2 * DAY)
    relayOn(forgetting())
    await waitFor(() => receiver.asked.length >= 2, { what: 'it to be asked again' })
    expect(receiver.deliveries).toEqual([])
    receiver.asking(() => ({ status: 200, body: '{"known":true}' }))
    await nothingLeft('charges-webhook')
    expect(receiver.deliveries).toEqual([])
  })
})

describe('JetStream', () => {
  let nats: FreshNats
  beforeEach(async () => {
    nats = await freshNats('ledger')
  })
  afterEach(() => nats.dispose())

  const streamed = async (): Promise<{ id: string; body: string }[]> => {
    const jsm = await nats.connection.jetstreamManager()
    const name = chargesStream(nats.prefix)
    const { state } = await jsm.streams.info(name)
    const found: { id: string; body: string }[] = []
    for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
      const message = await jsm.streams.getMessage(name, { seq })
      found.push({ id: message.header.get('Nats-Msg-Id'), body: message.string() })
    }
    return found
  }
  const natsSink = () => createNatsSink({ nats: nats.connection, prefix: nats.prefix })

  test('each charge is published once under its id, in a stream of its own with limits', async () => {
    await store.insert([charged('r-1', ['read', 'record'])])
    relayOn(natsSink())
    await nothingLeft('charges-nats')
    expect(await streamed()).toEqual([
      { id: 'r-1/read', body: bodyOf('r-1', 'read', 1) },
      { id: 'r-1/record', body: bodyOf('r-1', 'record', 2) },
    ])
    const { config } = await (await nats.connection.jetstreamManager()).streams.info(chargesStream(nats.prefix))
    expect(config.subjects).toEqual([chargesSubject(nats.prefix)])
    expect([config.max_msgs > 0, config.max_bytes > 0, config.max_age > 0]).toEqual([true, true, true])
  })

  test('a repeat within the window is stored once', async () => {
    const message = { id: 'r-1/read', body: '{}' }
    const signal = new AbortController().signal
    expect(await natsSink().send(message, signal)).toEqual({ kind: 'sent' })
    expect(await natsSink().send(message, signal)).toEqual({ kind: 'sent' })
    expect(await streamed()).toHaveLength(1)
  })

  test('a stream that was deleted is made anew, and what comes then is in it', async () => {
    await store.insert([charged('r-1', ['read'])])
    relayOn(natsSink())
    await nothingLeft('charges-nats')
    await (await nats.connection.jetstreamManager()).streams.delete(chargesStream(nats.prefix))
    await store.insert([charged('r-2', ['read'])])
    await nothingLeft('charges-nats')
    expect((await streamed()).map(({ id }) => id)).toEqual(['r-2/read'])
  })

  test('its trouble delays no other sink', async () => {
    await nats.connection.close()
    await store.insert([charged('r-1', ['read'])])
    relayOn(natsSink())
    relayOn(webhook())
    await nothingLeft('charges-webhook')
    expect(receiver.billed).toEqual(['r-1/read'])
    expect(await store.unsent('charges-nats', 1)).toHaveLength(1)
  })
})

test('L3: simulated charges reach no sink', async () => {
  await store.insert([charged('r-sim', ['read'], { simulated: true }), charged('r-real', ['read'])])
  relayOn(webhook())
  await nothingLeft('charges-webhook')
  expect(receiver.deliveries.map(({ id }) => id)).toEqual(['r-real/read'])
})
