/** A connection to the bus that heals itself for as long as the process lives; and what to do when there is none. */
import { readFile } from 'node:fs/promises'
import { connect, credsAuthenticator, type NatsConnection } from 'nats'
import type { NatsAddress } from '../config/settings.js'
import { assertJetStream } from '../worker/nats-work-stream.js'
import { CliError, EXIT } from './exit-codes.js'

const CONNECT_TIMEOUT_MS = 5_000

/** Throws CliError; then nothing stays open. */
export const connectNats = async (address: NatsAddress): Promise<NatsConnection> => {
  const servers = address.url.split(',').map((url) => url.trim())
  const credentials = await readCredentials(address.credentialsFile)
  let connection: NatsConnection
  try {
    connection = await connect({
      servers,
      name: 'endstate',
      timeout: CONNECT_TIMEOUT_MS,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 500,
      pingInterval: 5_000,
      maxPingOut: 2,
      waitOnFirstConnect: false,
      ...(credentials === null ? {} : { authenticator: credsAuthenticator(credentials) }),
    })
  } catch (error) {
    throw new CliError(EXIT.unreachable, 'nats-unreachable', explain(servers, error), error)
  }
  try {
    await assertJetStream(connection)
    return connection
  } catch (error) {
    await connection.close()
    const message = error instanceof Error ? error.message : String(error)
    throw new CliError(EXIT.unreachable, 'nats-unsuitable', message, error)
  }
}

const readCredentials = async (file: string | null): Promise<Uint8Array | null> => {
  if (file === null) return null
  try {
    return await readFile(file)
  } catch (error) {
    const message = `ENDSTATE_NATS_CREDENTIALS names ${file}, which can't be read. Give the path of a NATS credentials file.`
    throw new CliError(EXIT.usage, 'settings-refused', message, error)
  }
}

const explain = (servers: readonly string[], error: unknown): string => {
  const where = servers.map((url) => url.replace(/^(\w+:\/\/)?.*@/, '$1')).join(', ')
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (/AUTHORIZATION|AUTHENTICATION|PERMISSIONS/.test(code))
    return `NATS at ${where} refuses these credentials. Check ENDSTATE_NATS_URL and ENDSTATE_NATS_CREDENTIALS.`
  const reason = code === '' ? (error instanceof Error ? error.message : String(error)) : code
  return `No NATS answers at ${where} (${reason}). Start nats-server with JetStream, or set ENDSTATE_NATS_URL to one that runs.`
}
