/** A sweeper that sends one charge by webhook and stands still between the answer and the mark, to be killed there. */
import { MongoClient } from 'mongodb'
import { createRelay } from '../../dist/ledger/relay.js'
import { createWebhookSink } from '../../dist/ledger/webhook-sink.js'
import { createMongoRecordStore } from '../../dist/persistence/mongo-record-store.js'
import { createServerClock } from '../../dist/worker/server-clock.js'

const { mongoUrl, url, secret } = JSON.parse(process.env.TEST_RELAY)
const client = await new MongoClient(mongoUrl, { serverSelectionTimeoutMS: 5_000 }).connect()
const store = createMongoRecordStore(client.db(), { sinks: ['charges-webhook'] })
const clock = createServerClock()
const relay = createRelay({
  sink: createWebhookSink(
    { url, secret: { secret: 'CHARGES_SECRET' }, forgets: null },
    { secret: () => secret, now: () => clock.now() },
  ),
  store: {
    unsent: (...of) => store.unsent(...of),
    markSending: (...of) => store.markSending(...of),
    markSent: async () => {
      process.stdout.write('UNMARKED\n')
      await new Promise(() => setInterval(() => undefined, 1_000))
    },
  },
  isLeader: async () => true,
  clock,
  random: Math.random,
  log: { warn: (facts, message) => process.stderr.write(`${message} ${JSON.stringify(facts)}\n`) },
})
relay.start()
