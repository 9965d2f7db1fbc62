/**
 * Slots: how many calls this process makes at once, per provider (P8: a hung provider holds only its own).
 *
 * Owns the count. Does not queue: who finds no slot goes away and is told when one may be free.
 * - L1 `free()` is never negative and never above `size`.
 * - L2 A slot is given back once, however often its `release` is called.
 */

export type Slot = { release(): void }

export interface SlotPool {
  readonly size: number
  free(): number
  /** A slot, or null when none is free. Never waits. */
  acquire(): Slot | null
  /** Called after each release. Answers how to stop. Listeners must not throw. */
  onFree(listener: () => void): () => void
}

export function createSlotPool(size: number): SlotPool {
  if (!Number.isInteger(size) || size < 1) throw new RangeError(`A provider needs 1 or more slots, not ${size}.`)
  let taken = 0
  const listeners = new Set<() => void>()

  return {
    size,
    free: () => size - taken,
    acquire() {
      if (taken >= size) return null
      taken += 1
      let held = true
      return {
        release() {
          if (!held) return
          held = false
          taken -= 1
          for (const listener of listeners) listener()
        },
      }
    },
    onFree(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

/** One pool per provider, by name. */
export const createSlotPools = (
  providers: Iterable<{ terms: { name: string }; slots: number }>,
): Map<string, SlotPool> =>
  new Map([...providers].map((provider) => [provider.terms.name, createSlotPool(provider.slots)]))
