/**
 * One process that calls a provider whenever the gate lets it, by plain node on dist/: `GATE_WORKER` is its JSON setting
 * { mongoUrl, database, providerUrl, limit, slots, callMs }. Prints READY and, when it is told to end (SIGTERM),
 * DONE { calls, questions }: how many calls it made, and how often it asked the database for permits.
 */
import { MongoClient } from 'mongodb'
import { createMongoProviderStates } from '../../dist/persistence/provider-states.js'
import { createGate } from '../../dist/providers/gate/create-gate.js'
import { createServerClock } from '../../dist/worker/server-clock.js'

const { mongoUrl, database, providerUrl, limit, slots, processes } = JSON.parse(process.env.GATE_WORKER)
const say = (word, facts) => process.stdout.write(`${word} ${JSON.stringify(facts)}\n`)
const client = await new MongoClient(mongoUrl).connect()
const states = createMongoProviderStates(client.db(database))
let questions = 0
const counted = {
  ...states,
  lease: (provider, ask) => {
    questions += 1
    return states.lease(provider, ask)
  },
}
const terms = { name: 'gpt', cost: 'free', spendMax: null }
const gate = createGate({
  providers: new Map([['gpt', { terms, slots }]]),
  limits: limit === null ? {} : { gpt: { requestsPerMinute: limit } },
  budgets: [],
  states: counted,
  clock: createServerClock(),
  random: Math.random,
  processes: () => processes,
  leads: async () => false,
  log: { warn: (facts, message) => process.stderr.write(`${message} ${JSON.stringify(facts)}\n`) },
})

let calls = 0
let running = 0
let ended = false

async function call(record) {
  const response = await fetch(providerUrl, { method: 'POST', headers: { 'idempotency-key': 'call' }, body: '{}' })
  await response.arrayBuffer()
  const refused = response.status === 429
  const pauseMs = Number(response.headers.get('retry-after') ?? Number.NaN) * 1000
  gate.report({
    record,
    provider: 'gpt',
    source: 'local',
    pipeline: 'test',
    outcome: refused ? 'failed' : 'succeeded',
    code: refused ? 'http-429' : null,
    kind: refused ? 'not-executed' : null,
    durationMs: 10,
    usage: null,
    limits: Number.isFinite(pauseMs) ? { pauseMs } : null,
  })
}

function startCalls() {
  while (!ended && running < slots && gate.free('gpt') > 0) {
    const permit = gate.take('gpt')
    if (!permit) return
    running += 1
    calls += 1
    void call(`r${process.pid}-${calls}`).finally(() => {
      running -= 1
      startCalls()
    })
  }
}

gate.onChange(startCalls)
gate.start()
say('READY', {})
// As the bus does: a hint that found no permit comes again a little later.
const again = setInterval(startCalls, 100)
const stop = async () => {
  ended = true
  clearInterval(again)
  await gate.close()
  await client.close()
  say('DONE', { calls, questions })
}
process.once('SIGTERM', () => void stop())
