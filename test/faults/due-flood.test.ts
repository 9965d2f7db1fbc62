/**
 * After an outage everything may be due at once. The sweeper finds 100,000 such records page by page from its index:
 * its memory and the time of its first hints are those of 1,000 (P2). With a worker, all that is due settles.
 */
import { connect } from 'nats'
import type { NatsConnection } from 'nats'
import type { Document } from 'mongodb'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { shardOf } from '../../src/ingest/content-hash.js'
import type { RecordDocument, Timer } from '../../src/machines/record.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { createIds } from '../../src/worker/ids.js'
import { silent } from '../../src/worker/logger.js'
import { createServerClock } from '../../src/worker/server-clock.js'
import { createSweeper } from '../../src/worker/sweeper.js'
import type { Deployment, TestNode } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import { readMany, settleAll } from '../support/many-records.js'
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

const INSERT_BATCH = 1_000
const MIB = 1024 * 1024
const price = { fixed: '0.40', currency: 'EUR' }

const deploy = () =>
  startDeployment({
    providers: {
      quick: {
        url: `${provider.url}/quick`,
        slots: 32,
        recovery: 'idempotent',
        keyTtl: '7d',
        cost: 'paid',
        executed: [500],
      },
    },
    pipelines: [
      {
        name: 'one',
        // A flood on a busy machine may keep a call from leaving or ending in time; that is not what is asked here.
        lease: { sendWithin: '20s', failover: '2s' },
        steps: [{ name: 'a', use: ['quick'], price, deadline: '20s', backoff: { initial: '1s', max: '10m' } }],
      },
    ],
  })

/** `count` records like the given one, with ids of their own, and what `isDue` names due at one moment in the past. */
const insertDueCopies = async (
  deployment: Deployment,
  like: RecordDocument,
  count: number,
  isDue: (timer: Timer) => boolean,
): Promise<string[]> => {
  const store = createMongoRecordStore(deployment.db, { sinks: [] })
  const due = new Date(Date.now() - 60_000)
  const ids = createIds()
  const copy = (): RecordDocument => {
    const id = ids.record()
    const attemptsOf = (step: RecordDocument['steps'][string]) =>
      step.attempts.map((attempt) => ({ ...attempt, requestKey: attempt.requestKey.replace(like._id, id) }))
    return {
      ...like,
      _id: id,
      shard: shardOf(id),
      timers: like.timers.map((timer) => (isDue(timer) ? { ...timer, dueAt: due } : timer)),
      wakeAt: due,
      steps: Object.fromEntries(
        Object.entries(like.steps).map(([name, step]) => [name, { ...step, attempts: attemptsOf(step) }]),
      ),
    }
  }
  const inserted: string[] = []
  for (let left = count; left > 0; left -= INSERT_BATCH) {
    const docs = Array.from({ length: Math.min(left, INSERT_BATCH) }, copy)
    const outcomes = await store.insert(docs)
    expect(outcomes.every(({ kind }) => kind === 'inserted')).toBe(true)
    inserted.push(...docs.map(({ _id }) => _id))
  }
  await store.close()
  return inserted
}

const loadOne = async (deployment: Deployment, id: string): Promise<RecordDocument> => {
  const store = createMongoRecordStore(deployment.db, { sinks: [] })
  const [doc] = await store.load([id])
  await store.close()
  return doc!
}

/** A deployment with `count` records that were accepted, never called, and are all past their deadline. */
const flooded = async (count: number): Promise<Deployment> => {
  const deployment = await deploy()
  const api = await deployment.node({ roles: ['api'] })
  const { body } = await deployment.submit(api, 'one', { text: 'x' })
  await api.kill()
  await insertDueCopies(deployment, await loadOne(deployment, body.id), count, () => true)
  return deployment
}

const FEW = 1_000
const MANY = 100_000
/** As many as the sweeper remembers at once (Z3). */
const TRACKED = 20_000

/** `firstMs`: from the start of the process to its first `FEW` hints. */
type Sweep = { firstMs: number; peakBytes: number }

const rssBytes = async (node: TestNode): Promise<number> => {
  const response = await fetch(`${node.url}/test/memory`, { signal: AbortSignal.timeout(10_000) })
  return ((await response.json()) as { rssBytes: number }).rssBytes
}

/** Runs a process with a sweeper alone. Hints are taken away as they come, as by workers that never get to work. */
const sweepAlone = async (deployment: Deployment, nc: NatsConnection, hintsWanted: number): Promise<Sweep> => {
  const subject = `${deployment.prefix}.timers`
  const manager = await nc.jetstreamManager()
  let hints = 0
  let firstMs = 0
  const startedMs = performance.now()
  nc.subscribe(subject, {
    callback: () => {
      hints += 1
      if (hints === FEW) firstMs = performance.now() - startedMs
    },
  })
  await nc.flush()
  const node = await deployment.node({ roles: ['api', 'sweeper'] })
  let peakBytes = 0
  await waitFor(
    async () => {
      if (hints > 0) await manager.streams.purge(`${deployment.prefix.toUpperCase()}_WORK`, { filter: subject })
      peakBytes = Math.max(peakBytes, await rssBytes(node))
      return hints >= hintsWanted
    },
    { timeoutMs: 60_000, what: () => `${hintsWanted} hints; there are ${hints}` },
  )
  await node.kill()
  return { firstMs, peakBytes }
}

type Asked = { indexes: string[]; stages: string[]; keys: number; docs: number; returned: number }

const namesIn = (stats: unknown, field: string): string[] =>
  typeof stats !== 'object' || stats === null
    ? []
    : Object.entries(stats).flatMap(([name, part]: [string, unknown]) =>
        name === field && typeof part === 'string' ? [part] : namesIn(part, field),
      )

/** Every read of the records that `run` makes, as the server's profiler saw it. */
const profiled = async ({ db }: Deployment, run: () => Promise<unknown>): Promise<Asked[]> => {
  await db.command({ profile: 2 })
  try {
    await run()
  } finally {
    await db.command({ profile: 0 })
  }
  const seen = await db
    .collection<Document>('system.profile')
    .find({ ns: `${db.databaseName}.records`, op: { $in: ['query', 'getmore', 'command'] } })
    .toArray()
  return seen.map((one) => ({
    indexes: namesIn(one['execStats'], 'indexName'),
    stages: namesIn(one['execStats'], 'stage'),
    keys: one['keysExamined'] as number,
    docs: one['docsExamined'] as number,
    returned: one['nreturned'] as number,
  }))
}

/** The sweeper itself on the real store, hints counted, at most `pendingMax` of them. */
const sweepOnce = async ({ db }: Deployment, pendingMax: number) => {
  const store = createMongoRecordStore(db, { sinks: [] })
  const hinted = new Set<string>()
  const sweeper = createSweeper({
    store,
    publish: async ({ record }) => void hinted.add(record),
    pending: async () => 0,
    pendingMax,
    shards: () => ({ from: 0, to: 256 }),
    workersAlive: () => false,
    givesUp: async () => {},
    clock: createServerClock(),
    log: silent,
  })
  const report = await sweeper.sweepOnce()
  await sweeper.close()
  await store.close()
  return { ...report, different: hinted.size }
}

const withFlood = async <T>(count: number, use: (deployment: Deployment, nc: NatsConnection) => Promise<T>) => {
  const deployment = await flooded(count)
  const nc = await connect({ servers: deployment.natsUrl })
  try {
    return await use(deployment, nc)
  } finally {
    await nc.close()
    await deployment.dispose()
  }
}

describe('1,000 and 100,000 records that are due at once', () => {
  it('cost a sweeper the same memory and time, and no scan', { timeout: 240_000 }, async () => {
    const few = await withFlood(FEW, async (deployment, nc) => ({
      sweep: await sweepOnce(deployment, 2_000),
      alone: await sweepAlone(deployment, nc, FEW),
    }))
    const many = await withFlood(MANY, async (deployment, nc) => {
      const asked = await profiled(deployment, () => sweepOnce(deployment, 2_000))
      const sweep = await sweepOnce(deployment, 2_000)
      const whole = await sweepOnce(deployment, Infinity)
      return { asked, sweep, whole, alone: await sweepAlone(deployment, nc, TRACKED) }
    })
    expect(few.sweep).toMatchObject({ due: FEW, hinted: FEW, different: FEW })
    expect(many.sweep).toMatchObject({ due: 2_000, hinted: 2_000, different: 2_000 })
    expect(many.whole).toMatchObject({ due: TRACKED, hinted: TRACKED, different: TRACKED })

    // Each page is read from the index, and of the index no more than the page.
    expect(many.asked.length).toBeGreaterThanOrEqual(4)
    for (const { indexes, stages, keys, docs, returned } of many.asked) {
      expect(indexes).toEqual(['due'])
      expect(stages).not.toContain('COLLSCAN')
      expect(stages).not.toContain('SORT')
      expect(keys).toBeLessThanOrEqual(returned + 1)
      expect(docs).toBeLessThanOrEqual(returned + 1)
    }

    // Twice the hints at most twice the time, with room for a busy machine.
    const times = JSON.stringify({ few: few.sweep.tookMs, many: many.sweep.tookMs })
    expect(many.sweep.tookMs, times).toBeLessThan(4 * few.sweep.tookMs + 500)
    expect(many.whole.tookMs).toBeLessThan(10_000)
    expect(many.alone.firstMs).toBeLessThan(2 * few.alone.firstMs + 5_000)
    const memory = JSON.stringify({ few: few.alone, many: many.alone })
    expect(many.alone.peakBytes - few.alone.peakBytes, memory).toBeLessThan(150 * MIB)
  })
})

describe('2,000 records that are due at once', () => {
  it('all settle when a worker runs, each called and charged once', { timeout: 120_000 }, async () => {
    const deployment = await deploy()
    try {
      // One has failed and waits for its next try; the others are its like. A refusal would pause the provider for all.
      await provider.control({ mode: 'status', status: 500, headers: { 'retry-after': '300' }, times: 1 })
      const first = await deployment.node()
      const { body } = await deployment.submit(first, 'one', { text: 'x' })
      await waitFor(async () => JSON.stringify((await deployment.read(first, body.id)).state) === '{"a":"backoff"}', {
        what: 'the first try to fail',
      })
      await first.kill()
      const ids = await insertDueCopies(deployment, await loadOne(deployment, body.id), 2_000, ({ event }) =>
        event.includes('backoff'),
      )

      const node = await deployment.node()
      await settleAll(deployment, ids, 100_000)
      const charged = { status: 'completed', 'charges.a.amount': '0.40' }
      expect(await deployment.db.collection('records').countDocuments(charged)).toBe(ids.length)
      for (const record of await readMany(deployment, node, ids.slice(0, 100))) {
        expectSound(record)
        expect(record.steps['a']!.attempts.map(({ outcome }) => outcome)).toEqual(['failed', 'succeeded'])
        expect(Object.keys(record.charges)).toEqual(['a'])
      }
      const { posts, executions } = await provider.counts()
      expect({ posts, executions }).toEqual({ posts: ids.length + 1, executions: ids.length })
    } finally {
      await deployment.dispose()
    }
  })
})
