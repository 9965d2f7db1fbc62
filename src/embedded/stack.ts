/**
 * The embedded stack: a MongoDB replica set and a NATS with JetStream on a data directory, or those that were given by
 * address. Data survives a restart.
 *
 * T1 One stack per data directory (data-lock.ts).
 * T2 The servers are in sessions of their own: no Ctrl-C and no kill of this process reaches them. What a killed process
 *    left behind is found by its pid file and its command line, and taken over; or ended when it does not answer.
 * T3 `stop` ends nats-server before mongod, because MongoDB is the truth and NATS a hint (P9).
 */
import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { DataDirectoryInUse, DataDirectoryUnusable } from './contract.js'
import type { FindOptions, FoundBinary, Progress, ServerDescription, Stack, StackOptions } from './contract.js'
import { lockDataDirectory } from './data-lock.js'
import { findMongod, findNatsServer } from './ladder.js'
import { adoptMongod, findMongodOrphan, startMongod, type RunningServer } from './mongod.js'
import { adoptNatsServer, findNatsOrphan, startNatsServer } from './nats-server.js'
import { defaultCacheDir } from './path.js'
import type { Process } from './process.js'
import { newest, readStackFile, writeStackFile, type StackFile, type StackServer } from './stack-file.js'

const ORPHAN_STOP_TIMEOUT_MS = 20_000
/** What does not answer will hardly end in order; both servers stand a SIGKILL. */
const SILENT_STOP_TIMEOUT_MS = 2_000

type Orphan = Process & { port: number }

/** How each of the two servers is found, taken over and started. */
type Kind = {
  name: 'mongo' | 'nats'
  port: number | undefined
  find(options: FindOptions): Promise<FoundBinary>
  orphan(dir: string): Promise<Orphan | null>
  adopt(orphan: Orphan, version: string): Promise<RunningServer>
  start(binary: FoundBinary, dir: string, port: number | undefined): Promise<RunningServer>
}

type Brought = { server: RunningServer; binary: FoundBinary }

type Context = { dataDir: string; file: StackFile; find: FindOptions; log: Progress }

/** Throws DataDirectoryInUse, DataDirectoryUnusable, ServerNotFound, ServerTooOld, ServerNotStarted; then nothing is left running. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const dataDir = resolve(options.dataDir)
  const unlock = await openDataDirectory(dataDir)
  const log: Progress = options.log ?? (() => undefined)
  const started: { kind: Kind; server: RunningServer }[] = []
  try {
    const context: Context = { dataDir, file: await readStackFile(dataDir), find: findOptions(options, log), log }
    const stop = stopper(context, started, unlock)
    const mongo = await bring(mongoKind(options), options.mongoUrl, context, started)
    const nats = await bring(natsKind(options), options.natsUrl, context, started)
    const describe = () => ({ dataDir, mongo, nats })
    return { mongoUrl: mongo.url, natsUrl: nats.url, describe, stop }
  } catch (error) {
    for (const { server } of started.reverse()) await server.stop().catch(() => undefined)
    await unlock()
    throw error
  }
}

async function openDataDirectory(dataDir: string): Promise<() => Promise<void>> {
  try {
    await mkdir(dataDir, { recursive: true })
    return await lockDataDirectory(dataDir)
  } catch (error) {
    throw error instanceof DataDirectoryInUse ? error : new DataDirectoryUnusable(dataDir, error)
  }
}

function findOptions(options: StackOptions, log: Progress): FindOptions {
  return {
    pathDirs: options.pathDirs,
    cacheDir: options.cacheDir ?? defaultCacheDir(),
    progress: log,
    ...(options.indexUrl === undefined ? {} : { indexUrl: options.indexUrl }),
  }
}

const mongoKind = (options: StackOptions): Kind => ({
  name: 'mongo',
  port: options.ports?.mongo,
  find: findMongod,
  orphan: findMongodOrphan,
  adopt: adoptMongod,
  start: (binary, dir, port) =>
    startMongod({
      binary: binary.path,
      version: binary.version,
      dir,
      port,
      fixedPort: options.ports?.mongo !== undefined,
    }),
})

const natsKind = (options: StackOptions): Kind => ({
  name: 'nats',
  port: options.ports?.nats,
  find: findNatsServer,
  orphan: findNatsOrphan,
  adopt: adoptNatsServer,
  start: (binary, dir, port) =>
    startNatsServer({ binary: binary.path, dir, port, fixedPort: options.ports?.nats !== undefined }),
})

/** One server: given, taken over, or found and started. */
async function bring(
  kind: Kind,
  url: string | undefined,
  context: Context,
  started: { kind: Kind; server: RunningServer }[],
): Promise<ServerDescription> {
  if (url !== undefined) {
    context.log('url', `${kind.name} is given by its address`)
    return { url, rung: 'url', version: null, path: null, pid: null }
  }
  const before = context.file[kind.name]
  const { server, binary } = (await takeOver(kind, before, context)) ?? (await startNew(kind, before, context))
  started.push({ kind, server })
  await record(kind, binary, context, { port: server.port, pid: server.pid })
  const { rung, version, path } = binary
  return { url: server.url, rung, version, path, pid: server.pid }
}

async function startNew(kind: Kind, before: StackServer | null, context: Context): Promise<Brought> {
  const binary = await kind.find({ ...context.find, dataVersion: before?.dataVersion ?? null })
  // Written first: the server may write newer data and this process may die before it hears of it.
  await record(kind, binary, context, { port: before?.port ?? null, pid: null })
  context.log(binary.rung, `starting ${binary.path} (${binary.version}) on ${context.dataDir}`)
  return { server: await kind.start(binary, context.dataDir, kind.port ?? before?.port ?? undefined), binary }
}

async function record(
  kind: Kind,
  { path, version, rung }: FoundBinary,
  { file, dataDir }: Context,
  now: { port: number | null; pid: number | null },
): Promise<void> {
  file[kind.name] = { path, version, rung, ...now, dataVersion: newest(version, file[kind.name]?.dataVersion) }
  await writeStackFile(dataDir, file)
}

/** T2 */
async function takeOver(kind: Kind, before: StackServer | null, context: Context): Promise<Brought | null> {
  const orphan = await kind.orphan(context.dataDir)
  if (orphan === null) return null
  const rung = before?.rung ?? 'path'
  // Without a record of it nobody knows its version.
  let stopTimeoutMs = ORPHAN_STOP_TIMEOUT_MS
  const known = before !== null && before.pid === orphan.pid
  if (known && (kind.port === undefined || kind.port === orphan.port)) {
    try {
      const server = await kind.adopt(orphan, before.version)
      context.log(rung, `taking over ${before.path} (process ${orphan.pid}), left behind by an earlier run`)
      return { server, binary: before }
    } catch {
      context.log(rung, `${before.path} (process ${orphan.pid}), left behind by an earlier run, does not answer`)
      stopTimeoutMs = SILENT_STOP_TIMEOUT_MS
    }
  }
  context.log(rung, `ending process ${orphan.pid}, left behind by an earlier run`)
  await orphan.stop(stopTimeoutMs)
  return null
}

/** T3. The second call waits for the first. */
function stopper(context: Context, started: { kind: Kind; server: RunningServer }[], unlock: () => Promise<void>) {
  let stopping: Promise<void> | null = null
  const stop = async () => {
    for (const { kind, server } of [...started].reverse()) {
      await server.stop()
      const entry = context.file[kind.name]
      if (entry !== null) entry.pid = null
    }
    await writeStackFile(context.dataDir, context.file)
    await unlock()
  }
  return () => (stopping ??= stop())
}
