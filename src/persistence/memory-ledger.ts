/** The ledger's reads in the memory twin: the same rule, in plain code. */
import { addTotals } from '../providers/decimal.js'
import type { LedgerAttempt, LedgerGroup, LedgerQuery, Page, RecordStore } from './contract.js'
import { explain } from './ledger-rule.js'
import type { MemoryRecords } from './memory-records.js'
import { attemptToken, parseAttemptToken } from './page-token.js'
import { plainCopy } from './plain-copy.js'
import type { StoredRecord } from './stored-form.js'

const matching = (records: MemoryRecords, { from, to, source, pipeline }: LedgerQuery): StoredRecord[] =>
  [...records.values()].filter(
    (one) =>
      one.acceptedAt >= from &&
      one.acceptedAt < to &&
      !one.simulated &&
      (source ?? one.source) === one.source &&
      (pipeline ?? one.pipeline) === one.pipeline,
  )

const attemptsOf = (stored: StoredRecord, { free, provider }: LedgerQuery): LedgerAttempt[] =>
  Object.entries(stored.steps)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([step, of]) =>
      of.attempts
        .filter((attempt) => provider === undefined || attempt.provider === provider)
        .map((attempt) => {
          const { n, outcome, startedAt, spend, error } = attempt
          const { _id: record, acceptedAt, source, pipeline } = stored
          return {
            record,
            acceptedAt,
            source,
            pipeline,
            step,
            n,
            provider: attempt.provider,
            outcome,
            startedAt,
            spend,
            error: error?.code ?? null,
            ...explain(of, attempt, attempt.free === true || free.includes(attempt.provider)),
          }
        }),
    )

type Sum = Omit<LedgerGroup, 'count'>

const sumsOf = (stored: StoredRecord, query: LedgerQuery): Sum[] => {
  const { source, pipeline } = stored
  const attempts = attemptsOf(stored, query).map(({ provider, spend, explanation, doubt, unpriced }): Sum => {
    const { amount = '0', currency = null, basis = null } = spend ?? {}
    return { source, pipeline, provider, currency, entry: explanation, basis, doubt, unpriced, amount }
  })
  const charges = Object.entries(stored.charges).map(([key, { amount, currency, attempt }]): Sum => {
    const provider = stored.steps[key]?.attempts.find(({ n }) => n === attempt)?.provider ?? null
    const beside = { basis: null, doubt: null, unpriced: false }
    return { source, pipeline, provider, currency, entry: 'charge', ...beside, amount }
  })
  return [...attempts, ...charges.filter(({ provider }) => query.provider === undefined || provider === query.provider)]
}

export const ledgerIn = (records: MemoryRecords, query: LedgerQuery): LedgerGroup[] => {
  const groups = new Map<string, LedgerGroup>()
  for (const { amount, ...group } of matching(records, query).flatMap((stored) => sumsOf(stored, query))) {
    const id = JSON.stringify(Object.values(group))
    const known = groups.get(id)
    groups.set(id, {
      ...group,
      count: (known?.count ?? 0) + 1,
      amount: known ? addTotals(known.amount, amount) : amount,
    })
  }
  return [...groups.values()]
}

export const ledgerAttemptsIn = (
  records: MemoryRecords,
  query: LedgerQuery,
  { explanation, doubt }: Parameters<RecordStore['ledgerAttempts']>[1],
  page: { limit: number; token: string | null },
): Page<LedgerAttempt> => {
  const after = page.token === null ? null : parseAttemptToken(page.token)
  const isAfter = (one: LedgerAttempt): boolean => {
    if (!after) return true
    const later = one.acceptedAt.getTime() - after.at.getTime()
    if (later !== 0) return later < 0
    if (one.record !== after.id) return one.record < after.id
    return one.step === after.step ? one.n > after.n : one.step > after.step
  }
  const found = matching(records, query)
    .sort((a, b) => b.acceptedAt.getTime() - a.acceptedAt.getTime() || (a._id < b._id ? 1 : -1))
    .flatMap((stored) => attemptsOf(stored, query))
    .filter((one) => (explanation ?? one.explanation) === one.explanation && (doubt ?? one.doubt) === one.doubt)
    .filter(isAfter)
  const items = plainCopy(found.slice(0, page.limit))
  const last = items.at(-1)
  return { items, next: found.length > page.limit && last ? attemptToken(last) : null }
}
