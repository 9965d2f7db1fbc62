/** What crosses between the reading thread and the rest. */
import type { ReadOutput } from './read-output.js'
import type { UnreadableInput } from './unreadable.js'

/** `block`: the page as one block of text, columns found by position. `sparse`: as much text as there is, in no order. */
export type Segmentation = 'block' | 'sparse'
export type ReaderSettings = { language: string; segmentation: Segmentation; textLayer: boolean }
export type ReaderJob = { bytes: Uint8Array }
export type ReaderAnswer = { read: ReadOutput } | { refused: { code: UnreadableInput['code']; message: string } }
