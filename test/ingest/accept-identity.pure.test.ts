import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalJson, recordIdOf, shardOf } from '../../src/ingest/content-hash.js'
import { isAccepted, normalMediaType, sniff } from '../../src/ingest/content-type.js'
import { preferredWait } from '../../src/server/answer-receipt.js'
import { createIds } from '../../src/worker/ids.js'
import { JPEG, PDF, PNG, TIFF } from './accept-fixture.js'

const exactJson = fc
  .jsonValue({ maxDepth: 6 })
  .filter((value) => !/\d{16,}|e\+/.test(JSON.stringify(value).replace(/"(\\.|[^"\\])*"/g, '')))

const shuffled = (value: unknown): unknown => {
  if (value === null || typeof value !== 'object') return value
  if (Array.isArray(value)) return value.map(shuffled)
  const reversed = Object.entries(value).reverse()
  return Object.fromEntries(reversed.map(([key, inner]) => [key, shuffled(inner)]))
}

describe('canonicalJson', () => {
  it('H1 is the same for the same value in any order, and gives the value back', () => {
    fc.assert(
      fc.property(exactJson, (value) => {
        const text = canonicalJson(value)
        expect(canonicalJson(shuffled(value))).toBe(text)
        expect(canonicalJson(JSON.parse(text))).toBe(text)
        // -0 is written as 0 (RFC 8785, section 3.2.2.3).
        expect(JSON.stringify(JSON.parse(text))).toBe(JSON.stringify(JSON.parse(canonicalJson(shuffled(value)))))
      }),
    )
  })

  it('writes the example of RFC 8785, section 3.2.3', () => {
    const example = {
      '\u20ac': 'Euro Sign',
      '\r': 'CR',
      '\ufb33': 'Hebrew',
      1: 'One',
      '\ud83d\ude00': 'Emoji',
      '\u0080': 'C',
      ö: 'O',
    }
    expect(canonicalJson(example)).toBe(
      '{"\\r":"CR","1":"One","\u0080":"C","ö":"O","\u20ac":"Euro Sign","\ud83d\ude00":"Emoji","\ufb33":"Hebrew"}',
    )
    expect(canonicalJson([JSON.parse('333333333.33333329'), 4.5, 2e-3, 1e-27, -0])).toBe(
      '[333333333.3333333,4.5,0.002,1e-27,0]',
    )
  })

  it('keeps half a surrogate pair as an escape, because UTF-8 has none', () => {
    expect(canonicalJson('\ud800')).toBe('"\\ud800"')
  })
})

describe('ids', () => {
  it('H2 come from source and key alone, and tell sources apart', () => {
    expect(recordIdOf('a', 'k')).toMatch(/^[0-9a-f]{32}$/)
    expect(recordIdOf('a', 'k')).toBe(recordIdOf('a', 'k'))
    expect(
      new Set([recordIdOf('a', 'k'), recordIdOf('b', 'k'), recordIdOf('a', 'k2'), recordIdOf('ak', '')]).size,
    ).toBe(4)
  })

  it('spread evenly over the shards, keyed or not', () => {
    const ids = createIds()
    const sorts = [(n: number) => recordIdOf('clinic-a', `order-${n}`), () => ids.record()]
    for (const idOf of sorts) {
      const counts = Array.from({ length: 256 }, () => 0)
      for (let n = 0; n < 25_600; n += 1) {
        const shard = shardOf(idOf(n))
        counts[shard] = (counts[shard] ?? 0) + 1
      }
      // 100 expected in each, with a standard deviation of 10: chance alone does not go seven times that far.
      expect(counts).toHaveLength(256)
      expect(Math.min(...counts)).toBeGreaterThan(30)
      expect(Math.max(...counts)).toBeLessThan(170)
    }
  })
})

describe('sniff', () => {
  it('answers a type for any bytes, also behind a real magic number', async () => {
    const heads = [
      PNG,
      JPEG,
      TIFF,
      PDF,
      Buffer.from('PK\u0003\u0004'),
      Buffer.from('RIFF'),
      Buffer.from('ID3\u0004'),
      Buffer.alloc(0),
    ]
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...heads), fc.uint8Array({ maxLength: 400 }), async (head, tail) => {
        const { type } = await sniff(Buffer.concat([head, tail]), null)
        expect(normalMediaType(type)).toBe(type)
      }),
    )
  })

  it('matches wildcards by their first half only', () => {
    expect(isAccepted(['image/*'], 'image/png')).toBe(true)
    expect(isAccepted(['IMAGE/PNG'], 'image/png')).toBe(true)
    expect(isAccepted(['image/*'], 'imagex/png')).toBe(false)
    expect(isAccepted(['*/*'], 'a/b')).toBe(true)
    expect(isAccepted([], 'a/b')).toBe(false)
  })
})

describe('preferredWait', () => {
  it('reads RFC 7240, bounds it, and ignores what it does not know', () => {
    expect(preferredWait('wait=10')).toBe(10)
    expect(preferredWait('respond-async, wait="5"')).toBe(5)
    expect(preferredWait('WAIT = 7; x=y')).toBe(7)
    expect(preferredWait('wait=100000')).toBe(60)
    for (const other of ['', 'wait', 'wait=-1', 'wait=1.5', 'await=10', 'wait=1e3'])
      expect(preferredWait(other)).toBe(0)
  })
})
