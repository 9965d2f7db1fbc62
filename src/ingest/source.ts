/**
 * A content that is read once: some bytes first, to see what it is, then the rest of it as a stream that
 * begins at the first byte again. Never reads ahead of what is asked for.
 */
import { Refusal } from './contract.js'

export type Source = {
  /** All bytes so far, and more until there are `bytesWanted` or the end is reached. May return more than wanted. */
  readUpTo(bytesWanted: number): Promise<Buffer>
  /** Everything, from the first byte. To be called once, last. */
  rest(): AsyncIterable<Uint8Array>
  /** Why reading broke off; null when it did not. */
  failure(): Refusal | null
  close(): Promise<void>
}

export function openSource(content: Uint8Array | AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Source {
  const iterator = content instanceof Uint8Array ? once(content) : content[Symbol.asyncIterator]()
  let held: Buffer[] = []
  let heldBytes = 0
  let ended = false
  let failed: Refusal | null = null

  async function next(): Promise<Uint8Array | null> {
    if (ended) return null
    if (failed !== null) throw failed
    try {
      const step = await unlessAborted(iterator.next(), signal)
      if (step.done !== true) return step.value
      ended = true
      return null
    } catch (error) {
      failed = broken(error, signal)
      throw failed
    }
  }

  return {
    async readUpTo(bytesWanted) {
      while (heldBytes < bytesWanted) {
        const chunk = await next()
        if (chunk === null) break
        held.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
        heldBytes += chunk.byteLength
      }
      if (held.length > 1) held = [Buffer.concat(held, heldBytes)]
      return held[0] ?? Buffer.alloc(0)
    },
    async *rest() {
      for (let chunk = held.shift(); chunk !== undefined; chunk = held.shift()) yield chunk
      for (let chunk = await next(); chunk !== null; chunk = await next()) yield chunk
    },
    failure: () => failed,
    async close() {
      if (!ended && iterator.return !== undefined) await iterator.return().catch(() => undefined)
    },
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.byteLength > 0) yield bytes
}

/**
 * Rejects when the signal aborts first. Not Promise.race with one promise for the signal's whole life: that promise
 * would keep every race, and with it every chunk, until its end.
 */
function unlessAborted<T>(step: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return step
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new Error('aborted'))
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    step.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

function broken(error: unknown, signal: AbortSignal | undefined): Refusal {
  if (error instanceof Refusal) return error
  if (signal?.aborted) return uploadAborted()
  const refusal = new Refusal(
    'broken-upload',
    400,
    'The upload broke off before its end. Nothing was kept: send it again.',
  )
  refusal.cause = error
  return refusal
}

export function uploadAborted(): Refusal {
  return new Refusal('upload-aborted', 400, 'The upload was aborted before its end. Nothing was kept: send it again.')
}
