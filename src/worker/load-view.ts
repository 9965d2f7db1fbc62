/**
 * What this process knows of the load at each provider: may a record be hinted at once, or must it wait its turn?
 *
 * V1 A hint at once is given only while fewer than about twice the deployment's slots are hinted and the feeder holds
 *    nobody back (P12). Being wrong is harmless: the feeder finds whoever was not hinted.
 * V2 A hint that was taken and whose turn is being saved holds a slot: it is no longer on its way, though the bus counts
 *    it until it is acked. Otherwise each look would find the window full while slots stay empty.
 */
import type { Member } from '../persistence/contract.js'
import type { Clock, HintBus } from './contract.js'

/** Hints per slot that may be on their way, so that a worker never runs dry. */
export const HINTS_PER_SLOT = 2
const LOOK_MS = 250
/** Refusing a hint asks for a new look, at most this often. */
const LOOK_AGAIN_MS = 20

export type LoadView = {
  mayHint(provider: string): boolean
  nobodyWaits(provider: string): boolean
  /** This process has published a hint. */
  hinted(provider: string): void
  /** This process has taken one. */
  taken(provider: string): void
  /** This process has acked one that it took. */
  acked(provider: string): void
  /** Told of each hint that may not be given because too many are on their way. */
  onRefused(listener: (provider: string) => void): void
  /** This process, as the feeder, holds records back at these providers. */
  hold(providers: readonly string[]): void
  /** Hints that may be on their way at once. */
  window(provider: string): number
  start(): void
  close(): Promise<void>
}

export const createLoadView = (deps: {
  providers: readonly string[]
  /** This process' id among the members. */
  self: string
  bus: Pick<HintBus, 'pending' | 'awaySinceMs'>
  members(): readonly Member[]
  clock: Clock
}): LoadView => {
  const { providers, self, bus, members, clock } = deps
  const pending = new Map<string, number>()
  /** Published less taken by this process since the last look. */
  const since = new Map<string, number>()
  /** Taken by this process and not yet acked. */
  const starting = new Map<string, number>()
  const lookedAtMs = new Map<string, number>()
  const looking = new Set<string>()
  let held: ReadonlySet<string> = new Set()
  let refused: (provider: string) => void = () => {}
  const closing = new AbortController()
  let loop: Promise<void> = Promise.resolve()

  const window = (provider: string) => {
    const slots = members().reduce((sum, member) => sum + (member.slots[provider] ?? 0), 0)
    return HINTS_PER_SLOT * slots
  }
  const nobodyWaits = (provider: string) =>
    !held.has(provider) && !members().some(({ id, waiting }) => id !== self && waiting.includes(provider))

  const add = (counts: Map<string, number>, provider: string, count: number) =>
    counts.set(provider, (counts.get(provider) ?? 0) + count)

  const look = async (provider: string) => {
    if (looking.has(provider)) return
    looking.add(provider)
    lookedAtMs.set(provider, clock.monotonicMs())
    const before = since.get(provider) ?? 0
    const count = await bus.pending({ provider }).catch(() => null)
    looking.delete(provider)
    if (count === null) return
    pending.set(provider, count - (starting.get(provider) ?? 0)) // V2
    add(since, provider, -before)
  }

  const lookAgain = (provider: string) => {
    if (clock.monotonicMs() - (lookedAtMs.get(provider) ?? 0) >= LOOK_AGAIN_MS) void look(provider)
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
    mayHint(provider) {
      if (!nobodyWaits(provider)) return false
      const underWay = (pending.get(provider) ?? 0) + (since.get(provider) ?? 0)
      if (underWay < window(provider)) return true
      lookAgain(provider)
      refused(provider)
      return false
    },
    hinted: (provider) => add(since, provider, 1),
    taken(provider) {
      add(since, provider, -1)
      add(starting, provider, 1)
    },
    acked: (provider) => add(starting, provider, -1),
    onRefused(listener) {
      refused = listener
    },
    hold(providers) {
      held = new Set(providers)
    },
    start() {
      loop = run()
    },
    async close() {
      closing.abort()
      await loop
    },
  }
}
