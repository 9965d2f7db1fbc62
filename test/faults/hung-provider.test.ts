/**
 * P8: a provider that hangs delays only the records that need it. All its slots are taken by calls that never answer,
 * while the records of another pipeline in the same process keep their speed; what hangs ends as its policy says.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deployment, RecordJson, TestNode } from '../support/deployment.js'
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

const price = { fixed: '0.40', currency: 'EUR' }
const STUCK_SLOTS = 4
// Two rounds of its slots: when the second one ends, the provider is taken for down, and nothing more would be sent to it.
const JAMMED = 6
const DETOURS = 2
const TIMED = 60

const deploy = () =>
  startDeployment({
    providers: {
      stuck: {
        url: `${provider.url}/stuck`,
        slots: STUCK_SLOTS,
        cost: 'paid',
        longestRun: '1s',
        spendMax: { amount: '0.10', currency: 'EUR' },
      },
      brisk: { url: `${provider.url}/brisk`, slots: 8, cost: 'free' },
    },
    pipelines: [
      { name: 'jam', steps: [{ name: 'a', use: ['stuck'], price, deadline: '8s', onUncertain: 'investigate' }] },
      {
        name: 'detour',
        steps: [{ name: 'a', use: ['stuck', 'brisk'], price, deadline: '8s', onUncertain: 'fallback' }],
      },
      { name: 'quick', steps: [{ name: 'a', use: ['brisk'], price }] },
    ],
  })

/** From submission to the settled answer, one record after the other; the median of their times in ms. */
const medianMs = async (node: TestNode): Promise<number> => {
  const tookMs: number[] = []
  for (let index = 0; index < TIMED; index += 1) {
    const startedMs = performance.now()
    const response = await fetch(`${node.url}/v1/records`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=20' },
      body: JSON.stringify({ pipeline: 'quick', input: { index } }),
      signal: AbortSignal.timeout(30_000),
    })
    const record = (await response.json()) as RecordJson
    tookMs.push(performance.now() - startedMs)
    expect(response.status).toBe(200)
    expect(record.status).toBe('completed')
  }
  return tookMs.sort((a, b) => a - b)[TIMED / 2]!
}

const jam = async (deployment: Deployment, node: TestNode) => {
  await provider.control({ mode: 'hang', match: '.stuck.' })
  const indexes = (count: number) => Array.from({ length: count }, (_, index) => ({ index }))
  const jammed = await submitMany(deployment, node, 'jam', indexes(JAMMED))
  const detours = await submitMany(deployment, node, 'detour', indexes(DETOURS))
  await waitFor(async () => (await provider.hanging()) === STUCK_SLOTS, {
    what: 'calls to hang in every slot of the provider',
  })
  return { jammed, detours }
}

const expectInvestigated = (records: RecordJson[]) => {
  for (const record of records) {
    expectSound(record)
    expect(record.status).toBe('investigation')
    expect(record.reason?.code).toBe('outcome-uncertain')
    expect(record.charges).toEqual({})
    const { attempts } = record.steps['a']!
    expect(attempts.map(({ outcome, error }) => [outcome, error?.code])).toEqual([['uncertain', 'deadline-exceeded']])
    expect(attempts[0]!.spend).toEqual({ amount: '0.10', currency: 'EUR', basis: 'upper-bound' })
  }
}

const expectFellBack = (records: RecordJson[]) => {
  for (const record of records) {
    expectSound(record)
    expect(record.status).toBe('completed')
    expect(Object.keys(record.charges)).toEqual(['a'])
    const { attempts } = record.steps['a']!
    expect(attempts.map(({ provider: name, outcome }) => `${name} ${outcome}`)).toEqual([
      'stuck uncertain',
      'brisk succeeded',
    ])
    expect(attempts[0]!.possibleDuplicate).toBe(true)
  }
}

describe('a provider whose slots are all taken by calls that hang', () => {
  it('does not slow the records of another pipeline; its own end as their policy says, in time', async () => {
    const deployment = await deploy()
    try {
      const node = await deployment.node()
      await medianMs(node) // Everything is warm.
      const freeMs = await medianMs(node)
      const { jammed, detours } = await jam(deployment, node)
      const hungMs = await medianMs(node)
      // The hang lasted: what was measured ran beside it.
      expect(await provider.hanging()).toBeGreaterThan(0)
      expect(hungMs, `median without the hang: ${freeMs} ms`).toBeLessThan(Math.max(5 * freeMs, 50))
      expect(hungMs).toBeLessThan(1_000)

      const records = await settleMany(deployment, node, [...jammed, ...detours], 45_000)
      expectInvestigated(records.slice(0, JAMMED))
      expectFellBack(records.slice(JAMMED))
      // One call each at the provider that hangs (P6).
      expect((await provider.counts({ match: '.stuck.' })).posts).toBe(JAMMED + DETOURS)
    } finally {
      await deployment.dispose()
    }
  })
})
