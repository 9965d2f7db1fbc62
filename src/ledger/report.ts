/**
 * The reconciliation: what customers owe beside what providers bill, and every difference explained. Pure.
 *
 * - E1 Sums are exact, and each attempt is counted once, under one explanation: the spend over the explanations is the
 *   spend over the bases.
 * - E2 Records stand on the day (UTC) on which they were accepted, with all their charges and attempts, so that a row can
 *   be compared with itself: nothing of a record falls into another row because it happened after midnight.
 * - E3 Currencies are never added to one another. What has no amount stands in the row without a currency.
 */
import type { Explanation, LedgerGroup } from '../persistence/contract.js'
import { addTotals, subtractTotals } from '../providers/decimal.js'

export const DIMENSIONS = ['day', 'source', 'pipeline', 'provider'] as const
export type Dimension = (typeof DIMENSIONS)[number]

/** `spend` may hold upper bounds: see the row's `spend.upperBound`. */
export type Difference = { attempts: number; spend: string }

export type ReportRow = {
  /** The dimensions that were asked for. `provider` is null for charges of whole records. */
  day?: string
  source?: string
  pipeline?: string
  provider?: string | null
  currency: string | null
  charges: { count: number; amount: string }
  spend: { reported: string; estimated: string; upperBound: string }
  /** Charges less reported and estimated spend. */
  margin: string
  /** The same less the upper bounds of what is in doubt. */
  marginAtLeast: string
  attempts: number
  running: number
  /** Attempts that ran at a paid provider, and nobody told what they cost: missing in `spend`. */
  unpriced: number
  duplicates: {
    /** Doubts that were resolved without a second paid run. */
    prevented: number
    /** Second paid calls that may have been made beside a first one that may have run. */
    possible: { attempts: number; upperBound: string }
    /** The same where the first is known to have run. */
    certain: Difference
  }
  /** Spent on what gave no result: superseded and orphan. */
  wasted: string
  differences: {
    sameRun: Difference
    superseded: Difference
    orphan: Difference
    freeFailure: Difference
    unknown: Difference
  }
  /** The differences that nothing explains: `unknown`. */
  unexplained: Difference
}

const NONE: Difference = { attempts: 0, spend: '0' }

const emptyRow = (place: Partial<ReportRow>, currency: string | null): ReportRow => ({
  ...place,
  currency,
  charges: { count: 0, amount: '0' },
  spend: { reported: '0', estimated: '0', upperBound: '0' },
  margin: '0',
  marginAtLeast: '0',
  attempts: 0,
  running: 0,
  unpriced: 0,
  duplicates: { prevented: 0, possible: { attempts: 0, upperBound: '0' }, certain: { ...NONE } },
  wasted: '0',
  differences: {
    sameRun: { ...NONE },
    superseded: { ...NONE },
    orphan: { ...NONE },
    freeFailure: { ...NONE },
    unknown: { ...NONE },
  },
  unexplained: { ...NONE },
})

/** Which explanations are differences: the others are the result itself, or have no end yet. */
const DIFFERENCES: { readonly [explanation in Explanation]: keyof ReportRow['differences'] | null } = {
  result: null,
  'same-run': 'sameRun',
  superseded: 'superseded',
  orphan: 'orphan',
  'free-failure': 'freeFailure',
  unknown: 'unknown',
  running: null,
}

const count = (difference: Difference, { count: attempts, amount }: LedgerGroup): void => {
  difference.attempts += attempts
  difference.spend = addTotals(difference.spend, amount)
}

const countDoubt = ({ duplicates }: ReportRow, group: LedgerGroup): void => {
  if (group.doubt === 'prevented') duplicates.prevented += group.count
  if (group.doubt === 'duplicate') count(duplicates.certain, group)
  if (group.doubt !== 'possible-duplicate') return
  duplicates.possible.attempts += group.count
  duplicates.possible.upperBound = addTotals(duplicates.possible.upperBound, group.amount)
}

const addAttempts = (row: ReportRow, group: LedgerGroup, explanation: Explanation): void => {
  row.attempts += group.count
  if (explanation === 'running') row.running += group.count
  if (group.unpriced) row.unpriced += group.count
  const { spend } = row
  if (group.basis === 'reported') spend.reported = addTotals(spend.reported, group.amount)
  if (group.basis === 'estimated') spend.estimated = addTotals(spend.estimated, group.amount)
  if (group.basis === 'upper-bound') spend.upperBound = addTotals(spend.upperBound, group.amount)
  countDoubt(row, group)
  const difference = DIFFERENCES[explanation]
  if (difference !== null) count(row.differences[difference], group)
  if (explanation === 'unknown') count(row.unexplained, group)
  if (explanation === 'superseded' || explanation === 'orphan') row.wasted = addTotals(row.wasted, group.amount)
}

const addGroup = (row: ReportRow, group: LedgerGroup): void => {
  if (group.entry === 'charge') {
    row.charges.count += group.count
    row.charges.amount = addTotals(row.charges.amount, group.amount)
  } else addAttempts(row, group, group.entry)
  const { charges, spend } = row
  row.margin = subtractTotals(charges.amount, addTotals(spend.reported, spend.estimated))
  row.marginAtLeast = subtractTotals(row.margin, spend.upperBound)
}

export type Report = {
  add(day: string, groups: readonly LedgerGroup[]): void
  /** In the order of the dimensions, then by currency. */
  rows(): ReportRow[]
  /** One row per currency. */
  totals(): ReportRow[]
  size(): number
}

export const createReport = (groupBy: readonly Dimension[]): Report => {
  const rows = new Map<string, ReportRow>()
  const totals = new Map<string, ReportRow>()
  const rowIn = (map: Map<string, ReportRow>, place: Partial<ReportRow>, currency: string | null): ReportRow => {
    const id = JSON.stringify([...Object.values(place), currency])
    const row = map.get(id) ?? emptyRow(place, currency)
    map.set(id, row)
    return row
  }
  const inOrder = (map: Map<string, ReportRow>): ReportRow[] =>
    [...map.entries()].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
  return {
    add(day, groups) {
      for (const group of groups) {
        const all = { day, source: group.source, pipeline: group.pipeline, provider: group.provider }
        const place = Object.fromEntries(
          DIMENSIONS.filter((name) => groupBy.includes(name)).map((name) => [name, all[name]]),
        )
        addGroup(rowIn(rows, place, group.currency), group)
        addGroup(rowIn(totals, {}, group.currency), group)
      }
    },
    rows: () => inOrder(rows),
    totals: () => inOrder(totals),
    size: () => rows.size,
  }
}

/** A day is read in parts, so that each read ends soon. */
const PART_MS = 6 * 3_600_000

/** The time from `from` up to, and without, `to` in parts of one day (UTC) each, oldest first. */
export function* partsOf(from: Date, to: Date): Generator<{ day: string; from: Date; to: Date }> {
  for (let start = from.getTime(); start < to.getTime();) {
    const end = Math.min(to.getTime(), (Math.floor(start / PART_MS) + 1) * PART_MS)
    yield { day: new Date(start).toISOString().slice(0, 10), from: new Date(start), to: new Date(end) }
    start = end
  }
}
