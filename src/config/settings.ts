/**
 * The process's settings, read from an environment that the caller hands in. Pure.
 *
 * Owns the names, shapes and defaults of the ENDSTATE_ variables. Does not connect to anything, and does not read the
 * config file. Every problem is reported at once, and an address is never shown with its password.
 */
import { z } from 'zod'

export const ROLES = ['api', 'worker', 'sweeper'] as const
export type RoleName = (typeof ROLES)[number]
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export type Environment = { readonly [name: string]: string | undefined }

export type MongoAddress = { url: string; database: string }
export type NatsAddress = { url: string; credentialsFile: string | null }

export type Settings = {
  roles: RoleName[]
  mongo: MongoAddress | null
  nats: NatsAddress | null
  host: string
  port: number
  /** Null: ./endstate.config.ts, else the one that comes with the package. */
  configFile: string | null
  dataDir: string
  prefix: string
  /** Where providers reach the API from outside; null: they can't, and jobs are polled. */
  publicUrl: string | null
  /** Records a second that the audit in the background reads; 0: none. */
  auditRate: number
  logLevel: LogLevel
}

/** Lists every setting that is wrong. */
export class SettingsRefused extends Error {
  readonly code = 'settings-refused'
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(
      problems.length === 1 ? problems[0] : `The settings are refused:\n${problems.map((p) => `  - ${p}`).join('\n')}`,
    )
    this.problems = problems
  }
}

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost'])
const MONGO_URL = /^mongodb(?:\+srv)?:\/\/(?:[^@/]+@)?[^@/]+\/([^/\\. "$*<>:|?]{1,63})(?:\?.*)?$/
const NATS_SERVER = /^(?:(?:nats|tls|ws|wss):\/\/)?(?:[^@/\s]+@)?[^@/\s]+$/

/** A message of these schemas is the value's shape and the fix; the variable and what was found are put before it. */
const schema = z.object({
  ENDSTATE_ROLES: z
    .string()
    .default(ROLES.join(','))
    .transform((text) => text.split(',').map((role) => role.trim()))
    .pipe(z.array(z.enum(ROLES)).min(1))
    .transform((roles) => [...new Set(roles)]),
  ENDSTATE_MONGODB_URL: z
    .string()
    .optional()
    .transform((url, ctx): MongoAddress | null => {
      if (url === undefined) return null
      const database = MONGO_URL.exec(url)?.[1]
      if (database !== undefined) return { url, database: decodeURIComponent(database) }
      ctx.addIssue('shape')
      return z.NEVER
    }),
  ENDSTATE_NATS_URL: z
    .string()
    .refine((urls) => urls.split(',').every((url) => NATS_SERVER.test(url.trim())))
    .optional(),
  ENDSTATE_NATS_CREDENTIALS: z.string().optional(),
  ENDSTATE_HOST: z.string().default('127.0.0.1'),
  ENDSTATE_PORT: z
    .string()
    .regex(/^\d{1,5}$/)
    .default('8080')
    .transform(Number)
    .refine((port) => port <= 65_535),
  ENDSTATE_CONFIG: z.string().optional(),
  ENDSTATE_DATA: z.string().default('.endstate'),
  ENDSTATE_PREFIX: z
    .string()
    .regex(/^[a-z0-9-]{1,40}$/)
    .default('endstate'),
  ENDSTATE_PUBLIC_URL: z
    .string()
    .regex(/^https?:\/\/[^\s?#@]+$/)
    .optional(),
  ENDSTATE_AUDIT_RATE: z
    .string()
    .regex(/^\d{1,5}$/)
    .default('20')
    .transform(Number),
  ENDSTATE_LOG_LEVEL: z.enum(LOG_LEVELS).default('info'),
})

type Variable = keyof z.input<typeof schema>

const SHAPE: { readonly [name in Variable]: string } = {
  ENDSTATE_ROLES: `Write one or more of ${ROLES.join(', ')}, with commas between them, for example "api,sweeper".`,
  ENDSTATE_MONGODB_URL:
    'Write the address of a replica set or sharded cluster with the name of a database, ' +
    'for example "mongodb://db1:27017,db2:27017,db3:27017/endstate?replicaSet=rs0".',
  ENDSTATE_NATS_URL:
    'Write one or more addresses of NATS servers with JetStream, with commas between them, for example "nats://localhost:4222".',
  ENDSTATE_NATS_CREDENTIALS: 'Write the path of a NATS credentials file.',
  ENDSTATE_HOST: 'Write the address to listen at, for example "127.0.0.1".',
  ENDSTATE_PORT: 'Write a whole number from 0 (any free port) to 65535, for example "8080".',
  ENDSTATE_CONFIG: 'Write the path of a config file, for example "./endstate.config.ts".',
  ENDSTATE_DATA: 'Write the path of a directory, for example ".endstate".',
  ENDSTATE_PREFIX: 'Write 1 to 40 of a-z, 0-9 and "-"; names of streams and subjects begin with it.',
  ENDSTATE_PUBLIC_URL:
    'Write the address at which providers reach the API from outside, for webhooks, for example "https://endstate.example.org". ' +
    'Without it jobs are polled.',
  ENDSTATE_AUDIT_RATE:
    'Write how many records a second the audit in the background may read in a process with the role "sweeper", for example "20"; "0" turns it off.',
  ENDSTATE_LOG_LEVEL: `Write one of ${LOG_LEVELS.join(', ')}.`,
}

/** Read by single commands, not by a service. */
const OF_COMMANDS: { readonly [name: string]: string } = {
  ENDSTATE_URL: 'Write the address of the service that commands ask, for example "http://127.0.0.1:8080".',
  ENDSTATE_CACHE: 'Write the directory where "dev" and "demo" keep the servers they fetch; default ~/.cache/endstate.',
}

/** The variables with what they take, for `endstate settings` and the docs. */
export const SETTINGS: readonly { name: string; shape: string }[] = Object.entries({ ...SHAPE, ...OF_COMMANDS }).map(
  ([name, shape]) => ({ name, shape }),
)

const withoutPassword = (value: string): string => value.replace(/\/\/.*@/s, '//***@')

const problemOf = (name: Variable, value: string | undefined): string => {
  const found = value === undefined ? 'is not set' : `is ${JSON.stringify(withoutPassword(value).slice(0, 120))}`
  return `${name} ${found}. ${SHAPE[name]}`
}

const refuseOpenBind = (host: string): string[] =>
  LOOPBACK.has(host)
    ? []
    : [
        `ENDSTATE_HOST is ${JSON.stringify(host)}, which others can reach, and there are no keys yet: anyone could read and submit records. ` +
          'Listen at "127.0.0.1" and put your own gateway with authentication before it.',
      ]

/** An empty variable counts as not set. Throws SettingsRefused with all problems. */
export const readSettings = (environment: Environment): Settings => {
  const names = Object.keys(SHAPE) as Variable[]
  const given = Object.fromEntries(names.map((name) => [name, environment[name]?.trim() || undefined]))
  const parsed = schema.safeParse(given)
  const wrong = parsed.success ? [] : [...new Set(parsed.error.issues.map(({ path }) => path[0] as Variable))]
  const problems = [
    ...wrong.map((name) => problemOf(name, given[name])),
    ...refuseOpenBind(given['ENDSTATE_HOST'] ?? '127.0.0.1'),
  ]
  if (!parsed.success || problems.length > 0) throw new SettingsRefused(problems)
  const value = parsed.data
  return {
    roles: value.ENDSTATE_ROLES,
    mongo: value.ENDSTATE_MONGODB_URL,
    nats:
      value.ENDSTATE_NATS_URL === undefined
        ? null
        : { url: value.ENDSTATE_NATS_URL, credentialsFile: value.ENDSTATE_NATS_CREDENTIALS ?? null },
    host: value.ENDSTATE_HOST,
    port: value.ENDSTATE_PORT,
    configFile: value.ENDSTATE_CONFIG ?? null,
    dataDir: value.ENDSTATE_DATA,
    prefix: value.ENDSTATE_PREFIX,
    publicUrl: value.ENDSTATE_PUBLIC_URL ?? null,
    auditRate: value.ENDSTATE_AUDIT_RATE,
    logLevel: value.ENDSTATE_LOG_LEVEL,
  }
}

export type ConnectedSettings = Settings & { mongo: MongoAddress; nats: NatsAddress }

/** For processes that bring no servers of their own. Throws SettingsRefused. */
export const requireServers = (settings: Settings): ConnectedSettings => {
  const { mongo, nats } = settings
  if (mongo !== null && nats !== null) return { ...settings, mongo, nats }
  const problems = [
    ...(mongo === null ? [problemOf('ENDSTATE_MONGODB_URL', undefined)] : []),
    ...(nats === null ? [problemOf('ENDSTATE_NATS_URL', undefined)] : []),
    '"endstate dev" brings servers of its own, if you have none.',
  ]
  throw new SettingsRefused(problems)
}
