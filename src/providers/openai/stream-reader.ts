/**
 * Makes one streamed call: feeds the events to a reader while they come, and says how the exchange ended.
 *
 * - S3 A stream that said its end is over, whether or not the server closes it: its connection is given up soon after, so
 *   that the slot is not held until the deadline.
 */
import type { Exchange, HttpSession } from '../http-session.js'
import type { WireOutcome } from '../http-wire.js'
import { createSseReader } from '../sse.js'

export interface StreamReader<End> {
  /** The data of one whole event. */
  take(data: string): void
  /** The provider's id of the call, once the stream told it. */
  readonly handle: string | null
  /** Null until the stream said how the call ended. */
  readonly end: End | null
}

/** How long a server may take to close a stream that said its end. */
const CLOSE_AFTER_END_MS = 500

export async function streamOnce(
  session: HttpSession,
  exchange: Omit<Exchange, 'onChunk'>,
  reader: StreamReader<unknown>,
): Promise<WireOutcome> {
  const abort = new AbortController()
  const end = (): void => abort.abort('ended')
  if (exchange.signal.aborted) end()
  exchange.signal.addEventListener('abort', end, { once: true })
  let closing: NodeJS.Timeout | undefined
  const sse = createSseReader(({ data }) => reader.take(data))
  try {
    return await session.exchange({
      ...exchange,
      signal: abort.signal,
      onChunk(chunk) {
        sse.push(chunk)
        if (reader.end !== null) closing ??= setTimeout(end, CLOSE_AFTER_END_MS)
      },
    })
  } finally {
    clearTimeout(closing)
    exchange.signal.removeEventListener('abort', end)
  }
}
