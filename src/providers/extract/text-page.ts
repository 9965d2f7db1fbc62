/**
 * Text -> pages as the reader would have given them, so that a referral that was typed goes the way of one that was
 * scanned. Each character has the same width; several spaces or a tab are a gap between columns, as on paper.
 */
import { PAGES_MAX, WORDS_PER_PAGE_MAX, type ReadPage, type Word } from '../ocr/read-output.js'

export const TEXT_CHARACTERS_MAX = 100_000

const CHARACTER = 10
const LINE = 30
const HEIGHT = 16
const TAB = '    '
const WORD_CHARACTERS_MAX = 1_000

/** A form feed begins a page. Throws nothing: what is too long for the pages that there may be is cut off. */
export function pagesOfText(text: string): ReadPage[] {
  const sheets = text.slice(0, TEXT_CHARACTERS_MAX).split('\f')
  return sheets.slice(0, PAGES_MAX).map((sheet, index) => pageOf(sheet, index + 1))
}

function pageOf(text: string, n: number): ReadPage {
  const lines = text.replaceAll('\t', TAB).split(/\r\n|[\n\r]/)
  const words = lines.flatMap((line, row) =>
    [...line.matchAll(/\S+/g)].map((found) => wordAt(found[0], found.index, row)),
  )
  const longest = lines.reduce((most, line) => Math.max(most, line.length), 1)
  return {
    n,
    width: longest * CHARACTER,
    height: lines.length * LINE,
    rotation: 0,
    origin: 'text-layer',
    words: words.slice(0, WORDS_PER_PAGE_MAX),
    text,
  }
}

function wordAt(found: string, column: number, row: number): Word {
  const text = found.slice(0, WORD_CHARACTERS_MAX)
  const x0 = column * CHARACTER
  const y0 = row * LINE
  return { text, confidence: 100, box: { x0, y0, x1: x0 + text.length * CHARACTER, y1: y0 + HEIGHT } }
}
