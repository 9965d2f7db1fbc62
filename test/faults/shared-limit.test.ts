/**
 * Three processes on one MongoDB and one provider that counts what arrives: together they keep one limit, use most of it,
 * and one that is told to pause tells the others.
 */
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { meterOf, STALE_MS, TRANSIT_MS } from '../../src/providers/gate/rates.js'
import { startChild, waitFor, type Child } from '../support/processes.js'
import { startProviderProcess, type ProviderProcess } from '../support/provider-process.js'
import { freshDb, testMongoUrl, type FreshDb } from '../support/servers.js'

const PROCESSES = 3
let db: FreshDb
let provider: ProviderProcess
let workers: Child[]

beforeEach(async () => {
  db = await freshDb('limit')
  await ensureIndexes(db.db)
  provider = await startProviderProcess()
  workers = []
})
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.kill()))
  await provider.stop()
  await db.dispose()
})

const startWorkers = async (limit: number | null): Promise<void> => {
  const setting = {
    mongoUrl: testMongoUrl(),
    database: db.db.databaseName,
    providerUrl: provider.url,
    limit,
    slots: 8,
    processes: PROCESSES,
  }
  const script = join(import.meta.dirname, '../support/gate-worker.mjs')
  workers = Array.from({ length: PROCESSES }, () =>
    startChild(script, { env: { GATE_WORKER: JSON.stringify(setting) } }),
  )
  await Promise.all(workers.map((worker) => worker.line(/^READY /)))
}

const endWorkers = async (): Promise<{ calls: number; questions: number }[]> => {
  for (const worker of workers) worker.signal('SIGTERM')
  return Promise.all(
    workers.map(
      async (worker) => JSON.parse((await worker.line(/^DONE /)).slice(5)) as { calls: number; questions: number },
    ),
  )
}

const mostIn = (at: readonly number[], windowMs: number): number =>
  Math.max(0, ...at.map((from) => at.filter((each) => each >= from && each < from + windowMs).length))

it('three processes keep one limit, and use most of it', { timeout: 40_000 }, async () => {
  const limit = 1_200
  const { requestBurst, requestIntervalMs } = meterOf({ requestsPerMinute: limit, tokensPerMinute: null })
  await startWorkers(limit)
  const beganAt = Date.now()
  await waitFor(async () => (await provider.counts()).posts >= 220, { timeoutMs: 20_000, what: '220 calls' })
  const tookMs = Date.now() - beganAt
  const told = await endWorkers()
  const { at = [] } = await provider.counts({ key: 'call' })

  // What the bound of a minute follows from, looked at in shorter windows.
  for (const windowMs of [1_000, 3_000, 10_000])
    expect(mostIn(at, windowMs), `in ${windowMs} ms`).toBeLessThanOrEqual(
      requestBurst + Math.ceil((windowMs + STALE_MS + TRANSIT_MS) / requestIntervalMs),
    )
  // The whole time together: the burst, and then the even rate.
  expect(at.length).toBeLessThanOrEqual(requestBurst + Math.ceil((tookMs + STALE_MS) / requestIntervalMs) + 1)
  expect(at.length / (tookMs / 60_000), 'calls a minute').toBeGreaterThan(limit * 0.75)
  for (const { calls } of told) expect(calls, 'each has its part').toBeGreaterThan(20)
  const questions = told.reduce((sum, each) => sum + each.questions, 0)
  expect(questions, 'permits come in batches').toBeLessThan(at.length)
})

it('a refusal at one process pauses all of them, without any limit known', { timeout: 40_000 }, async () => {
  await provider.control({ mode: 'delay', ms: 20 })
  await startWorkers(null)
  await waitFor(async () => (await provider.counts()).posts >= 100, { what: '100 calls' })
  await provider.control({ mode: 'status', status: 429, headers: { 'retry-after': '4' }, times: 1 })
  await waitFor(async () => (await db.db.collection('providers').findOne({}))?.['pausedUntil'] instanceof Date, {
    what: 'the pause to be known',
  })
  const pausedAt = Date.now()
  const [state] = await db.db.collection<{ pausedUntil: Date }>('providers').find({}).toArray()
  const until = state!.pausedUntil.getTime()
  expect(until - pausedAt).toBeGreaterThan(2_000)
  await waitFor(() => Date.now() > pausedAt + 1_000, { what: 'all to know' })
  const { posts } = await provider.counts()
  await waitFor(() => Date.now() > until - 100, { what: 'the pause to end' })
  expect((await provider.counts()).posts, 'nobody calls meanwhile').toBe(posts)
  await waitFor(async () => (await provider.counts()).posts > posts, { what: 'calls after the pause' })
  await endWorkers()
})
