/**
 * Shows a store of live records while it changes: as a table that is drawn over on a terminal, as a line per step of the
 * way elsewhere, and as a JSON value per version with --json.
 */
import { rowOf, selectRecords, selectWay, type LiveContext, type RecordsStore } from '../live/records-store.js'
import type { LiveRecord } from '../live/shapes.js'
import type { Io } from './io.js'
import { printJson } from './io.js'
import { TABLE_HEAD, tableRow, wayLine } from './record-text.js'
import { clip, clipMiddle, safeText, tableText } from './text.js'

const REDRAW_MS = 200
const UP_AND_CLEAR = (lines: number) => (lines === 0 ? '' : `\u001b[${lines}A\u001b[J`)

export type LiveView = {
  /** A line on stderr that does not get into the table's way. */
  note(line: string): void
  /** Draws once more and stops. */
  close(): void
}

export type LiveOptions = {
  json: boolean
  /** Never a table. */
  lines?: boolean
  /** The store gets the ways of its records: then their steps are the lines, else where each record stands. */
  ways?: boolean
}

export const showLive = (io: Io, store: RecordsStore, { json, lines = false, ways = true }: LiveOptions): LiveView => {
  if (json) return showJson(io, store)
  return io.noteIsTerminal && !lines ? drawTable(io, store) : printLines(io, store, ways ? wayLines : standingLines)
}

const watchStore = (store: RecordsStore, onChange: (context: LiveContext) => void): (() => void) => {
  onChange(store.getSnapshot().context)
  const { unsubscribe } = store.subscribe(({ context }) => onChange(context))
  return unsubscribe
}

const showJson = (io: Io, store: RecordsStore): LiveView => {
  const shown = new Map<string, number>()
  const stop = watchStore(store, (context) => {
    for (const record of selectRecords(context).reverse()) {
      if (shown.get(record.id) === record.version) continue
      shown.set(record.id, record.version)
      printJson(io, record)
    }
    for (const id of shown.keys()) if (context.records[id] === undefined) shown.delete(id)
  })
  return { note: io.note, close: stop }
}

/** The lines about a record that say what came after `version`. */
type News = (context: LiveContext, record: LiveRecord, version: number) => { version: number; cells: string[] }[]

const wayLines: News = (context, record, version) =>
  selectWay(context, record.id)
    .filter((entry) => entry.version > version)
    .map((entry) => ({ version: entry.version, cells: wayLine(entry, record.acceptedAt) }))

const standingLines: News = (_, record, version) =>
  record.version > version
    ? [{ version: record.version, cells: [record.id, ...tableRow(record, new Date().toISOString()).slice(2)] }]
    : []

const printLines = (io: Io, store: RecordsStore, newsOf: News): LiveView => {
  const printed = new Map<string, number>()
  let trouble: string | null = null
  const stop = watchStore(store, (context) => {
    if (context.trouble !== trouble) io.note((trouble = context.trouble) ?? 'The service answers again.')
    for (const record of selectRecords(context).reverse()) {
      const name = clipMiddle(safeText(rowOf(record).name), 32).padEnd(24)
      for (const { version, cells } of newsOf(context, record, printed.get(record.id) ?? 0)) {
        printed.set(record.id, version)
        io.note(tableText([[name, ...cells.filter((cell) => cell !== '')]])[0] ?? '')
      }
    }
    for (const id of printed.keys()) if (context.records[id] === undefined) printed.delete(id)
  })
  return { note: io.note, close: stop }
}

const drawTable = (io: Io, store: RecordsStore): LiveView => {
  let drawn = 0
  const draw = () => {
    const { context } = store.getSnapshot()
    const now = new Date().toISOString()
    const records = selectRecords(context).slice(0, Math.max(1, io.rows() - 4))
    const rows: (readonly string[])[] = [TABLE_HEAD, ...records.reverse().map((record) => tableRow(record, now))]
    // The id comes last here: on a narrow terminal it is what can be missed.
    const lines = tableText(rows.map(([id = '', ...row]) => [...row, id]))
    if (context.trouble !== null) lines.push(context.trouble)
    io.draw(`${UP_AND_CLEAR(drawn)}${lines.map((line) => `${clip(line, io.columns() - 1)}\n`).join('')}`)
    drawn = lines.length
  }
  draw()
  const timer = setInterval(draw, REDRAW_MS)
  return {
    note(line) {
      io.draw(`${UP_AND_CLEAR(drawn)}${line}\n`)
      drawn = 0
      draw()
    },
    close() {
      clearInterval(timer)
      draw()
    },
  }
}
