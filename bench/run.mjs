/**
 * `npm run bench`: Endstate against the hand-written baseline, on real servers, in one run. Both take turns under the same
 * load (A B A B), because a machine's speed changes by the minute: only the ratio of one run means something.
 *
 *   --quick           short turns, under a minute, for a first look
 *   --write           writes docs/bench.md too
 *   --only NAME,…     one-step, wait, latency, chain, processes, slots
 *   --profile DIR     writes a CPU profile of each Endstate process
 *
 * Servers: ENDSTATE_MONGODB_URL and ENDSTATE_NATS_URL where given, else the embedded ones. Results: bench/out/*.json.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, release, tmpdir, totalmem } from 'node:os'
import { delimiter, join } from 'node:path'
import { parseArgs } from 'node:util'
import { MongoClient } from 'mongodb'
import { startStack } from '../dist/embedded/stack.js'
import { createMeter } from './meters.mjs'
import { startProcess } from './processes.mjs'
import { markdownOf, tableOf } from './report.mjs'
import { runScenarios, SCENARIOS } from './scenarios.mjs'

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    only: { type: 'string' },
    profile: { type: 'string' },
  },
})
const only = flags.only?.split(',') ?? SCENARIOS
const unknown = only.filter((name) => !SCENARIOS.includes(name))
if (unknown.length > 0) {
  console.error(`There is no scenario ${unknown.join(', ')}. Known: ${SCENARIOS.join(', ')}.`)
  process.exit(2)
}

const times = flags.quick
  ? { primeRecords: 2_000, primeMs: 3_000, warmUpMs: 300, measureMs: 1_500, turns: 1, latencyMs: 2_000 }
  : { primeRecords: 8_000, primeMs: 10_000, warmUpMs: 1_000, measureMs: 6_000, turns: 2, latencyMs: 12_000 }

/** Nothing here may run for ever: what hangs is named by the last line before it. */
const RUN_MS_MAX = 6 * 60_000

const say = (text) => process.stderr.write(`${text}\n`)
const cleanups = []
const cleanUp = async () => {
  while (cleanups.length > 0)
    await cleanups
      .pop()()
      .catch((error) => say(`Cleaning up: ${error}`))
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void cleanUp().then(() => process.exit(130)))

async function machineOf(admin, stack) {
  const { version } = await admin.command({ buildInfo: 1 })
  return {
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${release()}`,
    node: process.version,
    mongod: version,
    natsServer: stack.describe().nats.version ?? 'given by its address',
  }
}

async function main() {
  const startedAt = new Date()
  const dataDir = await mkdtemp(join(tmpdir(), 'endstate-bench-'))
  cleanups.push(() => rm(dataDir, { recursive: true, force: true }))
  const stack = await startStack({
    dataDir,
    pathDirs: (process.env.PATH ?? '').split(delimiter),
    log: (rung, message) => say(`  ${rung}: ${message}`),
    ...(process.env.ENDSTATE_MONGODB_URL && { mongoUrl: process.env.ENDSTATE_MONGODB_URL }),
    ...(process.env.ENDSTATE_NATS_URL && { natsUrl: process.env.ENDSTATE_NATS_URL }),
  })
  cleanups.push(() => stack.stop())
  const mongo = await new MongoClient(stack.mongoUrl).connect()
  cleanups.push(() => mongo.close())
  const provider = await startProcess('provider.mjs')
  cleanups.push(() => provider.stop())
  const { mongo: mongod, nats } = stack.describe()
  const admin = mongo.db('admin')
  const context = {
    times,
    only,
    say,
    mongo,
    servers: { mongoUrl: stack.mongoUrl, natsUrl: stack.natsUrl, providerUrl: provider.url },
    meter: createMeter({ admin, mongoPid: mongod.pid, natsPid: nats.pid }),
    execArgv: flags.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${flags.profile}`],
    cleanups,
  }
  const machine = await machineOf(admin, stack)
  const results = await runScenarios(context)
  const report = { startedAt, seconds: (Date.now() - startedAt) / 1000, quick: flags.quick, times, machine, results }
  await mkdir(join(import.meta.dirname, 'out'), { recursive: true })
  const file = join(import.meta.dirname, 'out', `${startedAt.toISOString().replaceAll(':', '-')}.json`)
  await writeFile(file, `${JSON.stringify(report, null, 2)}\n`)
  console.log(tableOf(report))
  say(`Written to ${file}.`)
  if (flags.write) await writeFile(join(import.meta.dirname, '../docs/bench.md'), markdownOf(report))
}

const tooLong = setTimeout(() => {
  say(`The bench did not end within ${RUN_MS_MAX / 1000} s.`)
  void cleanUp().then(() => process.exit(1))
}, RUN_MS_MAX)
try {
  await main()
} finally {
  clearTimeout(tooLong)
  await cleanUp()
}
