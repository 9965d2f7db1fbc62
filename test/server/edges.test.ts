import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { BlobMissing, StoreUnavailable } from '../../src/persistence/contract.js'
import { listen } from '../../src/server/listen.js'
import { waitFor } from '../support/processes.js'
import { startApi, type Api } from './api-fixture.js'
import { rawRequest, rawSocket } from './raw-http.js'

let api: Api
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.close())

const send = (path: string, init: RequestInit): ReturnType<Api['request']> =>
  api.request(path, { method: 'POST', ...init })
const jsonHeaders = { 'content-type': 'application/json' }

describe('bad requests', () => {
  afterEach(async () => {
    expect(await api.records()).toBe(0)
  })

  const bodies: [string, string, number, string][] = [
    ['no body', '', 400, 'invalid-submission'],
    ['malformed JSON', '{"pipeline":"forms"', 400, 'invalid-submission'],
    ['a JSON array', '[]', 400, 'invalid-request'],
    ['JSON null', 'null', 400, 'invalid-request'],
    ['no pipeline', '{"input":1}', 400, 'invalid-request'],
    ['no input', '{"pipeline":"forms"}', 400, 'invalid-request'],
    ['an unknown field', '{"pipeline":"forms","input":1,"priority":1}', 400, 'invalid-request'],
    ['__proto__ beside the input', '{"pipeline":"forms","input":1,"__proto__":{"source":"x"}}', 400, 'invalid-request'],
    ['an operator as pipeline', '{"pipeline":{"$ne":1},"input":1}', 400, 'invalid-request'],
    ['an operator as metadata', '{"pipeline":"forms","input":1,"metadata":{"$ne":1}}', 400, 'invalid-request'],
    ['an operator in metadata', '{"pipeline":"forms","input":1,"metadata":{"a":{"$gt":""}}}', 400, 'invalid-request'],
    [
      'an operator name in metadata',
      '{"pipeline":"forms","input":1,"metadata":{"$ne":"1"}}',
      400,
      'invalid-submission',
    ],
    ['__proto__ in metadata', '{"pipeline":"forms","input":1,"metadata":{"__proto__":"x"}}', 400, 'invalid-submission'],
    ['an unknown pipeline', '{"pipeline":"nope","input":1}', 404, 'unknown-pipeline'],
    ['JSON for a pipeline of images', '{"pipeline":"scans","input":1}', 415, 'unsupported-media-type'],
    ['a number beyond doubles', '{"pipeline":"forms","input":12345678901234567890}', 400, 'invalid-submission'],
    ['65 levels', `{"pipeline":"forms","input":${'['.repeat(65)}${']'.repeat(65)}}`, 400, 'too-deep'],
    ['100,000 levels', `{"pipeline":"forms","input":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 400, 'too-deep'],
    ['5 MiB of JSON', `{"pipeline":"forms","input":"${'x'.repeat(5 * 1024 * 1024)}"}`, 413, 'too-large'],
  ]
  for (const [what, body, status, code] of bodies) {
    it(`POST /v1/records: ${what}`, async () => {
      const answer = await send('/v1/records', { headers: jsonHeaders, body })
      expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
      expect(answer.json).toMatchObject({ status, code, type: `urn:endstate:problem:${code}` })
    })
  }

  it('invalid UTF-8, wrong content types, empty raw bodies, bad keys and queries', async () => {
    const body = Buffer.from('{"pipeline":"forms","input":"M\xfcller"}', 'latin1')
    const submission = '{"pipeline":"forms","input":1}'
    const cases: [RequestInit, string, number][] = [
      [{ headers: jsonHeaders, body }, '', 400],
      [{ headers: { 'content-type': 'image/png' }, body: submission }, '', 415],
      [{ headers: { 'content-type': 'multipart/form-data; boundary=x' }, body: submission }, '', 415],
      [{ headers: { 'content-type': 'image/png' } }, '?pipeline=scans', 400],
      [{ headers: jsonHeaders, body: submission }, '?pipeline[$ne]=x', 400],
      [{ headers: jsonHeaders, body: submission }, '?pipeline=forms&pipeline=scans', 400],
      [{ headers: { ...jsonHeaders, 'idempotency-key': 'a b' }, body: submission }, '', 400],
      [{ headers: { ...jsonHeaders, 'idempotency-key': '' }, body: submission }, '', 400],
      [{ headers: { ...jsonHeaders, 'idempotency-key': 'k'.repeat(256) }, body: submission }, '', 400],
      [{ headers: { ...jsonHeaders, 'content-encoding': 'gzip' }, body: gzipSync(submission) }, '', 415],
      [{ headers: { 'content-encoding': 'br' }, body: submission }, '?pipeline=forms', 415],
      [{ headers: { ...jsonHeaders, 'endstate-source': 'a.b' }, body: submission }, '', 400],
      [{ headers: { ...jsonHeaders, 'endstate-source': '{"$ne":1}' }, body: submission }, '', 400],
    ]
    for (const [init, query, status] of cases) expect((await send(`/v1/records${query}`, init)).status).toBe(status)
  })

  it('says plainly what is missing, and that a compressed body is not undone', async () => {
    const detailOf = async (init: RequestInit) => (await send('/v1/records', init)).json as { detail: string }
    const missing = await detailOf({ headers: jsonHeaders, body: '{"input":1}' })
    expect(missing.detail).toBe('The body is not valid. pipeline: is missing. See /openapi.json.')
    const headers = { ...jsonHeaders, 'content-encoding': 'gzip' }
    expect((await detailOf({ headers, body: gzipSync('{}') })).detail).toMatch(/compressed.*Send it as it is/)
    const list = await api.request('/v1/records?limit=ten')
    expect(list.json).toMatchObject({ detail: 'The query is not valid. limit: is no number. See /openapi.json.' })
  })

  it('refuses a body by its announced length before it comes, and by its real length when none is announced', async () => {
    const announced = { ...jsonHeaders, 'content-length': String(1e12) }
    async function* little() {
      yield '{'
      await waitFor(() => false, { timeoutMs: 200, what: 'nothing' }).catch(() => undefined)
    }
    expect((await rawRequest(api.url, { path: '/v1/records', headers: announced, body: little() })).status).toBe(413)
    async function* endless() {
      for (let n = 0; n < 10_000; n += 1) yield ' '.repeat(65_536)
    }
    const answer = await rawRequest(api.url, { path: '/v1/records', headers: jsonHeaders, body: endless() })
    expect(JSON.parse(answer.body)).toMatchObject({ status: 413, code: 'too-large' })
  })

  it('a client that goes away in the middle of a JSON body', async () => {
    const before = api.logged.length
    const head =
      'POST /v1/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n'
    const socket = await rawSocket(api.url, `${head}{"pipeline":"forms"`)
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.destroy()
    await closed
    expect((await api.request('/livez')).status).toBe(200)
    expect(api.logged.slice(before)).toEqual([])
  })
})

describe('routes and methods', () => {
  it('404 for what there is not, 405 with Allow for what there is', async () => {
    for (const path of [
      '/',
      '/v1',
      '/v1/nope',
      '/v1/records/',
      '/v1/records/a/b',
      '/v1/records/%zz',
      '/V1/records',
      '//x',
    ]) {
      const { status, body } = await rawRequest(api.url, { method: 'GET', path })
      expect([400, 404], path).toContain(status)
      expect(JSON.parse(body), path).toMatchObject({ status })
    }
    for (const [method, path, allow] of [
      ['DELETE', '/v1/records', 'HEAD, GET, POST'],
      ['PUT', '/v1/uploads', 'POST'],
      ['POST', '/livez', 'HEAD, GET'],
      ['PATCH', '/v1/records/abc', 'HEAD, GET'],
      ['OPTIONS', '/v1/charges', 'HEAD, GET'],
    ] as const) {
      const answer = await api.request(path, { method })
      expect(answer.json).toMatchObject({ status: 405, code: 'method-not-allowed' })
      expect(answer.headers.get('allow')?.split(', ').sort()).toEqual(allow.split(', ').sort())
    }
  })

  it('gives each answer a request id, taking over a plain one', async () => {
    const own = await api.request('/livez')
    expect(own.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    const taken = await api.request('/nope', { headers: { 'x-request-id': 'trace-1' } })
    expect(taken.json).toMatchObject({ requestId: 'trace-1' })
    const refused = await api.request('/livez', { headers: { 'x-request-id': 'a b{}' } })
    expect(refused.headers.get('x-request-id')).not.toBe('a b{}')
  })

  it('gives out the document that it is held against', async () => {
    const { json } = await api.request('/openapi.json')
    expect(json).toEqual(JSON.parse(JSON.stringify(api.openapi)))
    expect(json).toMatchObject({ openapi: '3.1.0' })
  })
})

describe('health', () => {
  it('is ready, degraded, or not ready', async () => {
    let answer: () => Promise<{ ok: boolean; degraded: string[] }> = () =>
      Promise.resolve({ ok: true, degraded: ['nats'] })
    const other = await startApi({ readiness: () => answer() })
    expect(await other.request('/livez')).toMatchObject({ status: 200, json: { status: 'ok' } })
    expect(await other.request('/readyz')).toMatchObject({ status: 200, json: { status: 'ok', degraded: ['nats'] } })
    answer = () => Promise.resolve({ ok: false, degraded: [] })
    expect(await other.request('/readyz')).toMatchObject({ status: 503, json: { status: 'unavailable' } })
    answer = () => Promise.reject(new Error('no'))
    expect((await other.request('/readyz')).status).toBe(503)
    await other.close()
  })
})

describe('who may ask without keys', () => {
  const get = (headers: { [name: string]: string }) =>
    rawRequest(api.url, { method: 'GET', path: '/v1/records', headers })

  it('only whoever names loopback as host, and no foreign page', async () => {
    for (const host of ['localhost', 'localhost:8080', '127.0.0.1:1', '[::1]:8080', 'LOCALHOST']) {
      expect((await get({ host })).status, host).toBe(200)
    }
    for (const host of [
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      '192.168.1.2:8080',
      '[::2]',
      '',
    ]) {
      expect((await get({ host })).status, host).toBe(403)
    }
    expect((await get({ host: 'localhost', origin: 'http://localhost:5173' })).status).toBe(200)
    for (const origin of ['https://evil.example', 'null', 'http://127.0.0.1.evil.example']) {
      expect((await get({ host: 'localhost', origin })).status, origin).toBe(403)
    }
  })
})

describe('when the storage is away', () => {
  it('answers 503 with Retry-After, logs a code, and says nothing of the cause', async () => {
    const away = () => Promise.reject(new StoreUnavailable('connect ECONNREFUSED secret-host:27017'))
    const broken = await startApi({
      store: {
        load: away,
        list: away,
        charges: () => Promise.reject(new Error('secret detail')),
        ledger: away,
        ledgerAttempts: away,
      },
    })
    for (const path of ['/v1/records', '/v1/records/abc', '/v1/reports/reconciliation']) {
      const { status, headers, text } = await broken.request(path)
      expect(status).toBe(503)
      expect(headers.get('retry-after')).toBe('1')
      expect(text).not.toMatch(/secret/)
    }
    const unforeseen = await broken.request('/v1/charges')
    expect(unforeseen.json).toMatchObject({ status: 500, code: 'internal' })
    expect(JSON.stringify([unforeseen.text, broken.logged])).not.toMatch(/secret/)
    expect(broken.logged.map(({ facts }) => facts)).toMatchObject([
      { code: 'unavailable', err: 'Error store-unavailable' },
      { code: 'unavailable' },
      { code: 'unavailable' },
      { code: 'internal', err: 'Error' },
    ])
    await broken.close()
  })

  it('cuts an answer whose content breaks off, rather than ending it as if it were whole', async () => {
    async function* breaking(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(100_000)
      throw new BlobMissing('damaged')
    }
    const broken = await startApi({
      blobs: { get: breaking },
      store: { ...api.store, load: async () => [await blobRecord()] },
    })
    await expect(broken.request('/v1/records/abc/input')).rejects.toThrow()
    expect(new Set(broken.logged.map(({ message }) => message))).toEqual(new Set(['A response broke off.']))
    await broken.close()
  })

  const blobRecord = async () => {
    const { json } = await api.post('/v1/records', { pipeline: 'forms', input: 1 })
    const [doc] = await api.store.load([(json as { id: string }).id])
    return {
      ...doc!,
      input: { ...doc!.input, payload: { blob: 'b', sha256: 'x', bytes: 200_000 }, encoding: 'blob' as const },
    }
  }
})

describe('listen', () => {
  const ok = (_req: unknown, res: { end(text: string): void }) => res.end('ok')

  it('names a busy port and the way out', async () => {
    const busy = createServer()
    await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve))
    const { port } = busy.address() as AddressInfo
    await expect(listen(ok, { host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'port-in-use',
      message: expect.stringMatching(new RegExp(`Port ${port} .*--port.*ENDSTATE_PORT`)) as string,
    })
    await new Promise((resolve) => busy.close(resolve))
  })

  it('refuses to be reachable from outside without keys', async () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.2', 'example.org']) {
      await expect(listen(ok, { host, port: 0 })).rejects.toMatchObject({ code: 'bind-refused' })
    }
  })

  it('finishes what is under way, takes no more, and cuts what does not end', async () => {
    const begun: { end(text: string): void }[] = []
    const listening = await listen((_req, res) => void begun.push(res), { host: 'localhost', port: 0 })
    const kept = fetch(listening.url)
    const hanging = fetch(listening.url)
    await waitFor(() => begun.length === 2, { timeoutMs: 5_000, what: 'both requests' })
    const closed = listening.close({ graceMs: 300 })
    await expect(fetch(listening.url)).rejects.toThrow()
    begun[0]?.end('done')
    begun[1] = { end: () => undefined }
    const answers = await Promise.allSettled([kept, hanging])
    expect(answers.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    await closed
  })
})
