/**
 * Finds unsettled records whose time has come and hints them. The proof of P2 and P9: as long as this runs and a
 * worker runs, nothing that NATS loses matters.
 *
 * Z1 Each due record is hinted again, with growing pauses, until its version moves.
 * Z2 A record that was hinted HINTS_MAX times at one version while workers were alive, and is still due, is settled by
 *    force. Hints that nobody could have taken don't count.
 * Z3 Memory is bounded whatever the number of due records: pages, and at most TRACKED_MAX remembered hints.
 */
import type { DueRecord, Member, RecordStore } from '../persistence/contract.js'
import type { Clock, Hint } from './contract.js'
import type { Logger } from './logger.js'

export const SWEEP_MS = 1_000
const PAGE = 500
const SHARDS = 256
const TRACKED_MAX = 20_000
const HINTS_MAX = 20
const PAUSE_MS = { first: 2_000, max: 30_000 }

export type SweeperDeps = {
  store: Pick<RecordStore, 'due'>
  publish(hint: Hint): Promise<void>
  /** Hints of this kind on their way; the sweeper holds back above `pendingMax`. */
  pending(): Promise<number>
  pendingMax: number
  shards(): { from: number; to: number }
  workersAlive(): boolean
  /** Z2: its hints lead to nothing. */
  givesUp(record: DueRecord): Promise<void>
  clock: Clock
  log: Logger
}

export type SweepReport = { due: number; hinted: number; tookMs: number }
export type Sweeper = { start(): void; close(): Promise<void>; sweepOnce(): Promise<SweepReport> }

type Tracked = { version: number; hints: number; nextMs: number }

export const createSweeper = (deps: SweeperDeps): Sweeper => {
  const { store, clock, log } = deps
  const closing = new AbortController()
  const tracked = new Map<string, Tracked>()
  let loop: Promise<void> = Promise.resolve()

  const hint = async (record: DueRecord, nowMs: number): Promise<boolean> => {
    const known = tracked.get(record.id)
    const before = known?.version === record.version ? known : undefined
    if (before && before.nextMs > nowMs) return false
    if (before && before.hints >= HINTS_MAX) {
      tracked.delete(record.id)
      await deps.givesUp(record)
      return false
    }
    const hints = (before?.hints ?? 0) + (deps.workersAlive() ? 1 : 0)
    await deps.publish({ type: 'TIMER_DUE', record: record.id, version: record.version })
    const pauseMs = Math.min(PAUSE_MS.max, PAUSE_MS.first * 2 ** Math.max(0, hints - 1))
    tracked.set(record.id, { version: record.version, hints, nextMs: nowMs + pauseMs })
    return true
  }

  const forget = (nowMs: number) => {
    for (const [id, { nextMs }] of tracked) if (nextMs + PAUSE_MS.max < nowMs) tracked.delete(id)
  }

  const sweepOnce = async (): Promise<SweepReport> => {
    const startedMs = clock.monotonicMs()
    forget(startedMs)
    let room = deps.pendingMax - (await deps.pending())
    let due = 0
    let hinted = 0
    let after: { wakeAt: Date; id: string } | null = null
    while (room > 0 && tracked.size < TRACKED_MAX && !closing.signal.aborted) {
      const page: DueRecord[] = await store.due({ now: clock.now(), after, shards: deps.shards(), limit: PAGE })
      due += page.length
      const told = await Promise.all(page.slice(0, room).map((record) => hint(record, clock.monotonicMs())))
      const count = told.filter(Boolean).length
      hinted += count
      room -= count
      const last = page.at(-1)
      if (page.length < PAGE || !last) break
      after = { wakeAt: last.wakeAt, id: last.id }
    }
    return { due, hinted, tookMs: clock.monotonicMs() - startedMs }
  }

  const run = async () => {
    while (!closing.signal.aborted) {
      await sweepOnce().catch((error: unknown) => log.warn({ error: String(error) }, 'A sweep was cut short.'))
      await clock.sleep(SWEEP_MS, closing.signal)
    }
  }

  return {
    sweepOnce,
    start() {
      loop = run()
    },
    async close() {
      closing.abort()
      await loop
    },
  }
}

/** The shard range of one sweeper among those alive, by rank of its id; all shards when it is not seen (yet). */
export const shardsFor = (id: string, members: readonly Member[]): { from: number; to: number } => {
  const sweepers = members.filter(({ roles }) => roles.includes('sweeper')).map((member) => member.id)
  const ids = [...new Set(sweepers)].sort()
  const rank = ids.indexOf(id)
  if (rank < 0) return { from: 0, to: SHARDS }
  return { from: Math.floor((rank * SHARDS) / ids.length), to: Math.floor(((rank + 1) * SHARDS) / ids.length) }
}
