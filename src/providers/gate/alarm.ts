/** One timer that is set to the earliest of the times it was asked for. Bounded: however often it is asked, it is one. */
import type { Clock } from '../../worker/contract.js'

export type Alarm = { at(atMs: number): void; close(): void }

/** Times are the server's, as `clock.now()` has them. */
export const createAlarm = (clock: Clock, onDue: () => void): Alarm => {
  let dueMs = Infinity
  let closed = false
  let current = new AbortController()
  return {
    at(atMs) {
      if (closed || atMs >= dueMs) return
      current.abort()
      const mine = (current = new AbortController())
      dueMs = atMs
      // At least a millisecond, so that a time in the past can't become a busy loop.
      void clock.sleep(Math.max(1, atMs - clock.now().getTime()), mine.signal).then(() => {
        if (mine.signal.aborted || closed) return
        dueMs = Infinity
        onDue()
      })
    },
    close() {
      closed = true
      current.abort()
    },
  }
}
