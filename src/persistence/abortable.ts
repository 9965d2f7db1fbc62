/** Ends with the signal's reason when it aborts, also while the source is silent. */
export async function* abortable(bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const source = bytes[Symbol.asyncIterator]()
  try {
    for (;;) {
      signal?.throwIfAborted()
      const next = await unlessAborted(source.next(), signal)
      if (next.done) return
      yield next.value
    }
  } finally {
    void Promise.resolve(source.return?.()).catch(() => {})
  }
}

/**
 * Not Promise.race with one promise for the signal's whole life: that promise would keep every race, and with it every
 * chunk, in memory until the end of the stream.
 */
const unlessAborted = <T>(step: Promise<T>, signal?: AbortSignal): Promise<T> => {
  if (!signal) return step
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    // The source may have aborted it while it was asked.
    if (signal.aborted) onAbort()
    const done = () => signal.removeEventListener('abort', onAbort)
    step.then(resolve, reject).finally(done)
  })
}
