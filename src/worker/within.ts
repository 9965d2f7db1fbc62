/**
 * Work that mostly needs no time, raced with a limit: the limit's timer is only made when the work does wait for something,
 * because timers and abort signals would cost more than the work.
 */
import type { Clock } from './contract.js'

/** Turns of the microtask queue that work from memory takes, with room. */
const TURNS = 24

/** Undefined when `work` has not ended after `ms`. Rejects as `work` does. */
export const within = async <T extends object>(
  work: Promise<T>,
  ms: number,
  clock: Pick<Clock, 'sleep'>,
): Promise<T | undefined> => {
  let ended = false
  const end = () => void (ended = true)
  work.then(end, end)
  for (let turn = 0; turn < TURNS && !ended; turn += 1) await Promise.resolve()
  if (ended) return work
  const enough = new AbortController()
  const inTime = await Promise.race([work, clock.sleep(ms, enough.signal)])
  enough.abort('ended')
  return inTime ?? undefined
}
