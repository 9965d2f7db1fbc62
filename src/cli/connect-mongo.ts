/** A client of the deployment that keeps the records, with every wait limited; and what to do when there is none. */
import { MongoClient, MongoServerSelectionError } from 'mongodb'
import type { MongoAddress } from '../config/settings.js'
import { CliError, EXIT } from './exit-codes.js'

const SELECTION_TIMEOUT_MS = 5_000
const SOCKET_TIMEOUT_MS = 60_000
const AUTHENTICATION_FAILED = 18

/** Throws CliError. Whether the deployment is suitable is asked by `createEndstate`. */
export const connectMongo = async ({ url }: MongoAddress): Promise<MongoClient> => {
  let client: MongoClient | null = null
  try {
    client = new MongoClient(url, {
      appName: 'endstate',
      serverSelectionTimeoutMS: SELECTION_TIMEOUT_MS,
      connectTimeoutMS: SELECTION_TIMEOUT_MS,
      heartbeatFrequencyMS: 2_000,
      waitQueueTimeoutMS: 10_000,
      socketTimeoutMS: SOCKET_TIMEOUT_MS,
      maxPoolSize: 50,
      writeConcern: { w: 'majority', journal: true },
    })
    return await client.connect()
  } catch (error) {
    await client?.close().catch(() => undefined)
    throw new CliError(EXIT.unreachable, 'mongodb-unreachable', explain(url, error), error)
  }
}

/** Never the user or password. */
const hostsOf = (url: string): string => /^mongodb(?:\+srv)?:\/\/(?:.*@)?([^@/]+)/.exec(url)?.[1] ?? 'the given address'

const explain = (url: string, error: unknown): string => {
  const hosts = hostsOf(url)
  if (error instanceof MongoServerSelectionError) {
    const servers = [...(error.reason?.servers.values() ?? [])]
    const types = servers.map(({ type }) => String(type))
    if (types.includes('RSGhost'))
      return `MongoDB at ${hosts} is a replica set that was never initiated. Run rs.initiate() on it once.`
    if (types.some((type) => type !== 'Unknown'))
      return (
        `MongoDB at ${hosts} answers, but has no primary that fits the address (found: ${types.join(', ')}). ` +
        'Check the replicaSet name in ENDSTATE_MONGODB_URL, and that a majority of the members is up.'
      )
    // The driver forgets whoever names another set.
    if (servers.length === 0 && /[?&]replicaSet=/i.test(url))
      return (
        `MongoDB at ${hosts} answers, but belongs to another replica set than ENDSTATE_MONGODB_URL names. ` +
        'Correct its replicaSet=NAME; db.hello().setName shows the name.'
      )
    const reason = servers.map((server) => server.error?.message).find((text) => text !== undefined)
    return (
      `No MongoDB answers at ${hosts} within ${SELECTION_TIMEOUT_MS / 1000} s (${reason ?? 'no reason given'}). ` +
      'Start it, or set ENDSTATE_MONGODB_URL to one that runs.'
    )
  }
  if (error instanceof Error && 'code' in error && error.code === AUTHENTICATION_FAILED)
    return `MongoDB at ${hosts} refuses the user in ENDSTATE_MONGODB_URL. Check the name, the password and authSource.`
  const reason = error instanceof Error ? error.message.split('\n', 1)[0] : String(error)
  return `MongoDB at ${hosts} can't be used (${reason}). Check ENDSTATE_MONGODB_URL.`
}
