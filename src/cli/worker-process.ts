/**
 * The worker of `dev`, as a child process that may be killed at any moment: a new one takes its place.
 *
 * W1 At most one worker at a time. It ends with this process, however this process ends (IPC channel, see serve.ts).
 * W2 The pause before a restart doubles with each worker that did not last, and is short again after one that did.
 * W3 A worker that never came up, several times in a row, is a mistake in the setup: `ready` rejects. At once when it
 *    says itself that a setting is wrong: another try would say the same.
 */
import { fork, type ChildProcess } from 'node:child_process'
import type { Environment } from '../config/settings.js'
import { CliError, EXIT } from './exit-codes.js'
import { READY } from './serve.js'

export type WorkerEvent =
  | { type: 'ready'; pid: number }
  | { type: 'ended'; pid: number; code: number | null; signal: string | null; restartInMs: number }

export type WorkerProcess = {
  /** Resolves with the first worker's pid. */
  ready: Promise<number>
  /** Null between two workers. */
  pid(): number | null
  /** SIGTERM, and SIGKILL after `STOP_TIMEOUT_MS`. */
  stop(): Promise<void>
  /** SIGKILL, without waiting. */
  kill(): void
}

export const STOP_TIMEOUT_MS = 15_000
const RESTART_MS = 200
const RESTART_MS_MAX = 10_000
/** A worker that lived this long has lasted. */
const LASTED_MS = 10_000
const FAILED_STARTS_MAX = 3

export type WorkerOptions = {
  /** The script, such as dist/main.js. */
  entry: string
  args?: readonly string[]
  env: Environment
  onEvent(event: WorkerEvent): void
}

export const superviseWorker = (options: WorkerOptions): WorkerProcess => {
  let child: ChildProcess | null = null
  let restart: NodeJS.Timeout | undefined
  let stopping = false
  let shortLived = 0
  let failedStarts = 0
  let settleReady: { resolve(pid: number): void; reject(error: Error): void } | null = null
  const ready = new Promise<number>((resolve, reject) => (settleReady = { resolve, reject }))
  // Whoever does not wait for it must not be ended by it.
  ready.catch(() => undefined)

  const start = () => {
    const startedAtMs = performance.now()
    // Its own stdout joins stderr: stdout belongs to what the command prints.
    const worker = fork(options.entry, [...(options.args ?? [])], {
      env: options.env as NodeJS.ProcessEnv,
      stdio: ['ignore', 2, 2, 'ipc'],
      execArgv: [],
    })
    child = worker
    worker.on('message', (message) => {
      if (message !== READY || worker.pid === undefined) return
      failedStarts = -Infinity
      settleReady?.resolve(worker.pid)
      options.onEvent({ type: 'ready', pid: worker.pid })
    })
    worker.once('error', () => worker.pid === undefined && ended(null, null)) // it could not be started at all
    worker.once('exit', (code, signal) => ended(code, signal))
    const ended = (code: number | null, signal: string | null) => {
      child = null
      if (stopping) return
      shortLived = performance.now() - startedAtMs >= LASTED_MS ? 0 : shortLived + 1
      failedStarts += 1
      const wrongSettings = code === EXIT.usage && failedStarts > 0
      if (wrongSettings || failedStarts >= FAILED_STARTS_MAX)
        return settleReady?.reject(neverCameUp(code, signal, failedStarts)) // W3
      const restartInMs = Math.min(RESTART_MS_MAX, RESTART_MS * 2 ** Math.max(0, shortLived - 1)) // W2
      restart = setTimeout(start, restartInMs)
      options.onEvent({ type: 'ended', pid: worker.pid ?? 0, code, signal, restartInMs })
    }
  }
  start()

  return {
    ready,
    pid: () => child?.pid ?? null,
    stop: () => {
      stopping = true
      clearTimeout(restart)
      return child === null ? Promise.resolve() : end(child)
    },
    kill: () => {
      stopping = true
      child?.kill('SIGKILL')
    },
  }
}

const neverCameUp = (code: number | null, signal: string | null, times: number): CliError => {
  const how = signal === null ? `with code ${code}` : `by ${signal}`
  return new CliError(
    code === EXIT.usage ? EXIT.usage : EXIT.failed,
    'worker-failed',
    `The worker process does not come up (it ended ${how}${times === 1 ? '' : `, ${times} times`}). What it said is above.`,
  )
}

const end = (worker: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    const kill = setTimeout(() => worker.kill('SIGKILL'), STOP_TIMEOUT_MS)
    worker.once('exit', () => {
      clearTimeout(kill)
      resolve()
    })
    worker.kill('SIGTERM')
  })

export const workerText = (event: WorkerEvent): string => {
  if (event.type === 'ready') return `Worker ${event.pid} is ready.`
  const how = event.signal === null ? `ended with code ${event.code}` : `was ended by ${event.signal}`
  return `Worker ${event.pid} ${how}; a new one starts in ${event.restartInMs / 1000} s.`
}
