/**
 * A service process from start to end: what `node dist/main.js` and `endstate start` do. Logs go to stderr as JSON, one
 * object a line, and hold ids, codes and counts, never content.
 *
 * A process that was started by another one with an IPC channel says there when it is ready, and ends when that channel
 * closes: a supervisor that was killed leaves no worker behind.
 */
import { pino } from 'pino'
import type { ConnectedSettings, Environment } from '../config/settings.js'
import { DRAIN_TIMEOUT_MS, endGracefully } from './end-gracefully.js'
import { codeOf, exitCodeOf } from './exit-codes.js'
import { createLifetime } from './lifetime.js'
import { runService } from './run-service.js'

/** Message to the supervisor. */
export const READY = 'ready'

export type ServeOptions = { onFailure?(code: string, message: string): void }

/** Resolves when the service is up. When it can't come up, one message goes to stderr and the process ends. */
export const serve = async (
  settings: ConnectedSettings,
  environment: Environment,
  { onFailure }: ServeOptions = {},
): Promise<void> => {
  const log = pino({ level: settings.logLevel, name: 'endstate' }, pino.destination({ fd: 2, sync: true }))
  const lifetime = createLifetime((error) => log.error({ code: codeOf(error), err: error }, 'Closing failed in part.'))
  endGracefully(lifetime, {
    onBegin: ({ signal, error }) =>
      error === undefined
        ? log.info({ signal, limitMs: DRAIN_TIMEOUT_MS }, 'Draining. A second signal ends the process at once.')
        : log.fatal({ err: error }, 'An error that nobody caught ends the process; records go on in another one.'),
    onTimeout: (afterMs) => log.error({ afterMs }, 'Draining took too long; the process ends now.'),
  })
  if (process.connected) process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
  try {
    const { url, configFile, pipelines } = await runService(settings, {
      secrets: (name) => environment[name],
      log,
      lifetime,
      cwd: process.cwd(),
    })
    log.info(
      { url, roles: settings.roles, configFile, pipelines: pipelines.map(({ name }) => name) },
      'Endstate is ready.',
    )
    if (process.connected) process.send?.(READY)
  } catch (error) {
    if (lifetime.signal.aborted) return
    reportFailure(error)
    onFailure?.(codeOf(error), error instanceof Error ? error.message : String(error))
    await lifetime.close()
    process.exit(exitCodeOf(error))
  }
}

/** For people, in one piece, whatever the log level. */
export const reportFailure = (error: unknown): void => {
  const message = error instanceof Error ? error.message : String(error)
  // An error without a code of ours is a bug or the platform's: then the stack helps.
  const detail = codeOf(error) === 'failed' && error instanceof Error ? `\n${error.stack ?? ''}` : ''
  process.stderr.write(`endstate: ${message}${detail}\n`)
}
