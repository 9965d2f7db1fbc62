/**
 * The machine is driven by messages, and every way in causes the same one: RECORD_ACCEPTED, byte for byte alike but
 * for the record's id. While nobody takes them, because the consumers are paused or no worker runs, nothing advances,
 * whatever the API and the sweeper do; then everything settles.
 */
import { connect } from 'nats'
import type { NatsConnection } from 'nats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deployment, TestNode } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import { readMany, settleMany } from '../support/many-records.js'
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

const PAUSED_MS = 5 * 60_000
const INPUT = { text: 'x' }

type Message = { subject: string; headers: string[]; data: string }
type Scene = { deployment: Deployment; nc: NatsConnection; seen: Message[] }

/** `brief` has its deadline after a second, so that the sweeper has something to say about it. */
const scene = async (check: (scene: Scene) => Promise<void>) => {
  await provider.control({ reset: true })
  const deployment = await startDeployment({
    providers: { quick: { url: `${provider.url}/quick`, cost: 'free' } },
    pipelines: [
      { name: 'one', steps: [{ name: 'a', use: ['quick'] }] },
      {
        name: 'brief',
        maxWait: '100ms',
        lease: { sendWithin: '100ms', failover: '100ms' },
        steps: [{ name: 'a', use: ['quick'], attempts: 1, deadline: '200ms' }],
      },
    ],
  })
  const nc = await connect({ servers: deployment.natsUrl })
  const seen: Message[] = []
  for (const subject of [`${deployment.prefix}.work.*`, `${deployment.prefix}.timers`])
    nc.subscribe(subject, {
      callback: (_, msg) => seen.push({ subject: msg.subject, headers: msg.headers?.keys() ?? [], data: msg.string() }),
    })
  await nc.flush()
  try {
    await check({ deployment, nc, seen })
  } finally {
    await nc.close()
    await deployment.dispose()
  }
}

/** Each way in, and the record that came of it. */
const WAYS: { [way: string]: (scene: Scene, node: TestNode) => Promise<string> } = {
  'JSON over HTTP': async ({ deployment }, node) => (await deployment.submit(node, 'one', INPUT)).body.id,
  'multipart upload': async (_, node) => {
    const form = new FormData()
    form.set('pipeline', 'one')
    form.set('file', new Blob([JSON.stringify(INPUT)], { type: 'application/json' }), 'input.json')
    const response = await fetch(`${node.url}/v1/uploads`, { method: 'POST', body: form })
    expect(response.status).toBe(202)
    return ((await response.json()) as { id: string }).id
  },
  'NATS request': async ({ deployment, nc }) => {
    const subject = `${deployment.prefix}.submit.local.one`
    const answer = await nc.request(subject, JSON.stringify(INPUT), { timeout: 10_000 })
    return answer.json<{ id: string }>().id
  },
  'JetStream publish': async ({ deployment, nc }) => {
    await nc.jetstream().publish(`${deployment.prefix}.ingest.local.one`, JSON.stringify(INPUT))
    const found = await waitFor(
      () => deployment.db.collection<{ _id: string }>('records').findOne({ via: 'nats-stream' }),
      { what: 'the record of a message on the ingest stream' },
    )
    return found._id
  },
}

const submitAllWays = async (here: Scene, node: TestNode) => {
  const ids: { [way: string]: string } = {}
  for (const [way, submit] of Object.entries(WAYS)) ids[way] = await submit(here, node)
  return ids
}

const about = (seen: readonly Message[], id: string) => seen.filter(({ data }) => data.includes(`"${id}"`))

/** Pauses (JetStream: `pause_until`) or resumes every consumer of the work stream. */
const setPaused = async ({ deployment, nc }: Scene, paused: boolean) => {
  const manager = await nc.jetstreamManager()
  const stream = `${deployment.prefix.toUpperCase()}_WORK`
  const names = await waitFor(
    async () => {
      const found: string[] = []
      for await (const { name } of manager.consumers.list(stream)) found.push(name)
      return found.length === 2 ? found : null
    },
    { what: 'the consumers of the provider and of the timers' },
  )
  for (const name of names)
    if (paused) await manager.consumers.pause(stream, name, new Date(Date.now() + PAUSED_MS))
    else await manager.consumers.resume(stream, name)
}

/** A record whose time comes; resolves when the sweeper has hinted it twice. */
const submitDue = async ({ deployment, seen }: Scene, node: TestNode): Promise<string> => {
  const { body } = await deployment.submit(node, 'brief', INPUT)
  const due = JSON.stringify({ type: 'TIMER_DUE', record: body.id, version: 1 })
  await waitFor(() => seen.filter(({ data }) => data === due).length >= 2, {
    timeoutMs: 30_000,
    what: 'the sweeper to hint a due record twice',
  })
  return body.id
}

const expectUntouched = async ({ deployment }: Scene, node: TestNode, ids: string[]) => {
  for (const record of await readMany(deployment, node, ids)) {
    expect(record.status).toBe('processing')
    expect(record.version).toBe(1)
  }
  expect((await provider.counts()).posts).toBe(0)
}

const expectCompleted = async ({ deployment }: Scene, node: TestNode, ids: string[]) => {
  const records = await settleMany(deployment, node, ids, 30_000)
  for (const record of records) {
    expectSound(record)
    expect(record.status).toBe('completed')
    expect((await provider.counts({ match: record.id })).posts).toBe(1)
  }
}

describe('while the consumers are paused', () => {
  it('every way in has published the same message, and nothing advances; then all settle', () =>
    scene(async (here) => {
      const { deployment, seen } = here
      const api = await deployment.node({ roles: ['api', 'sweeper'] })
      await deployment.node({ roles: ['worker'] })
      await setPaused(here, true)

      const byWay = await submitAllWays(here, api)
      const ids = Object.values(byWay)
      await waitFor(() => ids.every((id) => about(seen, id).length > 0), { what: 'a message about each record' })
      const one = {
        subject: `${deployment.prefix}.work.quick`,
        headers: [],
        data: JSON.stringify({ type: 'RECORD_ACCEPTED', record: 'ID', version: 1 }),
      }
      for (const [way, id] of Object.entries(byWay))
        // The feeder may repeat a hint; it is the same one.
        for (const message of about(seen, id))
          expect({ ...message, data: message.data.replace(id, 'ID') }, way).toEqual(one)

      const brief = await submitDue(here, api)
      await expectUntouched(here, api, [...ids, brief])

      await setPaused(here, false)
      await expectCompleted(here, api, ids)
      expect(['completed', 'investigation']).toContain((await deployment.settled(api, brief)).status)
    }))
})

describe('while no worker runs', () => {
  it('nothing advances; when one comes, all settle', () =>
    scene(async (here) => {
      const { deployment } = here
      const api = await deployment.node({ roles: ['api', 'sweeper'] })
      const ids = Object.values(await submitAllWays(here, api))
      const brief = await submitDue(here, api)
      await expectUntouched(here, api, [...ids, brief])
      await deployment.node({ roles: ['worker'] })
      await expectCompleted(here, api, ids)
      expect(['completed', 'investigation']).toContain((await deployment.settled(api, brief)).status)
    }))
})
