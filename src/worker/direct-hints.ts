/**
 * When the bus has been away for AWAY_MS, each worker process reads due and waiting records straight from MongoDB and
 * hands them to its own handlers (P9). Same feeder, same sweeper, another way to publish.
 */
import type { Clock, Delivery, Hint } from './contract.js'

export const AWAY_MS = 15_000

export type DirectHints = {
  publishTo(provider: string, hint: Hint): Promise<void>
  publishTimer(hint: Hint): Promise<void>
  pending(): number
}

export const createDirectHints = (handlers: {
  onProviderHint(provider: string, delivery: Delivery): void
  onTimerHint(delivery: Delivery): void
  providerFree(provider: string): number
  timersFree(): number
}): DirectHints => {
  let pending = 0
  const deliveryOf = (hint: Hint): Delivery => {
    pending += 1
    let open = true
    const end = () => {
      if (open) pending -= 1
      open = false
    }
    return { hint, ack: end, nak: end }
  }
  return {
    pending: () => pending,
    publishTo: async (provider, hint) => {
      if (handlers.providerFree(provider) <= 0) throw new Error('No free slot here.')
      handlers.onProviderHint(provider, deliveryOf(hint))
    },
    publishTimer: async (hint) => {
      if (handlers.timersFree() <= 0) throw new Error('Too many timers run here.')
      handlers.onTimerHint(deliveryOf(hint))
    },
  }
}

export const isAway = (awaySinceMs: number | null, clock: Clock): boolean =>
  awaySinceMs !== null && clock.monotonicMs() - awaySinceMs >= AWAY_MS
