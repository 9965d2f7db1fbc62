/**
 * Sums over the records for reconciliation, exactly (Decimal128 has 34 digits, an amount has 27), and the attempts behind
 * them. Reads through the lists' indexes; bounded in rows and in time.
 */
import { Decimal128, MongoServerError } from 'mongodb'
import { amountOf } from './budget-counters.js'
import type { LedgerAttempt, LedgerGroup, LedgerQuery, Page, RecordStore } from './contract.js'
import { LedgerTooLarge, StoreUnavailable } from './contract.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { attemptStages, groupStages, ledgerIndex } from './ledger-stages.js'
import { attemptToken, parseAttemptToken } from './page-token.js'
import { readOn } from './queries.js'
import type { StoreIo } from './store-io.js'

/** Walks the records of some hours, on no hot path. Measured on 2 busy cores: 13,000 records/s. */
const LEDGER_TIMEOUT_MS = 20_000
export const LEDGER_GROUPS_MAX = 5_000

type GroupDoc = { _id: Omit<LedgerGroup, 'count' | 'amount'>; count: number; amount: Decimal128 | number }

/** The server's own limit, a little earlier than ours: what is slow is told from what is away. */
const MAX_TIME_MS = LEDGER_TIMEOUT_MS - 1_000
const MAX_TIME_EXPIRED = 50

const readingLedger = async <T>(what: string, read: (signal: AbortSignal) => Promise<T>): Promise<T> => {
  try {
    return await reading(what, () => withDeadline(what, LEDGER_TIMEOUT_MS, read))
  } catch (error) {
    const cause = error instanceof StoreUnavailable ? error.cause : null
    if (!(cause instanceof MongoServerError) || cause.code !== MAX_TIME_EXPIRED) throw error
    throw new LedgerTooLarge(`${what} takes longer than ${MAX_TIME_MS / 1000} s.`, { cause })
  }
}

export const sumLedger = async (io: StoreIo, query: LedgerQuery): Promise<LedgerGroup[]> => {
  const what = 'Adding up the ledger'
  const found = await readingLedger(what, (signal) =>
    io.records
      .aggregate<GroupDoc>(groupStages(query, LEDGER_GROUPS_MAX + 1), {
        hint: ledgerIndex(query),
        maxTimeMS: MAX_TIME_MS,
        signal,
      })
      .toArray(),
  )
  if (found.length > LEDGER_GROUPS_MAX)
    throw new LedgerTooLarge(`The ledger has more than ${LEDGER_GROUPS_MAX} groups here.`)
  return found.map(({ _id, count, amount }) => ({
    ..._id,
    count,
    amount: amount instanceof Decimal128 ? amountOf(amount) : String(amount),
  }))
}

type AttemptDoc = {
  _id: string
  acceptedAt: Date
  source: string
  pipeline: string
  entry: LedgerAttempt['explanation']
  doubt: LedgerAttempt['doubt']
  unpriced: boolean
  e: Pick<LedgerAttempt, 'step' | 'n' | 'provider' | 'outcome' | 'startedAt' | 'spend' | 'error'>
}

const toAttempt = ({ _id, acceptedAt, source, pipeline, entry, doubt, unpriced, e }: AttemptDoc): LedgerAttempt => {
  const { step, n, provider, outcome, startedAt, spend, error } = e
  const of = { record: _id, acceptedAt, source, pipeline, step, n, provider, outcome, startedAt, spend, error }
  return { ...of, explanation: entry, doubt, unpriced }
}

export const listLedger = async (
  io: StoreIo,
  query: LedgerQuery,
  { explanation, doubt }: Parameters<RecordStore['ledgerAttempts']>[1],
  page: { limit: number; token: string | null },
): Promise<Page<LedgerAttempt>> => {
  const what = 'Listing attempts of the ledger'
  const only = { ...(explanation !== undefined && { entry: explanation }), ...(doubt !== undefined && { doubt }) }
  const read = (where: object, place: { step: string; n: number } | null) => (limit: number) =>
    readingLedger(what, (signal) =>
      io.records
        .aggregate<AttemptDoc>(attemptStages(query, where, only, place, limit), {
          hint: ledgerIndex(query),
          maxTimeMS: MAX_TIME_MS,
          signal,
        })
        .toArray(),
    )
  const after = page.token === null ? null : parseAttemptToken(page.token)
  const found = await readOn(
    page.limit + 1,
    after
      ? [
          read({ acceptedAt: after.at, _id: after.id }, after),
          read({ acceptedAt: after.at, _id: { $lt: after.id } }, null),
          read({ acceptedAt: { $lt: after.at } }, null),
        ]
      : [read({}, null)],
  )
  const items = found.slice(0, page.limit).map(toAttempt)
  const last = items.at(-1)
  return { items, next: found.length > page.limit && last ? attemptToken(last) : null }
}
