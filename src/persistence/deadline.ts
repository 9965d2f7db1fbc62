/**
 * Limits for waits on the database. The driver has no per-operation client-side limit (its `timeoutMS` does nothing
 * since 7.9), so each operation gets an abort signal that also frees its connection, and a race in case it is ignored.
 */
/** The operation was given up; a write may have been done all the same. */
export class OperationTimedOut extends Error {
  readonly code = 'operation-timed-out'
}

/** Rejects with `OperationTimedOut` after `ms`, whatever `operation` does. */
export const withDeadline = async <T>(
  what: string,
  ms: number,
  operation: (signal: AbortSignal) => Promise<T>,
): Promise<T> => {
  const controller = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const error = new OperationTimedOut(`${what} got no answer from MongoDB within ${ms} ms.`)
      reject(error)
      controller.abort(error)
    }, ms)
  })
  try {
    const running = operation(controller.signal)
    // The loser of the race must not end as an unhandled rejection.
    running.catch(() => {})
    return await Promise.race([running, expired])
  } finally {
    clearTimeout(timer)
  }
}

/** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
export const pause = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal?.addEventListener('abort', end)
  })

/** A limit on a row of steps, on this process's monotonic clock. */
export type Deadline = { leftMs(): number }
export const deadlineIn = (ms: number): Deadline => {
  const end = performance.now() + ms
  return { leftMs: () => end - performance.now() }
}
