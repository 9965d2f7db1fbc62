/**
 * Reads doubtful numbers once more, each alone and larger. In a page's context the engine drops decimal points
 * ("3.5 - 5.1" becomes "35-51") that it sees when shown the number by itself; the surer of both readings stays.
 *
 * Bounded: at most `LOOKS_MAX` words of a page, the least sure first, some 25 ms each.
 */
import sharp from 'sharp'
import type { Box, Word } from './read-output.js'
import type { GreyImage } from './decode-image.js'

export const LOOKS_MAX = 40
const DOUBTED_BELOW = 90
/** Paper around the number, in pixels, and how much larger it is shown. */
const MARGIN = 12
const LARGER = 1.5

type ReadOne = (image: GreyImage) => Promise<{ text: string; confidence: number } | null>

/** Answers the words in their order; `read` reads a picture of a single line. */
export async function lookAgain(lines: readonly Word[][], image: GreyImage, read: ReadOne): Promise<Word[][]> {
  const doubted = lines
    .flat()
    .filter((word) => word.confidence < DOUBTED_BELOW && /\d/.test(word.text))
    .sort((a, b) => a.confidence - b.confidence)
    .slice(0, LOOKS_MAX)
  const better = new Map<Word, Word>()
  for (const word of doubted) {
    const again = await read(await cutOut(image, word.box))
    const text = again?.text.replace(/\s*([-–—])\s*/g, '$1').trim()
    if (again && text && again.confidence > word.confidence && /\d/.test(text) && isAlike(text, word.text)) {
      better.set(word, { ...word, text, confidence: again.confidence })
    }
  }
  return lines.map((line) => line.map((word) => better.get(word) ?? word))
}

/** The same number read better, not a neighbour's piece: about as many letters and digits, and no point lost. */
const isAlike = (again: string, first: string): boolean => {
  const size = (text: string): number => text.replace(/[^\p{L}\p{N}]/gu, '').length
  const points = (text: string): number => text.split('.').length
  return Math.abs(size(again) - size(first)) <= 1 && points(again) >= points(first)
}

async function cutOut({ width, height, data, scale }: GreyImage, box: Box): Promise<GreyImage> {
  const left = Math.max(0, Math.floor(box.x0) - MARGIN)
  const top = Math.max(0, Math.floor(box.y0) - MARGIN)
  const right = Math.min(width, Math.ceil(box.x1) + MARGIN)
  const bottom = Math.min(height, Math.ceil(box.y1) + MARGIN)
  const cut = await sharp(data, { raw: { width, height, channels: 1 } })
    .extract({ left, top, width: right - left, height: bottom - top })
    .toColourspace('b-w')
    .raw()
    .toBuffer()
  const size = { width: right - left, height: bottom - top }
  const { data: larger, info } = await sharp(cut, { raw: { ...size, channels: 1 } })
    .resize(Math.round(size.width * LARGER))
    .extend({ top: 10, bottom: 10, left: 10, right: 10, background: 'white' })
    .toColourspace('b-w')
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, data: larger, scale: scale * LARGER }
}
