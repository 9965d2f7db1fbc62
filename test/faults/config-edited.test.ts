/**
 * The config is edited while records run, and every process restarts with the new one. Records move to the new version
 * in whatever state they are; those that can't go to a person with the reason. Nothing that has its result is called
 * again, and a charge that is written stays as it is, under its key (P2, P3, P5).
 */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Deployment, RecordJson, TestNode, TestPipeline } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import { readMany, settleMany, submitMany } from '../support/many-records.js'
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

// Leases and doubts have to pass.
vi.setConfig({ testTimeout: 150_000 })

const CARRY_OVER_MS = 500
/** Calls that hang take all slots of `second`, so that whoever comes later waits in `ready`. */
const SLOTS = 10
const eur = (fixed: string) => ({ fixed, currency: 'EUR' })

type Step = TestPipeline['steps'][number]
const step = (name: string, use: string, price: string, more: Partial<Step> = {}): Step => ({
  name,
  use: [use],
  price: eur(price),
  deadline: '12s',
  attempts: 3,
  backoff: { initial: '1s', max: '15s' },
  onUncertain: { retry: { duplicateBudget: 1 } },
  ...more,
})
const flow = (...steps: Step[]): TestPipeline => ({ name: 'flow', steps })
const twoSteps = flow(step('a', 'first', '0.20'), step('b', 'second', '0.40'))

/** How step b of a record goes: its first step's answer carries the word, and the provider acts on it. */
// Two lost answers are no reason to take the provider for down.
const KINDS = { backoff: 18, uncertain: 2, calling: SLOTS, ready: 15 }
type Kind = keyof typeof KINDS

/** A certain failure that asks for a pause of its own call alone; a refusal with Retry-After would pause the provider. */
const BUSY = { mode: 'status', status: 500, headers: { 'retry-after': '12' } } as const

const order = async () => {
  await provider.control({ reset: true })
  for (const kind of Object.keys(KINDS))
    await provider.control({ mode: 'answer', body: { kind }, match: `"kind":"${kind}"` })
  const inStepB = (kind: Kind) => `"a":{"kind":"${kind}"}`
  await provider.control({ ...BUSY, match: inStepB('backoff'), times: KINDS.backoff })
  await provider.control({ mode: 'cut-before-reply', match: inStepB('uncertain'), times: KINDS.uncertain })
  await provider.control({ mode: 'hang', match: inStepB('calling'), times: KINDS.calling })
}

const deploy = (pipelines: TestPipeline[]) => {
  const blind = {
    executed: [500],
    cost: 'paid' as const,
    longestRun: '12s',
    spendMax: { amount: '0.10', currency: 'EUR' },
  }
  return startDeployment({
    providers: {
      first: { url: `${provider.url}/first`, slots: 20, ...blind },
      second: { url: `${provider.url}/second`, slots: SLOTS, ...blind },
    },
    pipelines,
  })
}

const ofKind = (kind: Kind) => Array.from({ length: KINDS[kind] }, (_, index) => ({ index, kind }))
const stands = (deployment: Deployment, node: TestNode, ids: string[], where: (record: RecordJson) => boolean) =>
  waitFor(async () => (await readMany(deployment, node, ids)).every(where), {
    timeoutMs: 20_000,
    what: 'every record to stand where it should be interrupted',
  })
const stateIs = (kind: Kind) => (record: RecordJson) => JSON.stringify(record.state) === `{"b":"${kind}"}`

type Running = { deployment: Deployment; ids: { [kind in Kind]: string[] } }

/** Submits `KINDS` and waits until step b of each record stands where its kind says; then everything is killed. */
const interrupt = async (deployment: Deployment): Promise<Running> => {
  await order()
  const node = await deployment.node()
  const ids = { backoff: [], uncertain: [], calling: [], ready: [] } as Running['ids']
  const submit = async (kind: Kind) => void (ids[kind] = await submitMany(deployment, node, 'flow', ofKind(kind)))
  const stand = async (kinds: Kind[]) => {
    for (const kind of kinds) await stands(deployment, node, ids[kind], stateIs(kind))
  }
  await Promise.all([submit('backoff'), submit('uncertain')])
  await stand(['backoff', 'uncertain'])
  await submit('calling')
  await stand(['calling'])
  await submit('ready')
  await stand(['ready'])
  await stand(['backoff', 'uncertain', 'calling', 'ready'])
  await node.kill()
  return { deployment, ids }
}

const restart = ({ deployment }: Running, pipelines: TestPipeline[]): Promise<TestNode> =>
  deployment.node({ pipelines, carryOverAfterMs: CARRY_OVER_MS })

const postsOf = async (record: RecordJson, name: string) =>
  (await provider.counts({ match: `${record.id}.${name}.` })).posts
const amounts = (record: RecordJson) =>
  Object.fromEntries(Object.entries(record.charges).map(([key, { amount }]) => [key, amount]))

const eventsOf = async (node: TestNode, { id }: RecordJson): Promise<string[]> => {
  const response = await fetch(`${node.url}/v1/records/${id}/history`)
  const { items } = (await response.json()) as { items: { event: { type: string } }[] }
  return items.map(({ event }) => event.type)
}

const versionNow = async (node: TestNode, name: string): Promise<string> => {
  const response = await fetch(`${node.url}/v1/pipelines`)
  const { items } = (await response.json()) as { items: { name: string; version: string }[] }
  return items.find((pipeline) => pipeline.name === name)!.version
}

/** What was paid for before stays: step a was called once, has its result, and its charge is the old one. */
const expectFirstStepKept = async (record: RecordJson) => {
  expect(await postsOf(record, 'a')).toBe(1)
  expect(record.steps['a']!.result?.attempt).toBe(1)
  expect(record.charges['a']).toMatchObject({ amount: '0.20', currency: 'EUR' })
}

describe('deadline, attempts and prices are edited while 50 records run', () => {
  it('all settle under the new version; no result is called again, written charges stay', async () => {
    const deployment = await deploy([twoSteps])
    try {
      const running = await interrupt(deployment)
      // Five more are accepted under the old version and begin under the new one.
      const api = await deployment.node({ roles: ['api'] })
      const fresh = await submitMany(
        deployment,
        api,
        'flow',
        Array.from({ length: 5 }, (_, index) => ({ index })),
      )
      await api.kill()

      const edited = flow(
        step('a', 'first', '0.30', { attempts: 2 }),
        step('b', 'second', '0.55', { deadline: '5s', attempts: 2 }),
      )
      const node = await restart(running, [edited])
      const version = await versionNow(node, 'flow')
      const calls = { backoff: 2, uncertain: 2, calling: 2, ready: 1 }
      for (const kind of Object.keys(calls) as Kind[])
        for (const record of await settleMany(deployment, node, running.ids[kind], 60_000)) {
          expectSound(record)
          expect(record.status, kind).toBe('completed')
          expect(record.pipelineVersion).toBe(version)
          await expectFirstStepKept(record)
          expect(amounts(record)).toEqual({ a: '0.20', b: '0.55' })
          expect(await postsOf(record, 'b'), kind).toBe(calls[kind])
          const moves = (await eventsOf(node, record)).filter((type) => type === 'PIPELINE_CHANGED')
          expect(moves).toHaveLength(1)
        }
      for (const record of await settleMany(deployment, node, fresh, 30_000)) {
        expectSound(record)
        expect(record.status).toBe('completed')
        expect(amounts(record)).toEqual({ a: '0.30', b: '0.55' })
        expect([await postsOf(record, 'a'), await postsOf(record, 'b')]).toEqual([1, 1])
      }
    } finally {
      await deployment.dispose()
    }
  })
})

describe('a step is removed', () => {
  const c = step('c', 'first', '0.10')
  const REMOVED = 4
  const many = (kind: string) => Array.from({ length: REMOVED }, (_, index) => ({ index, kind }))

  it('records before and past it go on; those in it go to a person, with what they have', async () => {
    const deployment = await deploy([flow(...twoSteps.steps, c)])
    try {
      await order()
      await provider.control({ mode: 'answer', body: { kind: 'past' }, match: '"kind":"past"' })
      await provider.control({ ...BUSY, match: '"b":{"kind":"past"}', times: REMOVED })
      const node = await deployment.node()
      const kinds = { past: { c: 'backoff' }, calling: { b: 'calling' }, backoff: { b: 'backoff' } }
      const ids: { [kind: string]: string[] } = {}
      for (const [kind, state] of Object.entries(kinds)) {
        ids[kind] = await submitMany(deployment, node, 'flow', many(kind))
        await stands(deployment, node, ids[kind], (record) => JSON.stringify(record.state) === JSON.stringify(state))
      }
      await node.kill()
      const api = await deployment.node({ roles: ['api'], pipelines: [flow(...twoSteps.steps, c)] })
      const fresh = await submitMany(deployment, api, 'flow', many('fresh'))
      await api.kill()

      const after = await deployment.node({
        pipelines: [flow(twoSteps.steps[0]!, c)],
        carryOverAfterMs: CARRY_OVER_MS,
      })
      for (const record of await settleMany(deployment, after, [...ids['calling']!, ...ids['backoff']!], 30_000)) {
        expectSound(record)
        expect(record.status).toBe('investigation')
        expect(record.reason?.code).toBe('pipeline-unknown')
        expect(record.reason?.message).toMatch(/State "b\.(calling|backoff)" does not exist/)
        await expectFirstStepKept(record)
        expect(amounts(record)).toEqual({ a: '0.20' })
      }
      for (const record of await settleMany(deployment, after, ids['past']!, 30_000)) {
        expectSound(record)
        expect(record.status).toBe('completed')
        await expectFirstStepKept(record)
        // The step that is gone has its result and its charge, and is not called again.
        expect(record.steps['b']!.result?.output).toEqual({ kind: 'past' })
        expect(amounts(record)).toEqual({ a: '0.20', b: '0.40', c: '0.10' })
        expect([await postsOf(record, 'b'), await postsOf(record, 'c')]).toEqual([1, 2])
      }
      for (const record of await settleMany(deployment, after, fresh, 30_000)) {
        expect(record.status).toBe('completed')
        expect(amounts(record)).toEqual({ a: '0.20', c: '0.10' })
        expect(await postsOf(record, 'b')).toBe(0)
      }
    } finally {
      await deployment.dispose()
    }
  })
})

describe('the pipeline is renamed', () => {
  it('its records go to a person, in whatever state they were, with the reason and all that is known', async () => {
    const deployment = await deploy([twoSteps])
    try {
      const running = await interrupt(deployment)
      const node = await restart(running, [{ ...twoSteps, name: 'river' }])
      const open = { backoff: 'failed', uncertain: 'uncertain', calling: 'uncertain', ready: undefined }
      for (const kind of Object.keys(KINDS) as Kind[])
        for (const record of await settleMany(deployment, node, running.ids[kind], 30_000)) {
          expectSound(record)
          expect(record.status, kind).toBe('investigation')
          expect(record.reason).toMatchObject({ code: 'pipeline-unknown' })
          expect(record.reason?.message).toContain(record.pipelineVersion)
          expect(record.reason?.message).toContain('No pipeline is called "flow" any more.')
          await expectFirstStepKept(record)
          expect(amounts(record)).toEqual({ a: '0.20' })
          const last = record.steps['b']!.attempts.at(-1)
          expect(last?.outcome, kind).toBe(open[kind])
          // A call that may have run is booked with its upper bound.
          if (last?.outcome === 'uncertain') expect(last.spend).toMatchObject({ amount: '0.10', basis: 'upper-bound' })
          expect(await postsOf(record, 'b')).toBe(kind === 'ready' ? 0 : 1)
        }
      // The service itself goes on.
      const { body } = await deployment.submit(node, 'river', { index: 1 })
      expect((await deployment.settled(node, body.id)).status).toBe('completed')
    } finally {
      await deployment.dispose()
    }
  })
})

describe('two versions run side by side', () => {
  it('each record settles under the version it was accepted with', async () => {
    await provider.control({ reset: true })
    const deployment = await deploy([twoSteps])
    try {
      const before = await deployment.node()
      const edited = flow(step('a', 'first', '0.30'), step('b', 'second', '0.55'))
      const after = await deployment.node({ pipelines: [edited], carryOverAfterMs: CARRY_OVER_MS })
      const inputs = Array.from({ length: 10 }, (_, index) => ({ index }))
      const ids = await Promise.all([before, after].map((node) => submitMany(deployment, node, 'flow', inputs)))
      const expected = [
        [before, { a: '0.20', b: '0.40' }],
        [after, { a: '0.30', b: '0.55' }],
      ] as const
      for (const [at, [node, owed]] of expected.entries()) {
        const version = await versionNow(node, 'flow')
        for (const record of await settleMany(deployment, before, ids[at]!, 40_000)) {
          expectSound(record)
          expect(record.status).toBe('completed')
          expect(record.pipelineVersion).toBe(version)
          expect(amounts(record)).toEqual(owed)
        }
      }
    } finally {
      await deployment.dispose()
    }
  })
})
