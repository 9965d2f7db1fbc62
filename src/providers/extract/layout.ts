/**
 * Words with positions -> rows as a person sees them, and text that remembers which words it was made of.
 * Knows geometry only.
 *
 * 1. The tilt that the reader found is taken out first, so one row has one height on the page.
 * 2. Rows cross columns: what belongs together within a row is decided by gaps (`segments`) and labels.
 */
import type { Box, ReadPage, Word } from '../ocr/read-output.js'

export type Token = {
  text: string
  confidence: number
  page: number
  /** As read, on the page. */
  box: Box
  /** Straightened: left, right, middle and height. */
  x0: number
  x1: number
  y: number
  h: number
}
export type Row = { page: number; y: number; h: number; tokens: Token[] }

export function rowsOf(page: ReadPage): Row[] {
  const tokens = page.words.flatMap(parts).map((word) => straighten(word, page))
  const heights = tokens.map((token) => token.h).sort((a, b) => a - b)
  const usual = heights[Math.floor(heights.length / 2)] ?? 1
  tokens.sort((a, b) => a.y - b.y)
  const rows: Row[] = []
  for (const token of tokens) {
    // A dash is no row of its own, however small it is.
    const height = Math.max(token.h, usual * 0.7)
    const row = rows.at(-1)
    if (row && Math.abs(token.y - row.y) < 0.5 * Math.min(height, row.h)) {
      row.tokens.push(token)
      row.y += (token.y - row.y) / row.tokens.length
      row.h = Math.max(row.h, Math.min(height, usual * 1.5))
    } else rows.push({ page: page.n, y: token.y, h: height, tokens: [token] })
  }
  for (const row of rows) row.tokens.sort((a, b) => a.x0 - b.x0)
  return rows
}

/** "Indication:Fever" are two words that stand too close; leader dots ("Name ....Ada") are none at all. */
function parts(word: Word): Word[] {
  const text = word.text
    .replace(/^[a-z]{0,2}[.·…_]{3,}[.a-z]{0,2}(?=[\p{Lu}\d+(])/u, '')
    .replace(/(?<=\p{L})[.·…_]{3,}$/u, ':')
  const at = /^\p{L}[\p{L}\d.#-]*:(?=[\p{L}\d(+])/u.exec(text)?.[0].length ?? 0
  if (at === 0) return [{ ...word, text }]
  const { x0, x1 } = word.box
  const x = x0 + ((x1 - x0) * at) / text.length
  return [
    { ...word, text: text.slice(0, at), box: { ...word.box, x1: x } },
    { ...word, text: text.slice(at), box: { ...word.box, x0: x } },
  ]
}

function straighten({ text, confidence, box }: Word, page: ReadPage): Token {
  const radians = (page.rotation * Math.PI) / 180
  const dx = (box.x0 + box.x1) / 2 - page.width / 2
  const dy = (box.y0 + box.y1) / 2 - page.height / 2
  const x = dx * Math.cos(radians) + dy * Math.sin(radians)
  const y = dy * Math.cos(radians) - dx * Math.sin(radians)
  const half = (box.x1 - box.x0) / 2
  // The box of a tilted word is taller than the word.
  const h = Math.max(1, box.y1 - box.y0 - Math.abs(Math.sin(radians)) * (box.x1 - box.x0))
  return { text, confidence, page: page.n, box, x0: x - half, x1: x + half, y, h }
}

/** Parts of a row with wide gaps between them: cells, columns. */
export function segments(row: Row): Token[][] {
  const parts: Token[][] = []
  for (const token of row.tokens) {
    const part = parts.at(-1)
    const last = part?.at(-1)
    if (part && last && token.x0 - last.x1 < row.h * 1.5) part.push(token)
    else parts.push([token])
  }
  return parts
}

/** Words that read on: one row, or the rows of a paragraph. `row` is the first. */
export type Unit = { row: number; tokens: Token[] }

/** A row that reaches the right edge of the text goes on in the next, when that begins below it at the same left. */
export function unitsOf(rows: readonly Row[]): Unit[] {
  const full = rows.filter((row) => row.tokens.length >= 6 && segments(row).length === 1)
  const edge = Math.max(0, ...full.map((row) => row.tokens.at(-1)!.x1))
  const units: Unit[] = []
  rows.forEach((row, i) => {
    const last = rows[i - 1]
    const first = row.tokens[0]!
    const goesOn =
      last !== undefined &&
      full.includes(last) &&
      last.tokens.at(-1)!.x1 - last.tokens[0]!.x0 > 0.8 * (edge - last.tokens[0]!.x0) &&
      row.y - last.y < 3.2 * last.h &&
      Math.abs(first.x0 - last.tokens[0]!.x0) < 2 * last.h
    if (goesOn) units.at(-1)!.tokens.push(...row.tokens)
    else units.push({ row: i, tokens: [...row.tokens] })
  })
  return units
}

/** Text made of words, and the way back from a place in it to the words. */
export type Strip = { text: string; tokens: readonly Token[]; starts: readonly number[] }

export function strip(tokens: readonly Token[]): Strip {
  const starts: number[] = []
  let text = ''
  for (const token of tokens) {
    if (text !== '') text += ' '
    starts.push(text.length)
    text += token.text
  }
  return { text, tokens, starts }
}

/** The words that a stretch of the text touches. */
export const within = ({ tokens, starts }: Strip, from: number, to: number): Token[] =>
  tokens.filter((token, i) => starts[i]! < to && starts[i]! + token.text.length > from)

export const textOf = (tokens: readonly Token[]): string => tokens.map((token) => token.text).join(' ')

export function boxOf(tokens: readonly Token[]): Box {
  return {
    x0: Math.min(...tokens.map(({ box }) => box.x0)),
    y0: Math.min(...tokens.map(({ box }) => box.y0)),
    x1: Math.max(...tokens.map(({ box }) => box.x1)),
    y1: Math.max(...tokens.map(({ box }) => box.y1)),
  }
}

/** 0..1. A value is as sure as its weakest word; marks without letters or digits don't count. */
export function confidenceOf(tokens: readonly Token[]): number {
  const counted = tokens.filter((token) => /[\p{L}\p{N}]/u.test(token.text))
  const weakest = Math.min(...(counted.length > 0 ? counted : tokens).map((token) => token.confidence))
  return Math.round(weakest) / 100
}
