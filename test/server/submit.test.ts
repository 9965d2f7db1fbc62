import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Receipt } from '../../src/ingest/contract.js'
import { waitFor } from '../support/processes.js'
import { startApi, type Answer, type Api } from './api-fixture.js'
import { PNG } from '../ingest/accept-fixture.js'

let api: Api
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.close())

const receiptOf = (answer: Answer): Receipt => answer.json
const settle = (id: string) => api.change(id, { set: { status: 'completed', wakeAt: null, settledAt: new Date() } })

describe('POST /v1/records', () => {
  it('answers 202 with the receipt and where the record is', async () => {
    const answer = await api.post('/v1/records', { pipeline: 'forms', input: { a: 1 }, metadata: { ward: '7' } })
    expect(answer.status).toBe(202)
    const { id } = receiptOf(answer)
    expect(answer.headers.get('location')).toBe(`/v1/records/${id}`)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
    const record = await api.request(`/v1/records/${id}`)
    expect(record.json).toMatchObject({
      id,
      source: 'local',
      metadata: { ward: '7' },
      status: 'processing',
      version: 1,
    })
    await waitFor(() => api.announced.includes(id), { timeoutMs: 2_000, what: 'the announcement' })
  })

  it('P7 100 at once with one key are one record', async () => {
    const before = await api.records()
    const headers = { 'idempotency-key': 'hundred' }
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => api.post('/v1/records', { pipeline: 'forms', input: { n: 100 } }, headers)),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    expect(new Set(answers.map((answer) => receiptOf(answer).id)).size).toBe(1)
    expect(answers.filter((answer) => !receiptOf(answer).duplicate)).toHaveLength(1)
    expect((await api.records()) - before).toBe(1)
  })

  it('P7 refuses other content under the key with the first id, and takes the key of another source', async () => {
    const headers = { 'idempotency-key': 'twice' }
    const first = receiptOf(await api.post('/v1/records', { pipeline: 'forms', input: 1 }, headers))
    const other = await api.post('/v1/records', { pipeline: 'forms', input: 2 }, headers)
    expect(other.status).toBe(422)
    expect(other.json).toMatchObject({
      code: 'key-conflict',
      record: first.id,
      type: 'urn:endstate:problem:key-conflict',
    })
    const elsewhere = { ...headers, 'endstate-source': 'clinic-b' }
    const second = await api.post('/v1/records', { pipeline: 'forms', input: 2 }, elsewhere)
    expect(second.status).toBe(202)
    expect(receiptOf(second).id).not.toBe(first.id)
  })

  it('takes the input itself as the body when the pipeline is in the query', async () => {
    const sent = await api.request('/v1/records?pipeline=scans', {
      method: 'POST',
      headers: { 'content-type': 'text/plain' },
      body: PNG,
    })
    expect(sent.status).toBe(202)
    const input = await api.request(`/v1/records/${receiptOf(sent).id}/input`)
    expect(input.headers.get('content-type')).toBe('image/png')
    expect(input.bytes.equals(PNG)).toBe(true)
    const json = await api.post('/v1/records?pipeline=forms', { b: 1, a: 2 })
    expect((await api.request(`/v1/records/${receiptOf(json).id}/input`)).text).toBe('{"a":2,"b":1}')
  })

  it('takes JSON from curl -d, which calls it a form', async () => {
    const answer = await api.request('/v1/records', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: '{"pipeline":"forms","input":{}}',
    })
    expect(answer.status).toBe(202)
  })
})

describe('Prefer: wait', () => {
  it('answers 200 with the record when it settles within the wait', async () => {
    const headers = { prefer: 'respond-async, wait=20', 'idempotency-key': 'wait-1' }
    const sent = api.post('/v1/records', { pipeline: 'forms', input: 1 }, headers)
    await waitFor(() => api.waiting() > 0, { timeoutMs: 5_000, what: 'the wait to begin' })
    await settle(api.announced.at(-1)!)
    const answer = await sent
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({ status: 'completed', version: 2 })
    expect(answer.headers.get('etag')).toBe('"2"')
    expect(answer.headers.get('preference-applied')).toBe('wait=20')
    // The same again: settled already, so no wait at all.
    const again = await api.post('/v1/records', { pipeline: 'forms', input: 1 }, headers)
    expect(again.status).toBe(200)
    const unwaited = await api.post('/v1/records', { pipeline: 'forms', input: 1 }, { 'idempotency-key': 'wait-1' })
    expect(unwaited.status).toBe(202)
    expect(unwaited.json).toMatchObject({ status: 'completed', version: 2, duplicate: true })
  })

  it('answers 202 with the receipt when it does not', async () => {
    const answer = await api.post('/v1/records', { pipeline: 'forms', input: 1 }, { prefer: 'wait=1' })
    expect(answer.status).toBe(202)
    expect(answer.json).toMatchObject({ status: 'processing' })
  })

  it('is not fooled by a wake-up that is none', async () => {
    const sent = api.post('/v1/records', { pipeline: 'forms', input: 1 }, { prefer: 'wait=20' })
    await waitFor(() => api.waiting() > 0, { timeoutMs: 5_000, what: 'the wait to begin' })
    const id = api.announced.at(-1)!
    await api.change(id, { set: { status: 'processing' } })
    await waitFor(() => api.waiting() > 0, { timeoutMs: 5_000, what: 'the wait to begin again' })
    await settle(id)
    expect((await sent).status).toBe(200)
  })

  it('ends when the client goes away, and the record stays', async () => {
    const controller = new AbortController()
    const before = await api.records()
    const sent = fetch(`${api.url}/v1/records`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=50' },
      body: '{"pipeline":"forms","input":1}',
      signal: controller.signal,
    })
    await waitFor(() => api.waiting() > 0, { timeoutMs: 5_000, what: 'the wait to begin' })
    controller.abort()
    await expect(sent).rejects.toThrow()
    await waitFor(() => api.waiting() === 0, { timeoutMs: 5_000, what: 'the wait to end' })
    expect((await api.records()) - before).toBe(1)
  })
})
