/** What a person does to a record over HTTP, on real servers: taken by the machine, refused with the reason, or too late. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { endstate, http } from '../../src/index.js'
import { recordSchema } from '../../src/server/schemas.js'
import { waitFor } from '../support/processes.js'
import { startApi } from './api-fixture.js'
import type { RunningInstance } from './instance.js'
import { startInstance } from './instance.js'

let running: RunningInstance

const configOf = (url: string) => {
  const es = endstate({ providers: { model: http({ url, cost: 'free', slots: 4 }) } })
  const step = { use: ['model'] as const, output: z.unknown(), deadline: '20s', attempts: 1 } as const
  const flow = es
    .pipeline('flow', { revision: 1, accepts: ['application/json'] })
    .step('a', { ...step, use: ['model'] })
    .step('b', { ...step, use: ['model'], request: (outputs) => ({ outputs }) })
  return es.config({ pipelines: [flow] })
}

beforeAll(async () => {
  running = await startInstance(configOf)
})
afterAll(() => running.close())
beforeEach(() => running.provider.control({ reset: true }))

type Answer = {
  status: number
  etag: string | null
  body: { [fact: string]: unknown; version: number; detail: string }
}

const send = async (path: string, init: RequestInit = {}): Promise<Answer> => {
  const response = await fetch(running.url + path, init)
  return {
    status: response.status,
    etag: response.headers.get('etag'),
    body: (await response.json()) as Answer['body'],
  }
}
const post = (path: string, body: unknown, headers: { [name: string]: string } = {}) =>
  send(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
const act = (id: string, action: string, headers: { [name: string]: string } = {}, reason = 'So says the test.') =>
  post(`/v1/records/${id}/${action}`, { reason }, headers)
const read = async (id: string) => (await send(`/v1/records/${id}`)).body

const submit = async () => String((await post('/v1/records', { pipeline: 'flow', input: {} })).body['id'])
const until = (id: string, status: string) =>
  waitFor(async () => (await running.instance.records.get(id))?.status === status, {
    timeoutMs: 20_000,
    what: `record ${id} to be ${status}`,
  })

/** Step `a` has its result, step `b` was refused for good. */
const investigated = async () => {
  await running.provider.control({ mode: 'status', status: 422, match: '"outputs"', times: 1 })
  const id = await submit()
  await until(id, 'investigation')
  return read(id)
}
const completed = async () => {
  const id = await submit()
  await until(id, 'completed')
  return read(id)
}
/** Step `a` is called and does not answer. */
const calling = async () => {
  await running.provider.control({ mode: 'hang', times: 1 })
  const id = await submit()
  await waitFor(async () => (await running.provider.hanging()) > 0, { timeoutMs: 20_000, what: 'a call to hang' })
  return read(id)
}
const idOf = (record: { [fact: string]: unknown }) => String(record['id'])
const historyOf = async (id: string) => (await running.instance.records.get(id))!.history

describe('a record says what a person can do', () => {
  it('as its machine does', async () => {
    expect((await investigated())['can']).toEqual({ cancel: true, retry: true, writeOff: true })
    expect((await completed())['can']).toEqual({ cancel: false, retry: false, writeOff: false })
  })
})

describe('retry', () => {
  it('starts a new generation, in which results that are there are returned and not made again', async () => {
    const before = await investigated()
    const id = idOf(before)
    const { status, etag, body } = await act(
      id,
      'retry',
      { 'if-match': `"${before.version}"` },
      '  The plan was wrong. ',
    )
    expect({ status, etag }).toEqual({ status: 200, etag: `"${body.version}"` })
    expect(recordSchema.parse(body)).toMatchObject({ id, status: 'processing', generation: 2, reason: null })
    await until(id, 'completed')
    const entry = (await historyOf(id)).find(({ event }) => event.type === 'RETRY')
    expect(entry).toMatchObject({
      event: { type: 'RETRY', reason: 'The plan was wrong.' },
      by: 'operator:local',
      reused: ['a'],
      version: body.version,
    })
    expect((await running.provider.counts({ match: `${id}.a.` })).posts).toBe(1)
    expect((await running.provider.counts({ match: `${id}.b.` })).posts).toBe(2)
  })

  it('of a record that has ended is refused with the reason', async () => {
    const record = await completed()
    const { status, etag, body } = await act(idOf(record), 'retry')
    expect({ status, etag }).toEqual({ status: 409, etag: `"${record.version}"` })
    expect(body).toMatchObject({
      code: 'action-refused',
      recordStatus: 'completed',
      version: record.version,
      can: { cancel: false, retry: false, writeOff: false },
    })
    expect(body.detail).toMatch(/completed: Every step has its result .* It takes nothing of a person any more/)
    expect(await read(idOf(record))).toEqual(record)
  })
})

describe('cancel', () => {
  it('ends a record that runs; the answer that comes later is kept as discarded', async () => {
    const id = idOf(await calling())
    const { status, body } = await act(id, 'cancel')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      status: 'cancelled',
      reason: { code: 'cancel', message: 'So says the test.' },
      can: { cancel: false, retry: false, writeOff: false },
    })
    await running.provider.control({ release: true })
    await waitFor(async () => (await running.instance.records.get(id))!.steps['a']!.discarded.length === 1, {
      timeoutMs: 20_000,
      what: 'the late answer to be kept',
    })
    expect(await read(id)).toMatchObject({ status: 'cancelled', charges: {} })
  })

  it('where retry is refused says what is taken instead', async () => {
    const record = await calling()
    const { status, body } = await act(idOf(record), 'retry')
    expect(status).toBe(409)
    expect(body.detail).toMatch(/processing \(a\.calling\): .* It takes cancel\./)
    expect((await act(idOf(record), 'cancel')).status).toBe(200)
  })
})

describe('write-off', () => {
  it('ends a record in investigation as cancelled, with what it has', async () => {
    const before = await investigated()
    const { status, body } = await act(idOf(before), 'write-off')
    expect(status).toBe(200)
    expect(body).toMatchObject({ status: 'cancelled', reason: { code: 'write_off' }, charges: before['charges'] })
    expect((await act(idOf(before), 'write-off')).status).toBe(409)
  })
})

describe('the library', () => {
  it('does the same, in the name of whom it is told', async () => {
    const id = idOf(await investigated())
    await running.provider.control({ mode: 'status', status: 422, match: '"outputs"', times: 1 })
    expect(await running.instance.records.retry(id, { reason: 'Once more.', by: 'ann' })).toMatchObject({
      generation: 2,
    })
    await until(id, 'investigation')
    const done = await running.instance.records.writeOff(id, { reason: 'Enough.', by: 'bob' })
    expect(done).toMatchObject({ status: 'cancelled', reason: { message: 'Enough.' } })
    const people = done!.history.map(({ by }) => by).filter((by) => by.startsWith('operator:'))
    expect(people).toEqual(['operator:ann', 'operator:bob'])
    expect(await running.instance.records.retry('none', { reason: 'Once more.', by: 'ann' })).toBeNull()
  })
})

describe('If-Match', () => {
  it('of a version that is gone changes nothing, and says what happened since', async () => {
    const seen = await investigated()
    const id = idOf(seen)
    await act(id, 'retry')
    await until(id, 'completed')
    const now = await read(id)
    const { status, etag, body } = await act(id, 'write-off', { 'if-match': `"${seen.version}"` })
    expect({ status, etag }).toEqual({ status: 412, etag: `"${now.version}"` })
    const since = (await historyOf(id)).filter(({ version }) => version > seen.version)
    expect(body).toMatchObject({ code: 'record-moved', version: now.version, recordStatus: 'completed' })
    expect(body['changes']).toEqual(
      since.map(({ version, at, event, from, to, by }) => ({
        version,
        at: at.toISOString(),
        event: event.type,
        from,
        to,
        by,
      })),
    )
    expect(since[0]).toMatchObject({ event: { type: 'RETRY' }, from: 'investigation', by: 'operator:local' })
    expect(body.detail).toContain(`${since.length} change(s) since, the last of them CALL_SUCCEEDED`)
    expect(await read(id)).toEqual(now)
  })

  it('of two people with the same version lets one do what he wants', async () => {
    const seen = await investigated()
    const ifMatch = { 'if-match': `"${seen.version}"` }
    const both = await Promise.all(['retry', 'write-off'].map((action) => act(idOf(seen), action, ifMatch)))
    expect(new Set(both.map(({ status }) => status))).toEqual(new Set([200, 412]))
    const actions = (await historyOf(idOf(seen))).filter(({ event }) => /RETRY|WRITE_OFF/.test(event.type))
    expect(actions).toHaveLength(1)
    await until(idOf(seen), /RETRY/.test(actions[0]!.event.type) ? 'completed' : 'cancelled')
  })

  it('"*" and none are applied to what is there', async () => {
    const seen = await investigated()
    const both = await Promise.all([act(idOf(seen), 'cancel', { 'if-match': '*' }), act(idOf(seen), 'cancel')])
    expect(new Set(both.map(({ status }) => status))).toEqual(new Set([200, 409]))
  })

  it.each(['7', 'W/"7"', '"x"', '"1", "2"'])('that is no ETag of ours (%s) is refused', async (given) => {
    const seen = await investigated()
    expect(await act(idOf(seen), 'cancel', { 'if-match': given })).toMatchObject({
      status: 400,
      body: { code: 'invalid-request', detail: expect.stringContaining('If-Match: must be the ETag') as string },
    })
    expect(await read(idOf(seen))).toEqual(seen)
  })
})

describe('an action', () => {
  it.each([{}, { reason: '  ' }, { reason: 'x'.repeat(501) }, { reason: 1 }, { reason: 'Good.', version: 1 }])(
    'needs a reason of 1 to 500 characters, and nothing else (%#)',
    async (body) => {
      const record = await completed()
      expect(await post(`/v1/records/${idOf(record)}/cancel`, body)).toMatchObject({
        status: 400,
        body: { code: 'invalid-request' },
      })
    },
  )

  it('needs a record that there is', async () => {
    expect(await act('none', 'retry')).toMatchObject({ status: 404, body: { code: 'unknown-record' } })
  })

  it('on a record of another source is about a record that there is not (P12)', async () => {
    const asked: string[] = []
    const api = await startApi({
      identify: (ctx) => ({ source: ctx.get('endstate-source'), sees: 'own' }),
      deliver: async (id, _event, by) => {
        asked.push(by)
        const [doc] = await api.store.load([id])
        return { doc: doc!, applied: true, moved: false }
      },
    })
    try {
      const as = (source: string) => ({ 'endstate-source': source })
      const submitted = await api.post('/v1/records', { pipeline: 'forms', input: {} }, as('clinic'))
      const { id } = submitted.json as { id: string }
      const by = async (source: string) =>
        (await api.post(`/v1/records/${id}/cancel`, { reason: 'Mine.' }, as(source))).status
      expect([await by('other'), await by('clinic')]).toEqual([404, 200])
      expect(asked).toEqual(['clinic'])
    } finally {
      await api.close()
    }
  })

  it('is in the OpenAPI document, with its refusals', async () => {
    const { body } = await send('/openapi.json')
    for (const action of ['cancel', 'retry', 'write-off'])
      expect(body['paths']).toMatchObject({
        [`/v1/records/{id}/${action}`]: {
          post: { responses: { 200: {}, 409: {}, 412: {} }, parameters: expect.anything() as unknown },
        },
      })
  })
})
