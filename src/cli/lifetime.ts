/**
 * What a process has opened, to be closed in reverse order when it ends, also when it ends while something is still
 * being opened.
 *
 * L1 Nothing is opened once closing has begun; what was being opened then is waited for and closed.
 * L2 A close that fails is reported and does not keep the others from closing.
 * L3 `abandon` is for the last moment of a process: it runs synchronously what keeps others from being left behind.
 */

export class Closing extends Error {
  readonly code = 'closing'
  constructor() {
    super('The process is ending.')
  }
}

export type Lifetime = {
  /** Throws Closing once closing has begun, and whatever `start` throws. */
  open<T>(
    start: (signal: AbortSignal) => Promise<T>,
    close: (opened: T) => Promise<void>,
    abandon?: (opened: T) => void,
  ): Promise<T>
  /** Aborts when closing begins. */
  readonly signal: AbortSignal
  /** Never rejects. The second call waits for the first. */
  close(): Promise<void>
  abandon(): void
}

type Opened = { close(): Promise<void>; abandon(): unknown }

export const createLifetime = (report: (error: unknown) => void): Lifetime => {
  const closing = new AbortController()
  const opened: Opened[] = []
  let closed: Promise<void> | null = null

  const closeAll = async () => {
    closing.abort()
    for (let last = opened.at(-1); last !== undefined; last = opened.at(-1)) {
      await last.close().catch(report) // L2
      remove(last)
    }
  }
  const remove = (entry: Opened) => {
    const index = opened.indexOf(entry)
    if (index >= 0) opened.splice(index, 1)
  }

  return {
    signal: closing.signal,
    async open<T>(
      start: (signal: AbortSignal) => Promise<T>,
      close: (opened: T) => Promise<void>,
      abandon?: (opened: T) => void,
    ): Promise<T> {
      if (closing.signal.aborted) throw new Closing()
      let value: { is: T } | null = null
      const starting = start(closing.signal).then((is) => (value = { is }))
      const entry: Opened = {
        close: () =>
          starting.then(
            ({ is }) => close(is), // L1
            () => undefined, // `open` rejects with it
          ),
        abandon: () => value !== null && abandon?.(value.is),
      }
      opened.push(entry)
      try {
        const { is } = await starting
        if (closing.signal.aborted) throw new Closing()
        return is
      } catch (error) {
        if (value === null) remove(entry)
        throw error
      }
    },
    close: () => (closed ??= closeAll()),
    abandon() {
      for (const one of opened) one.abandon() // L3
    },
  }
}
