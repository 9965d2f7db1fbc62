/**
 * Reads a stream of server-sent events as it arrives, in pieces of any size.
 *
 * Format: https://html.spec.whatwg.org/multipage/server-sent-events.html (parser: eventsource-parser).
 *
 * - E1 An event counts only once its blank line has come: what is cut in the middle is never told.
 * - E2 UTF-8 that is split between two pieces is put together again; bytes that are no UTF-8 break the stream.
 * - E3 Never throws, because it is fed from a socket; after the first trouble nothing more is told.
 * - E4 Holds at most `eventCharsMax` of an unfinished event.
 */
import { createParser } from 'eventsource-parser'

/** `event` is empty where the stream names none. */
export type SseEvent = { event: string; data: string }

/** `not-utf8`, `too-large`: of the stream. `reader-threw`: of `onEvent`. */
export type SseTrouble = 'not-utf8' | 'too-large' | 'reader-threw'

export interface SseReader {
  push(chunk: Uint8Array): void
  /** Null while all is well. */
  readonly trouble: SseTrouble | null
}

const EVENT_CHARS_MAX = 16 * 1024 * 1024

/** `onEvent` is called once for each whole event, in order, while `push` runs. */
export function createSseReader(
  onEvent: (event: SseEvent) => void,
  { eventCharsMax = EVENT_CHARS_MAX }: { eventCharsMax?: number } = {},
): SseReader {
  const utf8 = new TextDecoder('utf-8', { fatal: true })
  let trouble: SseTrouble | null = null

  const parser = createParser({
    maxBufferSize: eventCharsMax,
    onEvent({ event, data }) {
      if (trouble !== null) return
      try {
        onEvent({ event: event ?? '', data })
      } catch {
        trouble = 'reader-threw'
      }
    },
    // Unknown fields are ignored, as the format demands.
    onError({ type }) {
      if (type === 'max-buffer-size-exceeded') trouble ??= 'too-large'
    },
  })

  return {
    get trouble() {
      return trouble
    },
    push(chunk) {
      if (trouble !== null) return
      let text: string
      try {
        text = utf8.decode(chunk, { stream: true })
      } catch {
        trouble = 'not-utf8'
        return
      }
      // The decoder holds back a half character.
      if (text !== '') parser.feed(text)
    },
  }
}
