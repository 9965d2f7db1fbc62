/**
 * A machine written by hand, on real servers: a guard over an output chooses the way, a person's event moves it on, and
 * what its state does not take is refused.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { MongoClient } from 'mongodb'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { createEndstate, endstate, http } from '../../src/index.js'
import type { EndstateInstance } from '../../src/index.js'
import type { Listening } from '../../src/server/listen.js'
import { listen } from '../../src/server/listen.js'
import { waitFor } from '../support/processes.js'
import type { ProviderProcess } from '../support/provider-process.js'
import { startProviderProcess } from '../support/provider-process.js'
import type { FreshDb, FreshNats } from '../support/servers.js'
import { freshDb, freshNats } from '../support/servers.js'

const Triage = z.object({ urgent: z.boolean() })
let provider: ProviderProcess
let db: FreshDb
let nats: FreshNats
let instance: EndstateInstance
let listening: Listening

const configOf = (url: string) => {
  const es = endstate({ providers: { model: http({ url, cost: 'free', slots: 4 }) } })
  const machine = es.machine('reviewed', {
    revision: 1,
    accepts: ['application/json'],
    steps: (chain) => chain.step('triage', { use: ['model'], output: Triage, deadline: '5s' }),
  })
  const source = machine
    .setup({ guards: { isUrgent: ({ triage }) => triage?.urgent === true }, delays: { patience: '1h' } })
    .createMachine({
      initial: 'triage',
      states: {
        triage: machine.step('triage', { done: [{ guard: 'isUrgent', target: 'completed' }, { target: 'review' }] }),
        review: {
          description: 'Waits for a person.',
          on: { APPROVED: 'completed', DECLINED: 'rejected' },
          after: { patience: 'investigation' },
        },
        ...machine.settled,
      },
    })
  return es.config({ pipelines: [source] })
}

beforeAll(async () => {
  provider = await startProviderProcess()
  db = await freshDb()
  nats = await freshNats()
  instance = await createEndstate(configOf(provider.url), {
    mongo: db.client as MongoClient,
    database: db.db.databaseName,
    nats: nats.connection,
    roles: ['api', 'worker', 'sweeper'],
    prefix: nats.prefix,
    secrets: () => undefined,
  })
  await instance.start()
  listening = await listen((req: IncomingMessage, res: ServerResponse) => instance.handler(req, res), {
    host: '127.0.0.1',
    port: 0,
  })
})
afterAll(async () => {
  await listening.close({ graceMs: 500 })
  await instance.close()
  await Promise.all([db.dispose(), nats.dispose(), provider.stop()])
})

const post = async (path: string, body: unknown) => {
  const response = await fetch(listening.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return {
    status: response.status,
    body: (await response.json()) as { id: string; status: string; state: unknown; code?: string },
  }
}

const submit = async (urgent: boolean) => {
  await provider.control({ mode: 'answer', body: { urgent } })
  return (await post('/v1/records', { pipeline: 'reviewed', input: {} })).body.id
}

const until = (id: string, state: string) =>
  waitFor(
    async () => {
      const doc = await instance.records.get(id)
      return (doc?.snapshot as { value: unknown } | undefined)?.value === state
    },
    { timeoutMs: 20_000, what: `record ${id} to reach ${state}` },
  )

it('completes at once where the guard over the output says so', async () => {
  await until(await submit(true), 'completed')
})

it('waits for a person where it does not, and goes on by the event', async () => {
  const id = await submit(false)
  await until(id, 'review')
  expect(await post(`/v1/records/${id}/events`, { name: 'CONFIRMED' })).toMatchObject({
    status: 409,
    body: { code: 'event-not-accepted' },
  })
  expect(await post(`/v1/records/${id}/events`, { name: 'CANCEL' })).toMatchObject({ status: 400 })
  const after = await post(`/v1/records/${id}/events`, { name: 'APPROVED', data: { by: 'Dr. A' } })
  expect(after).toMatchObject({ status: 200, body: { status: 'completed', state: 'completed' } })
  expect((await instance.records.get(id))?.history.at(-1)).toMatchObject({
    event: { type: 'CUSTOM', name: 'APPROVED' },
    by: 'operator:local',
  })
})
