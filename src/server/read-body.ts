/**
 * Request bodies: whole and bounded for JSON, or as a stream for everything else, and what happens to the rest of a
 * body that nobody wants any more.
 */
import type { IncomingMessage } from 'node:http'
import { tooLarge } from '../ingest/json-limits.js'
import { uploadAborted } from '../ingest/source.js'
import { Problem } from './problem.js'

/** How long a refused body is read and thrown away, so that its sender can read the refusal. */
const DISCARD_MS = 5_000

/** A compressed body would be taken for broken JSON, or stored as it came (RFC 9110, 8.4 and 15.5.16). */
export function refuseEncoded(req: IncomingMessage): void {
  const coding = req.headers['content-encoding']
  if (coding === undefined || coding === '' || coding.toLowerCase() === 'identity') return
  const detail = 'The body is compressed (Content-Encoding), which is not undone here. Send it as it is.'
  throw new Problem(415, 'unsupported-media-type', detail, { headers: { 'accept-encoding': 'identity' } })
}

/** Throws Refusal `too-large` as soon as the limit is passed, `upload-aborted` when the client is gone. */
export function readWhole(req: IncomingMessage, what: string, bytesMax: number): Promise<Buffer> {
  if (Number(req.headers['content-length'] ?? 0) > bytesMax) return Promise.reject(tooLarge(what, bytesMax))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      if (bytes <= bytesMax) chunks.push(chunk)
      else finish(() => reject(tooLarge(what, bytesMax)))
    }
    const onEnd = (): void => finish(() => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes)))
    const onBroken = (): void => finish(() => reject(uploadAborted()))
    const finish = (settle: () => void): void => {
      req.off('data', onData).off('end', onEnd).off('error', onBroken).off('close', onBroken)
      settle()
    }
    req.on('data', onData).on('end', onEnd).on('error', onBroken).on('close', onBroken)
  })
}

/** Aborts when the client goes away before it has the answer. */
export function whenGone(
  req: IncomingMessage,
  res: { writableFinished: boolean; on(event: 'close', go: () => void): unknown },
): AbortSignal {
  const controller = new AbortController()
  res.on('close', () => {
    if (!res.writableFinished) controller.abort()
  })
  if (req.socket.destroyed || (req.destroyed && !req.complete)) controller.abort()
  return controller.signal
}

/**
 * Throws away what is left of a refused body. Closing at once would reset the connection, and the client would see
 * that instead of the refusal; reading for ever would let it hold us. So: a while, then the connection is cut.
 */
export function discardRest(req: IncomingMessage): void {
  if (req.complete || req.destroyed) return
  const timer = setTimeout(() => req.destroy(), DISCARD_MS)
  const stop = (): void => clearTimeout(timer)
  req.on('end', stop).on('close', stop).on('error', stop)
  req.resume()
}
