/**
 * The thread in which a document is read: decode, clean, recognise, page by page. Everything that could block the
 * event loop, eat memory or hang lives here, because a thread can be ended and a promise cannot.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { decodeImage, sniff, type GreyImage } from './decode-image.js'
import { decodePdf, linesOf } from './decode-pdf.js'
import { prepareImage } from './prepare-image.js'
import type { ReadOutput, ReadPage, Word } from './read-output.js'
import { recognise, startEngine, toPageBox } from './recognise.js'
import type { ReaderAnswer, ReaderJob, ReaderSettings } from './reader-jobs.js'
import { UnreadableInput } from './unreadable.js'
import type { ThreadMessage } from './thread-pool.js'

const settings = workerData as ReaderSettings
/** Started with the first page that needs it, then kept: a start costs as much as half a page. */
let engine: ReturnType<typeof startEngine> | null = null

async function read(bytes: Uint8Array): Promise<ReadOutput> {
  const pages: ReadPage[] = []
  const format = sniff(bytes)
  if (format === null) throw new UnreadableInput('The content is no PNG, JPEG, TIFF, WebP or PDF.')
  if (format === 'pdf') {
    for await (const { width, height, ...page } of decodePdf(bytes, settings.textLayer)) {
      const size = { n: pages.length + 1, width, height }
      if ('words' in page)
        pages.push({ ...size, rotation: 0, origin: 'text-layer', words: page.words, text: textOf(linesOf(page.words)) })
      else pages.push(await readImage(page.image, size))
    }
  } else {
    for await (const image of decodeImage(bytes, format)) {
      const size = { width: Math.round(image.width / image.scale), height: Math.round(image.height / image.scale) }
      pages.push(await readImage(image, { n: pages.length + 1, ...size }))
    }
  }
  return {
    pages,
    text: pages
      .map((page) => page.text)
      .join('\n\n')
      .trim(),
  }
}

async function readImage(image: GreyImage, size: { n: number; width: number; height: number }): Promise<ReadPage> {
  const prepared = await prepareImage(image)
  if (prepared.isBlank) return { ...size, rotation: 0, origin: 'ocr', words: [], text: '' }
  engine ??= startEngine(settings.language)
  const lines = await recognise(await engine, prepared, settings.segmentation)
  const words = lines.flat().map((word) => ({ ...word, box: toPageBox(word.box, prepared, size) }))
  return { ...size, rotation: prepared.rotation, origin: 'ocr', words, text: textOf(lines) }
}

const textOf = (lines: readonly (readonly Word[])[]): string =>
  lines.map((line) => line.map((word) => word.text).join(' ')).join('\n')

async function answer(job: ReaderJob): Promise<ReaderAnswer> {
  try {
    return { read: await read(job.bytes) }
  } catch (error) {
    if (error instanceof UnreadableInput) return { refused: { code: error.code, message: error.message } }
    throw error
  }
}

parentPort?.on('message', (job: ReaderJob) => {
  answer(job).then(
    (value) => parentPort?.postMessage({ done: value } satisfies ThreadMessage<ReaderAnswer>),
    // The error's text may come from deep inside an engine: its name is enough, content stays here.
    (error: unknown) =>
      parentPort?.postMessage({
        failed: error instanceof Error ? error.name : 'Error',
      } satisfies ThreadMessage<ReaderAnswer>),
  )
})
