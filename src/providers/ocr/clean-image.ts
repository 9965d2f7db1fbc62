/**
 * Takes dirt, grain and ruled lines out of a page and leaves the letters alone. Pixels in, pixels out.
 *
 * 1. A speck is a pixel with at most one neighbour like it: letters are strokes, and even the thinnest stroke has
 *    two such neighbours along it. A filter over all pixels (a median) would eat thin strokes instead.
 * 2. A ruled line is a dark run longer than any letter's stroke, and thin. The engine drops the text between such
 *    lines, so they are painted white.
 */
import type { GreyImage } from './decode-image.js'

/** How much darker or lighter than its neighbours a speck is, of 255. */
const SPECK_CONTRAST = 60

export function withoutSpecks(image: GreyImage): GreyImage {
  const { width, height, data } = image
  const clean = Uint8Array.from(data)
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const at = y * width + x
      const here = data[at]!
      let alike = 0
      let sum = 0
      for (let dy = -width; dy <= width; dy += width) {
        for (let dx = -1; dx <= 1; dx++) {
          if (dx === 0 && dy === 0) continue
          const near = data[at + dy + dx]!
          sum += near
          if (Math.abs(near - here) < SPECK_CONTRAST) alike++
        }
        if (alike > 1) break
      }
      if (alike <= 1) clean[at] = sum / 8
    }
  }
  return { ...image, data: clean }
}

/**
 * Standard deviation of the grain. From the differences of neighbours, whose median knows nothing of letters or of
 * shadows: for normal noise it is 0.954 standard deviations.
 */
export function grainOf({ data }: GreyImage): number {
  const histogram = new Uint32Array(256)
  let seen = 0
  // Every seventh pair is enough.
  for (let at = 1; at < data.length; at += 7) {
    histogram[Math.abs(data[at]! - data[at - 1]!)]!++
    seen++
  }
  let below = 0
  let median = 0
  while (median < 255 && below + histogram[median]! < seen / 2) below += histogram[median++]!
  // Between two whole numbers, by how much of the step is needed.
  return (median + (seen / 2 - below) / Math.max(1, histogram[median]!) - 0.5) / 0.954
}

/** Paper and all within four deviations of it becomes white, the darkest black, the rest lies between. */
export function stretched(data: Uint8Array, deviation: number): Uint8Array {
  const { paper } = levels(data)
  const histogram = new Uint32Array(256)
  for (const value of data) histogram[value]!++
  let black = 0
  for (let below = 0; black < 255 && below < data.length * 0.0003; black++) below += histogram[black]!
  const white = Math.max(black + 1, paper - 4 * deviation)
  return Uint8Array.from(data, (value) => Math.max(0, Math.min(255, (255 * (value - black)) / (white - black))))
}

/** Longer than any stroke of a letter, on a page of 280 dots an inch, in pixels. */
const LINE_LENGTH_MIN = 120
/** A thicker bar is a picture or a heading. */
const LINE_THICKNESS_MAX = 12
/** Worn lines have holes. */
const HOLE_MAX = 2

export function withoutLines(image: GreyImage): GreyImage {
  const { width, height, data } = image
  const { paper, dark } = levels(data)
  const clean = Uint8Array.from(data)
  const across = { length: width, lines: height, step: 1, stride: width }
  const down = { length: height, lines: width, step: width, stride: 1 }
  for (const way of [across, down]) {
    for (let line = 0; line < way.lines; line++) {
      let start = -1
      let last = -1
      for (let i = 0; i <= way.length; i++) {
        const isDark = i < way.length && data[line * way.stride + i * way.step]! < dark
        if (isDark) {
          if (start < 0) start = i
          last = i
        } else if (start >= 0 && (i - last > HOLE_MAX || i === way.length)) {
          if (last - start >= LINE_LENGTH_MIN) erase(line, start, last, way)
          start = -1
        }
      }
    }
  }
  return { ...image, data: clean }

  /** Where a letter crosses, the ink is thicker than the line: it stays. */
  function erase(line: number, from: number, to: number, { lines, step, stride }: typeof across): void {
    for (let i = from; i <= to; i++) {
      const at = line * stride + i * step
      let first = line
      let last = line
      while (first > 0 && line - first <= LINE_THICKNESS_MAX && data[at - (line - first + 1) * stride]! < dark) first--
      while (last < lines - 1 && last - line <= LINE_THICKNESS_MAX && data[at + (last - line + 1) * stride]! < dark)
        last++
      if (last - first < LINE_THICKNESS_MAX) clean[at] = paper
    }
  }
}

/** The commonest grey is the paper. What is clearly darker is ink, the soft edge of a line included. */
function levels(data: Uint8Array): { paper: number; dark: number } {
  const histogram = new Uint32Array(256)
  for (const value of data) histogram[value]!++
  let paper = 255
  for (let value = 255; value >= 0; value--) if (histogram[value]! > histogram[paper]!) paper = value
  return { paper, dark: paper - 50 }
}
