/** Pages as the reader would answer them, from text put at positions: `[x, y, text]`, each letter 10 wide and 16 high. */
import type { ReadPage } from '../../src/providers/ocr/read-output.js'

export type Placed = readonly [x: number, y: number, text: string]

export function pageOf(placed: readonly Placed[], confidence = 90): ReadPage {
  const words = placed.flatMap(([x, y, text]) =>
    [...text.matchAll(/\S+/g)].map((match) => ({
      text: match[0],
      confidence,
      box: { x0: x + match.index * 10, y0: y, x1: x + (match.index + match[0].length) * 10, y1: y + 16 },
    })),
  )
  const text = placed.map(([, , line]) => line).join('\n')
  return { n: 1, width: 2_000, height: 2_800, rotation: 0, origin: 'ocr', words, text }
}

/** Lines under each other, as in a letter. */
export const linesPage = (...lines: string[]): ReadPage => pageOf(lines.map((line, i) => [100, 100 + i * 34, line]))
