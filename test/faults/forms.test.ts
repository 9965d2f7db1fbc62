/**
 * A vote and a map whose workers are killed: a voter that has answered is never called again, regions that are saved by
 * two workers at once conflict and reload without a second call, and a map makes one child of each item (P3, P4, P7).
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Deployment, NodeOptions, RecordJson, Stop, TestNode } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import { startProviderProcess, type ProviderProcess } from '../support/provider-process.js'

let server: ProviderProcess
let deployment: Deployment
let api: TestNode
beforeAll(async () => {
  server = await startProviderProcess()
  const spendMax = { amount: '0.10', currency: 'EUR' }
  deployment = await startDeployment({
    providers: {
      // Honours our key (the server is told to); the other one runs again.
      keyed: { url: server.url, recovery: 'idempotent', keyTtl: '1d', cost: 'paid', spendMax },
      free: { url: `${server.url}/free`, cost: 'free', slots: 1 },
    },
    pipelines: [{ name: 'only-free', steps: [{ name: 'a', use: ['free'], deadline: '60s' }] }],
    module: pathToFileURL(join(import.meta.dirname, '../support/vote-and-map.mjs')).href,
  })
  api = await deployment.node({ roles: ['api', 'sweeper'] })
})
afterAll(async () => {
  await deployment.dispose()
  await server.stop()
})
beforeEach(() => server.control({ reset: true }).then(() => server.control({ idempotent: true })))

const workers: TestNode[] = []
const worker = async (options: NodeOptions = {}): Promise<TestNode> => {
  const started = await deployment.node({ roles: ['worker'], ...options })
  workers.push(started)
  return started
}
// Also of a test that failed: the next one must not have its workers.
afterEach(async () => void (await Promise.all(workers.splice(0).map((started) => started.kill()))))

const KEYED = 'said-keyed'
const FREE = 'said-free'
type Voter = typeof KEYED | typeof FREE

/** Of all attempts of this voter: what reached the provider, and what was run. */
const countsOf = async (record: RecordJson, voter: Voter) => {
  const keys = new Set(record.steps[voter]!.attempts.map(({ requestKey }) => requestKey))
  const counts = await Promise.all([...keys].map((key) => server.counts({ key })))
  const sum = (what: 'posts' | 'executions') => counts.reduce((total, each) => total + each[what], 0)
  return { posts: sum('posts'), executions: sum('executions') }
}

const expectAgreed = (record: RecordJson) => {
  expectSound(record)
  expect(record.status).toBe('completed')
  expect(record.steps['said']!.result!.output).toMatchObject({ ok: true })
  expect(record.charges).toMatchObject({ said: { amount: '0.40', currency: 'EUR' } })
  expect(Object.keys(record.charges)).toHaveLength(1)
}

describe('SIGKILL while two voters are asked', () => {
  const deaths: { killed: Voter; saved: Voter; posts: number; executions: number }[] = [
    { killed: FREE, saved: KEYED, posts: 2, executions: 2 },
    { killed: KEYED, saved: FREE, posts: 2, executions: 1 },
  ]
  it.each(deaths)(
    '$killed between answer and save, $saved saved: the vote is taken, $saved is not asked again',
    async ({ killed, saved, posts, executions }) => {
      // Only the server of `keyed` tells repeats apart.
      await server.control({ idempotent: killed === KEYED })
      const doomed = await worker({ stop: { point: 'provider.call.after', event: killed } })
      const { body } = await deployment.submit(api, 'vote', { text: 'x' })
      await doomed.line(/^REACHED /, { timeoutMs: 20_000 })
      await deployment.until(api, body.id, ({ steps }) => steps[saved]?.result != null)
      await doomed.kill()
      await worker()
      const record = await deployment.settled(api, body.id, 50_000)
      expectAgreed(record)
      expect(record.steps[saved]!.attempts.map(({ outcome }) => outcome)).toEqual(['succeeded'])
      expect(await countsOf(record, saved)).toEqual({ posts: 1, executions: 1 })
      expect(record.steps[killed]!.attempts.map(({ outcome }) => outcome)).toEqual(['uncertain', 'succeeded'])
      expect(await countsOf(record, killed)).toEqual({ posts, executions })
      const runs = record.steps[killed]!.attempts.filter(({ evidence }) => evidence?.['sameRunAs'] === undefined)
      expect(runs).toHaveLength(executions)
    },
  )
})

it('two workers that save voters of one record at once: one save conflicts and is made anew, nobody is asked twice', async () => {
  // The first worker's only slot for `free` is taken, so that voter goes to the second.
  await server.control({ mode: 'hang', match: 'takes-the-slot', times: 1 })
  const first = await worker({ stop: { point: 'store.save.before', event: `CALL_SUCCEEDED:${KEYED}` } })
  const other = await deployment.submit(api, 'only-free', { text: 'takes-the-slot' })
  await deployment.eventually(async () => (await server.hanging()) === 1, 'the slot to be taken')
  const { body } = await deployment.submit(api, 'vote', { text: 'x' })
  await first.line(/^REACHED /, { timeoutMs: 20_000 })
  const { version } = await deployment.read(api, body.id)

  await worker()
  const between = await deployment.until(api, body.id, ({ steps }) => steps[FREE]?.result != null)
  // What the first worker is about to save was decided on a version that is gone.
  expect(between.version).toBeGreaterThan(version)
  expect(between.steps[KEYED]!.attempts).toMatchObject([{ outcome: null }])
  first.signal('SIGUSR2')

  const record = await deployment.settled(api, body.id)
  expectAgreed(record)
  for (const voter of [KEYED, FREE] as const) {
    expect(record.steps[voter]!.attempts.map(({ outcome }) => outcome)).toEqual(['succeeded'])
    expect(await countsOf(record, voter)).toEqual({ posts: 1, executions: 1 })
  }
  await server.control({ release: true })
  expect((await deployment.settled(api, other.body.id)).status).toBe('completed')
})

describe('SIGKILL while a map submits its children', () => {
  const pages = Array.from({ length: 20 }, (_, index) => `page ${index}`)
  /** The index of each child that is stored. */
  const childrenOf = async (parent: string): Promise<number[]> => {
    const stored = await deployment.db.collection<{ metadata: string }>('records').find({ pipeline: 'page' }).toArray()
    return stored
      .map(({ metadata }) => JSON.parse(metadata) as { parent: string; index: string })
      .filter((metadata) => metadata.parent === parent)
      .map(({ index }) => Number(index))
      .toSorted((a, b) => a - b)
  }
  const isSome = (count: number) => count > 0 && count < pages.length
  const deaths: { what: string; stop: Stop; fits: (stored: number) => boolean }[] = [
    { what: 'some are stored, and nobody has been told', stop: { point: 'store.insert.after' }, fits: isSome },
    {
      what: 'all are stored, and that is not saved',
      stop: { point: 'store.save.before', event: 'CALL_ACCEPTED:each' },
      fits: (stored) => stored === pages.length,
    },
  ]

  it.each(deaths)('$what: each item has one child, and each child runs once', async ({ stop, fits }) => {
    const doomed = await worker({ stop })
    const { body } = await deployment.submit(api, 'pages', { pages })
    await doomed.line(/^REACHED /, { timeoutMs: 20_000 })
    await doomed.kill()
    const before = (await childrenOf(body.id)).length
    expect(fits(before), `${before} were stored`).toBe(true)

    await worker()
    const record = await deployment.settled(api, body.id, 50_000)
    expectSound(record)
    expect(record.status).toBe('completed')
    expect(record.steps['each']!.result!.output).toHaveLength(pages.length)
    expect(await childrenOf(body.id)).toEqual(pages.map((_, index) => index))
    expect(await server.counts()).toMatchObject({ executions: pages.length })
  })
})
