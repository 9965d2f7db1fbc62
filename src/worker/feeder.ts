/**
 * Keeps each provider's workers fed from the queue in MongoDB: one feeder per provider in the deployment, by lease,
 * keeps about twice the free slots hinted, round-robin over the sources that wait (P12). The queue itself is an index,
 * so a million waiting records cost no memory here.
 *
 * F1 Every record that waits is hinted sooner or later, also when its first hint was lost (P9): after HINT_LASTS_MS
 *    it is hinted again, and at once when the bus has no hint left that could be its own.
 * F2 Slots don't run dry between two looks. Whoever was refused a hint here wakes the feeder; and when it holds nobody
 *    back any more, it keeps looking often until every process has heard so and hints at once again.
 */
import type { Heartbeats, RecordStore, WaitingRecord } from '../persistence/contract.js'
import type { Clock, Hint, HintBus } from './contract.js'
import type { Logger } from './logger.js'

export const FEED_MS = 200
/** Pause while records are held back: nobody but the feeder hints them then. */
const FEED_HOLDING_MS = 10
/** How long other processes may go on as if records were held back: a heartbeat of theirs and one of this process. */
const RELEASE_MS = 2_500
const FEED_RELEASED_MS = 20
/** A record that became ready less than this ago may still be on its way by a hint at once. */
const GRACE_MS = 150
/** The same while others may not hint at once. */
const GRACE_RELEASED_MS = 50
const HINT_LASTS_MS = 20_000
/** With nothing left on the bus, a hint older than this was lost. */
const HINT_LOST_MS = 1_000
/** A reason of our own: the default one is an exception with a stack. */
const WOKEN = 'woken'
const LEASE_MS = 4_000
const SOURCES_MAX = 1_000

export type FeederDeps = {
  providers: readonly string[]
  store: Pick<RecordStore, 'waitingSources' | 'waiting'>
  leases: Pick<Heartbeats, 'lease'>
  holder: string
  publish: HintBus['publish']
  /** Hints on their way to workers of this provider. */
  pending(provider: string): Promise<number>
  /** How many hints may be on their way. */
  window(provider: string): number
  /** pipelineVersions that a worker alive can advance: records of others would fill the window and move nowhere (P8). */
  versions(): readonly string[]
  /** Records are held back at these providers. */
  holding(providers: string[]): void
  clock: Clock
  log: Logger
}

export type Feeder = {
  start(): void
  close(): Promise<void>
  feedOnce(provider: string): Promise<number>
  /** A record was refused a hint at once here: it waits. */
  wake(provider: string): void
}

export const createFeeder = (deps: FeederDeps): Feeder => {
  const { clock, log } = deps
  const closing = new AbortController()
  /** Until when (monotonic ms) a record counts as hinted, by provider and id. */
  const hinted = new Map(deps.providers.map((provider) => [provider, new Map<string, number>()]))
  const turnOf = new Map<string, string>()
  const holding = new Set<string>()
  /** Until when (monotonic ms) others may not know that nobody is held back any more. */
  const releasedUntilMs = new Map<string, number>()
  const wakers = new Map<string, () => void>()
  const woken = new Set<string>()
  const ledSinceMs = new Map<string, number>()
  let loops: Promise<void>[] = []

  /** Oldest first: each hint lasts as long as the others. */
  const forget = (provider: string, before: number) => {
    for (const [id, until] of hinted.get(provider)!) {
      if (until > before) return
      hinted.get(provider)!.delete(id)
    }
  }
  const isReleased = (provider: string) => clock.monotonicMs() < (releasedUntilMs.get(provider) ?? -Infinity)
  const graceMs = (provider: string) => {
    if (holding.has(provider)) return 0
    if (woken.has(provider)) return FEED_HOLDING_MS
    return isReleased(provider) ? GRACE_RELEASED_MS : GRACE_MS
  }

  const feedOnce = async (provider: string): Promise<number> => {
    const pending = await deps.pending(provider)
    if (pending === 0) forget(provider, clock.monotonicMs() + HINT_LASTS_MS - HINT_LOST_MS)
    const budget = deps.window(provider) - pending
    const hintedUntil = hinted.get(provider)!
    const queue: Queue = { provider, hintedUntil, turnOf, graceMs: graceMs(provider) }
    const chosen = budget > 0 ? await choose(deps, queue, budget) : { records: [], more: true }
    woken.delete(provider)
    const published = await Promise.all(chosen.records.map((record) => publish(provider, record)))
    const held = budget > 0 ? chosen.more : await someoneWaits(deps, queue)
    if (held !== holding.has(provider)) {
      if (held) holding.add(provider)
      else holding.delete(provider)
      if (!held) releasedUntilMs.set(provider, clock.monotonicMs() + RELEASE_MS)
      deps.holding([...holding])
    }
    return published.filter(Boolean).length
  }

  const publish = async (provider: string, { id, version }: WaitingRecord): Promise<boolean> => {
    const hint: Hint = { type: version === 1 ? 'RECORD_ACCEPTED' : 'STEP_READY', record: id, version }
    try {
      await deps.publish({ provider }, hint)
      hinted.get(provider)!.delete(id) // Last again in its order.
      hinted.get(provider)!.set(id, clock.monotonicMs() + HINT_LASTS_MS)
      return true
    } catch {
      return false // The bus is away: the record is still in the queue.
    }
  }

  /** The lease is asked for anew after a quarter of its time. */
  const isLeader = async (provider: string): Promise<boolean> => {
    if (clock.monotonicMs() - (ledSinceMs.get(provider) ?? -Infinity) < LEASE_MS / 4) return true
    const askedMs = clock.monotonicMs()
    const leads = await deps.leases.lease(`feeder:${provider}`, deps.holder, LEASE_MS)
    if (leads) ledSinceMs.set(provider, askedMs)
    else ledSinceMs.delete(provider)
    return leads
  }

  const pauseMs = (provider: string) => {
    if (holding.has(provider) || woken.has(provider)) return FEED_HOLDING_MS
    return isReleased(provider) ? FEED_RELEASED_MS : FEED_MS
  }
  /** Ends early when the feeder is woken; then what waits still has to wait for a moment, to be told from what was hinted. */
  const rest = async (provider: string) => {
    const nap = new AbortController()
    const end = () => nap.abort(WOKEN)
    closing.signal.addEventListener('abort', end)
    if (!holding.has(provider)) wakers.set(provider, end)
    if (!closing.signal.aborted) await clock.sleep(pauseMs(provider), nap.signal)
    wakers.delete(provider)
    closing.signal.removeEventListener('abort', end)
    if (woken.has(provider)) await clock.sleep(FEED_HOLDING_MS, closing.signal)
  }

  const run = async (provider: string) => {
    while (!closing.signal.aborted) {
      try {
        if (await isLeader(provider)) await feedOnce(provider)
      } catch (error) {
        log.warn({ provider, error: String(error) }, 'The feeder could not look at the queue.')
      }
      forget(provider, clock.monotonicMs())
      await rest(provider)
    }
  }

  return {
    feedOnce,
    wake(provider) {
      const wake = wakers.get(provider)
      // Only its leader looks at the queue; others would wake for nothing.
      if (!wake || !ledSinceMs.has(provider)) return
      woken.add(provider)
      wake()
    },
    start() {
      loops = deps.providers.map(run)
    },
    async close() {
      closing.abort()
      await Promise.all(loops)
    },
  }
}

type Chosen = { records: WaitingRecord[]; more: boolean }

const isHinted = (hintedUntil: ReadonlyMap<string, number>, now: number) => (record: WaitingRecord) =>
  (hintedUntil.get(record.id) ?? 0) > now

type Queue = {
  provider: string
  hintedUntil: ReadonlyMap<string, number>
  /** The source that was served last, by provider. */
  turnOf: Map<string, string>
  graceMs: number
}

const someoneWaits = async (deps: FeederDeps, queue: Queue) =>
  (await choose(deps, { ...queue, turnOf: new Map() }, 1)).records.length > 0

/** Up to `budget` waiting records, one source after the other, going on after the source that was served last. */
const choose = async (deps: FeederDeps, queue: Queue, budget: number): Promise<Chosen> => {
  const { provider, hintedUntil, turnOf, graceMs } = queue
  const { store, clock } = deps
  const last = turnOf.get(provider)
  const later = last === undefined ? [] : await store.waitingSources(provider, SOURCES_MAX, last)
  const sources = [...new Set([...later, ...(await store.waitingSources(provider, SOURCES_MAX))])]
  if (sources.length === 0) return { records: [], more: false }
  const hinted = isHinted(hintedUntil, clock.monotonicMs())
  const readyBefore = new Date(clock.now().getTime() - graceMs)
  const served = sources.slice(0, Math.max(1, budget))
  const share = Math.ceil(budget / served.length)
  const queues = await Promise.all(
    served.map(async (source) => {
      // Hinted records are the oldest ones and still stand first in the queue.
      const limit = share + 1 + hintedUntil.size
      const found = await store.waiting(provider, source, {
        readyBefore,
        after: null,
        limit: Math.min(limit, 5_000),
        versions: deps.versions(),
      })
      return found.filter((record) => !hinted(record))
    }),
  )
  const records: WaitingRecord[] = []
  for (let row = 0; row < share && records.length < budget; row += 1)
    for (const waiting of queues) if (waiting[row] && records.length < budget) records.push(waiting[row]!)
  const taken = new Set(records.map(({ id }) => id))
  const more = sources.length > served.length || queues.some((waiting) => waiting.some(({ id }) => !taken.has(id)))
  // Sources that have nothing to give now don't keep the others from their turn.
  turnOf.set(provider, records.at(-1)?.source ?? served.at(-1)!)
  return { records, more }
}
