/**
 * Makes a scan easier to read: takes out specks and grain, enlarges it, turns it upright. Pixels in, pixels out; knows no letters.
 *
 * 1. Letters of a clean, straight page come back as they were: every filter also costs detail.
 * 2. All is judged on the picture alone, so the same file always gives the same pixels.
 * 3. Specks go before enlarging (four pixels are no speck any more), lines after turning (they must be straight).
 */
import sharp, { type Sharp } from 'sharp'
import { grainOf, stretched, withoutLines, withoutSpecks } from './clean-image.js'
import { LONG_SIDE, type GreyImage } from './decode-image.js'

/** `rotation`: degrees clockwise that the text was found tilted. `isBlank`: no ink to be read, only paper. */
export type PreparedImage = GreyImage & { rotation: number; isBlank: boolean }

const ENLARGED_MAX = 2
const TILT_DEGREES_MAX = 12
/** Less than this does not hurt reading, and turning blurs. */
const TILT_DEGREES_MIN = 0.25
const TILT_WIDTH = 800
const INK_POINTS_MAX = 60_000
/**
 * How much darker than the paper the darkest spots are, of 255, on a small soft copy, where grain has averaged out: 21 at
 * most on pages of nothing but heavy grain, 68 and more on pages with a single faint line.
 */
const INK_DEPTH_MIN = 35
const DARKEST_SHARE = 0.0003
/** Standard deviation of the paper, of 255. Good scanners stay under 2. */
const GRAIN_MIN = 5
/** What softening leaves of it. */
const GRAIN_LEFT = 0.4

export async function prepareImage(image: GreyImage): Promise<PreparedImage> {
  const clean = await enlarge(await withoutGrain(withoutSpecks(image)))
  if ((await inkDepth(clean)) < INK_DEPTH_MIN) return { ...clean, rotation: 0, isBlank: true }
  const rotation = tilt(await inkPoints(clean))
  const upright = Math.abs(rotation) < TILT_DEGREES_MIN ? clean : await turn(clean, -rotation)
  return { ...withoutLines(upright), rotation: upright === clean ? 0 : rotation, isBlank: false }
}

async function turn(image: GreyImage, degrees: number): Promise<GreyImage> {
  const { data, info } = await raw(image)
    .rotate(degrees, { background: 'white' })
    .toColourspace('b-w')
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, data: grey(data, info.channels), scale: image.scale }
}

const raw = ({ width, height, data }: GreyImage): Sharp => sharp(data, { raw: { width, height, channels: 1 } })
const grey = (data: Uint8Array, channels: number): Uint8Array =>
  channels === 1 ? data : data.filter((_, i) => i % channels === 0)

/**
 * The engine parts ink from paper by one threshold for all. On a grainy page with little ink that threshold falls into
 * the grain, and it reads for minutes. So the grain is softened, and all that can be grain becomes white.
 */
async function withoutGrain(image: GreyImage): Promise<GreyImage> {
  const grain = grainOf(image)
  if (grain < GRAIN_MIN) return image
  const { data, info } = await raw(image).blur(0.8).toColourspace('b-w').raw().toBuffer({ resolveWithObject: true })
  return { ...image, data: stretched(grey(data, info.channels), grain * GRAIN_LEFT) }
}

/** Gives the engine room; adds no detail. */
async function enlarge(image: GreyImage): Promise<GreyImage> {
  const factor = Math.min(ENLARGED_MAX, LONG_SIDE / Math.max(image.width, image.height))
  if (factor < 1.1) return image
  const { data, info } = await raw(image)
    .resize(Math.round(image.width * factor), Math.round(image.height * factor), { fit: 'fill' })
    .toColourspace('b-w')
    .raw()
    .toBuffer({ resolveWithObject: true })
  const scale = (image.scale * info.width) / image.width
  return { width: info.width, height: info.height, data: grey(data, info.channels), scale }
}

/** The engine takes half a minute over a page of nothing but grain, and finds letters in it: such a page is blank. */
async function inkDepth(image: GreyImage): Promise<number> {
  const small = await raw(image)
    .resize({ width: Math.min(TILT_WIDTH, image.width) })
    .blur(1.5)
    .toColourspace('b-w')
    .raw()
    .toBuffer({ resolveWithObject: true })
  const sorted = grey(small.data, small.info.channels).toSorted()
  return sorted[Math.floor(sorted.length / 2)]! - sorted[Math.floor(sorted.length * DARKEST_SHARE)]!
}

type Points = { x: Int16Array; y: Int16Array; width: number; height: number }

/** Where the ink is, on a small copy: darker than halfway between the paper and the darkest. */
async function inkPoints(image: GreyImage): Promise<Points> {
  const small = await raw(image)
    .resize({ width: Math.min(TILT_WIDTH, image.width), kernel: 'lanczos3' })
    .toColourspace('b-w')
    .raw()
    .toBuffer({ resolveWithObject: true })
  const { width, height, channels } = small.info
  const pixels = grey(small.data, channels)
  const threshold = otsu(pixels)
  const x: number[] = []
  const y: number[] = []
  for (let at = 0; at < pixels.length && x.length < INK_POINTS_MAX; at++) {
    if (pixels[at]! >= threshold) continue
    x.push(at % width)
    y.push(Math.floor(at / width))
  }
  return { x: Int16Array.from(x), y: Int16Array.from(y), width, height }
}

/** Otsu's threshold: the grey that parts ink from paper with the least variance within both (Otsu 1979). */
function otsu(pixels: Uint8Array): number {
  const histogram = new Float64Array(256)
  for (const value of pixels) histogram[value]!++
  const total = pixels.length
  let sum = 0
  for (let i = 0; i < 256; i++) sum += i * histogram[i]!
  let below = 0
  let sumBelow = 0
  let best = 0
  let threshold = 128
  for (let i = 0; i < 256; i++) {
    below += histogram[i]!
    if (below === 0 || below === total) continue
    sumBelow += i * histogram[i]!
    const between = below * (total - below) * (sumBelow / below - (sum - sumBelow) / (total - below)) ** 2
    if (between > best) {
      best = between
      threshold = i + 1
    }
  }
  return threshold
}

/** The angle at which the rows of the page are sharpest: their ink sums differ most from row to row. */
function tilt(points: Points): number {
  if (points.x.length < 200) return 0
  const coarse = sharpest(points, -TILT_DEGREES_MAX, TILT_DEGREES_MAX, 0.5)
  const fine = sharpest(points, coarse - 0.5, coarse + 0.5, 0.1)
  // At the edge of the range nothing was found, only the least bad.
  return Math.abs(fine) > TILT_DEGREES_MAX - 0.5 ? 0 : Math.round(fine * 10) / 10
}

function sharpest({ x, y, width, height }: Points, from: number, to: number, step: number): number {
  const rows = new Int32Array(height + width + 2)
  let best = 0
  let bestScore = -1
  for (let degrees = from; degrees <= to + 1e-9; degrees += step) {
    const sin = Math.sin((degrees * Math.PI) / 180)
    const cos = Math.cos((degrees * Math.PI) / 180)
    rows.fill(0)
    const shift = Math.ceil(width / 2)
    for (let i = 0; i < x.length; i++) {
      const row = Math.round(y[i]! * cos - (x[i]! - width / 2) * sin) + shift
      if (row >= 0 && row < rows.length) rows[row]!++
    }
    let score = 0
    for (let i = 1; i < rows.length; i++) score += (rows[i]! - rows[i - 1]!) ** 2
    // Of equals the straighter wins.
    if (score > bestScore * 1.001) {
      bestScore = score
      best = degrees
    }
  }
  return best
}
