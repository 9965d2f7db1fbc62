/**
 * What a running call tells of itself, as events: its id at once, so that the call can be found again should this
 * process die; how far it is, seldom, because each is a save.
 */
import type { CallProgressed } from '../machines/events.js'
import type { Progress } from '../providers/contract.js'
import { isHandle } from '../providers/call.js'

const FIRST_MS = 5_000
const GROWTH = 3

/** `tell` is called at most once for the id, and then after 5, 15, 45, … s. */
export const createProgress = (
  call: { step: string; attempt: number; generation: number },
  monotonicMs: () => number,
  tell: (event: CallProgressed) => void,
): ((progress: Progress) => void) => {
  let known: string | null = null
  let waitMs = FIRST_MS
  let nextMs = monotonicMs() + FIRST_MS
  return ({ handle, outputTokens, fraction }) => {
    const isNew = handle !== undefined && known === null && isHandle(handle)
    const isDue = (outputTokens !== undefined || fraction !== undefined) && monotonicMs() >= nextMs
    if (!isNew && !isDue) return
    if (isNew) known = handle
    if (isDue) {
      waitMs *= GROWTH
      nextMs = monotonicMs() + waitMs
    }
    const progress = {
      ...(isWhole(outputTokens) && { outputTokens }),
      ...(isPart(fraction) && { fraction }),
    }
    tell({
      type: 'CALL_PROGRESSED',
      ...call,
      handle: isNew ? handle : null,
      progress: isDue && Object.keys(progress).length > 0 ? progress : null,
    })
  }
}

const isWhole = (value: number | undefined): value is number => Number.isInteger(value) && value! >= 0
const isPart = (value: number | undefined): value is number => value !== undefined && value >= 0 && value <= 1
