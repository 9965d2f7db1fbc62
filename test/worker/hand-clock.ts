/**
 * Time in the hand of a test: nothing passes until `passes` says so, and then every sleeper wakes in its order, with
 * everything it leads to done before the next one.
 */
import { setMaxListeners } from 'node:events'
import type { ServerClock } from '../../src/worker/server-clock.js'
import { noon } from '../machines/pipelines.js'

export type HandClock = ServerClock & {
  /** Lets `ms` pass. */
  passes(ms: number): Promise<void>
  /** Sets the server's clock forward or back, as an operator would; time since start is not changed by it. */
  jumps(ms: number): void
  /** How many wait for time to pass. */
  sleeping(): number
  /** Offsets that a heartbeat has asked for: the server's time less this clock's, in ms. */
  adjusted: number[]
}

type Sleeper = { dueMs: number; wake(): void }

/** Everything that can go on without time has gone on: memory ports answer in microtasks. */
export const settle = async (): Promise<void> => {
  for (let round = 0; round < 3; round += 1) await new Promise((resolve) => setImmediate(resolve))
}

export const createHandClock = (start = noon): HandClock => {
  let atMs = 0
  let jumpedMs = 0
  const sleepers = new Set<Sleeper>()
  const adjusted: number[] = []
  const now = () => new Date(start.getTime() + atMs + jumpedMs)

  const earliest = (untilMs: number): Sleeper | null => {
    let first: Sleeper | null = null
    for (const sleeper of sleepers)
      if (sleeper.dueMs <= untilMs && (first === null || sleeper.dueMs < first.dueMs)) first = sleeper
    return first
  }

  return {
    now,
    monotonicMs: () => atMs,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted === true) return resolve()
        const wake = () => {
          sleepers.delete(sleeper)
          signal?.removeEventListener('abort', wake)
          resolve()
        }
        const sleeper: Sleeper = { dueMs: atMs + Math.max(0, ms), wake }
        sleepers.add(sleeper)
        if (signal) setMaxListeners(0, signal) // As many as sleep at once.
        signal?.addEventListener('abort', wake, { once: true })
      }),
    adjust: (serverNow) => void adjusted.push(serverNow.getTime() - now().getTime()),
    adjusted,
    async passes(ms) {
      const untilMs = atMs + ms
      await settle()
      for (let next = earliest(untilMs); next !== null; next = earliest(untilMs)) {
        atMs = Math.max(atMs, next.dueMs)
        next.wake()
        await settle()
      }
      atMs = untilMs
      await settle()
    },
    jumps(ms) {
      jumpedMs += ms
    },
    sleeping: () => sleepers.size,
  }
}
