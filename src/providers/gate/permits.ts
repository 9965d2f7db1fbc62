/**
 * The permits of one provider that this process holds: taken from the shared bucket in small batches ahead of time, so
 * that a call costs no question of its own.
 *
 * - Q1 A permit that is older than STALE_MS is never handed out; its time on the bucket is given back with the next ask.
 * - Q2 How many are asked for follows the demand: twice as many when they ran out, half as many when they went stale. A
 *   process that makes no calls holds none and asks nothing.
 * - Q3 One ask at a time, none sooner than ASK_EVERY_MS after the one before, and none before the bucket can have more:
 *   after an ask that found too little, half of what is wanted.
 */
import type { Grant, Meter, ProviderState } from '../../persistence/contract.js'
import type { Clock } from '../../worker/contract.js'
import { dueMs, returnedMs, STALE_MS } from './rates.js'

export const ASK_EVERY_MS = 100
const ASK_AGAIN_MS = 500
const SCARCE_MS_MAX = 500
/** After the last call, permits are held ready for so long. */
const DEMAND_MS = 2_000

export type PermitPool = {
  free(): number
  /** True: one was taken. */
  take(): { giveBack(): void } | null
  /** Asks for more when there is demand. */
  wake(): void
  held(): number
}

export type PermitDeps = {
  clock: Pick<Clock, 'now' | 'monotonicMs'>
  /** Never more than so many at once. */
  most(): number
  meter(): Meter
  /** When the bucket may have a permit, by what was last seen, besides its due time; 0 when nothing else holds it. */
  notBeforeMs(): number
  state(): ProviderState | null
  /** Null: it could not be asked. */
  ask(want: number, returnMs: number): Promise<Grant | null>
  /** To be called at or after this time of the server. */
  wakeAt(atMs: number): void
  changed(): void
  /** 0 up to 1. */
  random(): number
}

type Batch = { count: number; atMs: number }

export const createPermitPool = (deps: PermitDeps): PermitPool => {
  let batches: Batch[] = []
  let returnMs = 0
  let target = 1
  let asking = false
  let askedAtMs = -Infinity
  let scarceUntilMs = 0
  let demandAtMs = -Infinity

  const nowMs = () => deps.clock.now().getTime()
  const held = () => batches.reduce((sum, { count }) => sum + count, 0)
  const giveUp = ({ count, atMs }: Batch) => (returnMs += returnedMs(deps.meter(), count, atMs, nowMs()))

  /** Q1 */
  const dropStale = () => {
    const old = batches.filter(({ atMs }) => nowMs() - atMs >= STALE_MS)
    if (old.length === 0) return
    batches = batches.filter((batch) => !old.includes(batch))
    old.forEach(giveUp)
    target = Math.max(1, Math.floor(target / 2))
  }
  const readyAtMs = () => {
    const state = deps.state()
    return Math.max(state ? dueMs(deps.meter(), state) : 0, deps.notBeforeMs(), scarceUntilMs)
  }

  /** By chance: a process that always came right after another one would always find nothing. */
  const scarceMs = (want: number) =>
    Math.min(SCARCE_MS_MAX, Math.floor(want / 2) * deps.meter().requestIntervalMs) * (0.5 + deps.random())

  /** Q2, Q3 */
  const isWanted = () => deps.clock.monotonicMs() - demandAtMs < DEMAND_MS
  const refill = () => {
    if (!isWanted() || asking || held() * 2 >= Math.min(target, deps.most()) + 1) return
    const waitMs = Math.max(askedAtMs + ASK_EVERY_MS - deps.clock.monotonicMs(), readyAtMs() - nowMs())
    if (waitMs > 0) deps.wakeAt(nowMs() + waitMs)
    else void ask()
  }

  const ask = async () => {
    asking = true
    askedAtMs = deps.clock.monotonicMs()
    if (held() === 0) target = Math.max(1, Math.min(deps.most(), target * 2))
    const want = Math.max(1, Math.min(target, deps.most()) - held())
    const giving = returnMs
    returnMs = 0
    const grant = await deps.ask(want, giving)
    asking = false
    if (!grant) scarceUntilMs = nowMs() + ASK_AGAIN_MS
    else if (grant.granted < want) scarceUntilMs = nowMs() + scarceMs(want)
    if (grant && grant.granted > 0) {
      batches.push({ count: grant.granted, atMs: grant.at.getTime() })
      // So that what nobody takes is given back (Q1).
      deps.wakeAt(grant.at.getTime() + STALE_MS)
    }
    refill()
    deps.changed()
  }

  return {
    free() {
      dropStale()
      if (held() > 0) return held()
      refill()
      if (asking) return 0
      const atMs = readyAtMs()
      // Taking it finds none, and asks: so a process without work asks nothing (Q2).
      if (atMs <= nowMs() && !isWanted()) return 1
      if (atMs > nowMs()) deps.wakeAt(atMs)
      return 0
    },
    take() {
      dropStale()
      demandAtMs = deps.clock.monotonicMs()
      const batch = batches[0]
      if (!batch) {
        refill()
        return null
      }
      batch.count -= 1
      if (batch.count === 0) batches.shift()
      refill()
      let mine = true
      return {
        giveBack() {
          if (!mine) return
          mine = false
          batches.push({ count: 1, atMs: batch.atMs })
          batches.sort((a, b) => a.atMs - b.atMs)
          deps.changed()
        },
      }
    },
    wake() {
      dropStale()
      refill()
      // Nobody asks any more: what is to be given back is given back now.
      if (returnMs > 0 && !asking && !isWanted()) {
        const giving = returnMs
        returnMs = 0
        void deps.ask(0, giving)
      }
    },
    held,
  }
}
