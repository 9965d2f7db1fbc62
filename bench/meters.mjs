/**
 * What a run cost: CPU of the services, of MongoDB, of NATS and of the load generator, and MongoDB's own counters.
 * CPU of the servers is read from /proc, so only on Linux; elsewhere it is not known and shown as "-".
 */
import { readFile } from 'node:fs/promises'

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const TICK_MS = 10

async function cpuMsOf(pid) {
  if (pid === null) return null
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS
  } catch {
    return null
  }
}

const usageOf = async (url) => {
  const { user, system, rss } = await (await fetch(`${url}/usage`, { signal: AbortSignal.timeout(10_000) })).json()
  return { cpuMs: (user + system) / 1000, rss }
}

async function mongoCounters(admin) {
  const status = await admin.command({ serverStatus: 1, repl: 0, metrics: 1 })
  return {
    inserts: Number(status.opcounters.insert),
    updates: Number(status.opcounters.update) + Number(status.opcounters.delete),
    reads: Number(status.opcounters.query) + Number(status.opcounters.getmore),
    // One for each command that asked for a write concern beyond its own memory: a batch counts once.
    journaledBatches: Number(status.metrics.getLastError.wtime.num),
    requests: Number(status.network.numRequests),
    journalSyncs: Number(status.wiredTiger.log['log sync operations']),
    journalBytes: Number(status.wiredTiger.log['log bytes written']),
  }
}

/** Takes readings for one service; two of them make a difference. */
export const createMeter =
  ({ admin, mongoPid, natsPid }) =>
  async (service) => {
    const [mongo, mongoCpuMs, natsCpuMs, ...usages] = await Promise.all([
      mongoCounters(admin),
      cpuMsOf(mongoPid),
      cpuMsOf(natsPid),
      ...service.urls.map(usageOf),
    ])
    const own = process.cpuUsage()
    return {
      atMs: performance.now(),
      serviceCpuMs: usages.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
      rssMiB: usages.reduce((sum, { rss }) => sum + rss, 0) / 1024 / 1024,
      mongoCpuMs,
      natsCpuMs,
      loadCpuMs: (own.user + own.system) / 1000,
      ...mongo,
    }
  }

/** Per record, and per second. */
export function difference({ before, after, settled }) {
  const seconds = (after.atMs - before.atMs) / 1000
  const each = (name) => (before[name] === null || after[name] === null ? null : (after[name] - before[name]) / settled)
  return {
    perSecond: settled / seconds,
    serviceCpuMs: each('serviceCpuMs'),
    mongoCpuMs: each('mongoCpuMs'),
    natsCpuMs: each('natsCpuMs'),
    loadCpuMs: each('loadCpuMs'),
    writes: each('inserts') + each('updates'),
    batches: each('journaledBatches'),
    reads: each('reads'),
    requests: each('requests'),
    journalSyncs: each('journalSyncs'),
    journalKiB: each('journalBytes') / 1024,
    rssMiB: after.rssMiB,
    settled,
    seconds,
  }
}
