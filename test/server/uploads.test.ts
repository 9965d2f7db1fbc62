import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Receipt } from '../../src/ingest/contract.js'
import { JPEG, largePng, MIB, PNG } from '../ingest/accept-fixture.js'
import { waitFor } from '../support/processes.js'
import { startApi, type Answer, type Api } from './api-fixture.js'
import { field, fileHead, FORM_END, FORM_TYPE, formOf, rawRequest, rawSocket } from './raw-http.js'

let api: Api
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.close())
afterEach(async () => {
  await api.db.collection('records').deleteMany({})
})

type File = { bytes: Uint8Array; name: string; type?: string }

const upload = (
  fields: { [name: string]: string },
  files: File[],
  init: RequestInit = {},
  query = '',
): Promise<Answer> => {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  for (const { bytes, name, type = '' } of files) form.append('file', new Blob([new Uint8Array(bytes)], { type }), name)
  return api.request(`/v1/uploads${query}`, { method: 'POST', body: form, ...init })
}

describe('POST /v1/uploads', () => {
  it('takes a file with its fields and gives it back', async () => {
    const fields = { pipeline: 'scans', key: 'visit 7'.replace(' ', '-'), metadata: '{"ward":"7"}' }
    const answer = await upload(fields, [{ bytes: PNG, name: 'scan é.txt' }])
    expect(answer.status).toBe(202)
    const { id } = answer.json as Receipt
    expect(answer.headers.get('location')).toBe(`/v1/records/${id}`)
    const record = (await api.request(`/v1/records/${id}`)).json
    expect(record).toMatchObject({ key: 'visit-7', metadata: { ward: '7' }, input: { mediaType: 'image/png' } })
    expect(record).toMatchObject({ input: { fileName: 'scan é.txt', bytes: PNG.length } })
    const input = await api.request(`/v1/records/${id}/input`)
    expect(input.bytes.equals(PNG)).toBe(true)
    expect(input.headers.get('content-disposition')).toBe(
      `inline; filename="scan _.txt"; filename*=UTF-8''scan%20%C3%A9.txt`,
    )
    expect(input.headers.get('content-security-policy')).toMatch(/sandbox/)
  })

  it('takes pipeline and key from the address and the header too', async () => {
    const headers = { 'idempotency-key': 'h1' }
    const first = await upload({}, [{ bytes: PNG, name: 'a' }], { headers }, '?pipeline=scans')
    const second = await upload({ pipeline: 'scans', key: 'h1' }, [{ bytes: PNG, name: 'b' }])
    expect(second.json).toEqual({ ...(first.json as Receipt), duplicate: true })
  })

  it('makes a record of each file, in order, with keys that a repeat finds again', async () => {
    const files = [PNG, JPEG, largePng(200_000)].map((bytes, n) => ({ bytes, name: `${n}` }))
    const first = (await upload({ pipeline: 'scans', key: 'k' }, files)).json as { items: Receipt[]; next: null }
    expect(first.items).toHaveLength(3)
    const records = await Promise.all(first.items.map(({ id }) => api.request(`/v1/records/${id}`)))
    expect(records.map(({ json }) => (json as { key: string }).key)).toEqual(['k', 'k#2', 'k#3'])
    const again = (await upload({ pipeline: 'scans', key: 'k' }, files)).json as { items: Receipt[] }
    expect(again.items).toEqual(first.items.map((receipt) => ({ ...receipt, duplicate: true })))
    expect(await api.records()).toBe(3)
  })

  it('gives each file the fields that stand before it, even in one chunk', async () => {
    const parts = [
      field('pipeline', 'scans') + field('key', 'one') + fileHead('a'),
      PNG,
      `\r\n${field('key', 'two')}${field('pipeline', 'notes')}${fileHead('b')}Dear colleague${FORM_END}`,
    ]
    const body = Buffer.concat(parts.map((part) => Buffer.from(part)))
    const answer = await api.request('/v1/uploads', { method: 'POST', headers: { 'content-type': FORM_TYPE }, body })
    const { items } = answer.json as { items: Receipt[] }
    const records = await Promise.all(items.map(({ id }) => api.request(`/v1/records/${id}`)))
    expect(records.map(({ json }) => json)).toMatchObject([
      { key: 'one', pipeline: 'scans' },
      { key: 'two', pipeline: 'notes' },
    ])
  })

  it('answers 200 with the record, or all records, when they settle within the wait', async () => {
    const headers = { prefer: 'wait=20' }
    const settleAll = async (count: number) => {
      await waitFor(() => api.waiting() === count, { timeoutMs: 5_000, what: `${count} waits` })
      for (const id of api.announced.slice(-count)) {
        await api.change(id, { set: { status: 'completed', wakeAt: null, settledAt: new Date() } })
      }
    }
    const one = upload({ pipeline: 'scans' }, [{ bytes: PNG, name: 'a' }], { headers })
    await settleAll(1)
    expect((await one).status).toBe(200)
    const two = upload(
      { pipeline: 'scans' },
      [PNG, JPEG].map((bytes) => ({ bytes, name: 'a' })),
      { headers },
    )
    await settleAll(2)
    expect((await two).json).toMatchObject({ items: [{ status: 'completed' }, { status: 'completed' }] })
  })

  it('holds no file in memory', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const size = 64 * MIB
    const held: number[] = []
    async function* film(): AsyncGenerator<Uint8Array> {
      yield largePng(64 * 1024)
      for (let sent = 64 * 1024; sent < size; sent += 64 * 1024) {
        if (sent % (8 * MIB) === 0) {
          collect()
          held.push(process.memoryUsage().arrayBuffers)
        }
        yield Buffer.alloc(64 * 1024, sent % 251)
      }
    }
    const body = formOf({ pipeline: 'films' }, 'film.png', film())
    const answer = await rawRequest(api.url, { path: '/v1/uploads', headers: { 'content-type': FORM_TYPE }, body })
    expect(answer.status).toBe(202)
    const { id } = JSON.parse(answer.body) as Receipt
    expect((await api.store.load([id]))[0]?.input.payload.bytes).toBe(size)
    expect(held).toHaveLength(7)
    // What is held would grow by 8 MiB from each reading to the next; single readings see buffers not yet collected.
    expect(Math.min(...held.slice(-3)) - Math.min(...held.slice(0, 3))).toBeLessThan(8 * MIB)
  })
})

describe('uploads that are refused leave nothing behind', () => {
  afterEach(async () => {
    expect(await api.records()).toBe(0)
    await api.db.dropDatabase()
  })

  const blobsBefore = async () => {
    await api.db.dropDatabase()
    expect(await api.blobFiles()).toEqual({ files: 0, chunks: 0 })
  }
  const nothingLeft = () =>
    waitFor(async () => JSON.stringify(await api.blobFiles()) === '{"files":0,"chunks":0}', {
      timeoutMs: 10_000,
      what: 'the blobs to be gone',
    })

  it('413 while streaming, long before the end', async () => {
    await blobsBefore()
    let sent = 0
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let n = 0; n < 10_000; n += 1) {
        const chunk = largePng(64 * 1024)
        sent += chunk.length
        yield chunk
      }
    }
    const headers = { 'content-type': FORM_TYPE }
    const body = formOf({ pipeline: 'scans' }, 'a.png', endless())
    const answer = await rawRequest(api.url, { path: '/v1/uploads', headers, body })
    expect(answer.status).toBe(413)
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'too-large', bytesMax: 2 * MIB })
    expect(sent).toBeLessThan(200 * MIB)
    await nothingLeft()

    const raw = await rawRequest(api.url, { path: '/v1/records?pipeline=scans', headers: {}, body: endless() })
    expect(raw.status).toBe(413)
    await nothingLeft()
  })

  it('a wrong type by content', async () => {
    await blobsBefore()
    const text = Buffer.from('Dear colleague,')
    const answer = await upload({ pipeline: 'scans' }, [{ bytes: text, name: 'scan.png', type: 'image/png' }])
    expect(answer.status).toBe(415)
    expect(answer.json).toMatchObject({ found: 'text/plain', accepted: ['image/*', 'application/pdf'] })
    await nothingLeft()
  })

  it('a multipart body that ends too early, in the head and in mid-file', async () => {
    await blobsBefore()
    const heads = [field('pipeline', 'scans'), `${field('pipeline', 'scans')}${fileHead('a')}`]
    for (const [head, content] of [
      [heads[0], ''],
      [heads[1], ''],
      [heads[1], PNG],
      [heads[1], largePng(MIB)],
      ['--other\r\n', ''],
      ['no multipart at all', ''],
    ] as const) {
      const body = Buffer.concat([Buffer.from(head ?? ''), Buffer.from(content)])
      const answer = await api.request('/v1/uploads', { method: 'POST', headers: { 'content-type': FORM_TYPE }, body })
      expect(answer.status).toBe(400)
      expect(['broken-upload', 'invalid-request', 'empty-input']).toContain((answer.json as { code: string }).code)
    }
    await nothingLeft()
  })

  it('a client that goes away in mid-upload', async () => {
    await blobsBefore()
    const form = `${field('pipeline', 'scans')}${fileHead('a')}`
    const head = (path: string, type: string) =>
      `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: 2000000\r\n\r\n`
    for (const start of [head('/v1/uploads', FORM_TYPE) + form, head('/v1/records?pipeline=scans', 'image/png')]) {
      const before = api.logged.length
      const socket = await rawSocket(api.url, start)
      socket.write(largePng(1_500_000))
      await waitFor(async () => (await api.blobFiles()).chunks > 0, { timeoutMs: 10_000, what: 'a chunk to be stored' })
      socket.destroy()
      await nothingLeft()
      expect(api.logged.slice(before)).toEqual([])
    }
  })

  it('names what is missing or misplaced in the form', async () => {
    await blobsBefore()
    const file = { bytes: PNG, name: 'a.png' }
    const cases: [Promise<Answer>, number, RegExp][] = [
      [upload({}, [file]), 400, /No pipeline was named before the file/],
      [upload({ pipeline: 'scans' }, []), 400, /no file/],
      [upload({ pipeline: 'nope' }, [file]), 404, /no pipeline "nope".*forms/],
      [upload({ pipeline: 'scans', color: 'red' }, [file]), 400, /unknown field "color"/],
      [upload({ pipeline: 'scans', key: 'b' }, [file], { headers: { 'idempotency-key': 'a' } }), 400, /different keys/],
      [upload({ pipeline: 'scans', metadata: '{"a":{"$ne":1}}' }, [file]), 400, /must be a string/],
      [upload({ pipeline: 'scans', metadata: '{"__proto__":"x"}' }, [file]), 400, /__proto__/],
      [upload({ pipeline: 'scans', metadata: '[1]' }, [file]), 400, /JSON object/],
      [upload({ pipeline: 'scans', metadata: '{' }, [file]), 400, /not valid JSON/],
      [upload({ pipeline: 'scans', key: 'a b' }, [file]), 400, /idempotency key/],
      [upload({ pipeline: '{"$ne":1}' }, [file]), 400, /pipeline name/],
      [upload({ pipeline: 'scans' }, [{ bytes: new Uint8Array(), name: 'a' }]), 400, /empty/],
      [upload({}, [file], {}, '?pipeline[$ne]=1'), 400, /query/],
      [api.post('/v1/uploads', { pipeline: 'scans' }), 415, /multipart/],
      [api.request('/v1/uploads', { method: 'POST' }), 415, /multipart/],
      [
        api.request('/v1/uploads', { method: 'POST', headers: { 'content-type': 'multipart/form-data' }, body: 'x' }),
        400,
        /boundary/,
      ],
    ]
    for (const [answer, status, detail] of cases) {
      const { json } = await answer
      expect(json).toMatchObject({ status, detail: expect.stringMatching(detail) as string })
    }
  })
})

describe('several files, one of them refused', () => {
  it('tells the receipts before it, and looks at none after it', async () => {
    const text = Buffer.from('Dear colleague,')
    const files = [PNG, text, JPEG].map((bytes, n) => ({ bytes, name: `${n}` }))
    const answer = await upload({ pipeline: 'scans', key: 'k' }, files)
    expect(answer.status).toBe(415)
    const { accepted } = answer.json as { accepted: Receipt[] }
    expect(accepted).toHaveLength(1)
    expect(await api.records()).toBe(1)
    const again = await upload({ pipeline: 'scans', key: 'k' }, [files[0]!])
    expect(again.json).toEqual({ ...accepted[0], duplicate: true })
  })
})
