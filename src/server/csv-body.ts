/** Answers of many rows as CSV: page by page, as fast as the client reads, with nothing held but one page. */
import { Readable } from 'node:stream'
import { csvHead, csvRow, type CsvColumn } from '../ledger/csv.js'
import type { Page } from '../persistence/contract.js'
import type { RouteContext, RouteResponse } from './route.js'
import { csvText } from './schemas.js'

export const CSV_PAGE = 500

/** By `?format=`, else by Accept. */
export const wantsCsv = (ctx: RouteContext, format: 'json' | 'csv' | undefined): boolean =>
  format === undefined ? ctx.accepts('application/json', 'text/csv') === 'text/csv' : format === 'csv'

/** The response of a route that answers in both forms. */
export const orCsv = (response: RouteResponse): RouteResponse => ({
  ...response,
  content: { ...response.content, 'text/csv': csvText },
})

export function sendCsv(ctx: RouteContext, fileName: string, body: string | Readable): void {
  ctx.body = body
  ctx.set('content-type', 'text/csv; charset=utf-8; header=present')
  ctx.set('content-disposition', `attachment; filename="${fileName}"`)
}

/**
 * The first page is read before anything is sent, so that what is wrong with the request is still a problem document. An
 * error after that breaks the connection off: a table that ends is whole.
 */
export async function streamCsv<Row>(
  ctx: RouteContext,
  fileName: string,
  columns: readonly CsvColumn<Row>[],
  read: (token: string | null) => Promise<Page<Row>>,
): Promise<void> {
  const first = await read(null)
  async function* lines() {
    yield csvHead(columns)
    for (let page = first; ;) {
      if (page.items.length > 0) yield page.items.map((row) => csvRow(columns, row)).join('')
      if (page.next === null) return
      page = await read(page.next)
    }
  }
  sendCsv(ctx, fileName, Readable.from(lines(), { objectMode: false }))
}
