/**
 * Threads for work that blocks or may hang: one job at a time in each, as many as there are slots.
 *
 * 1. A thread starts with the first job that finds none idle, and stays. It keeps no process alive while idle.
 * 2. `run` settles as soon as the signal aborts: the thread is ended, since work inside it cannot be stopped, and
 *    the next job starts a fresh one.
 * 3. A thread that dies takes only its own job with it.
 * 4. After `close` no thread is left, and none is started.
 * 5. A thread is replaced after `JOBS_PER_THREAD_MAX` jobs, because the memory of an engine only grows.
 */
import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'

/** A thread answers each job with one of these. */
export type ThreadMessage<Answer> = { done: Answer } | { failed: string }

export class ThreadFailure extends Error {
  readonly code: 'not-started' | 'aborted' | 'crashed' | 'busy' | 'closed'
  constructor(code: ThreadFailure['code'], message: string) {
    super(message)
    this.code = code
  }
}

export type ThreadPool<Job, Answer> = {
  /** Throws ThreadFailure. */
  run(job: Job, signal: AbortSignal): Promise<Answer>
  close(): Promise<void>
}

const JOBS_PER_THREAD_MAX = 200
const THREAD_HEAP_MB_MAX = 768

type Thread = { worker: Worker; jobs: number }

export function createThreadPool<Job, Answer>(entry: URL, data: unknown, slots: number): ThreadPool<Job, Answer> {
  const idle: Thread[] = []
  const all = new Set<Thread>()
  const ending = new Set<Promise<void>>()
  let closed = false

  /** Not waited for by whoever had the thread: ending waits for native work, and the caller must hear at once. */
  const end = (thread: Thread): void => {
    all.delete(thread)
    const ended = thread.worker.terminate().then(() => {
      ending.delete(ended)
    })
    ending.add(ended)
  }

  const take = (): Thread => {
    const free = idle.pop()
    if (free) return free
    if (all.size >= slots || ending.size >= slots) throw new ThreadFailure('busy', `All ${slots} threads are at work.`)
    const thread = { worker: startThread(entry, data), jobs: 0 }
    all.add(thread)
    // An idle thread that dies is simply gone; without a listener its error would end the process.
    thread.worker.on('error', () => undefined)
    thread.worker.on('exit', () => {
      all.delete(thread)
      const at = idle.indexOf(thread)
      if (at >= 0) idle.splice(at, 1)
    })
    return thread
  }

  const run = async (job: Job, signal: AbortSignal): Promise<Answer> => {
    if (closed) throw new ThreadFailure('closed', 'The threads have been closed.')
    if (signal.aborted) throw new ThreadFailure('not-started', 'The call was aborted before it began.')
    const thread = take()
    thread.jobs++
    thread.worker.ref()
    let message: ThreadMessage<Answer>
    try {
      message = await ask<Job, Answer>(thread.worker, job, signal)
    } catch (error) {
      end(thread)
      throw error
    }
    thread.worker.unref()
    if (closed || thread.jobs >= JOBS_PER_THREAD_MAX) end(thread)
    else idle.push(thread)
    if ('failed' in message) throw new ThreadFailure('crashed', `The work failed inside its thread: ${message.failed}.`)
    return message.done
  }

  return {
    run,
    close: async () => {
      closed = true
      idle.length = 0
      for (const thread of all) end(thread)
      await Promise.all(ending)
    },
  }
}

function ask<Job, Answer>(worker: Worker, job: Job, signal: AbortSignal): Promise<ThreadMessage<Answer>> {
  return new Promise((resolve, reject) => {
    const settle = (then: () => void): void => {
      worker.off('message', onMessage).off('error', onError).off('exit', onExit)
      signal.removeEventListener('abort', onAbort)
      then()
    }
    const onMessage = (message: ThreadMessage<Answer>): void => settle(() => resolve(message))
    const crashed = (name: string): void =>
      settle(() => reject(new ThreadFailure('crashed', `The thread died at work: ${name}.`)))
    const onError = (error: unknown): void => crashed(error instanceof Error ? error.name : 'Error')
    const onExit = (): void => crashed('it exited')
    const onAbort = (): void => settle(() => reject(new ThreadFailure('aborted', 'The call was aborted at work.')))
    worker.on('message', onMessage).on('error', onError).on('exit', onExit)
    signal.addEventListener('abort', onAbort)
    worker.postMessage(job)
  })
}

/** Built code starts as it is. From the sources (tests, a checkout), Node 20 needs a translator first. */
function startThread(entry: URL, workerData: unknown): Worker {
  const options = { workerData, resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB_MAX } }
  if (!import.meta.url.endsWith('.ts')) return new Worker(entry, options)
  const source = new URL(entry.href.replace(/\.js$/, '.ts'))
  const jiti = createRequire(import.meta.url).resolve('jiti')
  const load = `require(${JSON.stringify(jiti)}).createJiti(${JSON.stringify(source.href)})`
  return new Worker(`${load}.import(${JSON.stringify(source.href)})`, { ...options, eval: true })
}
