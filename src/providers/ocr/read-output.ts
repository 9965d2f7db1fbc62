/**
 * What reading a document gives: words with their position and the engine's own confidence, by page.
 * Pure data and zod, so that a config may import it without loading an engine.
 *
 * 1. Boxes are pixels of the page as a person sees it upright (EXIF and /Rotate applied), origin top left. The
 *    page of a PDF is measured at 200 dots an inch.
 * 2. `rotation` is how many degrees clockwise the text was found tilted on that page; boxes are not turned by it.
 * 3. A page on which nothing could be read has no words and an empty text.
 */
import { z } from 'zod'

/** Bounds of one answer: a document of more pages or words is refused or cut off before it becomes one. */
export const PAGES_MAX = 20
export const WORDS_PER_PAGE_MAX = 5_000

export const Box = z.object({ x0: z.number(), y0: z.number(), x1: z.number(), y1: z.number() })
export type Box = z.infer<typeof Box>

export const Word = z.object({
  text: z.string().min(1).max(1_000),
  /** 0..100, from the engine; 100 for the text layer of a PDF. */
  confidence: z.number().min(0).max(100),
  box: Box,
})
export type Word = z.infer<typeof Word>

export const ReadPage = z.object({
  n: z.int().min(1).max(PAGES_MAX),
  width: z.int().positive(),
  height: z.int().positive(),
  rotation: z.number().min(-180).max(180),
  /** `ocr`: recognised from pixels. `text-layer`: taken from the PDF as it is. */
  origin: z.enum(['ocr', 'text-layer']),
  words: z.array(Word).max(WORDS_PER_PAGE_MAX),
  text: z.string(),
})
export type ReadPage = z.infer<typeof ReadPage>

export const ReadOutput = z.object({ pages: z.array(ReadPage).min(1).max(PAGES_MAX), text: z.string() })
export type ReadOutput = z.infer<typeof ReadOutput>
