/** One delivery: which call it is about, what is made of it, and what changes nothing (K1 to K3). */
import { describe, expect, it } from 'vitest'
import type { CallEvent } from '../../src/machines/events.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import type { WebhookNews } from '../../src/providers/contract.js'
import { WebhookRefused } from '../../src/providers/contract.js'
import { createWebhooks } from '../../src/worker/webhooks.js'
import { pipelineSet } from '../ingest/accept-fixture.js'
import { accepted, call, live } from '../machines/life.js'
import { compile, pipeline, step, terms } from '../machines/pipelines.js'
import { createHandClock } from './hand-clock.js'
import { answers } from './hand-provider.js'

const compiled = compile(pipeline([step('read', { use: ['job'] })]))
const awaiting = (): RecordDocument => {
  const life = live(compiled)
  life.starts()
  life.does(accepted(call('read', 1), 'job-1'))
  return life.doc
}
const about = { record: 'r1', step: 'read', attempt: 1, generation: 1 }
const delivery = { headers: {}, body: Buffer.from('{}') }
const done = (handle?: string): WebhookNews => ({
  kind: 'answer',
  answer: { ...answers('text'), ...(handle !== undefined && { handle }) },
})

type Change = {
  read?: Promise<never>
  storageAway?: true
  doc?: RecordDocument | null
  news?: WebhookNews | Error
  call?: typeof about | null
  found?: string | null
}

const begin = (change: Change = {}, token: string | null = 'token', provider = 'job') => {
  const events: CallEvent[] = []
  const clock = createHandClock()
  const blobs = createMemoryBlobStore()
  const away = () => Promise.reject(Object.assign(new Error('Away.'), { code: 'store-unavailable' }))
  const { doc = awaiting(), news = done('job-1'), call: named = about, found = null } = change
  const webhooks = createWebhooks({
    readers: new Map([['job', () => change.read ?? (news instanceof Error ? Promise.reject(news) : news)]]),
    terms: new Map([['job', terms['job']!]]),
    readToken: () => named,
    pipelines: pipelineSet([compiled]),
    load: async () => doc,
    findByHandle: async () => found,
    deliver: async (_id, event) => {
      events.push(event)
      return { applied: true }
    },
    blobs: change.storageAway ? { ...blobs, put: away } : blobs,
    clock,
    random: () => 0.5,
    signal: new AbortController().signal,
  })
  return { taking: webhooks(provider, token, delivery), events, clock }
}

const take = async (...given: Parameters<typeof begin>) => {
  const { taking, events } = begin(...given)
  return { outcome: await taking, events }
}

it('an answer is the call’s, and is delivered as such', async () => {
  const { outcome, events } = await take()
  expect(outcome).toBe('saved')
  expect(events).toMatchObject([{ type: 'CALL_SUCCEEDED', ...call('read', 1), charge: { amount: '0.40' } }])
})

it('news without content is a reason to ask', async () => {
  expect((await take({ news: { kind: 'ask' } })).events).toEqual([{ type: 'CALL_NUDGED', ...call('read', 1) }])
})

it('a true answer about one job, sent to the URL of another, is a reason to ask, and never the other’s result', async () => {
  expect((await take({ news: done('job-2') })).events).toEqual([{ type: 'CALL_NUDGED', ...call('read', 1) }])
})

it('of a pipeline version that is not known here it is a reason to ask, for a worker that knows it', async () => {
  const { events } = await take({ doc: { ...awaiting(), pipelineVersion: 'other' } })
  expect(events).toMatchObject([{ type: 'CALL_NUDGED' }])
})

it('that tells of a job only that it still runs changes nothing', async () => {
  const { outcome, events } = await take({ news: { kind: 'answer', answer: { kind: 'accepted', handle: 'job-1' } } })
  expect([outcome, events]).toEqual(['known', []])
})

it('that is refused by its reader changes nothing', async () => {
  await expect(take({ news: new WebhookRefused(401, 'Its signature is wrong.') })).rejects.toThrow('signature')
})

describe('is about no call here', () => {
  it.each<[string, Change, string | null]>([
    ['a token that is not ours, whatever the content says', { call: null, found: 'r1' }, 'token'],
    ['a record that there is not', { doc: null }, 'token'],
    ['an attempt that there is not', { call: { ...about, attempt: 2 } }, 'token'],
    ['an attempt of another generation', { call: { ...about, generation: 2 } }, 'token'],
    ['a step that there is not', { call: { ...about, step: 'sort' } }, 'token'],
    ['no token, and an id that nobody has', { found: null }, null],
    ['no token, and a record without that id', { found: 'r1', news: done('job-9') }, null],
    ['no token, and no id', { found: 'r1', news: { kind: 'ask' } }, null],
  ])('%s', async (_, change, token) => {
    expect(await take(change, token)).toEqual({ outcome: 'unknown-call', events: [] })
  })

  it('a provider that takes no webhooks', async () => {
    expect(await take({}, 'token', 'other')).toEqual({ outcome: 'unknown-provider', events: [] })
  })
})

it('without a token the call is found by the provider’s own id', async () => {
  const { outcome, events } = await take({ found: 'r1' }, null)
  expect([outcome, events.map(({ type }) => type)]).toEqual(['saved', ['CALL_SUCCEEDED']])
})

describe('waits for nothing without end', () => {
  it('a reader that never answers: it is to be sent again', async () => {
    const { taking, events, clock } = begin({ read: new Promise<never>(() => {}) })
    const refused = expect(taking).rejects.toMatchObject({ code: 'store-unavailable' })
    await clock.passes(10_000)
    await refused
    expect(events).toEqual([])
  })

  it('storage that is away: it is not acknowledged, and the call is no more in doubt than before', async () => {
    const large = { ...answers('x'.repeat(100_000)), handle: 'job-1' }
    const { taking, events, clock } = begin({ news: { kind: 'answer', answer: large }, storageAway: true })
    const refused = expect(taking).rejects.toMatchObject({ code: 'store-unavailable' })
    for (let passed = 0; passed < 15_000; passed += 500) await clock.passes(500)
    await refused
    expect(events).toEqual([])
  })
})
