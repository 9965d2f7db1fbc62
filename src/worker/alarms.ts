/**
 * Short waits of records that this process has just saved, so that a pause of 200 ms does not take a sweep of a second.
 * An accelerator only: lost with the process, and the sweeper finds what was lost.
 */
import type { RecordDocument } from '../machines/record.js'

const WITHIN_MS = 5_000
const ALARMS_MAX = 10_000

export type Alarms = { set(doc: RecordDocument, now: Date): void; close(): void; size(): number }

export const createAlarms = (ring: (doc: RecordDocument) => void): Alarms => {
  const timers = new Map<string, NodeJS.Timeout>()
  let closed = false
  const clear = (id: string) => {
    clearTimeout(timers.get(id))
    timers.delete(id)
  }
  return {
    size: () => timers.size,
    set(doc, now) {
      clear(doc._id)
      if (closed || doc.wakeAt === null || timers.size >= ALARMS_MAX) return
      const ms = doc.wakeAt.getTime() - now.getTime()
      if (ms > WITHIN_MS) return
      const ringing = setTimeout(
        () => {
          timers.delete(doc._id)
          ring(doc)
        },
        Math.max(0, ms) + 1,
      )
      timers.set(doc._id, ringing)
    },
    close() {
      closed = true // Saves go on while a worker drains.
      for (const id of timers.keys()) clear(id)
    },
  }
}
