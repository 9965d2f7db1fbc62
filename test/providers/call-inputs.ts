/** Requests, options and clocks that the tests of providers share. */
import { hash } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { z } from 'zod'
import type { CallInput, CallRequest } from '../../src/providers/contract.js'
import type { CallOptions } from '../../src/providers/call.js'
import type { Clock } from '../../src/worker/contract.js'

export const jsonInput = (value: unknown): CallInput => ({
  mediaType: 'application/json',
  fileName: null,
  bytesTotal: JSON.stringify(value).length,
  sha256: hash('sha256', JSON.stringify(value), 'hex'),
  bytes: () => Promise.resolve(Buffer.from(JSON.stringify(value))),
  json: () => Promise.resolve(value),
})

export const bytesInput = (mediaType: string, bytes: Uint8Array): CallInput => ({
  mediaType,
  fileName: 'scan.png',
  bytesTotal: bytes.length,
  sha256: hash('sha256', bytes, 'hex'),
  bytes: () => Promise.resolve(bytes),
  json: () => Promise.reject(new Error('not JSON')),
})

export const aRequest = (overrides: Partial<CallRequest> = {}): CallRequest => ({
  record: 'rec-1',
  source: 'local',
  pipeline: 'referral',
  step: 'read',
  attempt: 3,
  generation: 1,
  requestKey: 'rec-1.read.gpt.1',
  deadlineMs: 5000,
  input: jsonInput({ text: 'hello' }),
  request: undefined,
  outputSchema: {},
  outputs: {},
  built: null,
  webhookUrl: null,
  onProgress: () => {},
  ...overrides,
})

export const anyOutput = z.unknown()

export const options = (overrides: Partial<CallOptions> = {}): CallOptions => ({
  schema: anyOutput,
  price: null,
  retry: { initialMs: 1000, maxMs: 30_000, tryIndex: 0 },
  random: () => 0.5,
  clock: realClock,
  ...overrides,
})

export const realClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal?.addEventListener('abort', done, { once: true })
    }),
}

/** Time that passes only when a test says so. `waiting` counts who sleeps. */
export function handClock(): Clock & { advance(ms: number): Promise<void>; readonly waiting: number } {
  let nowMs = 0
  const sleepers = new Set<{ dueMs: number; wake: () => void }>()
  return {
    now: () => new Date(nowMs),
    monotonicMs: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve()
        const wake = () => {
          sleepers.delete(sleeper)
          resolve()
        }
        const sleeper = { dueMs: nowMs + ms, wake }
        sleepers.add(sleeper)
        signal?.addEventListener('abort', sleeper.wake, { once: true })
      }),
    get waiting() {
      return sleepers.size
    },
    async advance(ms) {
      nowMs += ms
      sleepers.forEach((sleeper) => sleeper.dueMs <= nowMs && sleeper.wake())
      // Lets everything that was woken run before the test goes on.
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}
