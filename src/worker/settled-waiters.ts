/**
 * Lets a request wait until a record has settled: told at once when this process settles it, by looking otherwise,
 * because another process may do it.
 */
import { isSettled } from '../machines/record.js'
import type { RecordDocument } from '../machines/record.js'
import type { Clock } from './contract.js'

const LOOK_MS = { first: 100, max: 1_000 }

export type SettledWaiters = {
  tell(doc: RecordDocument): void
  wait(id: string, options: { signal: AbortSignal; timeoutMs: number }): Promise<void>
}

export const createSettledWaiters = (deps: {
  load(id: string): Promise<RecordDocument | null>
  clock: Clock
}): SettledWaiters => {
  const waiting = new Map<string, Set<() => void>>()

  const untilToldOr = async (id: string, ms: number, signal: AbortSignal): Promise<boolean> => {
    const wake = new AbortController()
    let told = false
    const listener = () => {
      told = true
      wake.abort()
    }
    const listeners = waiting.get(id) ?? new Set()
    waiting.set(id, listeners.add(listener))
    await deps.clock.sleep(ms, AbortSignal.any([wake.signal, signal]))
    listeners.delete(listener)
    if (listeners.size === 0) waiting.delete(id)
    return told
  }

  return {
    tell(doc) {
      if (isSettled(doc.status)) for (const listener of waiting.get(doc._id) ?? []) listener()
    },
    async wait(id, { signal, timeoutMs }) {
      const end = deps.clock.monotonicMs() + timeoutMs
      for (let lookMs = LOOK_MS.first; !signal.aborted; lookMs = Math.min(LOOK_MS.max, lookMs * 2)) {
        const leftMs = end - deps.clock.monotonicMs()
        if (leftMs <= 0 || (await untilToldOr(id, Math.min(lookMs, leftMs), signal))) return
        const doc = await deps.load(id).catch(() => null)
        if (doc && isSettled(doc.status)) return
      }
    },
  }
}
