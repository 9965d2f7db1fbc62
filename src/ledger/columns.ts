/** The reconciliation as a table: one column per number, the dimensions that were asked for first. */
import type { CsvColumn } from './csv.js'
import type { Difference, Dimension, ReportRow } from './report.js'
import { DIMENSIONS } from './report.js'

const both = (name: string, of: (row: ReportRow) => Difference): CsvColumn<ReportRow>[] => [
  { name: `${name}_attempts`, of: (row) => of(row).attempts },
  { name: `${name}_spend`, of: (row) => of(row).spend },
]

const NUMBERS: readonly CsvColumn<ReportRow>[] = [
  { name: 'currency', of: (row) => row.currency },
  { name: 'charges', of: (row) => row.charges.count },
  { name: 'charged', of: (row) => row.charges.amount },
  { name: 'spend_reported', of: (row) => row.spend.reported },
  { name: 'spend_estimated', of: (row) => row.spend.estimated },
  { name: 'spend_upper_bound', of: (row) => row.spend.upperBound },
  { name: 'margin', of: (row) => row.margin },
  { name: 'margin_at_least', of: (row) => row.marginAtLeast },
  { name: 'attempts', of: (row) => row.attempts },
  { name: 'running', of: (row) => row.running },
  { name: 'unpriced', of: (row) => row.unpriced },
  { name: 'duplicates_prevented', of: (row) => row.duplicates.prevented },
  { name: 'duplicates_possible', of: (row) => row.duplicates.possible.attempts },
  { name: 'duplicates_possible_upper_bound', of: (row) => row.duplicates.possible.upperBound },
  ...both('duplicates_certain', (row) => row.duplicates.certain),
  { name: 'wasted', of: (row) => row.wasted },
  ...both('same_run', (row) => row.differences.sameRun),
  ...both('superseded', (row) => row.differences.superseded),
  ...both('orphan', (row) => row.differences.orphan),
  ...both('free_failure', (row) => row.differences.freeFailure),
  ...both('unknown', (row) => row.differences.unknown),
]

export const reportColumns = (groupBy: readonly Dimension[]): readonly CsvColumn<ReportRow>[] => [
  ...DIMENSIONS.filter((name) => groupBy.includes(name)).map((name) => ({
    name,
    of: (row: ReportRow) => row[name] ?? null,
  })),
  ...NUMBERS,
]
