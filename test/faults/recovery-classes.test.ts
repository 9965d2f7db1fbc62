/**
 * Each way of recovery, end to end: the provider has done the work, and the worker gets SIGKILL before that is saved.
 * Another worker brings the record to its end, and the ledger says no more and no less than the provider's own count
 * of executions (P3, P4, P6).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deployment, RecordJson, Stop, TestNode } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import type { RecoverableProcess } from '../support/recoverable-process.js'
import { recoverableProviders, startRecoverable } from '../support/recoverable-process.js'

let server: RecoverableProcess
let deployment: Deployment
let api: TestNode
beforeAll(async () => {
  server = await startRecoverable()
  const price = { fixed: '0.40', currency: 'EUR' }
  const pipeline = (name: string, use: string[], onUncertain?: unknown) => ({
    name,
    steps: [{ name: 'a', use, price, attempts: 2, ...(onUncertain !== undefined && { onUncertain }) }],
  })
  deployment = await startDeployment({
    providers: recoverableProviders(server.url),
    pipelines: [
      pipeline('keyed', ['keyed']),
      pipeline('found', ['found']),
      pipeline('job', ['job']),
      pipeline('lost', ['lost'], 'investigate'),
      pipeline('flight', ['flight']),
      pipeline('free', ['free']),
      pipeline('paid-retry', ['paid'], { retry: { duplicateBudget: 1 } }),
      pipeline('paid-investigate', ['paid'], 'investigate'),
      pipeline('paid-fallback', ['paid', 'keyed'], 'fallback'),
    ],
  })
  api = await deployment.node({ roles: ['api', 'sweeper'] })
})
afterAll(async () => {
  await deployment.dispose()
  await server.stop()
})

const killAt = async (stop: Stop, pipeline: string): Promise<RecordJson> => {
  const doomed = await deployment.node({ roles: ['worker'], stop })
  const { body } = await deployment.submit(api, pipeline, { text: 'x' })
  await doomed.line(/^REACHED /, { timeoutMs: 20_000 })
  await doomed.kill()
  const heir = await deployment.node({ roles: ['worker'] })
  const record = await deployment.settled(api, body.id, 50_000)
  await heir.kill()
  return record
}

const attemptsOf = (record: RecordJson) => record.steps['a']!.attempts

/** What the provider counted for the keys of this record's attempts. */
const witnessed = async (record: RecordJson) => {
  const keys = [...new Set(attemptsOf(record).map(({ requestKey }) => requestKey))]
  const counts = await Promise.all(keys.map((key) => server.counts(key)))
  const sum = (what: 'posts' | 'executions') => counts.reduce((total, each) => total + each[what], 0)
  return { posts: sum('posts'), executions: sum('executions') }
}

/** Runs that the ledger knows of: each attempt that ran or may have, but for those that were the same run as another. */
const inLedger = (record: RecordJson): number =>
  attemptsOf(record).filter(
    ({ outcome, error, evidence }) =>
      outcome !== 'failed' && error?.kind !== 'not-executed' && evidence?.['sameRunAs'] === undefined,
  ).length

type Case = {
  pipeline: string
  says: string
  status?: 'completed' | 'investigation'
  outcomes: string[]
  posts: number
  executions: number
  duplicates?: number
}

const cases: Case[] = [
  {
    pipeline: 'keyed',
    says: 'idempotent: asked again with the same key and bytes; one run',
    outcomes: ['uncertain', 'succeeded'],
    posts: 2,
    executions: 1,
  },
  {
    pipeline: 'found',
    says: 'retrievable: looked up, never called again',
    outcomes: ['succeeded'],
    posts: 1,
    executions: 1,
  },
  {
    pipeline: 'job',
    says: 'job: the lost handle is found by our key',
    outcomes: ['succeeded'],
    posts: 1,
    executions: 1,
  },
  {
    pipeline: 'lost',
    says: 'job that can’t be found: a person decides, with the upper bound of its cost',
    status: 'investigation',
    outcomes: ['uncertain'],
    posts: 1,
    executions: 1,
  },
  {
    pipeline: 'flight',
    says: 'in-flight and free: repeated under the same key',
    outcomes: ['uncertain', 'succeeded'],
    posts: 2,
    executions: 2,
  },
  {
    pipeline: 'free',
    says: 'blind and free: run again',
    outcomes: ['uncertain', 'succeeded'],
    posts: 2,
    executions: 2,
  },
  {
    pipeline: 'paid-retry',
    says: 'blind and paid, policy retry: a second call that is a possible duplicate',
    outcomes: ['uncertain', 'succeeded'],
    posts: 2,
    executions: 2,
    duplicates: 1,
  },
  {
    pipeline: 'paid-investigate',
    says: 'blind and paid, policy investigate: no second call',
    status: 'investigation',
    outcomes: ['uncertain'],
    posts: 1,
    executions: 1,
  },
  {
    pipeline: 'paid-fallback',
    says: 'blind and paid, policy fallback: another provider',
    outcomes: ['uncertain', 'succeeded'],
    posts: 2,
    executions: 2,
    duplicates: 1,
  },
]

describe('SIGKILL between the provider’s answer and the save', () => {
  it.each(cases)(
    '$pipeline: $says',
    async ({ pipeline, status = 'completed', outcomes, duplicates = 0, posts, executions }) => {
      await server.control({ ms: 0, cut: 0 })
      const record = await killAt({ point: 'provider.call.after', event: 'a' }, pipeline)
      expectSound(record)
      expect(record.status).toBe(status)
      expect(attemptsOf(record).map(({ outcome }) => outcome)).toEqual(outcomes)
      expect(await witnessed(record)).toEqual({ posts, executions })
      expect(inLedger(record)).toBe(executions)
      expect(attemptsOf(record).filter(({ possibleDuplicate }) => possibleDuplicate)).toHaveLength(duplicates)
      expect(Object.keys(record.charges)).toEqual(status === 'completed' ? ['a'] : [])
      for (const { outcome, spend, evidence, provider } of attemptsOf(record))
        if (outcome === 'uncertain' && evidence?.['sameRunAs'] === undefined && provider === 'paid')
          expect(spend).toMatchObject({ amount: '0.10', basis: 'upper-bound' })
    },
  )
})

describe('a job', () => {
  const deaths: { what: string; stop: Stop }[] = [
    { what: 'after its handle is saved', stop: { point: 'store.save.after', event: 'CALL_ACCEPTED:a' } },
    { what: 'before it is asked for', stop: { point: 'provider.ask.before', event: 'a' } },
    { what: 'after it was asked for, before the result is saved', stop: { point: 'provider.ask.after', event: 'a' } },
  ]
  it.each(deaths)('SIGKILL $what: submitted once, one result', async ({ stop }) => {
    await server.control({ ms: 200, cut: 0 })
    const record = await killAt(stop, 'job')
    expectSound(record)
    expect(record.status).toBe('completed')
    expect(attemptsOf(record)).toMatchObject([
      { outcome: 'succeeded', handle: expect.stringMatching(/^job-/) as string },
    ])
    expect(await witnessed(record)).toEqual({ posts: 1, executions: 1 })
  })

  it('holds no slot while it runs: as many as there are run at once', async () => {
    await server.control({ ms: 3_000, cut: 0 })
    const providers = recoverableProviders(server.url)
    const all = await deployment.node({ providers: { ...providers, job: { ...providers['job']!, slots: 1 } } })
    const ids = await Promise.all(
      Array.from({ length: 12 }, async () => (await deployment.submit(all, 'job', {})).body.id),
    )
    const records = await Promise.all(ids.map((id) => deployment.settled(all, id, 30_000)))
    for (const record of records) expect(record.status).toBe('completed')
    const took = records.map(({ acceptedAt, settledAt }) => Date.parse(settledAt!) - Date.parse(acceptedAt))
    // One after the other they would take 36 s.
    expect(Math.max(...took)).toBeLessThan(15_000)
    await all.kill()
  })

  it('that nobody needs any more is asked to end', async () => {
    await server.control({ ms: 60_000, cut: 0 })
    const worker = await deployment.node({ roles: ['worker'] })
    const { body } = await deployment.submit(api, 'job', {})
    await deployment.until(api, body.id, (record) => attemptsOf(record)[0]?.handle != null)
    await fetch(`${api.url}/test/cancel/${body.id}`)
    const record = await deployment.settled(api, body.id)
    expect(record.status).toBe('cancelled')
    const [key] = attemptsOf(record).map(({ requestKey }) => requestKey)
    await deployment.eventually(async () => (await server.counts(key)).cancels === 1, 'the job to be cancelled')
    await worker.kill()
  })
})
