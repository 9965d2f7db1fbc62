/**
 * One Endstate process for tests, run by plain node on dist/: `TEST_NODE` is its JSON setting. It stops at a faultpoint
 * where the test kills it (`stop`), prints one line per thing a test waits for, and ends with the process that
 * started it.
 *
 * READY {"url":…}        its roles run; the url of its API, when it has the role
 * REACHED {"point":…}    it stands at the faultpoint and goes on only by SIGUSR2
 */
import { MongoClient } from 'mongodb'
import { connect } from 'nats'
import { z } from 'zod'
import { createEndstate } from '../../dist/endstate.js'
import { endstate } from '../../dist/config/builder.js'
import { anthropic } from '../../dist/providers/anthropic/anthropic.js'
import { cog } from '../../dist/providers/cog/cog.js'
import { http } from '../../dist/providers/http.js'
import { kserve } from '../../dist/providers/kserve/kserve.js'
import { openai } from '../../dist/providers/openai/openai.js'
import { replicate } from '../../dist/providers/replicate/replicate.js'
import { listen } from '../../dist/server/listen.js'
import { withFaultpoints } from '../../dist/simulation/faultpoints.js'

const say = (word, facts) => process.stdout.write(`${word} ${JSON.stringify(facts)}\n`)
const setting = JSON.parse(process.env.TEST_NODE)

const adapters = { http, openai, anthropic, kserve, replicate, cog }
/** Options as the named adapter takes them; http without a name. */
const providerOf = ({ adapter = 'http', ...options }) => adapters[adapter](options)
const providers = Object.fromEntries(
  Object.entries(setting.providers).map(([name, options]) => [name, providerOf(options)]),
)
const es = endstate({ providers })

/** Step outputs are any JSON; `request` of later steps passes the earlier outputs on. */
const pipelineOf = ({ name, steps, ...options }) => {
  let pipeline = es.pipeline(name, {
    revision: 1,
    accepts: ['application/json'],
    lease: { sendWithin: '1s', failover: '1s' },
    ...options,
  })
  for (const [index, { name: step, ...rest }] of steps.entries()) {
    const request = index === 0 ? undefined : (outputs) => ({ outputs })
    pipeline = pipeline.step(step, {
      output: z.unknown(),
      deadline: '2s',
      backoff: { initial: '50ms', max: '200ms' },
      ...(request && { request }),
      ...rest,
    })
  }
  return pipeline
}
/** Pipelines that are no plain data are those of a module. */
const made = setting.module === undefined ? [] : (await import(setting.module)).make(es)
const config = es.config({
  pipelines: [...setting.pipelines.map(pipelineOf), ...made],
  sources: setting.sources ?? ['local'],
  ...(setting.budgets && { budgets: setting.budgets }),
})

const matches = (wanted, point, passing) =>
  wanted.point === point &&
  (wanted.event === undefined || passing.events.includes(wanted.event)) &&
  (wanted.record === undefined || passing.records.includes(wanted.record))

let passed = 0
const reach = async (point, passing) => {
  const { stop } = setting
  if (!stop || !matches(stop, point, passing)) return
  passed += 1
  if (passed !== (stop.nth ?? 1)) return
  say('REACHED', { point, ...passing })
  await new Promise((resolve) => process.once('SIGUSR2', resolve))
}

const log = Object.fromEntries(
  ['info', 'warn', 'error'].map((level) => [
    level,
    (facts, message) => process.stderr.write(`${level} ${message} ${JSON.stringify(facts)}\n`),
  ]),
)

const mongo = await new MongoClient(setting.mongoUrl, {
  serverSelectionTimeoutMS: 5_000,
  heartbeatFrequencyMS: 500,
  ...setting.mongoOptions,
}).connect()
const nats = await connect({
  servers: setting.natsUrl,
  maxReconnectAttempts: -1,
  reconnectTimeWait: 250,
  pingInterval: 2_000,
})
const instance = await createEndstate(config, {
  mongo,
  database: setting.database,
  nats,
  roles: setting.roles,
  prefix: setting.prefix,
  secrets: (name) => setting.secrets?.[name],
  publicUrl: setting.publicUrl ?? null,
  log,
  carryOverAfterMs: setting.carryOverAfterMs ?? 1_000,
  ...(setting.stop && { decorate: withFaultpoints(reach) }),
})
const FLOOD_AT_ONCE = 256
/** Submissions of one source through accept(), without the cost of HTTP for each. */
const flood = async ({ pipeline, source, count }) => {
  let next = 0
  const one = (index) =>
    instance.accept({
      source,
      via: 'test',
      pipeline,
      key: null,
      mediaType: null,
      fileName: null,
      metadata: {},
      content: { json: { index } },
    })
  const lane = async () => {
    while (next < count) await one(next++)
  }
  await Promise.all(Array.from({ length: FLOOD_AT_ONCE }, lane))
  return { accepted: count }
}

/** What has no route of its own: cancelling, many submissions at once, and the memory of this process. */
const testRoutes = {
  cancel: async (id) => ({
    status: (await instance.records.cancel(id, { reason: 'So says the test.', by: 'test' })).status,
  }),
  flood: (order) => flood(JSON.parse(decodeURIComponent(order))),
  memory: async () => ({ rssBytes: process.memoryUsage().rss }),
}
const handler = (req, res) => {
  const [, name, rest] = /^\/test\/([a-z]+)\/?(.*)$/.exec(req.url) ?? []
  if (name === undefined) return instance.handler(req, res)
  testRoutes[name](rest).then(
    (facts) => res.end(JSON.stringify(facts)),
    (error) => res.writeHead(500).end(String(error)),
  )
}
await instance.start()
const listening = setting.roles.includes('api')
  ? await listen(handler, { host: '127.0.0.1', port: setting.port ?? 0 })
  : null
say('READY', { url: listening?.url ?? null })

const stop = async () => {
  await listening?.close({ graceMs: 1_000 })
  await instance.close()
  await nats.close()
  await mongo.close()
  process.exit(0)
}
process.once('SIGTERM', () => void stop())
