/**
 * One mongod on disk, bound to 127.0.0.1, as the only member of a replica set (Endstate needs majority writes and
 * change streams, which a standalone server does not have).
 *
 * M1 Ready means: the member is a writable primary. The port may change between runs; the set is reconfigured by force.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { MongoClient, MongoServerError, type Db } from 'mongodb'
import { z } from 'zod'
import { ServerNotStarted } from './contract.js'
import { freePort } from './free-port.js'
import { findProcess, lastLines, startProcess, tailOf, until, type Process } from './process.js'
import { seriesOf } from './version.js'

const READY_TIMEOUT_MS = 60_000
/** An orphan was ready once; one that does not answer soon is ended. */
const ADOPT_TIMEOUT_MS = 10_000
const STOP_TIMEOUT_MS = 20_000
const PORT_TRIES = 3
const REPLICA_SET = 'endstate'
const NOT_YET_INITIALIZED = 94

export type RunningServer = {
  url: string
  port: number
  pid: number
  isAlive: () => Promise<boolean>
  stop(): Promise<void>
}

export type MongodOptions = {
  binary: string
  version: string
  /** Absolute; `mongodb/` and `mongod.log` are made in it. */
  dir: string
  /** Taken when free; with `fixedPort` an occupied port is an error. */
  port?: number | undefined
  fixedPort?: boolean
  args?: readonly string[]
}

const Hello = z.object({ isWritablePrimary: z.boolean().optional() })
const SetConfig = z.object({
  config: z.looseObject({ version: z.number(), members: z.array(z.looseObject({ host: z.string() })).length(1) }),
})

const mongodDataPath = (dir: string): string => join(dir, 'mongodb')
const urlOf = (port: number) => `mongodb://127.0.0.1:${port}/endstate?replicaSet=${REPLICA_SET}`

export async function startMongod(options: MongodOptions): Promise<RunningServer> {
  const dataPath = mongodDataPath(options.dir)
  const logFile = join(options.dir, 'mongod.log')
  await mkdir(dataPath, { recursive: true })
  for (let tries = 1; ; tries++) {
    const port = options.fixedPort && options.port !== undefined ? options.port : await freePort(options.port)
    const args = ['--dbpath', dataPath, '--port', String(port), '--bind_ip', '127.0.0.1', '--replSet', REPLICA_SET]
    args.push('--nounixsocket', '--wiredTigerCacheSizeGB', '1', '--oplogSize', '512', ...(options.args ?? []))
    args.push('--setParameter', 'shutdownTimeoutMillisForSignaledShutdown=1000')
    const process = await startProcess(options.binary, args, logFile)
    try {
      await becomePrimary(port, process, options.version)
      return running(port, process)
    } catch (error) {
      await process.stop(STOP_TIMEOUT_MS)
      const portTaken = /address already in use/i.test(await tailOf(logFile, 8 * 1024))
      if (portTaken && !options.fixedPort && tries < PORT_TRIES) continue
      const why = error instanceof Error ? error.message : String(error)
      throw new ServerNotStarted(
        `mongod did not start (${why}). The last lines of ${logFile}:${await lastLines(logFile)}`,
      )
    }
  }
}

/** The mongod that a killed process left behind on this data; null when there is none. */
export const findMongodOrphan = (dir: string): Promise<(Process & { port: number }) | null> =>
  // mongod writes its pid there itself (and empties the file when it ends in order), so no orphan goes unseen.
  findProcess(join(mongodDataPath(dir), 'mongod.lock'), `--dbpath ${mongodDataPath(dir)} `)

/** Takes an orphan over. Throws when it does not answer. */
export async function adoptMongod(orphan: Process & { port: number }, version: string): Promise<RunningServer> {
  await becomePrimary(orphan.port, orphan, version, ADOPT_TIMEOUT_MS)
  return running(orphan.port, orphan)
}

const running = (port: number, process: Process): RunningServer => ({
  url: urlOf(port),
  port,
  pid: process.pid,
  isAlive: process.isAlive,
  stop: () => process.stop(STOP_TIMEOUT_MS),
})

/** M1. A client for each try, because a driver whose first connection fails stays closed. */
async function becomePrimary(
  port: number,
  process: Process,
  version: string,
  timeoutMs = READY_TIMEOUT_MS,
): Promise<void> {
  let problem = 'it does not answer'
  const ready = async (): Promise<boolean> => {
    if (!(await process.isAlive())) throw new Error('it ended at once')
    try {
      return await asAdmin(port, async (admin) => {
        const hello = Hello.parse(await admin.command({ hello: 1 }))
        problem = 'it does not become primary'
        if (hello.isWritablePrimary === true) return true
        await joinAlone(admin, `127.0.0.1:${port}`)
        return false
      })
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error)
      return false
    }
  }
  if (!(await until(ready, timeoutMs))) throw new Error(problem)
  await asAdmin(port, (admin) => raiseCompatibility(admin, version))
}

async function asAdmin<T>(port: number, use: (admin: Db) => Promise<T>): Promise<T> {
  const client = new MongoClient(`mongodb://127.0.0.1:${port}/?directConnection=true`, {
    serverSelectionTimeoutMS: 1_000,
    connectTimeoutMS: 1_000,
    socketTimeoutMS: 10_000,
    maxPoolSize: 1,
  })
  try {
    return await use(client.db('admin'))
  } finally {
    await client.close()
  }
}

/** Makes this server the only member of its set, under this host. Harmless when it is so already. */
async function joinAlone(admin: Db, host: string): Promise<void> {
  let found: unknown
  try {
    found = await admin.command({ replSetGetConfig: 1 })
  } catch (error) {
    if (!(error instanceof MongoServerError) || error.code !== NOT_YET_INITIALIZED) throw error
    await admin.command({ replSetInitiate: { _id: REPLICA_SET, members: [{ _id: 0, host }] } })
    return
  }
  const { config } = SetConfig.parse(found)
  if (config.members[0]?.host === host) return
  const members = config.members.map((member) => ({ ...member, host }))
  await admin.command({ replSetReconfig: { ...config, members, version: config.version + 1 }, force: true })
}

/** The next major version opens this data only when the feature compatibility is that of the version before it. */
async function raiseCompatibility(admin: Db, version: string): Promise<void> {
  const answer: unknown = await admin.command({ getParameter: 1, featureCompatibilityVersion: 1 })
  const Answer = z.object({ featureCompatibilityVersion: z.object({ version: z.string() }) })
  const series = seriesOf(version)
  if (Answer.parse(answer).featureCompatibilityVersion.version === series) return
  await admin.command({ setFeatureCompatibilityVersion: series, confirm: true, writeConcern: { w: 'majority' } })
}
