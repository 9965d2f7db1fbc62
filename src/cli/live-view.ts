/**
 * Shows a store of live records while it changes: as a table that is drawn over on a terminal, as a line per step of the
 * way elsewhere, and as a JSON value per version with --json.
 */
import { selectRecords, selectWay, type LiveContext, type RecordsStore } from '../live/records-store.js'
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

/** `lines`: never a table. */
export const showLive = (
  io: Io,
  store: RecordsStore,
  { json, lines = false }: { json: boolean; lines?: boolean },
): LiveView => {
  if (json) return showJson(io, store)
  return io.noteIsTerminal && !lines ? drawTable(io, store) : printLines(io, store)
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

const printLines = (io: Io, store: RecordsStore): LiveView => {
  const printed = new Map<string, number>()
  let trouble: string | null = null
  const stop = watchStore(store, (context) => {
    if (context.trouble !== trouble) io.note((trouble = context.trouble) ?? 'The service answers again.')
    for (const record of selectRecords(context).reverse()) {
      const name = clipMiddle(safeText(record.input.fileName ?? record.id), 32)
      for (const entry of selectWay(context, record.id)) {
        if (entry.version <= (printed.get(record.id) ?? 0)) continue
        printed.set(record.id, entry.version)
        io.note(tableText([[name.padEnd(24), ...wayLine(entry, record.acceptedAt)]])[0] ?? '')
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
