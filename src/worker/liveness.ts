/**
 * This process's heartbeat: tells the deployment that it is alive, keeps the clock on the server's time, and learns of
 * outages. Nothing that depends on elapsed time may be decided by a process that has not beaten lately: it would not
 * know whether the gap behind it was an outage (P2).
 *
 * L1 `fresh()` answers outages only from a beat younger than FRESH_MS.
 */
import type { Heartbeats, Member, Outage } from '../persistence/contract.js'
import type { Logger } from './logger.js'
import type { ServerClock } from './server-clock.js'

export const BEAT_MS = 1_000
export const FRESH_MS = 3_000
/** A gap longer than this between any two beats of the deployment's workers is an outage. */
export const OUTAGE_GAP_MS = 5_000
const KEEP_MS = 30 * 24 * 3_600_000

export type Liveness = {
  start(): Promise<void>
  /** Waits for a young beat, at most `timeoutMs`; null when there is none. */
  fresh(timeoutMs?: number): Promise<readonly Outage[] | null>
  /** Members of the deployment as of the last look, at most about a second old. */
  members(): readonly Member[]
  /** What the next beat says of this process. */
  update(change: Partial<Member>): void
  close(): Promise<void>
}

export const createLiveness = (deps: {
  heartbeats: Heartbeats
  clock: ServerClock
  member: Member
  log: Logger
}): Liveness => {
  const { heartbeats, clock, log } = deps
  const closing = new AbortController()
  let member = deps.member
  let outages: readonly Outage[] = []
  let lastBeatMs = -Infinity
  let others: readonly Member[] = []
  let waiters: (() => void)[] = []
  let loop: Promise<void> = Promise.resolve()

  const isFresh = () => clock.monotonicMs() - lastBeatMs < FRESH_MS

  const beat = async () => {
    const askedAtMs = clock.monotonicMs()
    const answer = await heartbeats.beat(member, { gapMs: OUTAGE_GAP_MS, keepMs: KEEP_MS })
    clock.adjust(answer.now, askedAtMs)
    outages = answer.outages
    lastBeatMs = askedAtMs
    others = await heartbeats.members(4 * BEAT_MS)
    for (const wake of waiters) wake()
    waiters = []
  }

  const run = async () => {
    while (!closing.signal.aborted) {
      await clock.sleep(BEAT_MS, closing.signal)
      if (closing.signal.aborted) return
      await beat().catch((error: unknown) => log.warn({ error: String(error) }, 'The heartbeat could not be written.'))
    }
  }

  return {
    async start() {
      await beat()
      loop = run()
    },
    async fresh(timeoutMs = 10_000) {
      if (isFresh()) return outages
      const wake = new AbortController()
      waiters.push(() => wake.abort())
      await clock.sleep(timeoutMs, wake.signal)
      return isFresh() ? outages : null
    },
    members: () => others,
    update(change) {
      member = { ...member, ...change }
    },
    async close() {
      closing.abort()
      await loop
      await heartbeats.leave(member.id).catch(() => undefined)
    },
  }
}
