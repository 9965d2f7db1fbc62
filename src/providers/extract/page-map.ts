/**
 * Where the labels of a page stand and which words may be their values. Knows no field's meaning.
 *
 * A value stands, in this order: after its label in the same cell; in the next cell to the right; below the label.
 * The next label in the row is the border of what may belong to a label, to the right and below.
 */
import type { ReadPage } from '../ocr/read-output.js'
import { labelsIn, type Label, type LabelName } from './labels.js'
import { rowsOf, segments, type Row, type Token } from './layout.js'

export type PlacedLabel = Label & { row: number; x0: number; x1: number }
export type PageMap = { n: number; rows: Row[]; labels: PlacedLabel[]; usualHeight: number }

const BELOW_HEIGHTS_MAX = 4.5

export function mapPage(page: ReadPage): PageMap {
  const rows = rowsOf(page)
  const labels = rows.flatMap((row, index) => labelsOfRow(row, index))
  const heights = rows.flatMap((row) => row.tokens.map((token) => token.h)).sort((a, b) => a - b)
  return { n: page.n, rows, labels, usualHeight: heights[Math.floor(heights.length / 2)] ?? 1 }
}

function labelsOfRow(row: Row, index: number): PlacedLabel[] {
  let offset = 0
  return segments(row).flatMap((segment) => {
    const placed = labelsIn(segment).map((label) => ({
      ...label,
      from: label.from + offset,
      to: label.to + offset,
      row: index,
      // Numbering before the label belongs to its column.
      x0: segment[label.from === 1 ? 0 : label.from]!.x0,
      x1: segment[label.to - 1]!.x1,
    }))
    offset += segment.length
    return placed
  })
}

/** Runs of words that may be the value of a label, likeliest first; none is empty. */
export function candidates(map: PageMap, label: PlacedLabel): Token[][] {
  return [beside(map, label), below(map, label)].filter((tokens) => tokens.length > 0)
}

const isFiller = (token: Token): boolean => /^[:;=._|\-–—~*•[\](){}]+$/.test(token.text)

export function beside(map: PageMap, label: PlacedLabel): Token[] {
  const row = map.rows[label.row]!
  const border = nextInRow(map, label)?.from ?? row.tokens.length
  const rest = row.tokens.slice(label.to, border)
  while (rest.length > 0 && isFiller(rest[0]!)) rest.shift()
  const first = rest[0]
  if (!first) return []
  const cell = segments({ ...row, tokens: rest })[0]!
  return cell
}

export function below(map: PageMap, label: PlacedLabel): Token[] {
  const from = map.rows[label.row]!
  const found = columnRows(map, label, label.row + 1)[0]
  if (!found || found.y - from.y > map.usualHeight * BELOW_HEIGHTS_MAX) return []
  return startsWithLabel(map, found) ? [] : found.tokens
}

export type ColumnRow = { index: number; y: number; tokens: Token[] }

/** What stands under a label, row by row, between its left edge and the next label to its right. */
export function columnRows(map: PageMap, label: PlacedLabel, from: number): ColumnRow[] {
  const left = label.x0 - map.usualHeight * 1.2
  const right = (nextInRow(map, label)?.x0 ?? Infinity) - map.usualHeight * 0.4
  const found: ColumnRow[] = []
  for (let index = from; index < map.rows.length && found.length < 12; index++) {
    const row = map.rows[index]!
    const tokens = row.tokens.filter((token) => token.x0 >= left && token.x0 < right)
    const part = tokens.length === 0 ? undefined : segments({ ...row, tokens })[0]
    if (part) found.push({ index, y: row.y, tokens: part })
  }
  return found
}

/** A value over several lines: the words beside or below, and the lines that follow closely in the same column. */
export function paragraph(map: PageMap, label: PlacedLabel, linesMax: number): Token[] {
  const first = beside(map, label)
  const row = map.rows[label.row]!
  // "… with the following problem:" ends its line; what follows begins at the left again.
  const endsRow = first.length === 0 && label.from > 2 && label.to >= row.tokens.length - 1
  const x0 = endsRow ? row.tokens[0]!.x0 : Math.min(label.x0, first[0]?.x0 ?? Infinity)
  const lines = columnRows(map, { ...label, x0 }, label.row + 1)
  const value = [...first]
  let lastY = map.rows[label.row]!.y
  let taken = first.length > 0 ? 1 : 0
  for (const line of lines) {
    const gap = (line.y - lastY) / map.usualHeight
    if (taken >= linesMax || gap > (taken === 0 ? BELOW_HEIGHTS_MAX : 3.2) || startsWithLabel(map, line)) break
    value.push(...line.tokens)
    lastY = line.y
    taken++
  }
  return value
}

export const startsWithLabel = (map: PageMap, line: ColumnRow): boolean => {
  const first = map.rows[line.index]!.tokens.indexOf(line.tokens[0]!)
  // The second word, where numbering stands before the label.
  return map.labels.some(
    (label) =>
      label.row === line.index &&
      label.strength !== 'prose' &&
      (label.from === first || (label.from === first + 1 && line.tokens.length > 1)),
  )
}

const nextInRow = (map: PageMap, label: PlacedLabel): PlacedLabel | undefined =>
  map.labels.find((other) => other.row === label.row && other.from >= label.to)

const SECTIONS: ReadonlySet<LabelName> = new Set(['patientSection', 'referrerSection', 'recipientSection'])

/** The heading that a label stands under: the nearest above that begins no further right. */
export function sectionOf(map: PageMap, label: PlacedLabel): LabelName | null {
  let best: { name: LabelName; y: number; x0: number } | null = null
  for (const other of map.labels) {
    if (other.row >= label.row || other.x0 > label.x0 + map.usualHeight * 3) continue
    const name = SECTIONS.has(other.name) ? other.name : headingOf(map, other)
    if (name === null) continue
    const { y } = map.rows[other.row]!
    const level = best !== null && Math.abs(y - best.y) < map.usualHeight
    if (best === null || (level ? other.x0 > best.x0 : y > best.y)) best = { name, y, x0: other.x0 }
  }
  return best?.name ?? null
}

/** "Referring physician" alone over labelled lines is a heading, not a label. */
function headingOf(map: PageMap, label: PlacedLabel): LabelName | null {
  if (label.name !== 'referringPhysician' && label.name !== 'patientName') return null
  if (beside(map, label).length > 0) return null
  const next = columnRows(map, label, label.row + 1)[0]
  if (!next || !startsWithLabel(map, next)) return null
  return label.name === 'patientName' ? 'patientSection' : 'referrerSection'
}
