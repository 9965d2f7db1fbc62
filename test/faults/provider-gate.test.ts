/**
 * The gate in real Endstate processes: three workers under one limit, a provider that goes down and comes back, and a
 * budget that many records would pass at once. The provider's own count decides.
 */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { meterOf, STALE_MS, TRANSIT_MS } from '../../src/providers/gate/rates.js'
import { expectSound, startDeployment, type RecordJson, type TestNode } from '../support/deployment.js'
import { settleMany, submitMany } from '../support/many-records.js'
import { waitFor } from '../support/processes.js'
import { startProviderProcess, type ProviderProcess } from '../support/provider-process.js'

let provider: ProviderProcess
beforeAll(async () => void (provider = await startProviderProcess()))
afterAll(() => provider.stop())
beforeEach(() => provider.control({ reset: true }))

const inputs = (count: number) => Array.from({ length: count }, (_, index) => ({ index }))

type ProviderJson = { breaker: { state: string; code: string | null }; recent: { calls: number }; today: unknown }
const providerAt = async (node: TestNode, name: string): Promise<ProviderJson> =>
  (await (
    await fetch(`${node.url}/v1/providers/${name}`, { signal: AbortSignal.timeout(10_000) })
  ).json()) as ProviderJson

it('three workers keep one limit, and every record ends', { timeout: 120_000 }, async () => {
  const limit = 600
  const { requestBurst, requestIntervalMs } = meterOf({ requestsPerMinute: limit, tokensPerMinute: null })
  const deployment = await startDeployment({
    providers: { slow: { url: provider.url, slots: 8, cost: 'free', limits: { requestsPerMinute: limit } } },
    pipelines: [{ name: 'quick', steps: [{ name: 'a', use: ['slow'] }] }],
  })
  try {
    const [node] = await Promise.all([deployment.node(), deployment.node(), deployment.node()])
    const ids = await submitMany(deployment, node, 'quick', inputs(100))
    const samples: { atMs: number; posts: number }[] = []
    await waitFor(
      async () => {
        // Before and after the question: the count is of some time between the two.
        const atMs = Date.now()
        const { posts } = await provider.counts()
        samples.push({ atMs, posts })
        return posts >= 100
      },
      { timeoutMs: 60_000, what: () => `100 calls; ${samples.at(-1)?.posts} came` },
    )
    const last = Date.now()
    for (const [index, from] of samples.entries())
      for (const [later, to] of samples.slice(index + 1).entries()) {
        const untilMs = samples[index + later + 2]?.atMs ?? last
        const most = requestBurst + Math.ceil((untilMs - from.atMs + STALE_MS + TRANSIT_MS) / requestIntervalMs)
        expect(to.posts - from.posts, `in ${untilMs - from.atMs} ms`).toBeLessThanOrEqual(most)
      }
    const records = await settleMany(deployment, node, ids, 30_000)
    for (const record of records) expect([record.status, record.steps['a']!.attempts.length]).toEqual(['completed', 1])
    expect((await provider.counts()).posts).toBe(100)
  } finally {
    await deployment.dispose()
  }
})

it(
  'a provider that is down is left alone by all, and its records end when it is back',
  { timeout: 120_000 },
  async () => {
    const deployment = await startDeployment({
      providers: { shaky: { url: provider.url, slots: 4, cost: 'free' } },
      pipelines: [
        { name: 'quick', steps: [{ name: 'a', use: ['shaky'], attempts: 8, backoff: { initial: '1s', max: '5s' } }] },
      ],
    })
    try {
      const [node, other] = await Promise.all([deployment.node(), deployment.node()])
      await provider.control({ mode: 'status', status: 503 })
      const ids = await submitMany(deployment, node, 'quick', inputs(12))
      for (const each of [node, other])
        await waitFor(async () => (await providerAt(each, 'shaky')).breaker.state !== 'closed', {
          timeoutMs: 30_000,
          what: 'the breaker to open',
        })
      expect((await providerAt(other, 'shaky')).breaker.code).toBe('http-503')
      const { posts } = await provider.counts()
      expect(posts, 'most were not sent').toBeLessThan(30)
      await provider.control({ clear: true })
      const records = await settleMany(deployment, node, ids, 60_000)
      for (const record of records) expect(record.status).toBe('completed')
      expect((await providerAt(other, 'shaky')).breaker.state).toBe('closed')
    } finally {
      await deployment.dispose()
    }
  },
)

it(
  'a budget is never passed, however many ask at once; who would pass it waits for a person',
  { timeout: 120_000 },
  async () => {
    const deployment = await startDeployment({
      providers: {
        dear: {
          url: provider.url,
          slots: 8,
          cost: 'paid',
          longestRun: '1s',
          spendMax: { amount: '0.10', currency: 'EUR' },
        },
      },
      pipelines: [{ name: 'paid', steps: [{ name: 'a', use: ['dear'], onUncertain: 'investigate' }] }],
      // oxlint-disable-next-line unicorn/no-thenable -- the option's name
      budgets: [{ per: 'provider', name: 'dear', limit: '0.50', currency: 'EUR', then: 'investigate' }],
    })
    try {
      const [node] = await Promise.all([deployment.node(), deployment.node()])
      const ids = await submitMany(deployment, node, 'paid', inputs(9))
      const records = await settleMany(deployment, node, ids, 90_000)
      const by = (status: string) => records.filter((record: RecordJson) => record.status === status)
      expect([by('completed').length, by('investigation').length]).toEqual([5, 4])
      expect((await provider.counts()).posts).toBe(5)
      for (const record of by('investigation')) {
        expectSound(record)
        expect(record.reason).toMatchObject({ code: 'budget-reached' })
        expect(record.charges).toEqual({})
      }
    } finally {
      await deployment.dispose()
    }
  },
)
