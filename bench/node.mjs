/**
 * One Endstate process of the bench, on dist/: API, worker and sweeper. `BENCH_NODE` is its JSON setting:
 * { mongoUrl, natsUrl, database, prefix, providerUrl, slots }.
 *
 * It counts the records that it has settled where their save is confirmed, by a decorator of the store's port, and
 * tells the load generator by the channel of its parent: one number for each batch of saves. GET /usage answers
 * this process' CPU time. The first line printed is {"url": "…"}.
 */
import { MongoClient } from 'mongodb'
import { connect } from 'nats'
import { z } from 'zod'
import { endstate } from '../dist/config/builder.js'
import { createEndstate } from '../dist/endstate.js'
import { http } from '../dist/providers/http.js'
import { listen } from '../dist/server/listen.js'

const setting = JSON.parse(process.env.BENCH_NODE)

const es = endstate({
  providers: {
    model: http({
      url: setting.providerUrl,
      slots: setting.slots,
      recovery: 'idempotent',
      cost: 'paid',
      keyTtl: '24h',
    }),
  },
})
const step = {
  use: ['model'],
  output: z.object({ ok: z.boolean() }),
  deadline: '30s',
  attempts: 3,
  price: { fixed: '0.40', currency: 'EUR' },
}
const options = { revision: 1, accepts: ['application/json'], maxWait: '1h' }
const config = es.config({
  pipelines: [
    es.pipeline('one', options).step('first', step),
    es
      .pipeline('chain', options)
      .step('first', step)
      .step('second', { ...step, request: ({ first }) => first })
      .step('third', { ...step, request: ({ second }) => second }),
  ],
})

const settlesNow = ({ set }, outcome) => outcome.kind === 'saved' && set.status !== 'processing'
const countSettled = (ports) => ({
  ...ports,
  store: {
    ...ports.store,
    async save(saves) {
      const outcomes = await ports.store.save(saves)
      const settled = saves.filter((save, at) => settlesNow(save, outcomes[at])).length
      if (settled > 0) process.send?.({ settled })
      return outcomes
    },
  },
})

const complain = (facts, message) => process.stderr.write(`${message} ${JSON.stringify(facts)}\n`)
const mongo = await new MongoClient(setting.mongoUrl).connect()
const nats = await connect({ servers: setting.natsUrl, maxReconnectAttempts: -1, pingInterval: 5_000 })
const instance = await createEndstate(config, {
  mongo,
  nats,
  database: setting.database,
  prefix: setting.prefix,
  roles: ['api', 'worker', 'sweeper'],
  secrets: () => undefined,
  log: { info() {}, warn: complain, error: complain },
  decorate: countSettled,
})
await instance.start()
const handler = (req, res) => {
  if (req.url !== '/usage') return instance.handler(req, res)
  res.end(JSON.stringify({ ...process.cpuUsage(), rss: process.memoryUsage.rss() }))
}
const listening = await listen(handler, { host: '127.0.0.1', port: 0 })
console.log(JSON.stringify({ url: listening.url }))

async function stop() {
  await listening.close({ graceMs: 1_000 })
  await instance.close()
  await nats.close()
  await mongo.close()
  process.exit(0)
}
process.once('SIGTERM', () => void stop())
// The bench that started it may be killed: its channel ends with it.
process.once('disconnect', () => process.exit(0))
