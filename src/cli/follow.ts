/**
 * Keeps a store of live records up to date by asking the API. A service that is away for a while is noted in the store and
 * asked again; only the caller's limit ends that.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { selectUnsettled, type RecordsStore } from '../live/records-store.js'
import { isAway, type ApiClient, type ListQuery } from './api-client.js'

const INTERVAL_MS = 150
const AWAY_INTERVAL_MS = 1_000
const CONCURRENT_MAX = 8

export type FollowEnd = 'settled' | 'timed-out' | 'aborted'
export type FollowOptions = {
  /** Null: until it is aborted or all have settled. */
  timeoutMs: number | null
  signal: AbortSignal
  intervalMs?: number
}

/** Resolves when all of `ids` have settled, with their ways in the store. Throws for an id that the service does not know. */
export const followRecords = (
  client: ApiClient,
  store: RecordsStore,
  ids: readonly string[],
  options: FollowOptions,
): Promise<FollowEnd> =>
  repeat(store, options, async () => {
    const { records } = store.getSnapshot().context
    const open = ids.filter((id) => (records[id]?.status ?? 'processing') === 'processing')
    await inParallel(open, (id) => look(client, store, id))
    const now = store.getSnapshot().context
    return ids.every((id) => now.records[id] !== undefined && now.records[id].status !== 'processing')
  })

/** The newest records, until aborted. A record that leaves the page is followed until it settles. */
export const followList = (
  client: ApiClient,
  store: RecordsStore,
  query: ListQuery,
  options: FollowOptions,
): Promise<FollowEnd> =>
  repeat(store, { intervalMs: 500, ...options }, async () => {
    const { items } = (await client.records(query)).live
    for (const record of items) store.trigger.recordSeen({ record })
    const listed = new Set(items.map(({ id }) => id))
    const others = selectUnsettled(store.getSnapshot().context).filter(({ id }) => !listed.has(id))
    await inParallel(others, async ({ id, version }) => {
      const found = await client.recordSince(id, version)
      if (found !== null) store.trigger.recordSeen({ record: found.live })
    })
    return false
  })

const look = async (client: ApiClient, store: RecordsStore, id: string): Promise<void> => {
  const known = store.getSnapshot().context.records[id]
  const found = await client.recordSince(id, known?.version ?? 0)
  if (found === null) return
  // The history first: it is at least as new as this version, so a settled record is never shown without its end.
  const { live: entries } = await client.history(id)
  store.trigger.recordSeen({ record: found.live })
  store.trigger.historySeen({ id, entries })
}

const repeat = async (
  store: RecordsStore,
  { timeoutMs, signal, intervalMs = INTERVAL_MS }: FollowOptions,
  round: () => Promise<boolean>,
): Promise<FollowEnd> => {
  const endMs = timeoutMs === null ? Infinity : performance.now() + timeoutMs
  for (;;) {
    if (signal.aborted) return 'aborted'
    let away = false
    try {
      const done = await round()
      store.trigger.serviceAnswered()
      if (done) return 'settled'
    } catch (error) {
      if (!isAway(error)) throw error
      away = true
      store.trigger.serviceFailed({ trouble: (error as Error).message })
    }
    if (performance.now() >= endMs) return 'timed-out'
    const waitMs = Math.min(away ? AWAY_INTERVAL_MS : intervalMs, Math.max(0, endMs - performance.now()))
    await pause(waitMs, undefined, { signal }).catch(() => undefined)
  }
}

const inParallel = async <T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> => {
  const queue = [...items]
  const lane = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(CONCURRENT_MAX, queue.length) }, lane))
}
