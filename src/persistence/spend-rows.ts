/**
 * What records spent at providers in a span of time, by provider, source and currency: what budgets are recounted from.
 *
 * Looked at are records that were accepted since a day before the span, and all that are processing: a record settles
 * within hours, and one that an operator takes up again is processing while it spends. An older record that was taken up
 * and has settled again is missed; the reconciliation report is the ledger, not this.
 */
import { Decimal128, type Document } from 'mongodb'
import { z } from 'zod'
import { amountOf } from './budget-counters.js'
import { RECORDS } from './collections.js'
import type { SpendRow } from './contract.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { providerCollection, type ProviderIo } from './provider-io.js'

/** A record's attempts are made within a day of its acceptance, unless it waits for a person. */
const LOOK_BACK_MS = 24 * 3_600_000
/** Longer than other reads: it walks the day's records, on no hot path. */
const SPEND_TIMEOUT_MS = 20_000
const ROWS_MAX = 10_000

const zero = Decimal128.fromString('0')
const amount = (path: string) => ({ $toDecimal: { $ifNull: [path, '0'] } })
const isOpen = { $eq: ['$attempt.outcome', null] }

export const spendPipeline = ({ from, to }: { from: Date; to: Date }): Document[] => [
  {
    $match: {
      $or: [{ acceptedAt: { $gte: new Date(from.getTime() - LOOK_BACK_MS), $lt: to } }, { status: 'processing' }],
    },
  },
  {
    $project: {
      source: 1,
      attempt: {
        $reduce: {
          input: { $objectToArray: '$steps' },
          initialValue: [],
          in: { $concatArrays: ['$$value', '$$this.v.attempts'] },
        },
      },
    },
  },
  { $unwind: '$attempt' },
  { $match: { 'attempt.startedAt': { $gte: from, $lt: to } } },
  {
    $group: {
      _id: {
        provider: '$attempt.provider',
        source: '$source',
        currency: {
          $cond: [
            isOpen,
            { $ifNull: ['$attempt.spendMax.currency', null] },
            { $ifNull: ['$attempt.spend.currency', null] },
          ],
        },
      },
      spent: { $sum: { $cond: [isOpen, zero, amount('$attempt.spend.amount')] } },
      open: { $sum: { $cond: [isOpen, amount('$attempt.spendMax.amount'), zero] } },
      openUnbounded: {
        $sum: { $cond: [{ $and: [isOpen, { $not: [{ $ifNull: ['$attempt.spendMax.amount', false] }] }] }, 1, 0] },
      },
      possibleDuplicate: {
        $sum: {
          $cond: [
            { $and: [{ $not: [isOpen] }, { $eq: ['$attempt.possibleDuplicate', true] }] },
            amount('$attempt.spend.amount'),
            zero,
          ],
        },
      },
    },
  },
  { $sort: { '_id.provider': 1, '_id.source': 1, '_id.currency': 1 } },
  { $limit: ROWS_MAX },
]

const money = z.instanceof(Decimal128).transform(amountOf)
const rowDocument = z.object({
  _id: z.object({ provider: z.string(), source: z.string(), currency: z.string().nullable() }),
  spent: money,
  open: money,
  openUnbounded: z.number(),
  possibleDuplicate: money,
})

export const readSpendRows = (io: ProviderIo, span: { from: Date; to: Date }): Promise<SpendRow[]> => {
  const what = 'Adding up what was spent'
  const timeoutMs = Math.max(io.timeoutMs, SPEND_TIMEOUT_MS)
  return reading(what, () =>
    withDeadline(what, timeoutMs, async (signal) => {
      const found = await providerCollection(io, RECORDS)
        .aggregate(spendPipeline(span), { maxTimeMS: timeoutMs, signal })
        .toArray()
      return (
        found
          .map((document) => {
            const { _id, ...row } = rowDocument.parse(document)
            return { ..._id, ...row }
          })
          // Attempts that cost nothing and are closed tell nothing.
          .filter(({ currency, openUnbounded }) => currency !== null || openUnbounded > 0)
      )
    }),
  )
}
