/**
 * MongoDB or NATS go away, for a while or for good, while records run: all settle, each charged once (P1, P2, P3, P9).
 */
import { connect } from 'nats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deployment, RecordJson, TestNode } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import { waitFor } from '../support/processes.js'
import type { ProviderProcess } from '../support/provider-process.js'
import { startProviderProcess } from '../support/provider-process.js'
import type { OwnServer } from '../support/servers.js'
import { startMongo, startNats } from '../support/servers.js'

let provider: ProviderProcess
beforeAll(async () => {
  provider = await startProviderProcess()
  await provider.control({ mode: 'delay', ms: 40 })
})
afterAll(async () => {
  await provider.stop()
})

const price = { fixed: '0.40', currency: 'EUR' }
const paid = { cost: 'paid' as const, spendMax: { amount: '0.10', currency: 'EUR' } }

const deploy = (servers: { mongo?: OwnServer; nats?: OwnServer }, slots: number) =>
  startDeployment(
    {
      providers: {
        keyed: { url: `${provider.url}/keyed`, slots, recovery: 'idempotent', keyTtl: '7d', ...paid },
      },
      pipelines: [
        {
          name: 'chain',
          steps: [
            { name: 'a', use: ['keyed'], price, attempts: 5 },
            { name: 'b', use: ['keyed'], price, attempts: 5 },
          ],
        },
        { name: 'short', maxWait: '1s', steps: [{ name: 'a', use: ['keyed'], price, deadline: '1s' }] },
      ],
    },
    { ...(servers.mongo && { mongoUrl: servers.mongo.url }), ...(servers.nats && { natsUrl: servers.nats.url }) },
  )

const submitMany = async (
  deployment: Deployment,
  node: TestNode,
  pipeline: string,
  count: number,
): Promise<string[]> => {
  const ids: string[] = []
  const one = async (index: number) => {
    const { status, body } = await deployment.submit(node, pipeline, { index }, `k${index}`)
    expect(status).toBe(202)
    ids.push(body.id)
  }
  for (let index = 0; index < count; index += 20)
    await Promise.all(Array.from({ length: Math.min(20, count - index) }, (_, offset) => one(index + offset)))
  return ids
}

const allSettled = async (
  deployment: Deployment,
  node: TestNode,
  ids: string[],
  timeoutMs: number,
): Promise<RecordJson[]> => {
  const settled: RecordJson[] = []
  let open = new Set(ids)
  await waitFor(
    async () => {
      for (const id of [...open].slice(0, 40)) {
        const record = await deployment.read(node, id)
        if (record.status === 'processing') break
        settled.push(record)
        open.delete(id)
      }
      return open.size === 0
    },
    { timeoutMs, what: () => `${open.size} of ${ids.length} records to settle` },
  )
  return settled
}

const expectChargedOnce = (records: RecordJson[], charges: string[]) => {
  for (const record of records) {
    expectSound(record)
    expect(record.status).toBe('completed')
    expect(Object.keys(record.charges).sort()).toEqual(charges)
  }
}

/** About a third of the records have settled; the others are in the middle of it. */
const midway = async (deployment: Deployment, node: TestNode, ids: string[]) => {
  const third = ids[Math.floor(ids.length / 3)]!
  await deployment.settled(node, third, 60_000)
}

describe('NATS', () => {
  it('loses its work stream while 500 records run: all settle', async () => {
    const deployment = await deploy({}, 16)
    try {
      const node = await deployment.node()
      const ids = await submitMany(deployment, node, 'chain', 500)
      const connection = await connect({ servers: deployment.natsUrl })
      const manager = await connection.jetstreamManager()
      const names: string[] = []
      for await (const { config } of manager.streams.list())
        if (config.subjects?.some((subject) => subject.startsWith(`${deployment.prefix}.work`))) names.push(config.name)
      expect(names).toHaveLength(1)
      await manager.streams.delete(names[0]!)
      await connection.close()
      expectChargedOnce(await allSettled(deployment, node, ids, 120_000), ['a', 'b'])
    } finally {
      await deployment.dispose()
    }
  })

  it('goes away for good while 500 records run: all settle from MongoDB alone', async () => {
    const nats = await startNats()
    const deployment = await deploy({ nats }, 16)
    try {
      const node = await deployment.node()
      const ids = await submitMany(deployment, node, 'chain', 500)
      await nats.signal('SIGKILL')
      const records = await allSettled(deployment, node, ids, 150_000)
      expectChargedOnce(records, ['a', 'b'])
      const ready = await fetch(`${node.url}/readyz`)
      expect(ready.status).toBe(200)
      expect(await ready.json()).toMatchObject({ degraded: ['nats'] })
      // Records are still taken in, and settle.
      const { body } = await deployment.submit(node, 'chain', { late: true })
      expectChargedOnce([await deployment.settled(node, body.id, 60_000)], ['a', 'b'])
    } finally {
      await deployment.dispose()
      await nats.dispose()
    }
  })
})

describe('MongoDB', () => {
  it('is killed and restarted while 200 records run: all settle, charged once', async () => {
    await provider.control({ reset: true })
    const mongo = await startMongo()
    const deployment = await deploy({ mongo }, 16)
    try {
      const node = await deployment.node()
      const ids = await submitMany(deployment, node, 'chain', 200)
      await midway(deployment, node, ids.slice(0, 30))
      await mongo.signal('SIGKILL')
      await mongo.start()
      const records = await allSettled(deployment, node, ids, 120_000)
      expectChargedOnce(records, ['a', 'b'])
      // Every call that the provider saw has its attempt (P5).
      for (const { id, steps } of records.slice(0, 20)) {
        const attempts = Object.values(steps).flatMap((step) => step.attempts)
        expect((await provider.counts({ match: id })).posts).toBeLessThanOrEqual(attempts.length)
      }
    } finally {
      await deployment.dispose()
      await mongo.dispose()
    }
  })
})

describe('everything', () => {
  it('is stopped for longer than settlesBy: nothing is sent to investigation for it (P2)', async () => {
    const [mongo, nats] = await Promise.all([startMongo(), startNats()])
    const deployment = await deploy({ mongo, nats }, 1)
    try {
      await provider.control({ mode: 'delay', ms: 400, match: '' })
      const first = await deployment.node()
      const ids = await submitMany(deployment, first, 'short', 20)
      const before = await Promise.all(ids.map((id) => deployment.read(first, id)))
      const latest = Math.max(...before.map(({ settlesBy }) => Date.parse(settlesBy)))
      await first.kill()
      await mongo.stop()
      await nats.stop()
      await waitFor(() => Date.now() > latest + 1_000, { timeoutMs: 90_000, what: 'settlesBy to pass' })
      await Promise.all([mongo.start(), nats.start()])
      const second = await deployment.node()
      const records = await allSettled(deployment, second, ids, 60_000)
      expectChargedOnce(records, ['a'])
      const waited = records.filter(({ settledAt }) => Date.parse(settledAt!) > latest)
      expect(waited.length).toBeGreaterThan(5)
      for (const { settlesBy } of waited) expect(Date.parse(settlesBy)).toBeGreaterThan(latest)
    } finally {
      await provider.control({ clear: true })
      await provider.control({ mode: 'delay', ms: 40 })
      await deployment.dispose()
      await Promise.all([mongo.dispose(), nats.dispose()])
    }
  })
})
