/**
 * Removes blobs that no record names: of submissions that were refused or whose process died between the blob and the
 * insert. One process of the deployment at a time, once an hour, a bounded number each time.
 *
 * B1 Only what is older than KEPT_MS: whoever has stored a blob has long named it by then, or never will.
 */
import type { BlobStore } from '../persistence/contract.js'
import type { Clock } from './contract.js'
import type { Logger } from './logger.js'

const EVERY_MS = 3_600_000
const KEPT_MS = 24 * 3_600_000
const REMOVED_MAX = 10_000

export type GarbageKeeper = { start(): void; close(): Promise<void>; collectOnce(): Promise<number> }

export const createGarbageKeeper = (deps: {
  blobs: Pick<BlobStore, 'collectGarbage'>
  isReferenced(ids: readonly string[]): Promise<Set<string>>
  isLeader(): Promise<boolean>
  clock: Clock
  log: Logger
}): GarbageKeeper => {
  const { blobs, clock, log } = deps
  const closing = new AbortController()
  let loop: Promise<void> = Promise.resolve()

  const collectOnce = async (): Promise<number> => {
    if (!(await deps.isLeader())) return 0
    const before = new Date(clock.now().getTime() - KEPT_MS)
    return blobs.collectGarbage(before, deps.isReferenced, REMOVED_MAX)
  }

  const run = async () => {
    while (!closing.signal.aborted) {
      await clock.sleep(EVERY_MS, closing.signal)
      if (closing.signal.aborted) return
      await collectOnce().then(
        (removed) => removed > 0 && log.info({ removed }, 'Blobs that no record names were removed.'),
        (error: unknown) => log.warn({ error: String(error) }, 'Blobs could not be collected.'),
      )
    }
  }

  return {
    collectOnce,
    start() {
      loop = run()
    },
    async close() {
      closing.abort()
      await loop
    },
  }
}
