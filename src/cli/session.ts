/** A command that runs a service in this process: its settings, its lifetime, and how it ends. */
import { pino } from 'pino'
import type { Environment, Settings } from '../config/settings.js'
import type { Logger } from '../worker/logger.js'
import { DRAIN_TIMEOUT_MS, endGracefully } from './end-gracefully.js'
import { codeOf } from './exit-codes.js'
import { settingsFrom, type ServiceFlags } from './flags.js'
import type { Io } from './io.js'
import { createLifetime, type Lifetime } from './lifetime.js'

export type Session = { settings: Settings; environment: Environment; lifetime: Lifetime; log: Logger }

/**
 * Runs `work` with a session. A signal ends the process after draining; when `work` throws, or answers `close`, everything
 * is closed before this returns. Otherwise the process goes on.
 */
export const withSession = async (
  io: Io,
  flags: ServiceFlags,
  defaults: Environment,
  work: (session: Session) => Promise<'close' | 'stay'>,
): Promise<void> => {
  // Quiet unless told otherwise: on a terminal, the command itself says what happens.
  const { settings, environment } = settingsFrom(flags, io.env, { ENDSTATE_LOG_LEVEL: 'warn', ...defaults })
  const log = pino({ level: settings.logLevel, name: 'endstate' }, pino.destination({ fd: 2, sync: true }))
  const lifetime = createLifetime((error) => log.error({ code: codeOf(error), err: error }, 'Closing failed in part.'))
  const takeBack = endGracefully(lifetime, {
    onBegin: ({ error }) =>
      error === undefined
        ? io.note(
            `Stopping: calls under way may end first, for ${DRAIN_TIMEOUT_MS / 1000} s at most. Ctrl-C again stops at once.`,
          )
        : log.error({ err: error }, 'An error that nobody caught ends the process.'),
    onTimeout: () => io.note('Stopping took too long; what was under way goes on when Endstate is started again.'),
  })
  let next: 'close' | 'stay' = 'close'
  try {
    next = await work({ settings, environment, lifetime, log })
  } catch (error) {
    // The signal's own handler ends the process.
    if (lifetime.signal.aborted) return await never()
    throw error
  } finally {
    if (next === 'close' && !lifetime.signal.aborted) {
      await lifetime.close()
      takeBack()
    }
  }
}

const never = () => new Promise<never>(() => undefined)
