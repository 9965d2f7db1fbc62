import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Receipt } from '../../src/ingest/contract.js'
import type { Attempt, RecordDocument } from '../../src/machines/record.js'
import { chunksOf, largePng, PNG } from '../ingest/accept-fixture.js'
import { startApi, type Answer, type Api } from './api-fixture.js'

let api: Api
let clinicB: Api
beforeAll(async () => {
  api = await startApi()
})
afterAll(async () => {
  await api.close()
})

const submit = async (source: string, input: unknown, pipeline = 'forms'): Promise<string> => {
  const answer = await api.post('/v1/records', { pipeline, input }, { 'endstate-source': source })
  return (answer.json as Receipt).id
}
const at = new Date('2026-03-01T08:00:00.000Z')
const attempt: Attempt = {
  n: 1,
  generation: 1,
  provider: 'free',
  requestKey: 'r/read/free/1',
  outcome: 'succeeded',
  startedAt: at,
  sendBy: at,
  endedAt: at,
  spend: { amount: '0.012', currency: 'EUR', basis: 'reported' },
  error: null,
  evidence: { status: 200 },
}
const charge = { amount: '0.40', currency: 'EUR', at, attempt: 1 }
const payloadOf = (value: unknown) => {
  const inline = JSON.stringify(value)
  return { inline, sha256: 'ab', bytes: inline.length }
}
const settledSet = { status: 'completed', wakeAt: null, settledAt: at, snapshot: { value: 'completed' } } as const

/** A completed record whose step `read` has this result, one discarded answer, and a charge. */
async function completed(payload: NonNullable<RecordDocument['steps'][string]['result']>['payload']): Promise<string> {
  const id = await submit('local', { n: 1 })
  const discarded = [{ attempt: 2, generation: 1, at, payload: payloadOf({ late: true }), reason: 'late' }]
  const read = { attempts: [attempt], result: { attempt: 1, at, payload }, discarded, candidate: null }
  await api.change(id, { set: settledSet, steps: { read }, charges: { read: charge } })
  return id
}

describe('GET /v1/records/{id}', () => {
  it('shows state, attempts, result, discarded answers and charges', async () => {
    const id = await completed(payloadOf({ $ne: 1, 'a.b': [1] }))
    const answer = await api.request(`/v1/records/${id}`)
    expect(answer.headers.get('etag')).toBe('"2"')
    expect(answer.json).toMatchObject({
      id,
      state: 'completed',
      status: 'completed',
      wakeAt: null,
      settledAt: at.toISOString(),
      steps: {
        read: {
          attempts: [
            { n: 1, provider: 'free', outcome: 'succeeded', spend: { amount: '0.012' }, possibleDuplicate: false },
          ],
          result: { attempt: 1, output: { $ne: 1, 'a.b': [1] } },
          discarded: [{ attempt: 2, reason: 'late', output: { late: true } }],
        },
      },
      charges: { read: { amount: '0.40', currency: 'EUR', at: at.toISOString() } },
    })
  })

  it('shows the state of an unsettled record as its machine has it', async () => {
    const { json } = await api.request(`/v1/records/${await submit('local', {})}`)
    expect(json).toMatchObject({ status: 'processing', state: { read: expect.anything() as unknown } })
  })

  it('answers 304 while nothing changed', async () => {
    const id = await submit('local', {})
    const headers = { 'if-none-match': '"1"' }
    expect((await api.request(`/v1/records/${id}`, { headers })).status).toBe(304)
    await api.change(id, { set: { status: 'processing' } })
    expect((await api.request(`/v1/records/${id}`, { headers })).status).toBe(200)
  })

  it('links a result that is a blob, and serves it', async () => {
    const big = JSON.stringify({ text: 'x'.repeat(300_000) })
    const put = await api.blobs.put(chunksOf(Buffer.from(big), 100_000), { bytesMax: 1e6 })
    const id = await completed({ blob: put.id, sha256: put.sha256, bytes: put.bytes })
    const { json } = await api.request(`/v1/records/${id}`)
    const { link, ...result } = (json as { steps: { read: { result: { link: string } } } }).steps.read.result
    expect(result).toEqual({ attempt: 1, at: at.toISOString(), bytes: big.length, sha256: put.sha256 })
    const content = await api.request(link)
    expect(content.text).toBe(big)
    expect(content.headers.get('content-type')).toBe('application/json')
    const small = await completed(payloadOf([1]))
    expect((await api.request(`/v1/records/${small}/steps/read/result`)).text).toBe('[1]')
  })

  it('is 404 for records, steps and results that are not there', async () => {
    const id = await submit('local', {})
    const paths = ['/v1/records/nope', '/v1/records/nope/history', '/v1/records/nope/input']
    for (const path of paths)
      expect((await api.request(path)).json).toMatchObject({ code: 'unknown-record', status: 404 })
    for (const step of ['read', 'nope', 'constructor']) {
      const { json } = await api.request(`/v1/records/${id}/steps/${step}/result`)
      expect(json).toMatchObject({ code: 'unknown-result', status: 404 })
    }
  })
})

describe('GET /v1/records/{id}/history', () => {
  it('comes oldest first, in pages', async () => {
    const id = await submit('local', {})
    for (let n = 0; n < 4; n += 1) await api.change(id, { set: { status: 'processing' } })
    type History = { items: { version: number; event: { type: string }; by: string }[]; next: string | null }
    const versions: number[] = []
    let next: string | null = ''
    while (next !== null) {
      const page: Answer = await api.request(`/v1/records/${id}/history?limit=2${next && `&page=${next}`}`)
      const history = page.json as History
      versions.push(...history.items.map(({ version }) => version))
      next = history.next
    }
    expect(versions).toEqual([1, 2, 3, 4, 5])
    const { items } = (await api.request(`/v1/records/${id}/history`)).json as History
    expect(items[0]).toMatchObject({ event: { type: 'RECORD_ACCEPTED' }, by: 'ingest:http', from: '' })
  })
})

describe('GET /v1/records/{id}/input', () => {
  const sent = async (pipeline: string, body: Uint8Array | string): Promise<string> => {
    const init = { method: 'POST', body: new Uint8Array(Buffer.from(body)), headers: { 'content-type': 'text/html' } }
    return ((await api.request(`/v1/records?pipeline=${pipeline}`, init)).json as Receipt).id
  }

  it('gives blobs back byte for byte, also by HEAD without a body', async () => {
    const large = largePng(2_000_000)
    const id = await sent('scans', large)
    const got = await api.request(`/v1/records/${id}/input`)
    expect(got.bytes.equals(large)).toBe(true)
    expect(got.headers.get('content-length')).toBe('2000000')
    const head = await api.request(`/v1/records/${id}/input`, { method: 'HEAD' })
    expect(head.headers.get('content-length')).toBe('2000000')
    expect(head.bytes).toHaveLength(0)
  })

  it('never serves what a browser would run', async () => {
    const page = await api.request(`/v1/records/${await sent('notes', '<html><script>alert(1)</script>')}/input`)
    expect(page.headers.get('content-type')).toBe('text/plain')
    const xml = await api.request(`/v1/records/${await sent('small', '<?xml version="1.0"?><svg onload="x"/>')}/input`)
    for (const { headers } of [page, xml]) {
      expect(headers.get('content-disposition')).toBe('attachment')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('content-security-policy')).toBe("sandbox; default-src 'none'")
    }
    const image = await api.request(`/v1/records/${await sent('scans', PNG)}/input`)
    expect(image.headers.get('content-disposition')).toBe('inline')
  })

  it('says so when the blob is gone', async () => {
    const id = await sent('scans', largePng(100_000))
    const [doc] = await api.store.load([id])
    await api.blobs.remove((doc!.input.payload as { blob: string }).blob)
    const { json } = await api.request(`/v1/records/${id}/input`)
    expect(json).toMatchObject({ code: 'content-missing', status: 500 })
  })
})

describe('lists', () => {
  it('filters records, newest first, in pages', async () => {
    const ids: string[] = []
    for (let n = 0; n < 5; n += 1) ids.push(await submit('list-a', { n }))
    await submit('list-b', {})
    type List = { items: { id: string; source: string }[]; next: string | null }
    const found: string[] = []
    let next: string | null = ''
    while (next !== null) {
      const page: Answer = await api.request(`/v1/records?source=list-a&limit=2${next && `&page=${next}`}`)
      const list = page.json as List
      expect(list.items.length).toBeLessThanOrEqual(2)
      found.push(...list.items.map(({ id }) => id))
      next = list.next
    }
    expect(found).toEqual(ids.toReversed())
    await api.change(ids[0]!, { set: { status: 'cancelled', wakeAt: null } })
    const cancelled = await api.request('/v1/records?source=list-a&status=cancelled&pipeline=forms')
    expect((cancelled.json as List).items.map(({ id }) => id)).toEqual([ids[0]])
  })

  it('links results instead of holding them, so that a page of large ones stays small', async () => {
    const id = await completed(payloadOf({ text: 'x'.repeat(10_000) }))
    const page = await api.request('/v1/records?status=completed&limit=200')
    expect(page.text).not.toContain('output')
    const { items } = page.json as { items: { id: string; steps: { read: { result: { link: string } } } }[] }
    const { link } = items.find((item) => item.id === id)!.steps.read.result
    expect((await api.request(link)).json).toEqual({ text: 'x'.repeat(10_000) })
  })

  it('lists charges as rows', async () => {
    const id = await completed(payloadOf(1))
    const { json } = await api.request(
      '/v1/charges?source=local&from=2026-01-01T00:00:00Z&to=2026-12-31T00:00:00%2B02:00',
    )
    const { items } = json as { items: { record: string }[] }
    expect(items.find(({ record }) => record === id)).toEqual({
      record: id,
      key: 'read',
      source: 'local',
      pipeline: 'forms',
      amount: '0.40',
      currency: 'EUR',
      at: at.toISOString(),
      attempt: 1,
      simulated: false,
    })
    const none = await api.request('/v1/charges?from=2027-01-01T00:00:00Z')
    expect(none.json).toEqual({ items: [], next: null })
  })

  it('refuses unknown filters, operators, limits and tokens', async () => {
    for (const query of [
      'status[$ne]=completed',
      'status=%7B%22%24ne%22%3A1%7D',
      'source=a&source=b',
      'source[]=a',
      '__proto__=1',
      '$where=1',
      'limit=0',
      'limit=201',
      'limit=x',
      'limit=1e1000',
      'page=nope',
      'page=W10',
      `page=${'x'.repeat(3000)}`,
    ]) {
      const { json } = await api.request(`/v1/records?${query}`)
      expect(json, query).toMatchObject({ code: 'invalid-request', status: 400 })
    }
    for (const path of ['/v1/charges?page=nope', '/v1/charges?from=yesterday', '/v1/records/x/history?page=%00']) {
      expect((await api.request(path)).json, path).toMatchObject({ code: 'invalid-request', status: 400 })
    }
  })
})

describe('pipelines and machines', () => {
  it('lists pipelines with their worst case', async () => {
    const { items } = (await api.request('/v1/pipelines')).json as { items: { name: string; worstCaseMs: number }[] }
    const forms = items.find(({ name }) => name === 'forms')
    expect(forms).toMatchObject({
      accepts: ['application/json'],
      steps: [{ name: 'read', price: { amount: '0.40', form: 'fixed' } }],
    })
    expect(forms?.worstCaseMs).toBeGreaterThan(0)
  })

  it('gives a machine as JSON, or as Mermaid to whom asks for it', async () => {
    const path = '/v1/pipelines/forms/machine'
    expect((await api.request(path)).json).toMatchObject({ pipeline: 'forms', xstate: { id: 'forms' } })
    const accepted = await api.request(path, { headers: { accept: 'text/vnd.mermaid' } })
    const asked = await api.request(`${path}?format=mermaid`)
    for (const { text, headers } of [accepted, asked]) {
      expect(text).toBe('stateDiagram-v2\n')
      expect(headers.get('content-type')).toBe('text/vnd.mermaid; charset=utf-8')
    }
    expect((await api.request(`${path}?format=json`, { headers: { accept: 'text/vnd.mermaid' } })).json).toBeTruthy()
    expect((await api.request('/v1/pipelines/nope/machine')).json).toMatchObject({ code: 'unknown-pipeline' })
  })
})

describe('a caller that sees its own source only (P12)', () => {
  beforeAll(async () => {
    const identify = () => ({ source: 'clinic-b', sees: 'own' as const })
    clinicB = await startApi({ identify, store: api.store, blobs: api.blobs })
  })
  afterAll(() => clinicB.close())

  it('finds no record, history, content or charge of another', async () => {
    const other = await completed(payloadOf(1))
    const own = await submit('clinic-b', {})
    for (const path of ['', '/history', '/input', '/steps/read/result']) {
      expect((await clinicB.request(`/v1/records/${other}${path}`)).json).toMatchObject({ code: 'unknown-record' })
    }
    expect((await clinicB.request(`/v1/records/${own}`)).status).toBe(200)
    const { items } = (await clinicB.request('/v1/records')).json as { items: { id: string }[] }
    expect(items.map(({ id }) => id)).toEqual([own])
    expect((await clinicB.request('/v1/charges')).json).toEqual({ items: [], next: null })
    expect((await clinicB.request('/v1/records?source=local')).json).toMatchObject({
      code: 'foreign-source',
      status: 403,
    })
  })
})
