/**
 * The provider that reads documents in this process's own threads: free, blind (running it again is harmless).
 *
 * 1. One thread per slot, started with the first call that needs it. No download, at no time.
 * 2. The answer to an abort is certain: the thread is gone, and nothing of the call is left.
 * 3. A file that can never be read rejects the record; a message says what is wrong with the file.
 */
import { freeBlindTerms } from '../../machines/pipeline.js'
import type { CallAnswer, CallRequest, Provider, ProviderFactory } from '../contract.js'
import type { ReaderAnswer, ReaderJob, ReaderSettings, Segmentation } from './reader-jobs.js'
import { failure } from './thread-answer.js'
import { createThreadPool, type ThreadPool } from './thread-pool.js'

export type TesseractOptions = {
  /** Documents read at once, each in its own thread of about 200 MB. */
  slots?: number
  /** Larger inputs are refused, in bytes. */
  inputBytesMax?: number
  /** An installed `@tesseract.js-data/<language>`. */
  language?: string
  /** `sparse` reads a page piece by piece instead of as one block of text: a second opinion. Default `block`. */
  segmentation?: Segmentation
  /** Take a PDF's own text where it has some. Default yes; otherwise every page is read as it looks. */
  textLayer?: boolean
}

const SLOTS = 2
const INPUT_BYTES_MAX = 32 * 1024 * 1024
/** An ended thread stops within this, in ms: the picture that is being decoded is waited for. */
const LONGEST_RUN_MS = 20_000

export function tesseract(options: TesseractOptions = {}): ProviderFactory {
  const { slots = SLOTS, inputBytesMax = INPUT_BYTES_MAX, language = 'eng' } = options
  const { segmentation = 'block', textLayer = true } = options
  const terms: ProviderFactory['terms'] = (name) => freeBlindTerms(name, LONGEST_RUN_MS)
  const create = (name: string): Provider => {
    const entry = new URL('./reader-thread.js', import.meta.url)
    const settings: ReaderSettings = { language, segmentation, textLayer }
    const pool = createThreadPool<ReaderJob, ReaderAnswer>(entry, settings, slots)
    return {
      terms: terms(name),
      slots,
      call: (request, signal) => call(pool, inputBytesMax, request, signal),
      close: () => pool.close(),
    }
  }
  return { terms, slots, create }
}

async function call(
  pool: ThreadPool<ReaderJob, ReaderAnswer>,
  inputBytesMax: number,
  { input }: CallRequest,
  signal: AbortSignal,
): Promise<CallAnswer> {
  const rejects = { retryable: false, rejects: true, spend: null } as const
  if (input.bytesTotal > inputBytesMax) {
    const message = `The input has ${input.bytesTotal} bytes, at most ${inputBytesMax} are read.`
    return { kind: 'executed', code: 'input-too-large', message, ...rejects }
  }
  const bytes = await input.bytes().catch(() => null)
  if (bytes === null) {
    return {
      kind: 'not-executed',
      code: 'input-unavailable',
      message: 'The input could not be loaded.',
      retryable: true,
    }
  }
  const startedAt = performance.now()
  try {
    // Sharp's native library must be loaded by the main thread first, or it is unloaded under a thread that ends.
    await import('sharp')
    const answer = await pool.run({ bytes }, signal)
    if ('refused' in answer) return { kind: 'executed', ...answer.refused, ...rejects }
    const evidence = { pages: answer.read.pages.length, durationMs: Math.round(performance.now() - startedAt) }
    return {
      kind: 'succeeded',
      output: answer.read,
      spend: null,
      usage: { pages: answer.read.pages.length },
      evidence,
    }
  } catch (error) {
    return failure(error)
  }
}
