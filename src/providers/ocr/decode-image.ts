/**
 * Bytes of an image file -> grey pixels, page by page. Owns the limits on what is decoded; does not clean the
 * picture (prepare-image.ts) nor read it (recognise.ts).
 *
 * 1. The size is checked on the header, before a pixel is decoded: a small file may declare a huge picture.
 * 2. One page is in memory at a time.
 * 3. A file that is cut off or damaged is refused, never half read: half a referral is worse than none.
 */
import sharp from 'sharp'
import { PAGES_MAX } from './read-output.js'
import { UnreadableInput } from './unreadable.js'

/** Grey pixels, one byte each. `scale` is how many of them make one pixel of the page. */
export type GreyImage = { width: number; height: number; data: Uint8Array; scale: number }

/** About 250 MB decoded in the worst case (four channels): A3 at 600 dots an inch still fits. */
export const PIXELS_MAX = 64_000_000
/**
 * The long side of the picture that is read, in pixels: A4 at 280 dots an inch. At less the engine loses decimal
 * points, beyond this it takes longer for little.
 */
export const LONG_SIDE = 3_300
const DECODE_SECONDS_MAX = 20
export type ImageFormat = 'png' | 'jpeg' | 'tiff' | 'webp'

/** What the bytes say they are; the name and the declared type of a file prove nothing. */
export const sniff = (bytes: Uint8Array): ImageFormat | 'pdf' | null => {
  const starts = (...signature: number[]): boolean => signature.every((byte, i) => bytes[i] === byte)
  const ascii = (from: number, to: number): string => Buffer.from(bytes.subarray(from, to)).toString('latin1')
  if (starts(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return 'png'
  if (starts(0xff, 0xd8, 0xff)) return 'jpeg'
  if (starts(0x49, 0x49, 0x2a, 0) || starts(0x4d, 0x4d, 0, 0x2a)) return 'tiff'
  if (ascii(0, 4) === 'RIFF' && ascii(8, 12) === 'WEBP') return 'webp'
  // Real PDFs may carry rubbish before their header; readers accept the first 1024 bytes.
  return ascii(0, 1024).includes('%PDF-') ? 'pdf' : null
}

const options = (page: number) =>
  ({ page, limitInputPixels: PIXELS_MAX, failOn: 'error', sequentialRead: true }) as const

/** Throws UnreadableInput. */
export async function* decodeImage(bytes: Uint8Array, format: ImageFormat): AsyncGenerator<GreyImage> {
  const name = format.toUpperCase()
  const header = await sharp(bytes, { ...options(0), limitInputPixels: false })
    .metadata()
    .catch(() => {
      throw new UnreadableInput(`The file starts like a ${name} image, but it has no readable header.`)
    })
  // Only a TIFF has pages; the frames of an animation are no pages.
  const pages = format === 'tiff' ? (header.pages ?? 1) : 1
  if (pages > PAGES_MAX) {
    throw new UnreadableInput(
      `The file has ${pages} pages, at most ${PAGES_MAX} are read: split it.`,
      'input-too-large',
    )
  }
  for (let page = 0; page < pages; page++) yield await decodePage(bytes, name, page)
}

async function decodePage(bytes: Uint8Array, name: string, page: number): Promise<GreyImage> {
  const broken = (): never => {
    throw new UnreadableInput(`The ${name} image cannot be decoded: page ${page + 1} is damaged or cut off.`)
  }
  const header = await sharp(bytes, { ...options(page), limitInputPixels: false })
    .metadata()
    .catch(broken)
  if (header.width * header.height > PIXELS_MAX) {
    throw new UnreadableInput(
      `Page ${page + 1} is ${header.width} x ${header.height} pixels, at most ${PIXELS_MAX / 1e6} million are read: scan it at 300 dots an inch.`,
      'input-too-large',
    )
  }
  const { width, height } = header.autoOrient
  const scale = Math.min(1, LONG_SIDE / Math.max(width, height))
  const { data, info } = await sharp(bytes, options(page))
    .autoOrient()
    .flatten({ background: 'white' })
    .greyscale()
    .toColourspace('b-w')
    .resize(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)), { fit: 'fill' })
    .timeout({ seconds: DECODE_SECONDS_MAX })
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
    .catch(broken)
  return { width: info.width, height: info.height, data: firstChannel(data, info.channels), scale }
}

const firstChannel = (data: Uint8Array, channels: number): Uint8Array =>
  channels === 1 ? data : data.filter((_, i) => i % channels === 0)
