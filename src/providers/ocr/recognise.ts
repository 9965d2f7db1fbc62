/**
 * Pixels -> words, with tesseract.js. Owns the engine's start, what is asked of it, and which of its answers are
 * believed; knows no files.
 *
 * 1. Nothing is fetched: language data and core come from installed packages, and nothing is cached on disk.
 * 2. Specks and edges give "words" too. What the engine itself doubts is dropped, and a page on which little else
 *    is left counts as blank: no invented patient.
 * 3. Every call settles: the engine's start rejects on any failure (its own promise would wait for ever).
 */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createWorker, OEM, PSM, type Worker as Engine } from 'tesseract.js'
import type { GreyImage } from './decode-image.js'
import type { PreparedImage } from './prepare-image.js'
import { WORDS_PER_PAGE_MAX, type Box, type Word } from './read-output.js'
import type { Segmentation } from './reader-jobs.js'
import { lookAgain } from './second-look.js'

/** The dots an inch keep the engine from guessing, and from saying so on the console. */
const SETTINGS: object = { user_defined_dpi: '300' }
/** One block of text: the engine's own search for columns drops cells of tables. Columns are found by position. */
const WHOLE_PAGE: { readonly [name in Segmentation]: object } = {
  block: { ...SETTINGS, tessedit_pageseg_mode: PSM.SINGLE_BLOCK },
  sparse: { ...SETTINGS, tessedit_pageseg_mode: PSM.SPARSE_TEXT },
}
const ONE_LINE: object = { ...SETTINGS, tessedit_pageseg_mode: PSM.SINGLE_LINE }
const CONFIDENCE_MIN = 30
/** A lone mark needs to be surer than a word of letters. */
const MARK_CONFIDENCE_MIN = 60
const PAGE_CONFIDENCE_MIN = 55

/** The folder of an installed language package, e.g. `@tesseract.js-data/eng`. Throws when it is not installed. */
export const languageFolder = (language: string): string => {
  const require = createRequire(import.meta.url)
  return join(dirname(require.resolve(`@tesseract.js-data/${language}/package.json`)), '4.0.0_best_int')
}

export const startEngine = (language: string): Promise<Engine> =>
  new Promise((resolve, reject) => {
    createWorker(language, OEM.LSTM_ONLY, {
      langPath: languageFolder(language),
      gzip: true,
      cacheMethod: 'none',
      errorHandler: (error: unknown) => reject(new Error(`The OCR engine did not start: ${String(error)}`)),
    }).then(resolve, (error: unknown) => reject(new Error(`The OCR engine did not start: ${String(error)}`)))
  })

/** Lines of words, in the engine's reading order. */
export async function recognise(engine: Engine, image: PreparedImage, how: Segmentation): Promise<Word[][]> {
  const { data } = await engine.recognize(pgm(image), WHOLE_PAGE[how], { text: false, blocks: true })
  const lines: Word[][] = []
  let count = 0
  for (const line of (data.blocks ?? []).flatMap((block) => block.paragraphs).flatMap((paragraph) => paragraph.lines)) {
    const read = line.words.map((word) => ({
      text: word.text.trim(),
      confidence: clamp(word.confidence),
      box: word.bbox,
    }))
    const words = believed(read).slice(0, WORDS_PER_PAGE_MAX - count)
    count += words.length
    if (words.length > 0) lines.push(words)
  }
  return isBlank(lines.flat()) ? [] : await lookAgain(lines, image, (cut) => recogniseLine(engine, cut))
}

async function recogniseLine(engine: Engine, image: GreyImage): Promise<{ text: string; confidence: number } | null> {
  const { data } = await engine.recognize(pgm(image), ONE_LINE, { text: true })
  const text = data.text.trim()
  return text === '' ? null : { text, confidence: clamp(data.confidence) }
}

/** The simplest picture format there is; the engine decodes it at once. */
const pgm = ({ width, height, data }: GreyImage): Buffer =>
  Buffer.concat([Buffer.from(`P5\n${width} ${height}\n255\n`), data])

const clamp = (confidence: number): number => Math.round(Math.min(100, Math.max(0, confidence)) * 10) / 10

/** A doubtful word among sure ones is kept with its doubt: a value that stands there is better than a gap. */
const believed = (line: readonly Word[]): Word[] => {
  const isReal = line.some((word) => word.confidence >= 80 && letters(word) >= 3)
  return line.filter((word) => {
    if (word.text === '' || word.text.length > 1_000) return false
    // What is left of a ruled line.
    if (/^[|_¦]+$/.test(word.text)) return false
    // Digits, and the dash of a range: what a number loses without a trace is worse than what it gains.
    if (isReal && /\d|^[-–<>]$/.test(word.text)) return true
    if (letters(word) >= 2) return isReal || word.confidence >= CONFIDENCE_MIN
    return word.confidence >= (letters(word) === 1 && isReal ? CONFIDENCE_MIN : MARK_CONFIDENCE_MIN)
  })
}

const letters = (word: Word): number => word.text.replace(/[^\p{L}\p{N}]/gu, '').length

const isBlank = (words: readonly Word[]): boolean => {
  const real = words.filter((word) => /[\p{L}\p{N}]{2}/u.test(word.text))
  if (real.length === 0) return true
  const mean = real.reduce((sum, word) => sum + word.confidence, 0) / real.length
  return mean < PAGE_CONFIDENCE_MIN || (real.length < 3 && mean < 85)
}

/** From the pixels that were read back to those of the upright page (read-output.ts, 1). */
export const toPageBox = (box: Box, image: PreparedImage, page: { width: number; height: number }): Box => {
  const radians = (image.rotation * Math.PI) / 180
  const turn = (x: number, y: number): [number, number] => {
    const dx = (x - image.width / 2) / image.scale
    const dy = (y - image.height / 2) / image.scale
    return [
      page.width / 2 + dx * Math.cos(radians) - dy * Math.sin(radians),
      page.height / 2 + dx * Math.sin(radians) + dy * Math.cos(radians),
    ]
  }
  const corners = [turn(box.x0, box.y0), turn(box.x1, box.y0), turn(box.x0, box.y1), turn(box.x1, box.y1)]
  const xs = corners.map(([x]) => x)
  const ys = corners.map(([, y]) => y)
  const round = (value: number): number => Math.round(value * 10) / 10
  return {
    x0: round(Math.min(...xs)),
    y0: round(Math.min(...ys)),
    x1: round(Math.max(...xs)),
    y1: round(Math.max(...ys)),
  }
}
