/**
 * P12: 20,000 records of one source wait at a slow provider; then ten of each of two other sources come. Each source
 * gets its turn, so theirs are done after a time that follows from slots, service time and the number of sources, and
 * not from the backlog before them (which would take more than a quarter of an hour).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deployment, TestNode } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import { settleMany, submitMany } from '../support/many-records.js'
import { waitFor } from '../support/processes.js'
import type { ProviderProcess } from '../support/provider-process.js'
import { startProviderProcess } from '../support/provider-process.js'

let provider: ProviderProcess
beforeAll(async () => {
  provider = await startProviderProcess()
})
afterAll(async () => {
  await provider.stop()
})

const SLOTS = 4
const SERVICE_MS = 200
const BACKLOG = 20_000
const FEW = 10
const SOURCES = ['flood', 'north', 'south'] as const

/** Calls that may come first: those that run, those already hinted, then one turn in each source per record. */
const CALLS_BEFORE = SLOTS + 2 * SLOTS + SOURCES.length * FEW
/** Twice the time that these calls take, because the machine is shared, and what a hint and a save may take. */
const FAIR_MS = 2 * ((CALLS_BEFORE / SLOTS) * SERVICE_MS) + 2_000
const BACKLOG_MS = (BACKLOG / SLOTS) * SERVICE_MS

const deploy = () =>
  startDeployment({
    providers: { slow: { url: `${provider.url}/slow`, slots: SLOTS, cost: 'free' } },
    pipelines: [{ name: 'scan', maxWait: '6h', steps: [{ name: 'a', use: ['slow'], deadline: '10s' }] }],
    sources: [...SOURCES],
  })

const flood = async (node: TestNode) => {
  const order = encodeURIComponent(JSON.stringify({ pipeline: 'scan', source: 'flood', count: BACKLOG }))
  const response = await fetch(`${node.url}/test/flood/${order}`, {
    method: 'POST',
    signal: AbortSignal.timeout(120_000),
  })
  expect(await response.json()).toEqual({ accepted: BACKLOG })
}

const waiting = (deployment: Deployment, source: string) =>
  deployment.db.collection('records').countDocuments({ source, status: 'processing', 'queue.provider': 'slow' })

describe('twenty thousand records of one source at a slow provider', () => {
  it('delay ten of each other source by no more than its fair share', { timeout: 180_000 }, async () => {
    expect(FAIR_MS).toBeLessThan(BACKLOG_MS / 50)
    await provider.control({ mode: 'delay', ms: SERVICE_MS })
    const deployment = await deploy()
    try {
      const node = await deployment.node()
      await flood(node)
      // The feeder holds the backlog back and the slots are busy with it.
      await waitFor(async () => (await provider.counts({ match: '.a.slow.' })).posts >= 4 * SLOTS, {
        what: 'the backlog to be worked on',
      })
      const waitedBefore = await waiting(deployment, 'flood')
      expect(waitedBefore).toBeGreaterThan(BACKLOG * 0.9)

      const startedMs = performance.now()
      const inputs = Array.from({ length: FEW }, (_, index) => ({ index }))
      const submitted = await Promise.all(
        SOURCES.slice(1).map((source) => submitMany(deployment, node, 'scan', inputs, source)),
      )
      const few = await settleMany(deployment, node, submitted.flat(), 60_000)
      const tookMs = performance.now() - startedMs
      for (const record of few) {
        expectSound(record)
        expect(record.status).toBe('completed')
      }
      expect(new Set(few.map(({ source }) => source))).toEqual(new Set(['north', 'south']))
      expect(tookMs, `fair: ${FAIR_MS} ms; behind the backlog: ${BACKLOG_MS} ms`).toBeLessThan(FAIR_MS)

      // The flood had its turns as well, and still waits.
      const waitedAfter = await waiting(deployment, 'flood')
      expect(waitedBefore - waitedAfter).toBeGreaterThanOrEqual(FEW / 2)
      expect(waitedAfter).toBeGreaterThan(BACKLOG * 0.9)
    } finally {
      await deployment.dispose()
    }
  })
})
