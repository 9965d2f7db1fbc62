/**
 * Time as the database server has it. Each beat tells the server's time; between beats the local monotonic clock
 * carries it on, so that setting this machine's clock changes nothing. The version, not the clock, decides who wins.
 */
import type { Clock } from './contract.js'

export type ServerClock = Clock & {
  /** The server said `serverNow` in answer to a question asked at `askedAtMs` (monotonic). */
  adjust(serverNow: Date, askedAtMs: number): void
}

/** By hand: the sleep of node:timers/promises ends in an exception with a stack, and most sleeps of a worker are ended. */
const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const wake = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', wake)
      resolve()
    }
    const timer = setTimeout(wake, ms)
    signal?.addEventListener('abort', wake)
  })

export const createServerClock = (): ServerClock => {
  const monotonicMs = () => performance.now()
  let offsetMs = Date.now() - monotonicMs()
  let known = false
  return {
    now: () => new Date(Math.round(monotonicMs() + offsetMs)),
    monotonicMs,
    sleep,
    adjust(serverNow, askedAtMs) {
      const halfway = (askedAtMs + monotonicMs()) / 2
      const measured = serverNow.getTime() - halfway
      // Never backwards by noise: a small difference is mended slowly, a large one at once.
      offsetMs = known && Math.abs(measured - offsetMs) < 100 ? offsetMs + (measured - offsetMs) / 8 : measured
      known = true
    },
  }
}
