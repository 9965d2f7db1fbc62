/** `report`: the reconciliation for people, for machines (--json) and for spreadsheets (--csv). */
import type { z } from 'zod'
import { ledgerAttemptListSchema, reconciliationSchema } from '../../server/report-schemas.js'
import type { LedgerAttemptJson, ReconciliationJson } from '../../server/report-schemas.js'
import type { ApiClient } from '../api-client.js'
import { EXIT, type ExitCode } from '../exit-codes.js'
import { timeFlag } from '../flags.js'
import { printJson, type Io } from '../io.js'
import { parsedAnswer } from '../parsed-answer.js'
import { tableText, timeText } from '../text.js'

export type ReportFlags = {
  from?: string
  to?: string
  groupBy: string
  source?: string
  pipeline?: string
  provider?: string
  explain?: true
  explanation?: string
  doubt?: string
  limit: string
  page?: string
  csv?: true
  json?: true
}

/** The service gives up on a report after a minute. */
const TIMEOUT_MS = 75_000

const queryOf = (flags: ReportFlags): string => {
  const { from, to, groupBy, source, pipeline, provider, explain, explanation, doubt, limit, page } = flags
  const asked = {
    from: from && timeFlag(from, '--from', false),
    to: to && timeFlag(to, '--to', true),
    source,
    pipeline,
    provider,
    ...(explain ? { explain: 'true', explanation, doubt, limit, page } : { groupBy }),
  }
  const given = Object.entries(asked).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return new URLSearchParams(given).toString()
}

export const report = async (io: Io, client: ApiClient, flags: ReportFlags): Promise<ExitCode> => {
  const path = `/v1/reports/reconciliation?${queryOf(flags)}`
  if (flags.csv) {
    io.out((await client.text(path, 'text/csv', TIMEOUT_MS)).trimEnd())
    return EXIT.ok
  }
  const raw = await client.json(path, TIMEOUT_MS)
  if (flags.json) printJson(io, raw)
  else if (flags.explain) showAttempts(io, parsedAnswer(ledgerAttemptListSchema, raw))
  else showReport(io, parsedAnswer(reconciliationSchema, raw))
  return EXIT.ok
}

type Row = ReconciliationJson['rows'][number]

const HEAD = ['CURRENCY', 'CHARGED', 'SPEND', 'IN DOUBT', 'MARGIN', 'WASTED', 'PREVENTED', 'POSSIBLE', 'UNEXPLAINED']

const numbersOf = (row: Row): string[] => [
  row.currency ?? '-',
  row.charges.amount,
  row.spend.estimated === '0' ? row.spend.reported : `${row.spend.reported} + ~${row.spend.estimated}`,
  row.spend.upperBound,
  row.margin,
  row.wasted,
  String(row.duplicates.prevented),
  String(row.duplicates.possible.attempts),
  String(row.unexplained.attempts),
]

/** Of calls that cost nothing, and of which nothing is in doubt, there is nothing to read. */
const saysSomething = ({ currency, duplicates, unexplained, unpriced, running }: Row): boolean =>
  currency !== null ||
  duplicates.prevented + duplicates.possible.attempts + duplicates.certain.attempts > 0 ||
  unexplained.attempts + unpriced + running > 0

const showReport = (io: Io, { from, to, groupBy, rows: all, totals: allTotals }: ReconciliationJson): void => {
  io.note(`Records accepted from ${timeText(from)} to ${timeText(to)} UTC.`)
  if (all.length === 0) return io.note('No charges and no attempts.')
  const [rows, totals] = [all.filter(saysSomething), allTotals.filter(saysSomething)]
  if (rows.length < all.length)
    io.note(`${all.length - rows.length} row(s) without money or doubt are left out; --json and --csv have them.`)
  if (rows.length === 0) return
  const places = (row: Row): string[] => groupBy.map((name) => row[name] ?? '-')
  const table = [
    [...groupBy.map((name) => name.toUpperCase()), ...HEAD],
    ...rows.map((row) => [...places(row), ...numbersOf(row)]),
    ...totals.map((row) => [...groupBy.map((_, n) => (n === 0 ? 'total' : '')), ...numbersOf(row)]),
  ]
  for (const line of tableText(table)) io.out(line)
  const sum = (count: (row: Row) => number) => totals.reduce((all, row) => all + count(row), 0)
  const unexplained = sum((row) => row.unexplained.attempts)
  const unpriced = sum((row) => row.unpriced)
  if (unexplained > 0)
    io.note(`${unexplained} attempt(s) are unexplained: the same with --explain --explanation unknown lists them.`)
  if (unpriced > 0)
    io.note(`${unpriced} attempt(s) have no price: give their providers a price table, or their spend is missing here.`)
}

const spendText = ({ spend }: LedgerAttemptJson): string => {
  if (spend === null) return '-'
  const about = { reported: '', estimated: '~', 'upper-bound': '<=' }[spend.basis]
  return `${about}${spend.amount} ${spend.currency}`
}

const showAttempts = (io: Io, { items, next }: z.output<typeof ledgerAttemptListSchema>): void => {
  if (items.length === 0) io.note('No such attempts.')
  else {
    const head = [
      'RECORD',
      'STEP',
      'ATTEMPT',
      'PROVIDER',
      'STARTED',
      'OUTCOME',
      'SPEND',
      'EXPLANATION',
      'DOUBT',
      'ERROR',
    ]
    const rows = items.map((one) => [
      one.record,
      one.step,
      String(one.n),
      one.provider,
      timeText(one.startedAt),
      one.outcome ?? 'open',
      spendText(one),
      one.unpriced ? `${one.explanation} (no price)` : one.explanation,
      one.doubt ?? '-',
      one.error ?? '-',
    ])
    for (const line of tableText([head, ...rows])) io.out(line)
  }
  if (next !== null) io.note(`There are more: the same with --page ${next}`)
}
