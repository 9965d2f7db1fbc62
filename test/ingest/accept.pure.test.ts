import { describe, expect, it } from 'vitest'
import { recordIdOf } from '../../src/ingest/content-hash.js'
import { INLINE_BYTES_MAX } from '../../src/machines/record.js'
import { acceptBench, chunksOf, largePng, MIB, PNG, refusalOf, submission } from './accept-fixture.js'

describe('accept: one record', () => {
  it('P1 answers with the stored record, and announces it after the insert', async () => {
    const bench = acceptBench()
    const receipt = await bench.accept(submission({ metadata: { ward: '7' } }))
    const [doc] = await bench.store.load([receipt.id])
    expect(receipt).toEqual({
      id: doc?._id,
      version: 1,
      status: 'processing',
      settlesBy: doc?.settlesBy.toISOString(),
      duplicate: false,
    })
    expect(doc).toMatchObject({
      source: 'clinic-a',
      via: 'test',
      pipeline: 'forms',
      metadata: { ward: '7' },
      key: null,
    })
    expect(doc?.history[0]?.by).toBe('ingest:test')
    expect(bench.announced.map(({ _id }) => _id)).toEqual([receipt.id])
  })

  it('P9 gives the receipt although the announcement fails, throws, or never ends', async () => {
    const failures = [
      () => Promise.reject(new Error('bus away')),
      () => {
        throw new Error('bus away')
      },
      () => new Promise<void>(() => undefined),
    ]
    for (const accepted of failures) {
      const bench = acceptBench({ accepted })
      expect((await bench.accept(submission())).status).toBe('processing')
      expect(await bench.all()).toHaveLength(1)
    }
  })

  it('keeps small bytes inline and larger ones as a blob, with the hash and the length of the content', async () => {
    const bench = acceptBench()
    const small = await bench.accept(submission({ pipeline: 'scans', content: { bytes: PNG } }))
    const large = largePng(300_000)
    const stream = chunksOf(large, 10_000)
    const second = await bench.accept(
      submission({ pipeline: 'scans', content: { stream }, fileName: 'C:\\scans\\a.png' }),
    )
    const [inline, blob] = await bench.store.load([small.id, second.id])
    expect(inline?.input).toMatchObject({ encoding: 'base64', mediaType: 'image/png', payload: { bytes: PNG.length } })
    expect(inline?.input.payload).toHaveProperty('inline', PNG.toString('base64'))
    expect(blob?.input).toMatchObject({ encoding: 'blob', fileName: 'a.png', payload: { bytes: 300_000 } })
    const { blob: id } = blob!.input.payload as { blob: string }
    const read: Uint8Array[] = []
    for await (const chunk of bench.blobs.get(id)) read.push(chunk)
    expect(Buffer.concat(read).equals(large)).toBe(true)
  })

  it('draws the line between inline and blob at the limit exactly', async () => {
    const bench = acceptBench()
    for (const [bytes, encoding] of [
      [INLINE_BYTES_MAX, 'base64'],
      [INLINE_BYTES_MAX + 1, 'blob'],
    ] as const) {
      const { id } = await bench.accept(submission({ pipeline: 'scans', content: { bytes: largePng(bytes) } }))
      expect((await bench.store.load([id]))[0]?.input.encoding).toBe(encoding)
    }
  })

  it('keeps large JSON as a blob of its canonical text', async () => {
    const bench = acceptBench()
    const { id } = await bench.accept(submission({ content: { json: { z: 'x'.repeat(100_000), a: 1 } } }))
    const [doc] = await bench.store.load([id])
    expect(doc?.input).toMatchObject({ encoding: 'blob', mediaType: 'application/json' })
    let text = ''
    for await (const chunk of bench.blobs.get((doc!.input.payload as { blob: string }).blob)) text += Buffer.from(chunk)
    expect(text.startsWith('{"a":1,"z":"xxx')).toBe(true)
  })
})

describe('accept: the same submission is one record (P7)', () => {
  it('100 at once with one key become one record with one id', async () => {
    const bench = acceptBench()
    const receipts = await Promise.all(
      Array.from({ length: 100 }, () => bench.accept(submission({ key: 'order-1', content: { json: { n: 1 } } }))),
    )
    expect(new Set(receipts.map(({ id }) => id))).toEqual(new Set([recordIdOf('clinic-a', 'order-1')]))
    expect(receipts.filter(({ duplicate }) => !duplicate)).toHaveLength(1)
    expect(await bench.all()).toHaveLength(1)
    expect(bench.announced).toHaveLength(1)
  })

  it('answers a duplicate with the first record as it is now', async () => {
    const bench = acceptBench()
    const first = await bench.accept(submission({ key: 'k' }))
    await bench.store.save([
      {
        id: first.id,
        expectedVersion: 1,
        writer: 'w',
        set: { status: 'cancelled', wakeAt: null },
        steps: {},
        charges: {},
        history: [
          {
            version: 2,
            writer: 'w',
            at: new Date(),
            event: { type: 'CANCEL', reason: 'test' },
            from: 'read.ready',
            to: 'cancelled',
            by: 'operator:test',
          },
        ],
        outbox: [],
      },
    ])
    expect(await bench.accept(submission({ key: 'k' }))).toEqual({
      ...first,
      version: 2,
      status: 'cancelled',
      duplicate: true,
    })
  })

  it('is the same JSON whatever the order of keys, white space, and the way it comes in', async () => {
    const bench = acceptBench()
    const text = Buffer.from('\ufeff{ "b" : [1.0, 2e0],\n "a": "\\u00e9" }')
    const ways: Parameters<typeof submission>[0][] = [
      { content: { json: { a: 'é', b: [1, 2] } } },
      { content: { bytes: text } },
      { content: { stream: chunksOf(text, 3) }, mediaType: 'application/json; charset=utf-8' },
      { content: { stream: chunksOf(text, 1000) }, mediaType: 'image/png', fileName: 'form.png' },
    ]
    for (const way of ways) await bench.accept(submission({ key: 'k', ...way }))
    expect(await bench.all()).toHaveLength(1)
  })

  it('is the same file inline, streamed in any chunks, under any name', async () => {
    const bench = acceptBench()
    for (const bytes of [PNG, largePng(200_000)]) {
      const key = `png-${bytes.length}`
      const common = { pipeline: 'scans', key }
      await bench.accept(submission({ ...common, content: { bytes }, fileName: 'a.png' }))
      await bench.accept(submission({ ...common, content: { stream: chunksOf(bytes, 999) }, mediaType: 'text/plain' }))
    }
    expect(await bench.all()).toHaveLength(2)
  })

  it('refuses other content, and another pipeline, under the same key with the id of the first', async () => {
    const bench = acceptBench()
    const first = await bench.accept(submission({ key: 'k', pipeline: 'small' }))
    const others = [submission({ key: 'k', pipeline: 'small', content: { json: { a: 2 } } }), submission({ key: 'k' })]
    for (const other of others) {
      const refusal = await refusalOf(bench.accept(other))
      expect(refusal).toMatchObject({ code: 'key-conflict', status: 422, details: { record: first.id } })
    }
    expect(await bench.all()).toHaveLength(1)
  })

  it('two sources with one key are two records', async () => {
    const bench = acceptBench()
    await bench.accept(submission({ key: 'k', source: 'clinic-a' }))
    await bench.accept(submission({ key: 'k', source: 'clinic-b' }))
    expect(await bench.all()).toHaveLength(2)
  })

  it('without a key, each submission is its own record', async () => {
    const bench = acceptBench()
    await bench.accept(submission())
    await bench.accept(submission())
    expect(await bench.all()).toHaveLength(2)
  })

  it('removes the blob of a duplicate and of a conflict, and keeps the first one', async () => {
    const bench = acceptBench()
    const send = (fill: number) => {
      const bytes = largePng(200_000)
      bytes[199_999] = fill
      return bench.accept(submission({ pipeline: 'scans', key: 'k', content: { bytes } }))
    }
    await send(1)
    expect((await send(1)).duplicate).toBe(true)
    expect(await refusalOf(send(2))).toMatchObject({ code: 'key-conflict' })
    expect(await bench.blobCount()).toBe(1)
  })
})

describe('accept: the storage is away', () => {
  it('an unknown insert is 503, says that the same key is safe, and keeps the blob that the record may need', async () => {
    const bench = acceptBench({ insert: async () => ({ kind: 'unknown', message: 'no answer' }) })
    const large = submission({ pipeline: 'scans', key: 'k', content: { bytes: largePng(100_000) } })
    const refusal = await refusalOf(bench.accept(large))
    expect(refusal).toMatchObject({ code: 'unavailable', status: 503 })
    expect(refusal.message).toMatch(/same idempotency key/)
    expect(await bench.blobCount()).toBe(1)
    expect(bench.announced).toHaveLength(0)
  })

  it('an insert that finds itself after a lost reply is no duplicate, and its blob stays', async () => {
    const bench = acceptBench({
      insert: async (doc, real) => {
        await real.insert(doc)
        return real.insert(doc)
      },
    })
    const receipt = await bench.accept(
      submission({ pipeline: 'scans', key: 'k', content: { bytes: largePng(100_000) } }),
    )
    expect(receipt.duplicate).toBe(false)
    expect(await bench.blobCount()).toBe(1)
    expect(bench.announced).toHaveLength(1)
  })

  it('a record that the storage refuses for good is a clear error, and leaves no blob', async () => {
    const bench = acceptBench({ insert: async () => ({ kind: 'refused', code: 'too-large', message: 'No.' }) })
    const large = submission({ pipeline: 'scans', content: { bytes: largePng(100_000) } })
    expect(await refusalOf(bench.accept(large))).toMatchObject({ code: 'invalid-submission', status: 422 })
    expect(await bench.blobCount()).toBe(0)
  })

  it('a blob store that is away is 503, not a broken upload', async () => {
    const bench = acceptBench({
      blobs: (real) => ({ ...real, put: () => Promise.reject(new Error('no primary')) }),
    })
    const large = submission({ pipeline: 'scans', content: { stream: chunksOf(largePng(MIB), 65_536) } })
    expect(await refusalOf(bench.accept(large))).toMatchObject({ code: 'unavailable', status: 503 })
  })
})
