/**
 * A provider tells of a job's end: verified on the raw bytes, taken once, answered after the save; and when it is not
 * heard, the job is polled all the same.
 */
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Deployment, RecordJson, Stop, TestNode } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import type { RecoverableProcess } from '../support/recoverable-process.js'
import { recoverableProviders, startRecoverable } from '../support/recoverable-process.js'
import { WEBHOOK_SECRET } from '../support/webhook-secret.mjs'

let server: RecoverableProcess
let deployment: Deployment
beforeAll(async () => {
  server = await startRecoverable()
  const job = recoverableProviders(server.url)['job']!
  const jobOf = job['job'] as { poll: object }
  deployment = await startDeployment({
    // News comes long before the first poll.
    providers: { job: { ...job, longestRun: '10m', job: { ...jobOf, poll: { ...jobOf.poll, every: '10s' } } } },
    pipelines: [{ name: 'job', steps: [{ name: 'a', use: ['job'], price: { fixed: '0.40', currency: 'EUR' } }] }],
  })
})
afterAll(async () => {
  await deployment.dispose()
  await server.stop()
})
beforeEach(() => server.control({ ms: 2_000, cut: 0, webhooks: 1, tamper: false }))

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const probe = createServer()
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
  })

/** API and worker in processes of their own, reachable by the provider. */
const nodes = async (stop?: Stop): Promise<{ api: TestNode; worker: TestNode }> => {
  const port = await freePort()
  const shared = { publicUrl: `http://127.0.0.1:${port}`, secrets: { WEBHOOK_SECRET } }
  const api = await deployment.node({ ...shared, port, roles: ['api', 'sweeper'], ...(stop && { stop }) })
  const worker = await deployment.node({ ...shared, roles: ['worker'] })
  return { api, worker }
}

const toldOf = async (record: RecordJson): Promise<number[]> => {
  const { handle } = record.steps['a']!.attempts[0]!
  return (await server.job(handle!)).told
}

const historyOf = async (api: TestNode, id: string) => {
  const response = await fetch(`${api.url}/v1/records/${id}/history`)
  return ((await response.json()) as { items: { by: string; event: { type: string } }[] }).items
}

const oneRun = async (record: RecordJson) => {
  expectSound(record)
  expect(record.status).toBe('completed')
  const [attempt] = record.steps['a']!.attempts
  expect(await server.counts(attempt!.requestKey)).toMatchObject({ posts: 1, executions: 1 })
  expect(Object.keys(record.charges)).toEqual(['a'])
}

describe('a webhook', () => {
  it('ends the job, once, however often it is delivered; each delivery hears 200', async () => {
    await server.control({ webhooks: 3 })
    const { api, worker } = await nodes()
    const { body } = await deployment.submit(api, 'job', {})
    const record = await deployment.settled(api, body.id)
    await deployment.eventually(async () => (await toldOf(record)).length === 3, 'three deliveries')
    await oneRun(record)
    expect(await toldOf(record)).toEqual([200, 200, 200])
    const results = (await historyOf(api, body.id)).filter(({ event }) => event.type === 'CALL_SUCCEEDED')
    expect(results.map(({ by }) => by)).toEqual(['webhook:answer'])
    await Promise.all([api.kill(), worker.kill()])
  })

  it('with a body that was changed after signing is refused, and the job is polled', async () => {
    await server.control({ tamper: true })
    const { api, worker } = await nodes()
    const { body } = await deployment.submit(api, 'job', {})
    const record = await deployment.settled(api, body.id)
    await oneRun(record)
    expect(await toldOf(record)).toEqual([401])
    await Promise.all([api.kill(), worker.kill()])
  })

  it('whose taker is killed before the save hears no 2xx, and the job is polled', async () => {
    const { api, worker } = await nodes({ point: 'store.save.before', event: 'CALL_SUCCEEDED:a' })
    const { body } = await deployment.submit(api, 'job', {})
    await api.line(/^REACHED /, { timeoutMs: 20_000 })
    await api.kill()
    const heir = await deployment.node({ roles: ['api', 'sweeper'] })
    const record = await deployment.settled(heir, body.id)
    await oneRun(record)
    await deployment.eventually(async () => (await toldOf(record)).length === 1, 'the delivery to end')
    expect(await toldOf(record)).toEqual([0])
    await Promise.all([heir.kill(), worker.kill()])
  })

  it('about a call that there is not, or with a token that is not ours, is refused and changes nothing', async () => {
    const { api, worker } = await nodes()
    const deliver = (path: string) => fetch(`${api.url}/v1/webhooks/${path}`, { method: 'POST', body: '{}' })
    const codeOf = async (path: string) => {
      const response = await deliver(path)
      return [response.status, ((await response.json()) as { code: string }).code]
    }
    expect(await codeOf('job?call=e30.AAAA')).toEqual([404, 'unknown-call'])
    expect(await codeOf('job')).toEqual([401, 'webhook-refused'])
    expect(await codeOf('nobody?call=e30.AAAA')).toEqual([404, 'unknown-provider'])
    await Promise.all([api.kill(), worker.kill()])
  })
})
