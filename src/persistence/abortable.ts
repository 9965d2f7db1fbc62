/** Ends with the signal's reason when it aborts, also while the source is silent. */
export async function* abortable(bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const source = bytes[Symbol.asyncIterator]()
  let onAbort = (): void => {}
  const abort = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal?.reason as Error)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
  abort.catch(() => {})
  try {
    for (;;) {
      signal?.throwIfAborted()
      const next = await Promise.race([source.next(), abort])
      if (next.done) return
      yield next.value
    }
  } finally {
    signal?.removeEventListener('abort', onAbort)
    void Promise.resolve(source.return?.()).catch(() => {})
  }
}
