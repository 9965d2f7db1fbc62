/**
 * What is measured. Each scenario answers `{ name, title, rows }`; a row is one side's reading of all its turns together,
 * and the ratio of each pair of turns.
 */
import { closedLoop, openLoop, prime, quantile } from './load.mjs'
import { difference } from './meters.mjs'
import { startBaseline, startEndstate } from './services.mjs'

const IN_FLIGHT = 64
const SLOTS = 64
const PROCESSES = 4
const PER_SECOND = 50

/** Sums of what all turns of one side settled and cost. */
const together = (readings) => {
  const settled = readings.reduce((sum, reading) => sum + reading.settled, 0)
  const weighted = (name) =>
    readings.some((reading) => reading[name] === null)
      ? null
      : readings.reduce((sum, reading) => sum + reading[name] * reading.settled, 0) / settled
  const names = Object.keys(readings[0]).filter((name) => !['perSecond', 'settled', 'seconds', 'rssMiB'].includes(name))
  const seconds = readings.reduce((sum, reading) => sum + reading.seconds, 0)
  return {
    ...Object.fromEntries(names.map((name) => [name, weighted(name)])),
    perSecond: settled / seconds,
    rssMiB: Math.max(...readings.map(({ rssMiB }) => rssMiB)),
    settled,
    turns: readings.map(({ perSecond }) => perSecond),
  }
}

async function turn(context, side) {
  const { warmUpMs, measureMs } = context.times
  const { service, pipeline = 'one', inFlight = IN_FLIGHT, wait = false } = side
  const mark = () => context.meter(service)
  const counted = await closedLoop(service, { pipeline, inFlight, warmUpMs, measureMs, wait, mark })
  const reading = difference(counted)
  context.say(
    `  ${side.label}: ${reading.perSecond.toFixed(0)} records/s, ${reading.serviceCpuMs.toFixed(2)} ms CPU a record`,
  )
  return reading
}

/** A B A B … */
async function inTurn(context, sides) {
  const readings = sides.map(() => [])
  for (let n = 0; n < context.times.turns; n += 1)
    for (const [at, side] of sides.entries()) readings[at].push(await turn(context, side))
  return sides.map(({ label }, at) => ({ label, ...together(readings[at]) }))
}

async function latencies(context, sides) {
  const rows = []
  for (const { label, service } of sides) {
    const options = { pipeline: 'one', perSecond: PER_SECOND, warmUpMs: 1_000, measureMs: context.times.latencyMs }
    const sorted = await openLoop(service, options)
    const row = { label, count: sorted.length }
    for (const q of [0.5, 0.95, 0.99]) row[`p${q * 100}`] = quantile(sorted, q)
    context.say(`  ${label}: p50 ${row.p50.toFixed(1)} ms, p95 ${row.p95.toFixed(1)}, p99 ${row.p99.toFixed(1)}`)
    rows.push(row)
  }
  return rows
}

const scenarios = {
  'one-step': {
    title: `One step, 1 KiB input, ${IN_FLIGHT} in flight, one process`,
    run: (context, { baseline, endstate }) =>
      inTurn(context, [
        { label: 'baseline', service: baseline },
        { label: 'Endstate', service: endstate },
      ]),
  },
  wait: {
    title: 'The same, each client waiting for its record in the POST (`Prefer: wait`)',
    run: (context, { baseline, endstate }) =>
      inTurn(context, [
        { label: 'baseline', service: baseline },
        { label: 'Endstate, waiting', service: endstate, wait: true },
      ]),
  },
  latency: {
    title: `Submit to settled at ${PER_SECOND} records a second`,
    run: (context, { baseline, endstate }) =>
      latencies(context, [
        { label: 'baseline', service: baseline },
        { label: 'Endstate', service: endstate },
      ]),
  },
  chain: {
    title: 'A chain of three steps against one step',
    run: (context, { endstate }) =>
      inTurn(context, [
        { label: 'one step', service: endstate },
        { label: 'three steps', service: endstate, pipeline: 'chain' },
      ]),
  },
  slots: {
    title: `${IN_FLIGHT} in flight with half as many slots at the provider`,
    own: (context) => ({ narrow: endstateOf(context, 1, SLOTS / 2) }),
    run: (context, { endstate, narrow }) =>
      inTurn(context, [
        { label: `${SLOTS} slots`, service: endstate },
        { label: `${SLOTS / 2} slots`, service: narrow },
      ]),
  },
  processes: {
    title: `One step, ${IN_FLIGHT} in flight, ${PROCESSES} processes`,
    own: (context) => ({ manyA: baselineOf(context, PROCESSES), manyB: endstateOf(context, PROCESSES, SLOTS) }),
    run: (context, { manyA, manyB }) =>
      inTurn(context, [
        { label: `baseline x ${PROCESSES}`, service: manyA },
        { label: `Endstate x ${PROCESSES}`, service: manyB },
      ]),
  },
}
export const SCENARIOS = Object.keys(scenarios)

let started = 0
const endstateOf = ({ servers, execArgv }, processes, slots) => {
  const name = `bench-${(started += 1)}`
  return startEndstate({ ...servers, database: name, prefix: name, processes, slots, execArgv })
}
const baselineOf = ({ servers: { mongoUrl, providerUrl } }, processes) =>
  startBaseline({ mongoUrl, providerUrl, database: `baseline-${(started += 1)}`, processes })

/** The services of `promises`, by name, warm; stopped by the bench's end, or by their `stop`. */
async function open(context, promises) {
  const services = {}
  for (const [name, promise] of Object.entries(promises)) {
    const service = await promise
    let stopping = null
    const stop = () => (stopping ??= service.stop())
    context.cleanups.push(stop)
    const { primeRecords, primeMs } = context.times
    const records = primeRecords * service.urls.length
    await prime(service, {
      pipeline: 'one',
      inFlight: IN_FLIGHT,
      records,
      ms: primeMs * Math.sqrt(service.urls.length),
    })
    services[name] = { ...service, stop }
  }
  return services
}

export async function runScenarios(context) {
  const shared = await open(context, { baseline: baselineOf(context, 1), endstate: endstateOf(context, 1, SLOTS) })
  const results = []
  for (const [name, { title, own, run }] of Object.entries(scenarios)) {
    if (!context.only.includes(name)) continue
    context.say(title)
    const extra = own ? await open(context, own(context)) : {}
    results.push({ name, title, rows: await run(context, { ...shared, ...extra }) })
    await Promise.all(Object.values(extra).map((service) => service.stop()))
  }
  return results
}
