/**
 * A machine written by hand, on real servers: a guard over an output chooses the way, a person's event moves it on, and
 * what its state does not take is refused.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { endstate, http } from '../../src/index.js'
import { waitFor } from '../support/processes.js'
import type { RunningInstance } from './instance.js'
import { startInstance } from './instance.js'

const Triage = z.object({ urgent: z.boolean() })
let running: RunningInstance

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
  running = await startInstance(configOf)
})
afterAll(() => running.close())

const post = async (path: string, body: unknown) => {
  const response = await fetch(running.url + path, {
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
  await running.provider.control({ mode: 'answer', body: { urgent } })
  return (await post('/v1/records', { pipeline: 'reviewed', input: {} })).body.id
}

const until = (id: string, state: string) =>
  waitFor(
    async () => {
      const doc = await running.instance.records.get(id)
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
  expect((await running.instance.records.get(id))?.history.at(-1)).toMatchObject({
    event: { type: 'CUSTOM', name: 'APPROVED' },
    by: 'operator:local',
  })
})
