/**
 * Tells how far a stream has come, at most once a second: each report is a save.
 *
 * The API tells the count of output tokens only at the end, so until then it is estimated by the characters: about
 * four to a token. Nothing is booked by it.
 */
import type { CallRequest } from '../contract.js'

const REPORT_EVERY_MS = 1000
const CHARS_PER_TOKEN = 4

export interface OutputMeter {
  /** Cheap: to be called after every chunk. */
  read(outputChars: number): void
}

/** `nowMs` is monotonic. */
export function createOutputMeter(onProgress: CallRequest['onProgress'], nowMs: () => number): OutputMeter {
  let toldTokens = 0
  let toldMs = -Infinity
  return {
    read(outputChars) {
      const outputTokens = Math.ceil(outputChars / CHARS_PER_TOKEN)
      if (outputTokens === toldTokens) return
      const now = nowMs()
      if (now - toldMs < REPORT_EVERY_MS) return
      toldTokens = outputTokens
      toldMs = now
      onProgress({ outputTokens })
    },
  }
}
