/**
 * Lets a request wait until a record has settled: told at once when this process settles it, by looking otherwise,
 * because another process may do it.
 */
import { isSettled } from '../machines/record.js'
import type { RecordDocument } from '../machines/record.js'
import type { Clock } from './contract.js'

/** A reason of our own: the default one is an exception with a stack. */
const TOLD = 'told'
const LOOK_MS = { first: 100, max: 1_000 }

export type SettledWaiters = {
  tell(doc: RecordDocument): void
  /**
   * The settled record, where this process has settled it. Null when another may have: then it is to be read; and when the
   * time is over or `signal` aborts.
   */
  wait(id: string, options: { signal: AbortSignal; timeoutMs: number }): Promise<RecordDocument | null>
}

export const createSettledWaiters = (deps: {
  load(id: string): Promise<RecordDocument | null>
  clock: Clock
}): SettledWaiters => {
  const waiting = new Map<string, Set<(doc: RecordDocument) => void>>()

  /** Told within `ms`, or null. */
  const untilTold = async (id: string, ms: number, signal: AbortSignal): Promise<RecordDocument | null> => {
    const over = new AbortController()
    let told: RecordDocument | null = null
    const listener = (doc: RecordDocument) => {
      told = doc
      over.abort(TOLD)
    }
    const giveUp = () => over.abort(TOLD)
    const listeners = waiting.get(id) ?? new Set()
    waiting.set(id, listeners.add(listener))
    signal.addEventListener('abort', giveUp)
    if (!signal.aborted) await deps.clock.sleep(ms, over.signal)
    signal.removeEventListener('abort', giveUp)
    listeners.delete(listener)
    if (listeners.size === 0 && waiting.get(id) === listeners) waiting.delete(id)
    return told
  }

  return {
    tell(doc) {
      if (isSettled(doc.status)) for (const listener of waiting.get(doc._id) ?? []) listener(doc)
    },
    async wait(id, { signal, timeoutMs }) {
      const end = deps.clock.monotonicMs() + timeoutMs
      for (let lookMs = LOOK_MS.first; !signal.aborted; lookMs = Math.min(LOOK_MS.max, lookMs * 2)) {
        const leftMs = end - deps.clock.monotonicMs()
        if (leftMs <= 0) return null
        const told = await untilTold(id, Math.min(lookMs, leftMs), signal)
        if (told) return told
        const doc = await deps.load(id).catch(() => null)
        if (doc && isSettled(doc.status)) return null
      }
      return null
    },
  }
}
