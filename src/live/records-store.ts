/**
 * What a live view knows about records, as a store that the CLI and the console share. Pure: it is fed by whoever polls
 * or listens, and knows neither clock nor network.
 *
 * V1 A newer version of a record wins; an older or equal one changes nothing, so updates may come in any order.
 * V2 The way of a record is in the order of its versions, each once.
 * V3 Bounded: past `recordsMax` the longest-settled records go first, then the longest-accepted; of a way the oldest
 *    entries go. What was removed comes back only when it is seen again.
 */
import { createStore } from '@xstate/store'
import type { LiveProgress, LiveRecord, LiveStatus, WayEntry } from './shapes.js'
import { STATUSES } from './shapes.js'

export const RECORDS_MAX = 500
export const WAY_ENTRIES_MAX = 200

export type LiveContext = {
  records: { readonly [id: string]: LiveRecord }
  ways: { readonly [id: string]: readonly WayEntry[] }
  /** Null while the service answers; else what a person should know, such as how to start it. */
  trouble: string | null
}

const without = <T>(all: { readonly [id: string]: T }, id: string): { readonly [id: string]: T } => {
  const { [id]: _gone, ...rest } = all
  return rest
}

/** V3: the record to let go. */
const leastWanted = (records: LiveContext['records']): LiveRecord =>
  Object.values(records).reduce((least, record) => {
    const order = Number(record.settledAt === null) - Number(least.settledAt === null)
    if (order !== 0) return order < 0 ? record : least
    return (record.settledAt ?? record.acceptedAt) < (least.settledAt ?? least.acceptedAt) ? record : least
  })

const see = (context: LiveContext, record: LiveRecord, recordsMax: number): LiveContext => {
  const known = context.records[record.id]
  if (known !== undefined && known.version >= record.version) return context // V1
  const records = { ...context.records, [record.id]: record }
  if (Object.keys(records).length <= recordsMax) return { ...context, records }
  const { id } = leastWanted(records)
  return { ...context, records: without(records, id), ways: without(context.ways, id) }
}

const follow = (context: LiveContext, id: string, entries: readonly WayEntry[]): LiveContext => {
  if (context.records[id] === undefined) return context
  const known = context.ways[id] ?? []
  const versions = new Set(known.map(({ version }) => version))
  const trimmedTo = known.length >= WAY_ENTRIES_MAX ? known[0]!.version : 0
  const fresh = entries.filter(({ version }) => version > trimmedTo && !versions.has(version))
  if (fresh.length === 0) return context
  const way = [...known, ...fresh].sort((a, b) => a.version - b.version).slice(-WAY_ENTRIES_MAX) // V2
  return { ...context, ways: { ...context.ways, [id]: way } }
}

export const createRecordsStore = ({ recordsMax = RECORDS_MAX } = {}) =>
  createStore({
    context: { records: {}, ways: {}, trouble: null } as LiveContext,
    on: {
      recordSeen: (context, { record }: { record: LiveRecord }) => see(context, record, recordsMax),
      historySeen: (context, { id, entries }: { id: string; entries: readonly WayEntry[] }) =>
        follow(context, id, entries),
      removed: (context, { id }: { id: string }) =>
        context.records[id] === undefined
          ? context
          : { ...context, records: without(context.records, id), ways: without(context.ways, id) },
      serviceAnswered: (context) => (context.trouble === null ? context : { ...context, trouble: null }),
      serviceFailed: (context, { trouble }: { trouble: string }) =>
        context.trouble === trouble ? context : { ...context, trouble },
    },
  })
export type RecordsStore = ReturnType<typeof createRecordsStore>

/** Newest first. */
export const selectRecords = ({ records }: LiveContext): LiveRecord[] =>
  Object.values(records).sort((a, b) => b.acceptedAt.localeCompare(a.acceptedAt) || b.id.localeCompare(a.id))

export const selectUnsettled = (context: LiveContext): LiveRecord[] =>
  selectRecords(context).filter(({ status }) => status === 'processing')

export const selectWay = ({ ways }: LiveContext, id: string): readonly WayEntry[] => ways[id] ?? []

export const selectCounts = ({ records }: LiveContext): { [status in LiveStatus]: number } => {
  const counts = Object.fromEntries(STATUSES.map((status) => [status, 0])) as { [status in LiveStatus]: number }
  for (const { status } of Object.values(records)) counts[status] += 1
  return counts
}

export type LiveRow = {
  id: string
  name: string
  status: LiveStatus
  state: string
  /** Of the calls that run, as far as they tell. */
  progress: LiveProgress[]
  /** Why steps may not start yet, and until when. */
  held: { code: string; until: string }[]
  pipeline: string
  /** Started so far, over all steps. */
  attempts: number
  charges: string[]
  acceptedAt: string
  settledAt: string | null
}

export const rowOf = (record: LiveRecord): LiveRow => ({
  id: record.id,
  name: record.input.fileName ?? record.key ?? record.id,
  status: record.status,
  state: record.state,
  progress: Object.values(record.steps).flatMap(({ attempts }) =>
    attempts.flatMap(({ outcome, progress }) => (outcome === null && progress ? [progress] : [])),
  ),
  held: (record.waitingFor ?? []).flatMap(({ held, readyAt }) => (held ? [{ code: held.code, until: readyAt }] : [])),
  pipeline: record.pipeline,
  attempts: Object.values(record.steps).reduce((sum, { attempts }) => sum + attempts.length, 0),
  charges: Object.values(record.charges).map(({ amount, currency }) => `${amount} ${currency}`),
  acceptedAt: record.acceptedAt,
  settledAt: record.settledAt,
})
