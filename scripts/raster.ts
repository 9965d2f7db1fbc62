/**
 * Paper for samples and for measuring: text drawn with the fonts that every PDF reader has to have (PDFium carries
 * them), rendered to grey pixels, then spoilt as a scanner spoils it. No font of the machine is used, and every
 * random choice comes from a seed, so the same call gives the same pixels.
 */
import { PDFiumLibrary } from '@hyzyla/pdfium'
import { PDFDocument, StandardFonts, rgb, type PDFFont, type PDFPage } from 'pdf-lib'
import sharp, { type Sharp } from 'sharp'

export type Grey = { width: number; height: number; data: Uint8Array }
export type Typeface = 'Helvetica' | 'Times' | 'Courier'
export type TextStyle = { size?: number; bold?: boolean; face?: Typeface }
/** Drawing on A4 in points, origin top left, y is the baseline. */
export type Pen = {
  text(x: number, y: number, text: string, style?: TextStyle): void
  width(text: string, style?: TextStyle): number
  line(x0: number, y0: number, x1: number, y1: number, thickness?: number): void
  box(x: number, y: number, width: number, height: number, shade?: number): void
}

export const A4 = { width: 595, height: 842 }
const FACES: Record<Typeface, [StandardFonts, StandardFonts]> = {
  Helvetica: [StandardFonts.Helvetica, StandardFonts.HelveticaBold],
  Times: [StandardFonts.TimesRoman, StandardFonts.TimesRomanBold],
  Courier: [StandardFonts.Courier, StandardFonts.CourierBold],
}

/** A PDF with a text layer, one page per drawing. */
export async function drawPdf(
  drawings: readonly ((pen: Pen) => void)[],
  face: Typeface = 'Helvetica',
): Promise<Uint8Array> {
  const document = await PDFDocument.create({ updateMetadata: false })
  const fonts = {} as Record<Typeface, [PDFFont, PDFFont]>
  for (const name of Object.keys(FACES) as Typeface[]) {
    const [regular, bold] = FACES[name]
    fonts[name] = [await document.embedFont(regular), await document.embedFont(bold)]
  }
  for (const draw of drawings) draw(penFor(document.addPage([A4.width, A4.height]), fonts, face))
  return document.save()
}

const penFor = (page: PDFPage, fonts: Record<Typeface, [PDFFont, PDFFont]>, face: Typeface): Pen => {
  const fontOf = (style: TextStyle = {}): PDFFont => fonts[style.face ?? face][style.bold ? 1 : 0]
  const up = (y: number): number => A4.height - y
  return {
    text: (x, y, text, style) => page.drawText(text, { x, y: up(y), size: style?.size ?? 10.5, font: fontOf(style) }),
    width: (text, style) => fontOf(style).widthOfTextAtSize(text, style?.size ?? 10.5),
    line: (x0, y0, x1, y1, thickness = 0.7) =>
      page.drawLine({ start: { x: x0, y: up(y0) }, end: { x: x1, y: up(y1) }, thickness }),
    box: (x, y, width, height, shade) =>
      page.drawRectangle({
        x,
        y: up(y + height),
        width,
        height,
        ...(shade === undefined
          ? { borderWidth: 0.7, borderColor: rgb(0, 0, 0) }
          : { color: rgb(shade, shade, shade) }),
      }),
  }
}

export async function rasterise(pdf: Uint8Array, dotsPerInch: number): Promise<Grey[]> {
  const library = await PDFiumLibrary.init()
  const document = await library.loadDocument(pdf)
  const pages: Grey[] = []
  for (const page of document.pages()) {
    const { width, height, data } = await page.render({ scale: dotsPerInch / 72, render: 'bitmap', colorSpace: 'Gray' })
    pages.push({ width, height, data: Uint8Array.from(data) })
  }
  document.destroy()
  library.destroy()
  return pages
}

export const picture = ({ width, height, data }: Grey) => sharp(data, { raw: { width, height, channels: 1 } })

const toGrey = async (image: Sharp): Promise<Grey> => {
  const { data, info } = await image.toColourspace('b-w').raw().toBuffer({ resolveWithObject: true })
  return {
    width: info.width,
    height: info.height,
    data: Uint8Array.from(data).filter((_, i) => i % info.channels === 0),
  }
}

export const skew = (page: Grey, degrees: number): Promise<Grey> =>
  toGrey(picture(page).rotate(degrees, { background: 'white' }))
export const blur = (page: Grey, sigma: number): Promise<Grey> => toGrey(picture(page).blur(sigma))

/** `grain`: standard deviation of the grey noise, 0..255. `specks`: share of pixels that flip to black or white. */
export function noise(page: Grey, random: () => number, { grain = 0, specks = 0, fade = 0 }): Grey {
  const data = Uint8Array.from(page.data, (value) => {
    if (specks > 0 && random() < specks) return random() < 0.5 ? 0 : 255
    // Ink fades towards the paper, the paper towards grey.
    const faded = value + (170 - value) * fade
    // The sum of four uniform numbers is close enough to a normal one.
    const deviation = grain === 0 ? 0 : (random() + random() + random() + random() - 2) * 1.73 * grain
    return Math.max(0, Math.min(255, Math.round(faded + deviation)))
  })
  return { ...page, data }
}

/** mulberry32: 32 bits of state, good enough for noise and for choosing. */
export const seeded = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
