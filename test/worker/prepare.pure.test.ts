/** Frozen requests: what an intent says of the bytes, and that a repeat sends the same or nothing. */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { RecordDocument } from '../../src/machines/record.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import type { BuiltRequest, Provider, RequestParts } from '../../src/providers/contract.js'
import { createPrepare } from '../../src/worker/prepare.js'
import { compile, pipeline, record, step, terms } from '../machines/pipelines.js'
import { createHandClock } from './hand-clock.js'
import { createHandProvider } from './hand-provider.js'

const sha = (text: string) => createHash('sha256').update(text).digest('hex')

const intent = { step: 'read', provider: 'keyed', requestKey: 'r1.read.keyed.1.0' }

const scene = (
  build: ((parts: RequestParts) => Promise<BuiltRequest>) | null,
  change: Parameters<typeof step>[1] = {},
) => {
  const clock = createHandClock()
  const hand = createHandProvider(terms['keyed']!)
  const provider: Provider = build ? { ...hand, build } : hand
  const blobs = createMemoryBlobStore({ now: clock.now })
  const compiled = compile(pipeline([step('read', { use: ['keyed'], ...change })]))
  const prepare = createPrepare({ providers: new Map([['keyed', provider]]), blobs, clock })
  return { prepare: (doc: RecordDocument = record(compiled)) => prepare(doc, compiled, intent), compiled, blobs, clock }
}

/** With an attempt under the same key that may have been sent. */
const afterAttempt = (
  doc: RecordDocument,
  request: { sha256: string; blob?: string },
  outcome: 'uncertain' | 'failed' = 'uncertain',
): RecordDocument => {
  const attempt = {
    n: 1,
    generation: 1,
    provider: 'keyed',
    requestKey: intent.requestKey,
    outcome,
    startedAt: doc.acceptedAt,
    sendBy: doc.acceptedAt,
    endedAt: doc.acceptedAt,
    spend: null,
    error: null,
    evidence: null,
    request,
  }
  return { ...doc, steps: { read: { ...doc.steps['read']!, attempts: [attempt] } } }
}

const builds = (text: string) => async () => ({ body: text, contentType: 'application/json' })

describe('a request that can be built again', () => {
  it('is named by its hash, and its bytes are not kept', async () => {
    const { prepare } = scene(builds('{"a":1}'))
    expect(await prepare()).toMatchObject({
      ok: true,
      built: { body: '{"a":1}' },
      request: { sha256: sha('{"a":1}') },
    })
    expect((await prepare()) as { request?: object }).not.toHaveProperty('request.blob')
  })

  it('is sent again as it was', async () => {
    const { prepare, compiled } = scene(builds('{"a":1}'))
    const doc = afterAttempt(record(compiled), { sha256: sha('{"a":1}') })
    expect(await prepare(doc)).toMatchObject({ ok: true, request: { sha256: sha('{"a":1}') } })
  })

  it('with other bytes than were sent under this key is an error, and no retry mends it', async () => {
    const { prepare, compiled } = scene(builds('{"a":2}'))
    const doc = afterAttempt(record(compiled), { sha256: sha('{"a":1}') })
    expect(await prepare(doc)).toMatchObject({ ok: false, code: 'request-changed', retryable: false })
  })

  it('may be another one after the first was refused: the key was not used', async () => {
    const { prepare, compiled } = scene(builds('{"a":2}'))
    const doc = afterAttempt(record(compiled), { sha256: sha('{"a":1}') }, 'failed')
    expect(await prepare(doc)).toMatchObject({ ok: true, request: { sha256: sha('{"a":2}') } })
  })
})

describe('a request that cannot be built again', () => {
  let count = 0
  const differs = async () => ({ body: `{"n":${(count += 1)}}`, contentType: 'application/json' })

  it('is found out by building it twice, and its bytes are kept', async () => {
    const { prepare, blobs } = scene(differs)
    const prepared = await prepare()
    if (!prepared.ok || prepared.request.blob === undefined) throw new Error('Nothing was kept.')
    const chunks: Uint8Array[] = []
    for await (const chunk of blobs.get(prepared.request.blob)) chunks.push(chunk)
    const kept = Buffer.concat(chunks).toString()
    expect(kept).toBe(prepared.built?.body)
    expect(sha(kept)).toBe(prepared.request.sha256)
  })

  it('is looked for again now and then, and kept from then on', async () => {
    let odd = false
    const { prepare } = scene(async () => ({
      body: odd ? `{"n":${(count += 1)}}` : '{"n":0}',
      contentType: 'application/json',
    }))
    const keptOf = async () => {
      const prepared = await prepare()
      return prepared.ok && prepared.request.blob !== undefined
    }
    for (let built = 0; built < 9; built += 1) expect(await keptOf()).toBe(false)
    odd = true
    const kept = []
    for (let built = 9; built < 80; built += 1) kept.push(await keptOf())
    expect(kept.indexOf(true)).toBe(64 - 9)
    expect(kept.lastIndexOf(false)).toBe(64 - 10)
  })

  it('is repeated from the bytes that were kept', async () => {
    const { prepare, compiled } = scene(differs)
    const first = await prepare()
    if (!first.ok) throw new Error('It was not built.')
    const again = await prepare(afterAttempt(record(compiled), first.request))
    if (!again.ok) throw new Error('It was not repeated.')
    expect(Buffer.from(again.built!.body).toString()).toBe(first.built!.body)
    expect(again.request).toEqual(first.request)
  })

  it('is not repeated from bytes that are no longer what was sent', async () => {
    const { prepare, compiled, blobs } = scene(differs)
    const put = await blobs.put(
      (async function* () {
        yield Buffer.from('{"n":"other"}')
      })(),
      { bytesMax: 100 },
    )
    const doc = afterAttempt(record(compiled), { sha256: sha('{"n":"sent"}'), blob: put.id })
    expect(await prepare(doc)).toMatchObject({ ok: false, code: 'request-changed' })
  })

  it('is kept without a second look where the step says so', async () => {
    const { prepare } = scene(builds('{"a":1}'), { keepRequest: true })
    expect(await prepare()).toMatchObject({ ok: true, request: { blob: expect.any(String) as string } })
  })
})

describe('what can not be built', () => {
  it('is a certain failure: nothing was sent, and it may be tried again', async () => {
    const { prepare } = scene(() => Promise.reject(new Error('The input is away.')))
    expect(await prepare()).toMatchObject({ ok: false, code: 'request-not-built', retryable: true })
  })

  it('is given up in bounded time', async () => {
    const { prepare, clock } = scene(() => new Promise(() => {}))
    const prepared = prepare()
    await clock.passes(20_000)
    expect(await prepared).toMatchObject({ ok: false, code: 'request-not-built' })
  })
})

it('an engine inside the worker freezes what it reads: input, results, version', async () => {
  const { prepare, compiled } = scene(null)
  const prepared = await prepare()
  const { input, pipelineVersion } = record(compiled)
  expect(prepared).toMatchObject({
    ok: true,
    built: null,
    request: { sha256: sha([pipelineVersion, 'read', input.payload.sha256].join(' ')) },
  })
})
