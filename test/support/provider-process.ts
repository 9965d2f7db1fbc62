/**
 * Starts the local provider (provider-server.mjs) as a process of its own and talks to its control side.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export type ProviderRule = {
  mode: 'answer' | 'delay' | 'hang' | 'cut-before-reply' | 'cut-body' | 'status' | 'large'
  match?: string
  times?: number
  ms?: number
  status?: number
  headers?: { [name: string]: string }
  body?: unknown
  run?: boolean
  bytes?: number
}
export type ProviderOrder = ProviderRule | { clear?: true; reset?: true; release?: true; idempotent?: boolean }
export type ProviderCounts = { posts: number; executions: number; keys?: number; at?: number[] }

export interface ProviderProcess {
  readonly url: string
  readonly pid: number
  control(order: ProviderOrder): Promise<void>
  counts(of?: { key: string } | { match: string }): Promise<ProviderCounts>
  hanging(): Promise<number>
  stop(): Promise<void>
}

const START_MS_MAX = 10_000

export async function startProviderProcess(port = 0): Promise<ProviderProcess> {
  const script = fileURLToPath(new URL('provider-server.mjs', import.meta.url))
  const child = spawn(process.execPath, [script, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })
  const [line] = (await once(lines, 'line', { signal: AbortSignal.timeout(START_MS_MAX) })) as [string]
  const { url } = JSON.parse(line) as { url: string }

  const get = async <T>(path: string): Promise<T> => {
    const response = await fetch(url + path, { signal: AbortSignal.timeout(START_MS_MAX) })
    return (await response.json()) as T
  }
  return {
    url,
    pid: child.pid ?? 0,
    async control(order) {
      const body = JSON.stringify(order)
      const response = await fetch(`${url}/control`, {
        method: 'POST',
        body,
        signal: AbortSignal.timeout(START_MS_MAX),
      })
      if (response.status !== 204) throw new Error(`The provider refused the order: ${await response.text()}`)
    },
    counts: (of) => get(`/counts?${new URLSearchParams(of).toString()}`),
    hanging: async () => (await get<{ hanging: number }>('/waiting')).hanging,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
  }
}
