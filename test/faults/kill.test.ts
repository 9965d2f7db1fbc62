/**
 * A worker process stops at a faultpoint and gets SIGKILL there; another one, and time, bring the record to its end:
 * one charge, one result, and no call that the ledger doesn't know (P2 to P6).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deployment, RecordJson, Stop } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import type { ProviderProcess, ProviderRule } from '../support/provider-process.js'
import { startProviderProcess } from '../support/provider-process.js'

let provider: ProviderProcess
beforeAll(async () => {
  provider = await startProviderProcess()
})
afterAll(async () => {
  await provider.stop()
})

const price = { fixed: '0.40', currency: 'EUR' }

const deploy = () =>
  startDeployment({
    providers: {
      keyed: {
        url: `${provider.url}/keyed`,
        recovery: 'idempotent',
        keyTtl: '7d',
        cost: 'paid',
        spendMax: { amount: '0.10', currency: 'EUR' },
      },
    },
    pipelines: [
      { name: 'one', steps: [{ name: 'a', use: ['keyed'], price, onUncertain: 'investigate' }] },
      {
        name: 'two',
        steps: [
          { name: 'a', use: ['keyed'], price },
          { name: 'b', use: ['keyed'], price },
        ],
      },
    ],
  })

/** Submits one record, kills the worker at `stop`, starts another one, and waits for the end. */
const killAt = async (deployment: Deployment, stop: Stop, pipeline: string): Promise<RecordJson> => {
  const api = await deployment.node({ roles: ['api', 'sweeper'] })
  const doomed = await deployment.node({ roles: ['worker'], stop })
  const { body } = await deployment.submit(api, pipeline, { text: 'x' })
  await doomed.line(/^REACHED /, { timeoutMs: 20_000 })
  await doomed.kill()
  await deployment.node({ roles: ['worker'] })
  return deployment.settled(api, body.id, 40_000)
}

const keysOf = (record: RecordJson, step: string) => [
  ...new Set(record.steps[step]!.attempts.map(({ requestKey }) => requestKey)),
]
const outcomesOf = (record: RecordJson, step: string) => record.steps[step]!.attempts.map(({ outcome }) => outcome)

const inDeployment = async (check: (deployment: Deployment) => Promise<void>) => {
  const deployment = await deploy()
  try {
    await check(deployment)
  } finally {
    await deployment.dispose()
  }
}

/** Where the worker dies, the state it leaves, and how often the provider may have been asked. */
const deaths: { what: string; stop: Stop; outcomes: string[]; posts: number | number[]; rule?: ProviderRule }[] = [
  { what: 'with a hint in hand (ready)', stop: { point: 'store.load.before' }, outcomes: ['succeeded'], posts: 1 },
  {
    what: 'before the intent is saved (ready)',
    stop: { point: 'store.save.before', event: 'ATTEMPT_STARTED:a' },
    outcomes: ['succeeded'],
    posts: 1,
  },
  {
    what: 'after the intent is saved (calling)',
    stop: { point: 'store.save.after', event: 'ATTEMPT_STARTED:a' },
    outcomes: ['uncertain', 'succeeded'],
    posts: 1,
  },
  {
    what: 'after the save, before the ack (calling)',
    stop: { point: 'bus.ack.before' },
    // The ack holds nobody up: the call may be on its way when the worker dies.
    rule: { mode: 'delay', ms: 1_500, times: 1 },
    outcomes: ['uncertain', 'succeeded'],
    posts: [1, 2],
  },
  {
    what: 'before the call (calling)',
    stop: { point: 'provider.call.before' },
    outcomes: ['uncertain', 'succeeded'],
    posts: 1,
  },
  {
    what: 'between the provider’s answer and the save (calling)',
    stop: { point: 'provider.call.after' },
    outcomes: ['uncertain', 'succeeded'],
    posts: 2,
  },
  {
    what: 'with the answer decided and not saved (calling)',
    stop: { point: 'store.save.before', event: 'CALL_SUCCEEDED:a' },
    outcomes: ['uncertain', 'succeeded'],
    posts: 2,
  },
  {
    what: 'after the answer is saved (completed)',
    stop: { point: 'store.save.after', event: 'CALL_SUCCEEDED:a' },
    outcomes: ['succeeded'],
    posts: 1,
  },
  {
    what: 'when the call’s end is unknown (uncertain)',
    stop: { point: 'store.save.after', event: 'CALL_UNCERTAIN:a' },
    rule: { mode: 'cut-before-reply', times: 1 },
    outcomes: ['uncertain', 'succeeded'],
    posts: 2,
  },
  {
    what: 'between two tries (backoff)',
    stop: { point: 'store.save.after', event: 'CALL_FAILED:a' },
    rule: { mode: 'status', status: 429, times: 1 },
    outcomes: ['failed', 'succeeded'],
    posts: 2,
  },
]

describe('SIGKILL of the worker in a one-step record: one charge, one result', () => {
  it.each(deaths)('$what', ({ stop, outcomes, posts, rule }) =>
    inDeployment(async (deployment) => {
      await provider.control({ reset: true })
      if (rule) await provider.control(rule)
      const record = await killAt(deployment, stop, 'one')
      expectSound(record)
      expect(record.status).toBe('completed')
      expect(record.charges).toEqual({ a: expect.objectContaining({ amount: '0.40', currency: 'EUR' }) })
      expect(outcomesOf(record, 'a')).toEqual(outcomes)
      // An uncertain call is repeated under its own key; a refused one has not used its key up.
      expect(keysOf(record, 'a').length).toBe(1)
      expect([posts].flat()).toContain((await provider.counts({ match: record.id })).posts)
    }),
  )
})

describe('SIGKILL in the gap of a fused save', () => {
  it('after the first result and the second intent are saved together: the first step is never called again', () =>
    inDeployment(async (deployment) => {
      await provider.control({ reset: true })
      const record = await killAt(deployment, { point: 'store.save.after', event: 'ATTEMPT_STARTED:b' }, 'two')
      expectSound(record)
      expect(record.status).toBe('completed')
      expect(outcomesOf(record, 'a')).toEqual(['succeeded'])
      expect(outcomesOf(record, 'b')).toEqual(['uncertain', 'succeeded'])
      expect(Object.keys(record.charges).sort()).toEqual(['a', 'b'])
      expect((await provider.counts({ key: keysOf(record, 'a')[0]! })).posts).toBe(1)
      expect((await provider.counts({ key: keysOf(record, 'b')[0]! })).posts).toBe(1)
    }))
})
