/**
 * P7: the same submission is one record, however many times and by whichever ways it comes, into two processes at
 * once; the same key with other content is refused; and a submission that NATS delivers again is no second record.
 */
import { connect, headers } from 'nats'
import type { JsMsg, MsgHdrs, NatsConnection } from 'nats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deployment, TestNode } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import { waitFor } from '../support/processes.js'
import type { ProviderProcess } from '../support/provider-process.js'
import { startProviderProcess } from '../support/provider-process.js'
import { uniqueName } from '../support/servers.js'

let provider: ProviderProcess
beforeAll(async () => {
  provider = await startProviderProcess()
})
afterAll(async () => {
  await provider.stop()
})

const TIMES = 100
const price = { fixed: '0.40', currency: 'EUR' }

type Answer = {
  id?: string
  duplicate?: boolean
  error?: { code: string; status: number; record?: string }
  submission?: { key: string }
}

/** `key` is the scene's own: a record's id follows from source and key, and the provider counts by id. */
type Scene = { deployment: Deployment; nc: NatsConnection; key: string }

const scene = async (check: (scene: Scene) => Promise<void>) => {
  const deployment = await startDeployment({
    providers: {
      keyed: {
        url: `${provider.url}/keyed`,
        recovery: 'idempotent',
        keyTtl: '7d',
        cost: 'paid',
        spendMax: { amount: '0.10', currency: 'EUR' },
      },
    },
    pipelines: [{ name: 'one', steps: [{ name: 'a', use: ['keyed'], price }] }],
    sources: ['local', 'other'],
  })
  const nc = await connect({ servers: deployment.natsUrl })
  try {
    await check({ deployment, nc, key: uniqueName('k') })
  } finally {
    await nc.close()
    await deployment.dispose()
  }
}

const keyed = (key: string): MsgHdrs => {
  const made = headers()
  made.set('Idempotency-Key', key)
  return made
}
const body = (text: string) => JSON.stringify({ text })

const request = async ({ deployment, nc, key }: Scene, text: string, source = 'local'): Promise<Answer> => {
  const subject = `${deployment.prefix}.submit.${source}.one`
  const answer = await nc.request(subject, body(text), { timeout: 20_000, headers: keyed(key) })
  return answer.json()
}
const publish = async ({ deployment, nc, key }: Scene, text: string, source = 'local') => {
  await nc.jetstream().publish(`${deployment.prefix}.ingest.${source}.one`, body(text), { headers: keyed(key) })
}

/** What the receipts subject has for this key, once there are `count`. */
const receipts = async ({ deployment, nc, key }: Scene, count: number): Promise<Answer[]> => {
  const consumer = await nc
    .jetstream()
    .consumers.get(`${deployment.prefix.toUpperCase()}_RECEIPTS`, { filterSubjects: `${deployment.prefix}.receipts.*` })
  const found: Answer[] = []
  await waitFor(
    async () => {
      const messages = await consumer.fetch({ max_messages: 500, expires: 1_000 })
      for await (const message of messages) take(message)
      return found.length >= count
    },
    { timeoutMs: 40_000, what: () => `${count} receipts for ${key}; there are ${found.length}` },
  )
  return found

  function take(message: JsMsg) {
    const answer = message.json<Answer>()
    if (answer.submission?.key === key) found.push(answer)
  }
}

const countRecords = ({ deployment }: Scene, filter = {}) => deployment.db.collection('records').countDocuments(filter)

const expectOnce = async ({ deployment }: Scene, node: TestNode, id: string) => {
  const record = await deployment.settled(node, id)
  expectSound(record)
  expect(record.status).toBe('completed')
  expect(record.charges).toEqual({ a: expect.objectContaining({ amount: '0.40', currency: 'EUR' }) })
  expect((await provider.counts({ match: id })).posts).toBe(1)
}

describe('the same key', () => {
  it('100 times at once by each of HTTP, request and stream, to two processes: one record, one charge', () =>
    scene(async (here) => {
      const { deployment } = here
      const nodes = await Promise.all([deployment.node(), deployment.node({ roles: ['api'] })])
      const times = Array.from({ length: TIMES }, (_, index) => index)
      const [byHttp, byRequest] = await Promise.all([
        Promise.all(times.map((index) => deployment.submit(nodes[index % 2]!, 'one', { text: 'x' }, here.key))),
        Promise.all(times.map(() => request(here, 'x'))),
        Promise.all(times.map(() => publish(here, 'x'))),
      ])
      const answers: Answer[] = [
        ...byHttp.map(({ body: receipt }) => receipt),
        ...byRequest,
        ...(await receipts(here, TIMES)),
      ]
      expect(answers).toHaveLength(3 * TIMES)
      expect(new Set(byHttp.map(({ status }) => status))).toEqual(new Set([202]))
      expect(new Set(answers.map(({ id }) => id)).size).toBe(1)
      expect(answers.filter(({ duplicate }) => duplicate === false)).toHaveLength(1)
      expect(await countRecords(here)).toBe(1)
      await expectOnce(here, nodes[0], answers[0]!.id!)
    }))

  it('with other content: is refused with the first record’s id, each way, and changes nothing', () =>
    scene(async (here) => {
      const { deployment } = here
      const node = await deployment.node()
      const { body: first } = await deployment.submit(node, 'one', { text: 'x' }, here.key)
      const conflict = { code: 'key-conflict', status: 422, record: first.id }

      const http = await deployment.submit(node, 'one', { text: 'y' }, here.key)
      expect(http.status).toBe(422)
      expect(http.body).toMatchObject(conflict)
      expect((await request(here, 'y')).error).toMatchObject(conflict)
      await publish(here, 'y')
      const [refusal] = await receipts(here, 1)
      expect(refusal!.error).toMatchObject(conflict)

      expect(await countRecords(here)).toBe(1)
      await expectOnce(here, node, first.id)
      const input = await fetch(`${node.url}/v1/records/${first.id}/input`)
      expect(await input.json()).toEqual({ text: 'x' })
    }))

  it('of two sources: is two records, whichever way they come', () =>
    scene(async (here) => {
      const { deployment } = here
      const node = await deployment.node()
      const { body: local } = await deployment.submit(node, 'one', { text: 'x' }, here.key)
      const { body: other } = await deployment.submit(node, 'one', { text: 'x' }, here.key, 'other')
      expect(other.id).not.toBe(local.id)
      expect(await request(here, 'x', 'other')).toMatchObject({ id: other.id, duplicate: true })
      expect(await request(here, 'x')).toMatchObject({ id: local.id, duplicate: true })
      expect(await countRecords(here)).toBe(2)
      for (const [id, source] of [
        [local.id, 'local'],
        [other.id, 'other'],
      ] as const) {
        await expectOnce(here, node, id)
        expect((await deployment.read(node, id)).source).toBe(source)
      }
    }))
})

// The stream waits 15 s before it delivers again: the scenes wait together.
describe.concurrent('SIGKILL of the process that takes a submission from the stream', () => {
  it.each([
    { what: 'after the insert', point: 'store.insert.after' as const, records: 1 },
    { what: 'before the insert', point: 'store.insert.before' as const, records: 0 },
  ])('$what: NATS delivers it again, and it is one record with one charge', ({ point, records }) =>
    scene(async (here) => {
      const { deployment } = here
      const doomed = await deployment.node({ roles: ['api'], stop: { point } })
      await publish(here, 'x')
      await doomed.line(/^REACHED /)
      await doomed.kill()
      expect(await countRecords(here)).toBe(records)
      const node = await deployment.node()
      const [receipt] = await receipts(here, 1)
      expect(receipt).toMatchObject({ duplicate: records === 1 })
      expect(await countRecords(here)).toBe(1)
      await expectOnce(here, node, receipt!.id!)
    }),
  )

  it('without a key of its own, after the insert: its place in the stream is its key', () =>
    scene(async (here) => {
      const { deployment, nc } = here
      const doomed = await deployment.node({ roles: ['api'], stop: { point: 'store.insert.after' } })
      await nc.jetstream().publish(`${deployment.prefix}.ingest.local.one`, body('x'))
      await doomed.line(/^REACHED /)
      await doomed.kill()
      const node = await deployment.node()
      const [doc] = await deployment.db.collection<{ _id: string; key: string }>('records').find().toArray()
      const [receipt] = await receipts({ ...here, key: doc!.key }, 1)
      expect(receipt).toMatchObject({ id: doc!._id, duplicate: true })
      expect(await countRecords(here)).toBe(1)
      await expectOnce(here, node, doc!._id)
    }))
})
