/**
 * The answer to a submission: 202 with the receipt, or, where the client prefers to wait (RFC 7240), 200 with the
 * record once it settled. A wait that is cut short costs the client nothing: the receipt is already true.
 */
import type { Context } from 'koa'
import type { Receipt } from '../ingest/contract.js'
import { isSettled, type RecordDocument } from '../machines/record.js'
import type { ServerDeps } from './contract.js'
import { recordPath, recordView } from './views.js'

export const WAIT_SECONDS_MAX = 60
/** Between two reads of a record that keeps being reported as settled but is not. */
const REREAD_MS = 20

/** Seconds that the client wants to wait; 0 when it does not say. Unknown preferences are ignored, as RFC 7240 asks. */
export function preferredWait(prefer: string): number {
  const wait = /(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?\s*(?:[,;]|$)/i.exec(prefer)?.[1]
  return wait === undefined ? 0 : Math.min(Number(wait), WAIT_SECONDS_MAX)
}

/** One receipt is answered alone, several as a list. */
export async function answerReceipts(
  deps: ServerDeps,
  ctx: Context,
  receipts: readonly Receipt[],
  options: { list: boolean; gone: () => AbortSignal },
): Promise<void> {
  const seconds = preferredWait(ctx.get('prefer'))
  const records = seconds > 0 ? await waitForAll(deps, receipts, seconds * 1000, options.gone()) : null
  if (seconds > 0) ctx.set('preference-applied', `wait=${seconds}`)
  const [first] = receipts
  if (!options.list && first !== undefined) ctx.set('location', recordPath(first.id))
  if (records !== null) {
    const [record] = records
    if (!options.list && record !== undefined) ctx.set('etag', `"${record.version}"`)
    ctx.status = 200
    const view = (doc: RecordDocument) => recordView(doc, deps.pipelines)
    ctx.body = options.list ? { items: records.map(view), next: null } : record && view(record)
    return
  }
  ctx.status = 202
  ctx.body = options.list ? { items: receipts, next: null } : first
}

/** All records, when all have settled in time; null otherwise, also when the store is away: the receipts stand. */
async function waitForAll(
  deps: ServerDeps,
  receipts: readonly Receipt[],
  waitMs: number,
  gone: AbortSignal,
): Promise<RecordDocument[] | null> {
  const endMs = deps.clock.monotonicMs() + waitMs
  try {
    const records = await Promise.all(receipts.map((receipt) => waitForOne(deps, receipt, endMs, gone)))
    const settled = records.filter((record) => record !== null)
    return settled.length === receipts.length ? settled : null
  } catch (error) {
    deps.log.warn(
      { code: error instanceof Error && 'code' in error ? error.code : 'unknown' },
      'Waiting for a record failed.',
    )
    return null
  }
}

async function waitForOne(
  deps: ServerDeps,
  { id, duplicate }: Receipt,
  endMs: number,
  gone: AbortSignal,
): Promise<RecordDocument | null> {
  // A record that was accepted just now has hardly settled; who waits for it is told, or looks.
  for (let look = duplicate; ; look = true) {
    const [record] = look ? await deps.store.load([id], { majority: true }) : []
    if (record && isSettled(record.status)) return record
    const leftMs = endMs - deps.clock.monotonicMs()
    if (leftMs <= 0 || gone.aborted) return null
    const settled = await deps.settled(id, { signal: gone, timeoutMs: leftMs })
    if (settled) return settled
    const [again] = await deps.store.load([id], { majority: true })
    if (again && isSettled(again.status)) return again
    await deps.clock.sleep(Math.min(REREAD_MS, Math.max(0, endMs - deps.clock.monotonicMs())), gone)
  }
}
