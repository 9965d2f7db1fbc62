/**
 * GET /v1/charges: what customers owe, as a view over the records.
 */
import type { CsvColumn } from '../../ledger/csv.js'
import { CSV_PAGE, orCsv, streamCsv, wantsCsv } from '../csv-body.js'
import type { ServerDeps } from '../contract.js'
import { parsePart } from '../problem.js'
import { json, present, visibleSource, type Route } from '../route.js'
import { chargeListSchema, chargesQuery, type ChargeRowJson } from '../schemas.js'
import { chargeView } from '../views.js'

const COLUMNS: readonly CsvColumn<ChargeRowJson>[] = [
  // As sinks get it: the same id for the life of the record.
  { name: 'id', of: ({ record, key }) => `${record}/${key}` },
  { name: 'at', of: ({ at }) => at },
  { name: 'source', of: ({ source }) => source },
  { name: 'pipeline', of: ({ pipeline }) => pipeline },
  { name: 'record', of: ({ record }) => record },
  { name: 'key', of: ({ key }) => key },
  { name: 'amount', of: ({ amount }) => amount },
  { name: 'currency', of: ({ currency }) => currency },
  { name: 'attempt', of: ({ attempt }) => attempt },
  { name: 'simulated', of: ({ simulated }) => simulated },
]

export function chargeRoutes(deps: ServerDeps): Route[] {
  return [
    {
      spec: {
        method: 'get',
        path: '/v1/charges',
        summary: 'List charges, newest first',
        description:
          'At most one per record and charge key. As CSV (`format=csv` or Accept: text/csv) all of them at once.',
        query: chargesQuery,
        responses: { 200: orCsv(json('A page of charges', chargeListSchema)) },
      },
      async handle(ctx) {
        const identity = await deps.identify(ctx)
        const { limit, page, format, from, to, source, ...exact } = parsePart(chargesQuery, ctx.query, 'query')
        const filter = present({
          ...exact,
          source: visibleSource(identity, source),
          from: from === undefined ? undefined : new Date(from),
          // Charged before it: two months that follow one another share no charge.
          to: to === undefined ? undefined : new Date(Date.parse(to) - 1),
        })
        const read = async (token: string | null, max: number) => {
          const found = await deps.store.charges(filter, { limit: max, token })
          return { items: found.items.map(chargeView), next: found.next }
        }
        if (wantsCsv(ctx, format)) await streamCsv(ctx, 'charges.csv', COLUMNS, (token) => read(token, CSV_PAGE))
        else ctx.body = await read(page ?? null, limit)
      },
    },
  ]
}
