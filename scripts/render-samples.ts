/**
 * Renders the sample documents into samples/: `node --import jiti/register scripts/render-samples.ts`.
 * Same code and same packages give the same bytes; needs no font, no network and no display.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PDFDocument } from 'pdf-lib'
import sharp from 'sharp'
import { A4, blur, drawPdf, noise, picture, rasterise, seeded, skew, type Grey, type Pen } from './raster.js'
import { formPage, gridPage, letterPage, listPage, resultsPage } from './sample-pages.js'

const folder = join(import.meta.dirname, '..', 'samples')

const paper = async (draw: (pen: Pen) => void, dotsPerInch: number): Promise<Grey> => {
  const [page] = await rasterise(await drawPdf([draw]), dotsPerInch)
  return page!
}

const save = async (name: string, bytes: Uint8Array): Promise<void> => {
  await writeFile(join(folder, name), bytes)
  console.log(`${name}  ${Math.round(bytes.length / 1024)} KiB`)
}

const png = (page: Grey, colours: number): Promise<Buffer> =>
  picture(page).png({ palette: true, colours, dither: 0, compressionLevel: 9, effort: 10 }).toBuffer()

/** What a scanner makes: a PDF whose pages are pictures, without any text. */
async function scannedPdf(pages: readonly Grey[]): Promise<Uint8Array> {
  const document = await PDFDocument.create({ updateMetadata: false })
  for (const page of pages) {
    const image = await document.embedJpg(await picture(page).jpeg({ quality: 60 }).toBuffer())
    document.addPage([A4.width, A4.height]).drawImage(image, { x: 0, y: 0, ...A4 })
  }
  return document.save()
}

async function fax(pages: readonly Grey[]): Promise<Buffer> {
  const images = await Promise.all(pages.map((page) => picture(page).threshold(150).png().toBuffer()))
  return sharp(images, { join: { animated: true } })
    .toColourspace('b-w')
    .tiff({ compression: 'ccittfax4', bitdepth: 1, xres: 7.87, yres: 7.87 })
    .toBuffer()
}

await mkdir(folder, { recursive: true })
await save('referral-clean.png', await png(await paper(formPage, 200), 16))

const grid = await skew(await paper(gridPage, 180), 3.2)
await save('referral-skewed.jpg', await picture(grid).jpeg({ quality: 65, mozjpeg: true }).toBuffer())

const list = await blur(await paper(listPage, 150), 0.6)
await save('referral-noisy.png', await png(noise(list, seeded(7), { grain: 14, specks: 0.006, fade: 0.2 }), 6))

const letter = await rasterise(await drawPdf([letterPage, resultsPage]), 170)
const scanned = await Promise.all(letter.map((page, i) => skew(page, i === 0 ? -0.8 : 0.6)))
await save('referral-two-pages.pdf', await scannedPdf(scanned))
await save('referral-fax.tiff', await fax(await rasterise(await drawPdf([letterPage, resultsPage], 'Helvetica'), 200)))
await save('referral-typed.pdf', await drawPdf([formPage]))

const empty = { width: 1240, height: 1754, data: new Uint8Array(1240 * 1754).fill(246) }
await save('blank.png', await png(noise(empty, seeded(11), { specks: 0.00006 }), 8))

// Everything that a sniffer looks at is right; what should be the picture is not.
const random = seeded(13)
const garbage = Buffer.from(Array.from({ length: 2_048 }, () => Math.floor(random() * 256)))
const header = Buffer.from([0, 0, 3, 0x20, 0, 0, 4, 0x60, 8, 0, 0, 0, 0])
const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
await save('broken.png', Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', garbage)]))

/** Length, type, data, checksum (PNG specification, section 5.3). */
function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const ends = Buffer.alloc(8)
  ends.writeUInt32BE(data.length, 0)
  ends.writeUInt32BE(crc32(body), 4)
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)])
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  }
  return (crc ^ 0xffffffff) >>> 0
}
