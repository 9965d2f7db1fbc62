/**
 * Real servers for tests. The shared MongoDB and NATS come from global-setup; a file keeps to a database and a prefix
 * of its own (`freshDb`, `freshNats`). Tests that kill, freeze or restart servers start their own with `startMongo`,
 * `startMongod3` and `startNats`, and must stop them.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MongoClient, type Db, type MongoClientOptions } from 'mongodb'
import { MongoMemoryReplSet } from 'mongodb-memory-server'
import { connect, type ConnectionOptions, type NatsConnection } from 'nats'
import { inject } from 'vitest'
import { startMongod, type RunningServer } from '../../src/embedded/mongod.js'
import { startNatsServer } from '../../src/embedded/nats-server.js'
import { endWithParent } from './processes.js'

const TEST_COMMANDS = ['--setParameter', 'enableTestCommands=1']

export const testMongoUrl = (): string => inject('mongoUrl')
export const testNatsUrl = (): string => inject('natsUrl')

/** Good as a database name, a NATS subject token, a stream name and a file name. */
export const uniqueName = (prefix: string): string => `${prefix}-${randomBytes(5).toString('hex')}`

/** The shared server's address with `db` as its database. */
function mongoUrlFor(db: string, url = testMongoUrl()): string {
  const address = new URL(url)
  address.pathname = `/${db}`
  return address.href
}

export type FreshDb = { client: MongoClient; db: Db; url: string; dispose(): Promise<void> }

/** An empty database on the shared server, by a client of its own. `dispose` drops it and closes the client. */
export async function freshDb(prefix = 'test', options: MongoClientOptions = {}): Promise<FreshDb> {
  const name = uniqueName(prefix)
  const client = await new MongoClient(testMongoUrl(), { serverSelectionTimeoutMS: 10_000, ...options }).connect()
  const db = client.db(name)
  return {
    client,
    db,
    url: mongoUrlFor(name),
    async dispose() {
      await db.dropDatabase()
      await client.close()
    },
  }
}

export type FreshNats = { connection: NatsConnection; url: string; prefix: string; dispose(): Promise<void> }

/** A connection to the shared server. Name streams and subjects after `prefix`: `dispose` deletes those streams. */
export async function freshNats(prefix = 'test', options: ConnectionOptions = {}): Promise<FreshNats> {
  const name = uniqueName(prefix)
  const connection = await connect({ servers: testNatsUrl(), ...options })
  return {
    connection,
    url: testNatsUrl(),
    prefix: name,
    async dispose() {
      const open = connection.isClosed() ? await connect({ servers: testNatsUrl() }) : connection
      const manager = await open.jetstreamManager()
      for await (const stream of manager.streams.list()) {
        const ours = [stream.config.name, ...(stream.config.subjects ?? [])].some((one) => one.startsWith(name))
        if (ours) await manager.streams.delete(stream.config.name)
      }
      await open.close()
    },
  }
}

/** A server of one's own. `start` brings it back on the same port and data after `kill` or `stop`. */
export type OwnServer = {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** SIGKILL, SIGSTOP, SIGCONT, … Resolves, for SIGKILL, when it is gone. */
  signal(signal: NodeJS.Signals): Promise<void>
  stop(): Promise<void>
  start(): Promise<void>
  /** Ends it for good and removes its data. */
  dispose(): Promise<void>
}

/** A one-member replica set with fail points on. */
export function startMongo(): Promise<OwnServer> {
  const version = inject('mongodVersion')
  return ownServer((dir, port) =>
    startMongod({
      binary: inject('mongodPath'),
      version,
      dir,
      port,
      fixedPort: port !== undefined,
      args: TEST_COMMANDS,
    }),
  )
}

/** A nats-server with JetStream. */
export function startNats(args: readonly string[] = []): Promise<OwnServer> {
  return ownServer((dir, port) =>
    startNatsServer({ binary: inject('natsServerPath'), dir, port, fixedPort: port !== undefined, args }),
  )
}

async function ownServer(start: (dir: string, port?: number) => Promise<RunningServer>): Promise<OwnServer> {
  const dir = await mkdtemp(join(tmpdir(), 'endstate-own-'))
  let server = await start(dir)
  let ended = endWithParent(server.pid)
  const stop = async () => {
    await server.stop()
    ended()
  }
  return {
    get url() {
      return server.url
    },
    get port() {
      return server.port
    },
    get pid() {
      return server.pid
    },
    async signal(signal) {
      process.kill(server.pid, signal)
      if (signal === 'SIGKILL') await stop()
    },
    stop,
    async start() {
      server = await start(dir, server.port)
      ended = endWithParent(server.pid)
    },
    async dispose() {
      await stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

export type ReplicaSet3 = {
  url: string
  /** Pids by member, as started. */
  pids(): number[]
  /** Asks the primary to step down and resolves when another member is primary. */
  stepDown(): Promise<void>
  dispose(): Promise<void>
}

/** Three members with fail points on: for elections and stepped-down primaries. Some seconds and 500 MB. */
export async function startMongod3(): Promise<ReplicaSet3> {
  const set = await MongoMemoryReplSet.create({
    binary: { systemBinary: inject('mongodPath'), version: inject('mongodVersion'), checkMD5: false },
    replSet: {
      count: 3,
      storageEngine: 'wiredTiger',
      args: [...TEST_COMMANDS, '--wiredTigerCacheSizeGB', '0.25'],
      configSettings: { electionTimeoutMillis: 2_000, heartbeatIntervalMillis: 500 },
    },
  })
  return {
    url: set.getUri(),
    pids: () => set.servers.flatMap((server) => server.instanceInfo?.instance.mongodProcess?.pid ?? []),
    async stepDown() {
      const client = await new MongoClient(set.getUri(), { serverSelectionTimeoutMS: 15_000 }).connect()
      try {
        await client.db('admin').command({ replSetStepDown: 30, secondaryCatchUpPeriodSecs: 10 })
        await client.db('admin').command({ ping: 1 }, { readPreference: 'primary' })
      } finally {
        await client.close()
      }
    },
    async dispose() {
      await set.stop({ doCleanup: true, force: true })
    },
  }
}
