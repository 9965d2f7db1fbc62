/** Starts the model server that can be asked (recoverable-server.mjs) as a process of its own, and its terms for http. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { TestProvider } from './deployment.js'

export type Orders = { ms?: number; cut?: number; webhooks?: number; tamper?: boolean; forget?: boolean }
export type Counts = { posts: number; executions: number; asks: number; cancels: number }

export interface RecoverableProcess {
  readonly url: string
  control(orders: Orders): Promise<void>
  counts(key?: string): Promise<Counts>
  job(id: string): Promise<{ status: string; told: number[] }>
  stop(): Promise<void>
}

const LIMIT_MS = 10_000

export const startRecoverable = async (): Promise<RecoverableProcess> => {
  const script = fileURLToPath(new URL('recoverable-server.mjs', import.meta.url))
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })
  const [line] = (await once(lines, 'line', { signal: AbortSignal.timeout(LIMIT_MS) })) as [string]
  const { url } = JSON.parse(line) as { url: string }
  const get = async <T>(path: string): Promise<T> =>
    (await (await fetch(url + path, { signal: AbortSignal.timeout(LIMIT_MS) })).json()) as T
  return {
    url,
    async control(orders) {
      const init = { method: 'POST', body: JSON.stringify(orders), signal: AbortSignal.timeout(LIMIT_MS) }
      const { status } = await fetch(`${url}/control`, init)
      if (status !== 204) throw new Error(`The model server answered the order with ${status}.`)
    },
    counts: (key) => get(key === undefined ? '/counts' : `/counts?${new URLSearchParams({ key }).toString()}`),
    job: (id) => get(`/jobs/${id}`),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
  }
}

const spendMax = { amount: '0.10', currency: 'EUR' }
const means = { running: 'running', done: 'succeeded', cancelled: 'failed-for-good' }

/** One provider for each way of recovery, all on this server. */
export const recoverableProviders = (url: string): { [name: string]: TestProvider } => {
  const job: TestProvider = {
    url: `${url}/jobs`,
    recovery: 'job',
    cost: 'paid',
    spendMax,
    longestRun: '6s',
    output: '/output',
    job: {
      handle: '/id',
      poll: { url: '/jobs/{handle}', status: '/status', means },
      cancel: { method: 'DELETE', url: '/jobs/{handle}' },
    },
    webhook: {
      carries: { header: 'X-Webhook' },
      verify: 'standard-webhooks',
      secret: { secret: 'WEBHOOK_SECRET' },
      body: 'status',
    },
  }
  return {
    keyed: { url: `${url}/keyed`, recovery: 'idempotent', keyTtl: '7d', cost: 'paid', spendMax },
    found: {
      url: `${url}/stored`,
      recovery: 'retrievable',
      cost: 'paid',
      spendMax,
      longestRun: '2s',
      lookup: { url: '/stored/{requestKey}', lag: '1s' },
    },
    job: { ...job, lookup: { url: '/jobs-of/{requestKey}', lag: '1s', handle: '/id' } },
    lost: { ...job, longestRun: '2s' },
    flight: { url: `${url}/flight/{requestKey}`, method: 'PUT', recovery: 'in-flight', cost: 'free' },
    free: { url: `${url}/blind`, cost: 'free' },
    paid: { url: `${url}/blind`, cost: 'paid', spendMax, longestRun: '1s' },
  }
}
