/**
 * Everything on one machine: MongoDB and NATS (embedded, or those whose addresses are set), the API and the sweeper in
 * this process, and a worker as a child that may be killed. What `dev` and `demo` have in common.
 *
 * The data stays. Opened through a lifetime; nothing that is started here outlives it.
 */
import { fileURLToPath } from 'node:url'
import type { Stack } from '../embedded/contract.js'
import { splitPath } from '../embedded/path.js'
import { startStack } from '../embedded/stack.js'
import { requireServers, type Environment, type Settings } from '../config/settings.js'
import { listen } from '../server/listen.js'
import type { Logger } from '../worker/logger.js'
import type { Lifetime } from './lifetime.js'
import { runService, type RunningService } from './run-service.js'
import { superviseWorker, type WorkerEvent, type WorkerProcess } from './worker-process.js'

const DATABASE = 'endstate'
const WORKER_ENTRY = fileURLToPath(new URL('../main.js', import.meta.url))

export type DevOptions = {
  settings: Settings
  /** Of this process, with the flags in it; the worker gets it too. */
  environment: Environment
  cwd: string
  lifetime: Lifetime
  log: Logger
  /** What takes long, for people. */
  say(line: string): void
  onWorker(event: WorkerEvent): void
}

export type DevService = Omit<RunningService, 'url'> & { url: string; stack: Stack; worker: WorkerProcess }

/** Throws what kept it from starting; the caller closes the lifetime. */
export const startDev = async (options: DevOptions): Promise<DevService> => {
  const { settings, environment, lifetime, log, cwd } = options
  // Before anything is started for it; whoever takes the port meanwhile is noticed when it is really bound.
  if (settings.port !== 0) await (await listen(() => undefined, settings)).close()
  const stack = await lifetime.open(
    () => openStack(options),
    (opened) => opened.stop(),
    endServers,
  )
  const mongoUrl = settings.mongo?.url ?? withDatabase(stack.mongoUrl)
  const natsUrl = settings.nats?.url ?? stack.natsUrl
  const mongo = settings.mongo ?? { url: mongoUrl, database: DATABASE }
  const nats = settings.nats ?? { url: natsUrl, credentialsFile: null }
  const secrets = (name: string) => environment[name]
  const service = await runService(requireServers({ ...settings, roles: ['api', 'sweeper'], mongo, nats }), {
    secrets,
    log,
    lifetime,
    cwd,
  })
  const worker = await lifetime.open(
    async () =>
      superviseWorker({
        entry: WORKER_ENTRY,
        env: {
          ...environment,
          ENDSTATE_ROLES: 'worker',
          ENDSTATE_MONGODB_URL: mongoUrl,
          ENDSTATE_NATS_URL: natsUrl,
          ENDSTATE_CONFIG: service.configFile,
        },
        onEvent: options.onWorker,
      }),
    (supervised) => supervised.stop(),
    (supervised) => supervised.kill(),
  )
  await worker.ready
  return { ...service, url: service.url ?? '', stack, worker }
}

const openStack = ({ settings, environment, say }: DevOptions): Promise<Stack> => {
  const cacheDir = environment['ENDSTATE_CACHE']
  const indexUrl = environment['PIP_INDEX_URL']
  return startStack({
    dataDir: settings.dataDir,
    ...(settings.mongo !== null && { mongoUrl: settings.mongo.url }),
    ...(settings.nats !== null && { natsUrl: settings.nats.url }),
    pathDirs: splitPath(environment['PATH']),
    ...(cacheDir !== undefined && { cacheDir }),
    ...(indexUrl !== undefined && { indexUrl }),
    log: (rung, message) => say(`${rung}: ${message}`),
  })
}

const withDatabase = (url: string): string => {
  const address = new URL(url)
  address.pathname = `/${DATABASE}`
  return address.href
}

/** The last moment of this process: embedded servers are sessions of their own and would run on. SIGTERM is clean for both. */
const endServers = (stack: Stack): void => {
  const { nats, mongo } = stack.describe()
  for (const { pid } of [nats, mongo]) {
    if (pid === null) continue
    try {
      process.kill(pid, 'SIGTERM')
    } catch {
      // It is gone already.
    }
  }
}
