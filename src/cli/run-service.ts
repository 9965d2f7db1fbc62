/**
 * One Endstate process: config, connections, roles and, for the role `api`, the port. What `main.ts`, `start` and `dev`
 * have in common. Everything is opened through a lifetime, so that it is drained and closed in reverse order.
 */
import type { ConnectedSettings } from '../config/settings.js'
import { findConfig, loadConfig } from '../config/load-config.js'
import { createEndstate } from '../endstate.js'
import { CONFIG_MODULES } from './config-modules.js'
import { listen } from '../server/listen.js'
import type { Logger } from '../worker/logger.js'
import { connectMongo } from './connect-mongo.js'
import { connectNats } from './connect-nats.js'
import type { Lifetime } from './lifetime.js'

/** Requests under way when the process ends, in ms. */
const REQUEST_GRACE_MS = 3_000
const DISCONNECT_TIMEOUT_MS = 3_000

export type ServiceOptions = {
  secrets(name: string): string | undefined
  log: Logger
  lifetime: Lifetime
  cwd: string
}

export type RunningService = {
  /** Null without the role `api`. */
  url: string | null
  configFile: string
  pipelines: { name: string; worstCaseMs: number }[]
}

const within = async (ms: number, work: Promise<unknown>): Promise<void> => {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))
  await Promise.race([work.then(() => undefined), limit]).finally(() => clearTimeout(timer))
}

/** Throws what is wrong with the config, MongoDB, NATS or the port, each with its fix; the caller closes the lifetime. */
export const runService = async (settings: ConnectedSettings, options: ServiceOptions): Promise<RunningService> => {
  const { lifetime, log, secrets } = options
  const configFile = await findConfig(settings.configFile, options.cwd)
  const config = await loadConfig(configFile, CONFIG_MODULES)
  const mongo = await lifetime.open(
    () => connectMongo(settings.mongo),
    (client) => within(DISCONNECT_TIMEOUT_MS, client.close()),
  )
  const nats = await lifetime.open(
    () => connectNats(settings.nats),
    (connection) => within(DISCONNECT_TIMEOUT_MS, connection.close()),
  )
  const endstate = await lifetime.open(
    () =>
      createEndstate(config, {
        mongo,
        database: settings.mongo.database,
        nats,
        roles: settings.roles,
        prefix: settings.prefix,
        publicUrl: settings.publicUrl,
        auditRate: settings.auditRate,
        secrets,
        log,
      }),
    (instance) => instance.close(),
  )
  // The port is taken before any work is: a second service on one port must not work in the background.
  const listening = settings.roles.includes('api')
    ? await lifetime.open(
        () => listen((req, res) => endstate.handler(req, res), { host: settings.host, port: settings.port }),
        (server) => server.close({ graceMs: REQUEST_GRACE_MS }),
      )
    : null
  await endstate.start()
  return {
    url: listening?.url ?? null,
    configFile,
    pipelines: endstate.pipelines.all().map(({ definition, worstCaseMs }) => ({ name: definition.name, worstCaseMs })),
  }
}
