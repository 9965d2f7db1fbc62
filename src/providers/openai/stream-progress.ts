/**
 * What a running stream tells: its id at once, and how many pieces of text have come, at most once a second. A piece is
 * about a token; the exact count comes with the end.
 */
import { performance } from 'node:perf_hooks'
import type { Progress } from '../contract.js'

const PROGRESS_EVERY_MS = 1000

export interface StreamProgress {
  readonly handle: string | null
  /** The first one counts. */
  named(handle: string): void
  pieceCame(): void
}

export function createStreamProgress(
  onProgress: (progress: Progress) => void,
  nowMs: () => number = () => performance.now(),
): StreamProgress {
  let handle: string | null = null
  let pieces = 0
  let toldAtMs = nowMs()
  return {
    get handle() {
      return handle
    },
    named(id) {
      if (handle !== null) return
      handle = id
      onProgress({ handle: id })
    },
    pieceCame() {
      pieces += 1
      if (nowMs() - toldAtMs < PROGRESS_EVERY_MS) return
      toldAtMs = nowMs()
      onProgress({ outputTokens: pieces })
    },
  }
}
