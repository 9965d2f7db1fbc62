/** What crosses between the reading thread and the rest. */
import type { ReadOutput } from './read-output.js'
import type { UnreadableInput } from './unreadable.js'

export type ReaderSettings = { language: string }
export type ReaderJob = { bytes: Uint8Array }
export type ReaderAnswer = { read: ReadOutput } | { refused: { code: UnreadableInput['code']; message: string } }
