/**
 * The end of a process: the first signal, or an error nobody caught, closes its lifetime within a limit; a second
 * signal ends it at once. Either way nothing that it started is left behind.
 */
import closeWithGrace from 'close-with-grace'
import { EXIT } from './exit-codes.js'
import type { Lifetime } from './lifetime.js'

export const DRAIN_TIMEOUT_MS = 30_000

export type Ending = {
  /** A signal came, or an error that nobody caught. */
  onBegin(why: { signal?: string; error?: unknown }): void
  onTimeout(afterMs: number): void
}

/** Ends the process with 0 after a signal, 1 after an error or when the limit passed. Answers how to take it back. */
export const endGracefully = (lifetime: Lifetime, ending: Ending): (() => void) => {
  const { uninstall } = closeWithGrace(
    {
      delay: DRAIN_TIMEOUT_MS,
      logger: false,
      skip: ['beforeExit'],
      onSecondSignal: () => {
        lifetime.abandon()
        process.exit(EXIT.interrupted)
      },
      onSecondError: () => lifetime.abandon(),
      onTimeout: (ms) => {
        lifetime.abandon()
        ending.onTimeout(ms)
      },
    },
    async ({ signal, err }) => {
      ending.onBegin({ ...(signal !== undefined && { signal }), ...(err !== undefined && { error: err }) })
      await lifetime.close()
    },
  )
  return uninstall
}
