/** The reads of the memory twin: filters and sorts over all records, in the order that MongoDB's indexes give. */
import { RECORD_STATUSES } from '../machines/record.js'
import type { RecordStatus } from '../machines/record.js'
import type {
  ChargeRow,
  DueRecord,
  Page,
  RecordDocument,
  RecordFilter,
  RecordStore,
  WaitingRecord,
} from './contract.js'
import type { MemoryRecords } from './memory-records.js'
import { readCopy } from './memory-records.js'
import { chargeToken, parseChargeToken, parseRecordToken, recordToken } from './page-token.js'
import { plainCopy } from './plain-copy.js'
import { byWakeAt } from './queries.js'
import type { StoredRecord } from './stored-form.js'

type Place = { at: Date; id: string }

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
const comparePlaces = (a: Place, b: Place): number => a.at.getTime() - b.at.getTime() || compareText(a.id, b.id)

const processing = (records: MemoryRecords): StoredRecord[] =>
  [...records.values()].filter(({ status }) => status === 'processing')

export const dueIn = (records: MemoryRecords, query: Parameters<RecordStore['due']>[0]): DueRecord[] => {
  const { now, after, shards, limit } = query
  const start = after && { at: after.wakeAt, id: after.id }
  return processing(records)
    .flatMap(({ _id, version, wakeAt, shard }) =>
      wakeAt && wakeAt <= now && shard >= shards.from && shard < shards.to ? [{ id: _id, version, at: wakeAt }] : [],
    )
    .filter((record) => !start || comparePlaces(record, start) > 0)
    .sort(comparePlaces)
    .slice(0, limit)
    .map(({ id, version, at }) => ({ id, version, wakeAt: new Date(at) }))
}

export const waitingSourcesIn = (records: MemoryRecords, provider: string, limit: number, after?: string): string[] => {
  const waiting = processing(records).filter(({ queue }) => queue.some((entry) => entry.provider === provider))
  return [...new Set(waiting.map(({ source }) => source))]
    .filter((source) => after === undefined || source > after)
    .sort(compareText)
    .slice(0, limit)
}

export const waitingIn = (
  records: MemoryRecords,
  provider: string,
  source: string,
  query: Parameters<RecordStore['waiting']>[2],
): WaitingRecord[] => {
  const start = query.after && { at: query.after.readyAt, id: query.after.id }
  const placesOf = ({ _id, version, queue }: StoredRecord) =>
    queue
      .filter((entry) => entry.provider === provider && entry.readyAt <= query.readyBefore)
      .map(({ readyAt }) => ({ id: _id, version, at: readyAt }))
      .filter((place) => !start || comparePlaces(place, start) > 0)
      .sort(comparePlaces)
      .slice(0, 1)
  return processing(records)
    .filter((record) => record.source === source && (query.versions?.includes(record.pipelineVersion) ?? true))
    .flatMap(placesOf)
    .sort(comparePlaces)
    .slice(0, query.limit)
    .map(({ id, version, at }) => ({ id, version, source, readyAt: new Date(at) }))
}

export const unknownVersionsIn = (records: MemoryRecords, known: readonly string[], limit: number): string[] =>
  processing(records)
    .filter(({ pipelineVersion }) => !known.includes(pipelineVersion))
    .sort(byWakeAt)
    .slice(0, limit)
    .map(({ _id }) => _id)

const pageOf = <T extends Place>(all: T[], start: Place | null, limit: number): { items: T[]; more: boolean } => {
  const found = all.filter((item) => !start || comparePlaces(item, start) < 0).sort((a, b) => comparePlaces(b, a))
  return { items: found.slice(0, limit), more: found.length > limit }
}

export const listIn = (
  records: MemoryRecords,
  filter: RecordFilter,
  page: { limit: number; token: string | null },
): Page<RecordDocument> => {
  const matching = [...records.values()]
    .filter(
      ({ source, pipeline, status }) =>
        (filter.source ?? source) === source &&
        (filter.pipeline ?? pipeline) === pipeline &&
        (filter.status ?? status) === status,
    )
    .map((stored) => ({ stored, at: stored.acceptedAt, id: stored._id }))
  const { items, more } = pageOf(matching, page.token === null ? null : parseRecordToken(page.token), page.limit)
  const last = items.at(-1)
  return { items: items.map(({ stored }) => readCopy(stored)), next: more && last ? recordToken(last) : null }
}

/** Separates record and key: smaller than any character of either, so that the pair sorts as MongoDB sorts it. */
const chargeId = (record: string, key: string): string => `${record}\u0000${key}`

export const chargesIn = (
  records: MemoryRecords,
  filter: Parameters<RecordStore['charges']>[0],
  page: { limit: number; token: string | null },
): Page<ChargeRow> => {
  const start = page.token === null ? null : parseChargeToken(page.token)
  const rows = [...records.values()].flatMap(({ _id, source, pipeline, charges }) =>
    Object.entries(charges).map(([key, charge]) => ({
      at: charge.at,
      id: chargeId(_id, key),
      row: { ...charge, record: _id, key, source, pipeline },
    })),
  )
  const matching = rows.filter(
    ({ row }) =>
      (filter.source ?? row.source) === row.source &&
      (filter.pipeline ?? row.pipeline) === row.pipeline &&
      (!filter.from || row.at >= filter.from) &&
      (!filter.to || row.at <= filter.to) &&
      (filter.key ?? row.key) === row.key &&
      (filter.currency ?? row.currency) === row.currency &&
      (filter.simulated ?? row.simulated === true) === (row.simulated === true),
  )
  const { items, more } = pageOf(matching, start && { at: start.at, id: chargeId(start.record, start.key) }, page.limit)
  const last = items.at(-1)
  return { items: items.map(({ row }) => plainCopy(row)), next: more && last ? chargeToken(last.row) : null }
}

export const countsIn = (records: MemoryRecords): { [status in RecordStatus]: number } => {
  const counts = Object.fromEntries(RECORD_STATUSES.map((status) => [status, 0])) as { [s in RecordStatus]: number }
  for (const { status } of records.values()) counts[status] += 1
  return counts
}
