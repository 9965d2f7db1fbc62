/**
 * What this process knows of the load at each provider: may a record be hinted at once, or must it wait its turn?
 *
 * V1 A hint at once is given only while fewer than about twice the deployment's slots are hinted and the feeder holds
 *    nobody back (P12). Being wrong is harmless: the feeder finds whoever was not hinted.
 */
import type { Member } from '../persistence/contract.js'
import type { Clock, HintBus } from './contract.js'

/** Hints per slot that may be on their way, so that a worker never runs dry. */
export const HINTS_PER_SLOT = 2
const LOOK_MS = 250

export type LoadView = {
  mayHint(provider: string): boolean
  nobodyWaits(provider: string): boolean
  /** This process has published a hint. */
  hinted(provider: string): void
  /** Hints that may be on their way at once. */
  window(provider: string): number
  start(): void
  close(): Promise<void>
}

export const createLoadView = (deps: {
  providers: readonly string[]
  bus: Pick<HintBus, 'pending' | 'awaySinceMs'>
  members(): readonly Member[]
  clock: Clock
}): LoadView => {
  const { providers, bus, members, clock } = deps
  const pending = new Map<string, number>()
  const since = new Map<string, number>()
  const closing = new AbortController()
  let loop: Promise<void> = Promise.resolve()

  const window = (provider: string) => {
    const slots = members().reduce((sum, member) => sum + (member.slots[provider] ?? 0), 0)
    return HINTS_PER_SLOT * slots
  }
  const nobodyWaits = (provider: string) => !members().some(({ waiting }) => waiting.includes(provider))

  const look = async (provider: string) => {
    const before = since.get(provider) ?? 0
    const count = await bus.pending({ provider }).catch(() => null)
    if (count === null) return
    pending.set(provider, count)
    since.set(provider, Math.max(0, (since.get(provider) ?? 0) - before))
  }

  const run = async () => {
    while (!closing.signal.aborted) {
      if (bus.awaySinceMs() === null) await Promise.all(providers.map(look))
      await clock.sleep(LOOK_MS, closing.signal)
    }
  }

  return {
    nobodyWaits,
    window,
    mayHint: (provider) =>
      nobodyWaits(provider) && (pending.get(provider) ?? 0) + (since.get(provider) ?? 0) < window(provider),
    hinted: (provider) => since.set(provider, (since.get(provider) ?? 0) + 1),
    start() {
      loop = run()
    },
    async close() {
      closing.abort()
      await loop
    },
  }
}
