/**
 * GET /v1/reports/reconciliation: charges beside spend, each difference explained; with `explain`, the attempts behind it.
 *
 * - G1 Bounded: RANGE_DAYS_MAX days, a part of a day at a time, ROWS_MAX rows, REPORT_MS_MAX altogether.
 */
import { z } from 'zod'
import { reportColumns } from '../../ledger/columns.js'
import { csvTable, type CsvColumn } from '../../ledger/csv.js'
import { createReport, DIMENSIONS, partsOf, type Dimension, type Report } from '../../ledger/report.js'
import type { LedgerQuery } from '../../persistence/contract.js'
import type { PipelineSet } from '../../machines/compiled.js'
import type { ServerDeps } from '../contract.js'
import { CSV_PAGE, orCsv, sendCsv, streamCsv, wantsCsv } from '../csv-body.js'
import { parsePart, Problem } from '../problem.js'
import { json, present, visibleSource, type Route, type RouteContext } from '../route.js'
import {
  ledgerAttemptListSchema,
  reconciliationQuery,
  reconciliationSchema,
  type LedgerAttemptJson,
  type ReconciliationQuery,
} from '../report-schemas.js'
import { ledgerAttemptView } from '../views.js'

const DAY_MS = 24 * 3_600_000
const DEFAULT_DAYS = 30
const RANGE_DAYS_MAX = 100
const ROWS_MAX = 2_000
const REPORT_MS_MAX = 60_000

const ATTEMPT_COLUMNS: readonly CsvColumn<LedgerAttemptJson>[] = [
  { name: 'record', of: ({ record }) => record },
  { name: 'accepted_at', of: ({ acceptedAt }) => acceptedAt },
  { name: 'source', of: ({ source }) => source },
  { name: 'pipeline', of: ({ pipeline }) => pipeline },
  { name: 'step', of: ({ step }) => step },
  { name: 'attempt', of: ({ n }) => n },
  { name: 'provider', of: ({ provider }) => provider },
  { name: 'outcome', of: ({ outcome }) => outcome },
  { name: 'started_at', of: ({ startedAt }) => startedAt },
  { name: 'spend', of: ({ spend }) => spend?.amount ?? null },
  { name: 'currency', of: ({ spend }) => spend?.currency ?? null },
  { name: 'basis', of: ({ spend }) => spend?.basis ?? null },
  { name: 'error', of: ({ error }) => error },
  { name: 'explanation', of: ({ explanation }) => explanation },
  { name: 'doubt', of: ({ doubt }) => doubt },
  { name: 'unpriced', of: ({ unpriced }) => unpriced },
]

export function reportRoutes(deps: ServerDeps): Route[] {
  return [
    {
      spec: {
        method: 'get',
        path: '/v1/reports/reconciliation',
        summary: 'Charges beside spend, with every difference explained',
        description:
          'Of records accepted at `from` or later and before `to`, by the day (UTC) of acceptance. With `explain=true` a page of the attempts behind the sums. Simulated records are left out.',
        query: reconciliationQuery,
        responses: {
          200: orCsv(
            json('The report, or a page of attempts', z.union([reconciliationSchema, ledgerAttemptListSchema])),
          ),
        },
      },
      handle: (ctx) => reconcile(deps, ctx),
    },
  ]
}

async function reconcile(deps: ServerDeps, ctx: RouteContext): Promise<void> {
  const identity = await deps.identify(ctx)
  const asked = parsePart(reconciliationQuery, ctx.query, 'query')
  const query: LedgerQuery = {
    ...rangeOf(asked, deps.clock.now()),
    ...present({
      source: visibleSource(identity, asked.source),
      pipeline: asked.pipeline,
      provider: asked.provider,
    }),
    free: freeProviders(deps.pipelines),
  }
  const csv = wantsCsv(ctx, asked.format)
  if (asked.explain === 'true') return attemptsBehind(deps, ctx, query, asked, csv)
  const groupBy = DIMENSIONS.filter((name) => asked.groupBy.split(',').includes(name))
  const report = await addUp(deps, query, groupBy)
  if (csv) return sendCsv(ctx, 'reconciliation.csv', csvTable(reportColumns(groupBy), report.rows()))
  const { from, to } = query
  ctx.body = {
    from: from.toISOString(),
    to: to.toISOString(),
    groupBy,
    rows: report.rows(),
    totals: report.totals(),
  }
}

function rangeOf(asked: ReconciliationQuery, now: Date): { from: Date; to: Date } {
  const to = asked.to === undefined ? now : new Date(asked.to)
  const midnight = Math.floor(to.getTime() / DAY_MS) * DAY_MS
  const from = asked.from === undefined ? new Date(midnight - (DEFAULT_DAYS - 1) * DAY_MS) : new Date(asked.from)
  if (from >= to) throw new Problem(400, 'invalid-request', 'The query is not valid. `from` must be before `to`.')
  if (to.getTime() - from.getTime() > RANGE_DAYS_MAX * DAY_MS) {
    const detail = `The query is not valid. From \`from\` to \`to\` may be ${RANGE_DAYS_MAX} days; ask for one part after the other.`
    throw new Problem(400, 'invalid-request', detail)
  }
  return { from, to }
}

const freeProviders = (pipelines: PipelineSet): string[] => [
  ...new Set(
    pipelines
      .all()
      .flatMap(({ terms }) => Object.values(terms).flatMap(({ name, cost }) => (cost === 'free' ? [name] : []))),
  ),
]

/** G1 */
async function addUp(deps: ServerDeps, query: LedgerQuery, groupBy: readonly Dimension[]): Promise<Report> {
  const report = createReport(groupBy)
  const startedMs = deps.clock.monotonicMs()
  for (const { day, from, to } of partsOf(query.from, query.to)) {
    if (deps.clock.monotonicMs() - startedMs > REPORT_MS_MAX)
      throw tooLarge(`It takes longer than ${REPORT_MS_MAX / 1000} s.`)
    report.add(day, await deps.store.ledger({ ...query, from, to }))
    if (report.size() > ROWS_MAX) throw tooLarge(`It has more than ${ROWS_MAX} rows.`)
  }
  return report
}

const tooLarge = (why: string): Problem =>
  new Problem(
    422,
    'report-too-large',
    `${why} Ask for a shorter time, one source or pipeline, or a coarser \`groupBy\`.`,
  )

async function attemptsBehind(
  deps: ServerDeps,
  ctx: RouteContext,
  query: LedgerQuery,
  { explanation, doubt, limit, page }: ReconciliationQuery,
  csv: boolean,
): Promise<void> {
  const only = present({ explanation, doubt })
  const read = async (token: string | null, max: number) => {
    const found = await deps.store.ledgerAttempts(query, only, { limit: max, token })
    return { items: found.items.map(ledgerAttemptView), next: found.next }
  }
  if (csv) await streamCsv(ctx, 'attempts.csv', ATTEMPT_COLUMNS, (token) => read(token, CSV_PAGE))
  else ctx.body = await read(page ?? null, limit)
}
