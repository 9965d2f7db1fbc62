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
import { createWorker, OEM, type Worker as Engine } from 'tesseract.js'
import type { PreparedImage } from './prepare-image.js'
import { WORDS_PER_PAGE_MAX, type Box, type Word } from './read-output.js'

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

export async function recognise(engine: Engine, image: PreparedImage): Promise<Word[]> {
  const { data } = await engine.recognize(pgm(image), { user_defined_dpi: '200' } as object, {
    text: false,
    blocks: true,
  })
  const words: Word[] = []
  for (const block of data.blocks ?? []) {
    for (const paragraph of block.paragraphs) {
      for (const line of paragraph.lines) {
        for (const word of line.words) {
          const read = { text: word.text.trim(), confidence: clamp(word.confidence), box: word.bbox }
          if (isBelieved(read) && words.length < WORDS_PER_PAGE_MAX) words.push(read)
        }
      }
    }
  }
  return isBlank(words) ? [] : words
}

/** The simplest picture format there is; the engine decodes it at once. */
const pgm = ({ width, height, data }: PreparedImage): Buffer =>
  Buffer.concat([Buffer.from(`P5\n${width} ${height}\n255\n`), data])

const clamp = (confidence: number): number => Math.round(Math.min(100, Math.max(0, confidence)) * 10) / 10

const isBelieved = ({ text, confidence }: Word): boolean => {
  if (text === '' || confidence < CONFIDENCE_MIN) return false
  const letters = text.replace(/[^\p{L}\p{N}]/gu, '').length
  return letters >= 2 || confidence >= MARK_CONFIDENCE_MIN
}

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
