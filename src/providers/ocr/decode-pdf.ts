/**
 * Bytes of a PDF -> for each page its text layer where it has a real one, else grey pixels.
 *
 * 1. PDFium decides whether the file is a PDF at all; pdf.js only reads text, and where it fails the page is
 *    rendered and recognised instead.
 * 2. A page is rendered at the size at which pictures are read, however large it says it is: no bomb by page size.
 * 3. The engine is made anew for each document: its memory only ever grows.
 */
import { PDFiumLibrary, type PDFiumDocument, type PDFiumPage } from '@hyzyla/pdfium'
import { getDocumentProxy } from 'unpdf'
import { LONG_SIDE, type GreyImage } from './decode-image.js'
import { PAGES_MAX, WORDS_PER_PAGE_MAX, type Word } from './read-output.js'
import { UnreadableInput } from './unreadable.js'

export type PdfPage =
  { width: number; height: number; words: Word[] } | { width: number; height: number; image: GreyImage }

const SCALE = 200 / 72
/** Fewer words than this are a scanner's stamp or a page number over a picture, not the page's text. */
const TEXT_LAYER_WORDS_MIN = 12

type PdfText = Awaited<ReturnType<typeof getDocumentProxy>>

/** Without `textLayer` every page is rendered, to be read as it looks. Throws UnreadableInput. */
export async function* decodePdf(bytes: Uint8Array, textLayer: boolean): AsyncGenerator<PdfPage> {
  const library = await PDFiumLibrary.init()
  const document = await library.loadDocument(bytes).catch((error: unknown) => refuse(error))
  // pdf.js takes the buffer away from its owner, so it gets a copy.
  const text = textLayer ? await getDocumentProxy(bytes.slice(), { verbosity: 0 }).catch(() => null) : null
  try {
    const pages = document.getPageCount()
    if (pages < 1) throw new UnreadableInput('The PDF has no pages.')
    if (pages > PAGES_MAX) {
      throw new UnreadableInput(
        `The PDF has ${pages} pages, at most ${PAGES_MAX} are read: split it.`,
        'input-too-large',
      )
    }
    for (let n = 1; n <= pages; n++) yield await decodePage(document, text, n)
  } finally {
    await text?.destroy().catch(() => undefined)
    document.destroy()
    library.destroy()
  }
}

const refuse = (error: unknown): never => {
  const locked = error instanceof Error && /password|security/i.test(error.message)
  throw new UnreadableInput(
    locked
      ? 'The PDF is protected by a password: send it without one.'
      : 'The file starts like a PDF, but it is damaged or cut off.',
  )
}

async function decodePage(document: PDFiumDocument, text: PdfText | null, n: number): Promise<PdfPage> {
  const page = document.getPage(n - 1)
  const { originalWidth, originalHeight } = page.getOriginalSize()
  if (!(originalWidth > 0 && originalHeight > 0)) throw new UnreadableInput(`Page ${n} of the PDF is damaged.`)
  const size = { width: Math.ceil(originalWidth * SCALE), height: Math.ceil(originalHeight * SCALE) }
  const words = text && !isPicture(page) ? await textLayer(text, n).catch(() => []) : []
  if (words.length >= TEXT_LAYER_WORDS_MIN) return { ...size, words }
  return { ...size, image: await render(page, size) }
}

/** A scan with a few words of text over it: what a person sees is in the picture. */
const isPicture = (page: PDFiumPage): boolean => {
  const objects = page.getObjectCount()
  if (objects > 3) return false
  for (let i = 0; i < objects; i++) if (page.getObject(i).type === 'image') return true
  return false
}

async function render(page: PDFiumPage, size: { width: number; height: number }): Promise<GreyImage> {
  const scale = LONG_SIDE / Math.max(size.width, size.height)
  const rendered = await page.render({ scale: SCALE * scale, render: 'bitmap', colorSpace: 'Gray' })
  return { width: rendered.width, height: rendered.height, data: rendered.data, scale }
}

/** pdf.js gives runs of text; words are cut out of them, each as wide as its share of the letters. */
async function textLayer(pdf: PdfText, n: number): Promise<Word[]> {
  const page = await pdf.getPage(n)
  const content = await page.getTextContent()
  const [a, b, c, d, e, f] = page.getViewport({ scale: SCALE }).transform as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const words: Word[] = []
  for (const item of content.items) {
    if (!('str' in item) || item.str.trim() === '') continue
    const at = item.transform as [number, number, number, number, number, number]
    const x = a * at[4] + c * at[5] + e
    const y = b * at[4] + d * at[5] + f
    const width = item.width * SCALE
    const height = (item.height || Math.hypot(at[2], at[3])) * SCALE
    for (const match of item.str.matchAll(/\S+/g)) {
      const x0 = x + (width * match.index) / item.str.length
      const x1 = x + (width * (match.index + match[0].length)) / item.str.length
      // The baseline is at y; letters hang below it by about a fifth of their size.
      const word = { text: match[0], confidence: 100, box: { x0, y0: y - height * 0.8, x1, y1: y + height * 0.2 } }
      const last = words.at(-1)
      if (last && match.index === 0 && continues(last, word)) {
        words[words.length - 1] = { ...last, text: last.text + word.text, box: { ...last.box, x1: word.box.x1 } }
      } else words.push(word)
      if (words.length === WORDS_PER_PAGE_MAX) return words
    }
  }
  return words
}

/** Kerning cuts a word into several runs: no gap on the same baseline means the same word. */
const continues = (last: Word, next: Word): boolean => {
  const height = next.box.y1 - next.box.y0
  const gap = next.box.x0 - last.box.x1
  return Math.abs(gap) < height * 0.08 && Math.abs(next.box.y1 - last.box.y1) < height * 0.2
}

/** A new line begins where the baseline moves or the text goes back to the left. */
export function linesOf(words: readonly Word[]): Word[][] {
  const lines: Word[][] = []
  for (const word of words) {
    const last = lines.at(-1)?.at(-1)
    const height = word.box.y1 - word.box.y0
    const goesOn = last && Math.abs(word.box.y1 - last.box.y1) < height * 0.4 && word.box.x0 >= last.box.x0
    if (goesOn) lines.at(-1)!.push(word)
    else lines.push([word])
  }
  return lines
}
