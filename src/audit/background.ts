/**
 * The audit in the background: one process of the deployment looks at what is unsettled and what has just settled, slowly,
 * and keeps what it found for monitors. A broken invariant is an error in the log, with ids and counts alone.
 *
 * B1 It takes at most `recordsPerSecond` of a process and a database that have work to do.
 * B2 One at a time by lease; who loses it stops in the middle. Two at once would cost time and break nothing.
 */
import type { AuditReport } from './contract.js'
import type { AuditDeps } from './pass.js'
import { watchLines } from './watch.js'

const EVERY_MS = 60_000
/** After a change of the leader: what was accepted in this time, and all that is unsettled. */
const RECENT_MS = 3_600_000
const LEASE_MS = 120_000
const RENEW_MS = 30_000
const RETRY_MS = 10_000
/** A read that hangs holds nobody who wants to end: it changes nothing. */
const CLOSE_MS_MAX = 3_000

type Log = {
  error(facts: { [name: string]: unknown }, message: string): void
  warn(facts: { [name: string]: unknown }, message: string): void
  info(facts: { [name: string]: unknown }, message: string): void
}

export type BackgroundAudit = { start(): void; close(): Promise<void> }

export const createBackgroundAudit = (deps: {
  audit: AuditDeps
  recordsPerSecond: number
  /** Takes or keeps the lease. */
  leads(forMs: number): Promise<boolean>
  report(found: AuditReport): Promise<void>
  clock: { sleep(ms: number, signal: AbortSignal): Promise<void>; monotonicMs(): number }
  log: Log
  everyMs?: number
}): BackgroundAudit => {
  const { clock, log, everyMs = EVERY_MS } = deps
  const closing = new AbortController()
  let loop: Promise<void> = Promise.resolve()

  /** Leads until the lease is lost; B2. */
  const lead = async (): Promise<void> => {
    const lost = new AbortController()
    const signal = AbortSignal.any([closing.signal, lost.signal])
    let renewedMs = clock.monotonicMs()
    const renew = async () => {
      if (clock.monotonicMs() - renewedMs < RENEW_MS) return
      renewedMs = clock.monotonicMs()
      if (!(await deps.leads(LEASE_MS))) lost.abort()
    }
    const lines = watchLines(deps.audit, {
      everyMs,
      allBlobs: false,
      first: { recentMs: RECENT_MS },
      signal,
      async sleep(ms, until) {
        for (let left = ms; left > 0 && !until.aborted; left -= RENEW_MS) {
          await clock.sleep(Math.min(left, RENEW_MS), until)
          await renew()
        }
      },
      // B1
      async pause(records) {
        await clock.sleep((records / deps.recordsPerSecond) * 1_000, signal)
        await renew()
      },
    })
    for await (const line of lines) {
      if (line.type === 'away') log.warn({ error: line.message }, 'The audit could not read the records.')
      if (line.type === 'finding') log.error(factsOf(line), 'The audit found a broken invariant.')
      if (line.type === 'mended') log.info(factsOf(line), 'What the audit had found is mended.')
      if (line.type !== 'pass') continue
      const { type: _type, at, ...sums } = line
      await deps.report({ at: new Date(at), ...sums })
    }
  }

  const run = async () => {
    while (!closing.signal.aborted) {
      try {
        if (await deps.leads(LEASE_MS)) await lead()
      } catch (error) {
        log.warn({ error: error instanceof Error ? error.name : typeof error }, 'The audit in the background failed.')
      }
      if (!closing.signal.aborted) await clock.sleep(RETRY_MS, closing.signal)
    }
  }

  return {
    start() {
      loop = run()
    },
    async close() {
      closing.abort()
      const ended = new AbortController()
      await Promise.race([loop, clock.sleep(CLOSE_MS_MAX, ended.signal)])
      ended.abort()
    },
  }
}

const factsOf = ({ type: _type, ...finding }: { type: string; [name: string]: unknown }) => finding
