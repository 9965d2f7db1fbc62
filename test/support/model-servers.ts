/**
 * Real model servers for tests, each a process of its own on a free port of the loopback interface. The first start on a
 * machine installs them (a minute or less, see scripts/model-servers): give the hook that starts one INSTALL_MS_MAX.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { installLlama } from '../../scripts/model-servers/llama.js'
import { installMlserver } from '../../scripts/model-servers/mlserver.js'
import { freePort } from '../../src/embedded/free-port.js'
import { endWithParent, waitFor } from './processes.js'

export const INSTALL_MS_MAX = 300_000
const START_MS_MAX = 90_000
const STOP_MS_MAX = 10_000
const ANSWER_MS_MAX = 5_000
/** Another process may take a free port before the server does. */
const STARTS_MAX = 3
const OUTPUT_CHARS_MAX = 8_000

export type ModelServer = {
  /** Without a "/" at its end. */
  readonly url: string
  readonly pid: number
  /** SIGSTOP, SIGCONT, … */
  signal(signal: NodeJS.Signals): void
  /** SIGKILL, and gone when it resolves. May be called again. */
  stop(): Promise<void>
}

export type Executions = { succeeded: number; failed: number }

export type Mlserver = ModelServer & {
  model: string
  /** Rows that the model was not trained on, with what is true of them. */
  known: { row: number[]; target: number }[]
  /** The server's own count. */
  executions(): Promise<Executions>
}

const KnownRows = z.array(z.object({ row: z.array(z.number()), target: z.number() })).min(10)

/** MLServer with the model `breast-cancer`, version 1. */
export async function startMlserver(): Promise<Mlserver> {
  const { python, dir, script, model, rows } = await installMlserver()
  const known = KnownRows.parse(JSON.parse(await readFile(rows, 'utf8')))
  return startOn(3, async ([http, grpc, metrics]) => {
    const server = await start(python, [script, model, `${http}`, `${grpc}`, `${metrics}`], {
      cwd: dir,
      url: `http://127.0.0.1:${http}`,
      ready: '/v2/health/ready',
    })
    return { ...server, model: 'breast-cancer', known, executions: () => readExecutions(`${metrics}`) }
  })
}

/** llama.cpp's server with a model named `smollm2`; its OpenAI-compatible API is below `/v1`. */
export async function startLlama(): Promise<ModelServer> {
  const { python, dir, script } = await installLlama()
  return startOn(1, ([port]) =>
    start(python, [script, `${port}`], { cwd: dir, url: `http://127.0.0.1:${port}`, ready: '/health' }),
  )
}

async function startOn<T>(count: number, startWith: (ports: number[]) => Promise<T>): Promise<T> {
  for (let starts = 1; ; starts++) {
    try {
      return await startWith(await Promise.all(Array.from({ length: count }, () => freePort())))
    } catch (error) {
      if (starts === STARTS_MAX) throw error
    }
  }
}

async function start(
  command: string,
  args: string[],
  { cwd, url, ready }: { cwd: string; url: string; ready: string },
): Promise<ModelServer> {
  // A developer's own settings of these servers must not decide a test.
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], LANG: 'C.UTF-8' }
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const { pid } = child
  if (pid === undefined) throw new Error(`${command} could not be started.`)
  const ended = endWithParent(pid)
  child.once('close', ended)
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-OUTPUT_CHARS_MAX)))

  const server: ModelServer = { url, pid, signal: (signal) => void child.kill(signal), stop: () => stop(child) }
  try {
    await waitFor(
      () => {
        if (hasEnded(child)) throw new Error(`The model server ended before it was ready:\n${output}`)
        return isReady(url + ready)
      },
      { timeoutMs: START_MS_MAX, what: () => `the model server to be ready:\n${output}` },
    )
  } catch (error) {
    await server.stop()
    throw error
  }
  return server
}

const isReady = (url: string): Promise<boolean> =>
  fetch(url, { signal: AbortSignal.timeout(ANSWER_MS_MAX) }).then(
    async (response) => {
      await response.arrayBuffer()
      return response.ok
    },
    () => false,
  )

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

async function stop(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return
  const closed = once(child, 'close', { signal: AbortSignal.timeout(STOP_MS_MAX) })
  child.kill('SIGKILL')
  await closed
}

/** https://docs.seldon.ai/mlserver/user-guide/metrics: counted by the server when a model has answered. */
async function readExecutions(metricsPort: string): Promise<Executions> {
  const url = `http://127.0.0.1:${metricsPort}/metrics`
  const text = await (await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS_MAX) })).text()
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}{[^}]*model="breast-cancer"[^}]*} ([\\d.e+]+)$`, 'gm'))]
      .map(([, value]) => Number(value))
      .reduce((total, value) => total + value, 0)
  return { succeeded: sum('model_infer_request_success_total'), failed: sum('model_infer_request_failure_total') }
}
