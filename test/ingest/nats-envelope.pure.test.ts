/** What a NATS message means as a submission: headers, CloudEvents, keys. */
import { headers, type MsgHdrs } from 'nats'
import { describe, expect, it } from 'vitest'
import { Refusal } from '../../src/ingest/contract.js'
import { readEnvelope, type NatsEnvelope } from '../../src/ingest/nats-envelope.js'
import { ingestNames } from '../../src/ingest/nats-names.js'
import { mayRead } from '../../src/ingest/nats-object.js'

const PLACE = 'nats:1:1'

function headersOf(entries: [string, string][]): MsgHdrs {
  const made = headers()
  for (const [name, value] of entries) made.append(name, value)
  return made
}

function read(body: string | Uint8Array, entries: [string, string][] = []): NatsEnvelope {
  const data = typeof body === 'string' ? new TextEncoder().encode(body) : body
  return readEnvelope({ data, headers: entries.length === 0 ? undefined : headersOf(entries) }, PLACE)
}

function refusalOf(act: () => unknown): Refusal {
  try {
    act()
  } catch (error) {
    if (error instanceof Refusal) return error
    throw error
  }
  throw new Error('expected a refusal')
}

const textOf = (envelope: NatsEnvelope): string => {
  const { content } = envelope
  if (content === null || !('bytes' in content)) throw new Error('expected bytes')
  return new TextDecoder().decode(content.bytes)
}

const event = { specversion: '1.0', id: 'e-1', source: '/pacs', type: 'scan.stored' }

describe('A plain message', () => {
  it('is its own bytes, with what the headers say', () => {
    const envelope = read('hello', [
      ['Content-Type', 'text/plain'],
      ['Idempotency-Key', 'k-1'],
      ['Endstate-Filename', 'letter.txt'],
      ['Endstate-Meta-ward', '7'],
    ])
    expect(textOf(envelope)).toBe('hello')
    expect(envelope).toMatchObject({
      key: 'k-1',
      mediaType: 'text/plain',
      fileName: 'letter.txt',
      metadata: { ward: '7' },
    })
  })

  it('takes headers in any case', () => {
    expect(read('x', [['idempotency-key', 'low']]).key).toBe('low')
    expect(read('x', [['content-type', 'text/csv']]).mediaType).toBe('text/csv')
    expect(read('x', [['ENDSTATE-META-ward', '7']]).metadata).toEqual({ ward: '7' })
  })

  it('falls back to its place for the key, and never to Nats-Msg-Id', () => {
    expect(read('x').key).toBe(PLACE)
    expect(read('x', [['Nats-Msg-Id', 'dedup']]).key).toBe(PLACE)
  })

  it('keeps an empty key empty, so that it is refused and not replaced', () => {
    expect(read('x', [['Idempotency-Key', '']]).key).toBe('')
  })

  it('is refused with two keys, naming the header', () => {
    const refusal = refusalOf(() =>
      read('x', [
        ['Idempotency-Key', 'a'],
        ['Idempotency-Key', 'b'],
      ]),
    )
    expect(refusal.message).toContain('Idempotency-Key is given 2 times')
  })

  it('keeps __proto__ as a name of metadata, where accept() refuses it', () => {
    expect(Object.keys(read('x', [['Endstate-Meta-__proto__', '1']]).metadata)).toEqual(['__proto__'])
  })

  it('is refused with a nameless metadata header', () => {
    expect(refusalOf(() => read('x', [['Endstate-Meta-', '1']])).message).toContain('Endstate-Meta-NAME')
  })
})

describe('A CloudEvent', () => {
  it('in binary mode gives its id as the key, decoded as the binding encodes it', () => {
    const envelope = read('{"a":1}', [
      ['ce-specversion', '1.0'],
      ['ce-id', 'scan%201'],
      ['Content-Type', 'application/json'],
    ])
    expect(envelope.key).toBe('scan 1')
    expect(textOf(envelope)).toBe('{"a":1}')
    expect(read('x', [['ce-id', '100%']]).key).toBe('100%')
  })

  it('yields to an Idempotency-Key', () => {
    expect(
      read('x', [
        ['ce-id', 'e'],
        ['Idempotency-Key', 'k'],
      ]).key,
    ).toBe('k')
    expect(read(JSON.stringify({ ...event, data: {} }), [['Idempotency-Key', 'k']]).key).toBe('k')
  })

  const structured: [string, string][] = [['Content-Type', 'application/cloudevents+json; charset=utf-8']]

  it('in structured mode gives its data as JSON', () => {
    const envelope = read(JSON.stringify({ ...event, data: { a: 1 } }), structured)
    expect(envelope).toMatchObject({ key: 'e-1', content: { json: { a: 1 } } })
  })

  it('in structured mode gives text and base64 data as bytes', () => {
    const text = read(JSON.stringify({ ...event, datacontenttype: 'text/csv', data: 'a;b' }), structured)
    expect([text.mediaType, textOf(text)]).toEqual(['text/csv', 'a;b'])
    const binary = read(JSON.stringify({ ...event, datacontenttype: 'image/png', data_base64: 'aGk=' }), structured)
    expect([binary.mediaType, textOf(binary)]).toEqual(['image/png', 'hi'])
  })

  it('is recognised without a Content-Type when it is one entirely', () => {
    expect(read(JSON.stringify({ ...event, data: null })).content).toEqual({ json: null })
    const almost = JSON.stringify({ specversion: '1.0', note: 'no event' })
    expect(textOf(read(almost))).toBe(almost)
  })

  it.each([
    ['no JSON', 'not json', 'not valid JSON'],
    ['no id', JSON.stringify({ ...event, id: '' }), 'id:'],
    ['a later edition', JSON.stringify({ ...event, specversion: '2.0', data: 1 }), 'specversion'],
    ['no data', JSON.stringify(event), 'neither data nor data_base64'],
    ['bad base64', JSON.stringify({ ...event, data_base64: '***' }), 'data_base64'],
  ])('with %s is refused, naming it', (_, body, named) => {
    const refusal = refusalOf(() => read(body, structured))
    expect([refusal.code, refusal.message]).toEqual(['invalid-submission', expect.stringContaining(named)])
  })

  it('in a batch is refused', () => {
    const refusal = refusalOf(() => read('[]', [['Content-Type', 'application/cloudevents-batch+json']]))
    expect(refusal.message).toContain('one by one')
  })
})

describe('A reference to an object', () => {
  it('names bucket and object', () => {
    const envelope = read('', [['Endstate-Object', 'local/2026/a.pdf']])
    expect(envelope).toMatchObject({ content: null, object: { bucket: 'local', name: '2026/a.pdf' }, key: PLACE })
  })

  it.each(['nobucket', '/x', 'b/', 'b>d/x'])('is refused as %s', (reference) => {
    expect(refusalOf(() => read('', [['Endstate-Object', reference]])).message).toContain('BUCKET/NAME')
  })

  it('reaches only buckets of its own source', () => {
    expect([mayRead('local', 'local'), mayRead('local', 'local_scans')]).toEqual([true, true])
    expect([mayRead('local', 'other'), mayRead('local', 'local-b'), mayRead('local', 'locals')]).toEqual([
      false,
      false,
      false,
    ])
  })
})

describe('The names', () => {
  it('keep prefixes and sources apart', () => {
    const names = ingestNames('clinic.north')
    expect(names.ingestStream('ward-7')).toBe('CLINIC_NORTH_INGEST_WARD-7')
    expect(names.sourceOf('CLINIC_NORTH_INGEST_WARD-7')).toBe('ward-7')
    expect(names.sourceOf('CLINIC_INGEST_WARD-7')).toBeNull()
    expect(names.words('clinic.north.ingest.ward-7.referral')).toEqual(['ward-7', 'referral'])
  })

  it.each(['', 'a..b', 'a b', 'A', 'a_b', 'a.>'])('refuse the prefix "%s"', (prefix) => {
    expect(() => ingestNames(prefix)).toThrow('prefix')
  })
})
