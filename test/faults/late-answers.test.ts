/**
 * Workers that are held, frozen or raced: an answer that comes late never overwrites, is never lost, and never leads to
 * a second charge; a worker that slept past its time to send does not send (P3, P4, P5).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deployment, RecordJson, Stop, TestNode } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
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
const paid = { cost: 'paid' as const, spendMax: { amount: '0.10', currency: 'EUR' } }

/** `patient` waits 6 s in doubt before it would call again; `strict` gives up to a person after 1 s. */
const deploy = () =>
  startDeployment({
    providers: {
      keyed: { url: `${provider.url}/keyed`, recovery: 'idempotent', keyTtl: '7d', ...paid },
      slow: { url: `${provider.url}/slow`, recovery: 'blind', longestRun: '6s', ...paid },
      quick: { url: `${provider.url}/quick`, recovery: 'blind', longestRun: '1s', ...paid },
    },
    pipelines: [
      { name: 'keyed', steps: [{ name: 'a', use: ['keyed'], price }] },
      { name: 'patient', steps: [{ name: 'a', use: ['slow'], price, onUncertain: { retry: { duplicateBudget: 1 } } }] },
      { name: 'strict', steps: [{ name: 'a', use: ['quick'], price, onUncertain: 'investigate' }] },
    ],
  })

type Scene = { deployment: Deployment; api: TestNode; held: TestNode; id: string }

/** One record whose worker is held at `stop`; no other worker runs yet. */
const holdAt = async (stop: Stop, pipeline: string, check: (scene: Scene) => Promise<void>) => {
  await provider.control({ reset: true })
  const deployment = await deploy()
  try {
    const api = await deployment.node({ roles: ['api', 'sweeper'] })
    const held = await deployment.node({ roles: ['worker'], stop })
    const { body } = await deployment.submit(api, pipeline, { text: 'x' })
    await held.line(/^REACHED /, { timeoutMs: 20_000 })
    await check({ deployment, api, held, id: body.id })
  } finally {
    await deployment.dispose()
  }
}

const until = async ({ deployment, api, held, id }: Scene, what: string, holds: (record: RecordJson) => boolean) => {
  let record = await deployment.read(api, id)
  await waitFor(
    async () => {
      record = await deployment.read(api, id)
      return holds(record)
    },
    {
      timeoutMs: 30_000,
      what: () =>
        `${what}; the record is ${JSON.stringify(record)}; the held worker says ${held.errorLines.slice(-20).join('\n')}`,
    },
  )
  return record
}

/** The answer is in hand, its save is held up. */
const answer: Stop = { point: 'store.save.before', event: 'CALL_SUCCEEDED:a' }
const only = (record: RecordJson) => record.steps['a']!
const outcomes = (record: RecordJson) => only(record).attempts.map(({ outcome }) => outcome)

describe('an answer that comes late', () => {
  it('after its lease, in doubt: becomes the result, and nobody calls again', () =>
    holdAt(answer, 'patient', async (scene) => {
      await scene.deployment.node({ roles: ['worker'] })
      await until(scene, 'the lease to run out', ({ state }) => JSON.stringify(state) === '{"a":"uncertain"}')
      scene.held.signal('SIGUSR2')
      const record = await scene.deployment.settled(scene.api, scene.id)
      expectSound(record)
      expect(record.status).toBe('completed')
      expect(outcomes(record)).toEqual(['succeeded'])
      expect((await provider.counts({ match: scene.id })).posts).toBe(1)
    }))

  it('after the retry’s answer: is kept as discarded, with its spend, and charges nothing', () =>
    holdAt(answer, 'keyed', async (scene) => {
      await scene.deployment.node({ roles: ['worker'] })
      const before = await scene.deployment.settled(scene.api, scene.id)
      expect(outcomes(before)).toEqual(['uncertain', 'succeeded'])
      scene.held.signal('SIGUSR2')
      const record = await until(scene, 'the late answer to be kept', ({ version }) => version > before.version)
      expectSound(record)
      expect(only(record).result).toEqual(only(before).result)
      expect(only(record).discarded).toHaveLength(1)
      expect(outcomes(record)).toEqual(['succeeded', 'succeeded'])
      expect(record.charges).toEqual(before.charges)
    }))

  it('after cancel: is kept as discarded, and charges nothing', () =>
    holdAt(answer, 'keyed', async (scene) => {
      await fetch(`${scene.api.url}/test/cancel/${scene.id}`, { method: 'POST' })
      const before = await scene.deployment.settled(scene.api, scene.id)
      expect(before.status).toBe('cancelled')
      expect(outcomes(before)).toEqual(['uncertain'])
      scene.held.signal('SIGUSR2')
      const record = await until(scene, 'the late answer to be kept', ({ version }) => version > before.version)
      expect(record.status).toBe('cancelled')
      expect(only(record).discarded).toHaveLength(1)
      expect(record.charges).toEqual({})
    }))

  it('after investigation: waits there as a candidate for a person', () =>
    holdAt(answer, 'strict', async (scene) => {
      await scene.deployment.node({ roles: ['worker'] })
      const before = await scene.deployment.settled(scene.api, scene.id)
      expect(before.status).toBe('investigation')
      expect(before.reason?.code).toBe('outcome-uncertain')
      scene.held.signal('SIGUSR2')
      const record = await until(scene, 'the late answer to be kept', ({ version }) => version > before.version)
      expect(record.status).toBe('investigation')
      expect(only(record).result).toBeNull()
      expect(only(record)).toMatchObject({ candidate: { attempt: 1 }, discarded: [] })
      expect(record.charges).toEqual({})
      expect((await provider.counts({ match: scene.id })).posts).toBe(1)
    }))
})

describe('a worker that freezes', () => {
  it('between its intent and the call, past its lease: thaws and does not send', () =>
    holdAt({ point: 'store.save.after', event: 'ATTEMPT_STARTED:a' }, 'keyed', async (scene) => {
      scene.held.signal('SIGSTOP')
      await scene.deployment.node({ roles: ['worker'] })
      const before = await scene.deployment.settled(scene.api, scene.id)
      expect(outcomes(before)).toEqual(['uncertain', 'succeeded'])
      scene.held.signal('SIGCONT')
      scene.held.signal('SIGUSR2')
      const record = await until(scene, 'the thawed worker to say so', ({ version }) => version > before.version)
      expectSound(record)
      expect(only(record).attempts[0]).toMatchObject({ outcome: 'failed', error: { code: 'not-sent' } })
      expect((await provider.counts({ match: scene.id })).posts).toBe(1)
    }))
})

describe('two workers with one hint', () => {
  it('make one call: the version decides', async () => {
    await provider.control({ reset: true })
    const deployment = await deploy()
    try {
      const api = await deployment.node({ roles: ['api', 'sweeper'] })
      const stop: Stop = { point: 'store.save.before', event: 'ATTEMPT_STARTED:a' }
      const first = await deployment.node({ roles: ['worker'], stop })
      const { body } = await deployment.submit(api, 'keyed', { text: 'x' })
      await first.line(/^REACHED /)
      // The hint comes again, to another worker, which decides the same; then the first goes on.
      await deployment.node({ roles: ['worker'] })
      const record = await deployment.settled(api, body.id)
      first.signal('SIGUSR2')
      await waitFor(async () => (await provider.counts({ match: body.id })).posts >= 1, {
        timeoutMs: 5_000,
        what: 'the call',
      })
      expectSound(record)
      expect(outcomes(record)).toEqual(['succeeded'])
      const later = await deployment.submit(api, 'keyed', { text: 'y' })
      await deployment.settled(api, later.body.id)
      expect(await deployment.read(api, body.id)).toEqual(record)
      expect((await provider.counts({ match: body.id })).posts).toBe(1)
    } finally {
      await deployment.dispose()
    }
  })
})
