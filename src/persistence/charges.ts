/**
 * What customers owe, as a view over the records: a second charge has nowhere to live (P3).
 *
 * C1 Newest first by (at, record, key). `chargedAt` holds the times of a record's charges and finds it by any of them.
 * C2 MongoDB can't walk an array's index in order within bounds on a sharded cluster, so a page is cut out of windows
 *    of time that end where the last page ended and grow fourfold while they hold too little. The memory of a page is
 *    bounded by its limit; its time by the charges of one window.
 */
import type { Document } from 'mongodb'
import type { ChargeFilter, ChargeRow, Page } from './contract.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { chargeToken, parseChargeToken } from './page-token.js'
import type { ChargePlace } from './page-token.js'
import type { StoreIo } from './store-io.js'

/** `from` and `to` are both inside. */
type Window = { from: number; to: number }

const FIRST_WINDOW_MS = 60_000
const GROWTH = 4
/** No charge is older: the first commit of this project is younger. */
const EARLIEST_MS = Date.UTC(2020, 0, 1)

/** Windows from `to` back to `from`, newest first, each four times as long as the one before. */
export function* windowsBack(from: number, to: number): Generator<Window> {
  for (let end = to, length = FIRST_WINDOW_MS; end >= from; length *= GROWTH) {
    const start = Math.max(from, end - length + 1)
    yield { from: start, to: end }
    end = start - 1
  }
}

const beyond = ({ at, record, key }: ChargePlace): Document => ({
  $or: [
    { 'charge.v.at': { $lt: at } },
    { 'charge.v.at': at, _id: { $lt: record } },
    { 'charge.v.at': at, _id: record, 'charge.k': { $lt: key } },
  ],
})

export const chargePipeline = (
  filter: ChargeFilter,
  window: Window,
  after: ChargePlace | null,
  limit: number,
): Document[] => {
  const within = { $gte: new Date(window.from), $lte: new Date(window.to) }
  const { source, pipeline, key, currency, simulated } = filter
  return [
    {
      $match: {
        ...(source !== undefined && { source }),
        ...(pipeline !== undefined && { pipeline }),
        chargedAt: { $exists: true, $elemMatch: within },
      },
    },
    { $project: { source: 1, pipeline: 1, charge: { $objectToArray: '$charges' } } },
    { $unwind: '$charge' },
    {
      $match: {
        'charge.v.at': within,
        ...(key !== undefined && { 'charge.k': key }),
        ...(currency !== undefined && { 'charge.v.currency': currency }),
        ...(simulated !== undefined && { 'charge.v.simulated': simulated ? true : { $ne: true } }),
        ...(after && beyond(after)),
      },
    },
    { $sort: { 'charge.v.at': -1, _id: -1, 'charge.k': -1 } },
    { $limit: limit },
  ]
}

type Row = { _id: string; source: string; pipeline: string; charge: { k: string; v: ChargeRow } }

const toChargeRow = ({ _id, source, pipeline, charge }: Row): ChargeRow => ({
  ...charge.v,
  record: _id,
  key: charge.k,
  source,
  pipeline,
})

/** The charge that was made last decides where the windows begin when no end is given. */
const newestChargeMs = async (io: StoreIo): Promise<number> => {
  const [newest] = await io.records
    .find({ chargedAt: { $exists: true } }, { sort: { chargedAt: -1 }, projection: { chargedAt: 1 }, limit: 1 })
    .maxTimeMS(io.operationTimeoutMs)
    .toArray()
  return Math.max(EARLIEST_MS, ...(newest?.chargedAt ?? []).map((at) => at.getTime()))
}

export const listCharges = async (
  io: StoreIo,
  filter: ChargeFilter,
  page: { limit: number; token: string | null },
): Promise<Page<ChargeRow>> => {
  const after = page.token === null ? null : parseChargeToken(page.token)
  const what = 'Listing charges'
  return reading(what, () =>
    withDeadline(what, io.operationTimeoutMs, async (signal) => {
      const ends = [after?.at, filter.to].flatMap((at) => (at ? [at.getTime()] : []))
      const to = ends.length > 0 ? Math.min(...ends) : await newestChargeMs(io)
      const rows: ChargeRow[] = []
      for (const window of windowsBack(filter.from?.getTime() ?? EARLIEST_MS, to)) {
        const pipeline = chargePipeline(filter, window, after, page.limit + 1 - rows.length)
        const found = io.records.aggregate<Row>(pipeline, { maxTimeMS: io.operationTimeoutMs, signal })
        rows.push(...(await found.toArray()).map(toChargeRow))
        if (rows.length > page.limit) break
      }
      const items = rows.slice(0, page.limit)
      const last = items.at(-1)
      return { items, next: rows.length > page.limit && last ? chargeToken(last) : null }
    }),
  )
}
