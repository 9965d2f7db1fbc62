import { describe, expect, it } from 'vitest'
import type { Submission } from '../../src/ingest/contract.js'
import { JSON_BYTES_MAX, JSON_DEPTH_MAX } from '../../src/ingest/json-limits.js'
import { acceptBench, chunksOf, JPEG, largePng, MIB, PDF, PNG, refusalOf, submission, TIFF } from './accept-fixture.js'

const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth))

/** Refused with this code and status, and nothing stored. */
async function expectRefused(change: Partial<Submission>, code: string, status: number): Promise<string> {
  const bench = acceptBench()
  const refusal = await refusalOf(bench.accept(submission(change)))
  expect({ code: refusal.code, status: refusal.status }).toEqual({ code, status })
  expect(await bench.all()).toEqual([])
  expect(await bench.blobCount()).toBe(0)
  expect(bench.announced).toEqual([])
  return refusal.message
}

describe('the envelope', () => {
  const envelopes: [string, Partial<Submission>][] = [
    ['a source with a dot', { source: 'a.b' }],
    ['an empty source', { source: '' }],
    ['a pipeline name with a dollar', { pipeline: '$where' }],
    ['an operator object as pipeline', { pipeline: { $ne: 1 } as unknown as string }],
    ['an empty key', { key: '' }],
    ['a key with a space', { key: 'a b' }],
    ['a key with a line break', { key: 'a\nb' }],
    ['a key of 256 characters', { key: 'k'.repeat(256) }],
    ['a key that is not ASCII', { key: 'é' }],
    ['33 metadata entries', { metadata: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`n${n}`, 'v'])) }],
    ['a metadata value of 201 characters', { metadata: { a: 'x'.repeat(201) } }],
    ['__proto__ in metadata', { metadata: JSON.parse('{"__proto__":"x"}') as { [name: string]: string } }],
    ['an operator in metadata', { metadata: { $ne: '1' } }],
    ['a dotted name in metadata', { metadata: { 'a.b': '1' } }],
    ['a nested object in metadata', { metadata: { a: { $ne: 1 } } as unknown as { [name: string]: string } }],
  ]
  for (const [what, change] of envelopes) {
    it(`refuses ${what}`, async () => {
      await expectRefused(change, 'invalid-submission', 400)
    })
  }

  it('takes what is just within the limits', async () => {
    const bench = acceptBench()
    const metadata = Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`n${n}`, 'x'.repeat(200)]))
    await bench.accept(submission({ key: 'k'.repeat(255), metadata }))
    await bench.accept(submission({ key: '!~', metadata: { constructor: 'x', toString: 'y' } }))
    expect(await bench.all()).toHaveLength(2)
  })

  it('names the known pipelines for an unknown one', async () => {
    const message = await expectRefused({ pipeline: 'nope' }, 'unknown-pipeline', 404)
    expect(message).toMatch(/"nope".*forms, scans/)
  })

  it('keeps no path and no control character of a file name', async () => {
    const bench = acceptBench()
    const names: [string, string | null][] = [
      ['../../etc/passwd', 'passwd'],
      ['C:\\scans\\a\u0000\r\nb.png', 'ab.png'],
      ['\u202egnp.exe', 'gnp.exe'],
      ['..', null],
      [`${'n'.repeat(254)}😀`, `${'n'.repeat(254)}\ufffd`],
    ]
    for (const [fileName, kept] of names) {
      const { id } = await bench.accept(submission({ pipeline: 'scans', content: { bytes: PNG }, fileName }))
      expect((await bench.store.load([id]))[0]?.input.fileName).toBe(kept)
    }
  })
})

describe('the type is what the content shows', () => {
  const typeOf = async (pipeline: string, change: Partial<Submission>): Promise<string | undefined> => {
    const bench = acceptBench()
    const { id } = await bench.accept(submission({ pipeline, ...change }))
    return (await bench.store.load([id]))[0]?.input.mediaType
  }

  it('finds images and PDFs whatever they are called', async () => {
    const named = { fileName: 'letter.txt', mediaType: 'text/plain' }
    expect(await typeOf('scans', { ...named, content: { bytes: PNG } })).toBe('image/png')
    expect(await typeOf('scans', { ...named, content: { bytes: JPEG } })).toBe('image/jpeg')
    expect(await typeOf('scans', { ...named, content: { bytes: TIFF } })).toBe('image/tiff')
    expect(await typeOf('scans', { ...named, content: { bytes: PDF } })).toBe('application/pdf')
    const shifted = Buffer.concat([Buffer.from([0, 1, 2, 3]), PDF])
    expect(await typeOf('scans', { ...named, content: { bytes: shifted } })).toBe('application/pdf')
    expect(await typeOf('scans', { ...named, content: { stream: chunksOf(PDF, 1) } })).toBe('application/pdf')
  })

  it('refuses a text that is called an image, naming what was found and what is accepted', async () => {
    const change = { pipeline: 'scans', fileName: 'scan.png', mediaType: 'image/png' }
    const message = await expectRefused(
      { ...change, content: { bytes: Buffer.from('Dear colleague,') } },
      'unsupported-media-type',
      415,
    )
    expect(message).toMatch(/text\/plain.*declared as image\/png.*image\/\*, application\/pdf/)
    expect(message).not.toMatch(/scan\.png|colleague/)
  })

  it('does not take a letter that begins like a magic number for a file', async () => {
    for (const text of ['BM is 24.5', 'MZ station', 'ID3 follow-up', 'II* on admission', '8BPS', 'GIF87a']) {
      expect(await typeOf('notes', { content: { bytes: Buffer.from(text) } })).toBe('text/plain')
    }
  })

  it('lets a declaration choose among text formats only where the pipeline asks for it', async () => {
    const bytes = Buffer.from('a,b\n1,2\n')
    expect(await typeOf('tables', { content: { bytes }, mediaType: 'text/csv; charset=utf-8' })).toBe('text/csv')
    expect(await typeOf('notes', { content: { bytes }, mediaType: 'text/csv' })).toBe('text/plain')
    await expectRefused({ pipeline: 'tables', content: { bytes } }, 'unsupported-media-type', 415)
    await expectRefused(
      { pipeline: 'tables', content: { bytes: PNG }, mediaType: 'text/csv' },
      'unsupported-media-type',
      415,
    )
  })

  it('takes JSON as JSON because it parses, and as text where only text is wanted', async () => {
    const bytes = Buffer.from(' {"a": 1} ')
    expect(await typeOf('forms', { content: { bytes }, fileName: 'x.bin' })).toBe('application/json')
    expect(await typeOf('notes', { content: { bytes } })).toBe('text/plain')
    expect(await typeOf('notes', { content: { bytes: Buffer.from('[see below] no JSON') } })).toBe('text/plain')
    expect(await typeOf('forms', { content: { bytes: Buffer.from('42') }, mediaType: 'application/json' })).toBe(
      'application/json',
    )
  })

  it('refuses JSON where only images are accepted', async () => {
    await expectRefused({ pipeline: 'scans' }, 'unsupported-media-type', 415)
    const bytes = Buffer.from('{"a":1}')
    const message = await expectRefused(
      { pipeline: 'scans', content: { bytes }, mediaType: 'application/json' },
      'unsupported-media-type',
      415,
    )
    expect(message).toMatch(/application\/json/)
  })
})

describe('JSON', () => {
  it(`is taken at ${JSON_DEPTH_MAX} levels and refused one deeper, also absurdly deep`, async () => {
    const bench = acceptBench()
    await bench.accept(submission({ content: { json: nested(JSON_DEPTH_MAX) } }))
    await expectRefused({ content: { json: nested(JSON_DEPTH_MAX + 1) } }, 'too-deep', 400)
    const bytes = Buffer.from('['.repeat(500_000) + ']'.repeat(500_000))
    await expectRefused({ content: { bytes } }, 'too-deep', 400)
  })

  it('keeps operators and __proto__ as data, in text', async () => {
    const bench = acceptBench()
    const text = '{"$ne":1,"__proto__":{"admin":true},"a.b":2,"constructor":{"prototype":{}}}'
    const { id } = await bench.accept(submission({ content: { json: JSON.parse(text) as unknown } }))
    const payload = (await bench.store.load([id]))[0]?.input.payload as { inline: string }
    expect(payload.inline).toBe('{"$ne":1,"__proto__":{"admin":true},"a.b":2,"constructor":{"prototype":{}}}')
    expect(({} as { admin?: boolean }).admin).toBeUndefined()
  })

  it('is refused where a number would change, or a value is no JSON', async () => {
    for (const json of [
      2 ** 53,
      -1e300,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      undefined,
      { a: undefined },
      1n,
      new Date(0),
    ])
      await expectRefused({ content: { json } }, 'invalid-submission', 400)
    await expectRefused({ content: { bytes: Buffer.from('[12345678901234567890]') } }, 'invalid-submission', 400)
  })

  it('hints at the place of a syntax error and none of the content', async () => {
    const wrong: [string, RegExp][] = [
      ['{"patient": Miller}', /token is out of place/],
      ['{"patient": "Miller"', /position 20/],
      ['{"patient": "Mill', /position 17|cut off/],
      ['{"patient": ', /cut off/],
    ]
    for (const [text, where] of wrong) {
      const message = await expectRefused({ content: { bytes: Buffer.from(text) } }, 'invalid-submission', 400)
      expect(message).toMatch(where)
      expect(message).not.toMatch(/Mill|patient/)
    }
  })

  it('must be UTF-8, because a decoder would make different inputs equal', async () => {
    const bytes = Buffer.from('{"name":"M\xfcller"}', 'latin1')
    await expectRefused({ content: { bytes } }, 'invalid-submission', 400)
  })

  it('is bounded, in whatever form it comes', async () => {
    const json = 'x'.repeat(JSON_BYTES_MAX)
    await expectRefused({ content: { json } }, 'too-large', 413)
    const bytes = Buffer.from(JSON.stringify([json]))
    await expectRefused({ content: { stream: chunksOf(bytes, 65_536) } }, 'too-large', 413)
  })
})

describe('size and transport', () => {
  it('refuses empty content', async () => {
    await expectRefused({ pipeline: 'scans', content: { bytes: new Uint8Array() } }, 'empty-input', 400)
    await expectRefused({ pipeline: 'scans', content: { stream: chunksOf(new Uint8Array(), 1) } }, 'empty-input', 400)
  })

  it('refuses by size at the limit exactly, small and large, without reading to the end', async () => {
    const bench = acceptBench()
    await bench.accept(submission({ pipeline: 'small', content: { bytes: Buffer.alloc(1000, 'a') } }))
    await expectRefused({ pipeline: 'small', content: { bytes: Buffer.alloc(1001, 'a') } }, 'too-large', 413)
    await bench.accept(submission({ pipeline: 'scans', content: { bytes: largePng(2 * MIB) } }))
    let served = 0
    const chunk = largePng(65_536)
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        served += chunk.length
        yield chunk
      }
    }
    await expectRefused({ pipeline: 'scans', content: { stream: endless() } }, 'too-large', 413)
    expect(served).toBeLessThan(3 * MIB)
  })

  it('a stream that breaks leaves nothing, at its head and in mid-blob', async () => {
    async function* breaking(bytes: number): AsyncGenerator<Uint8Array> {
      yield largePng(bytes)
      throw new Error('connection reset')
    }
    await expectRefused({ pipeline: 'scans', content: { stream: breaking(100) } }, 'broken-upload', 400)
    await expectRefused({ pipeline: 'scans', content: { stream: breaking(MIB) } }, 'broken-upload', 400)
  })

  it('a client that goes away while a silent stream is awaited ends the wait', async () => {
    for (const head of [PNG, largePng(MIB)]) {
      const controller = new AbortController()
      let returned = false
      async function* hanging(): AsyncGenerator<Uint8Array> {
        try {
          yield head
          controller.abort()
          yield PNG
          yield PNG
        } finally {
          returned = true
        }
      }
      const change = { pipeline: 'scans', content: { stream: hanging() }, signal: controller.signal }
      await expectRefused(change, 'upload-aborted', 400)
      expect(returned).toBe(true)
    }
  })
})
