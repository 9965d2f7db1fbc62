/** A saved intent becomes one call, and its end one event (R1 to R3). */
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { CompiledPipeline } from '../../src/machines/compiled.js'
import type { CallIntent } from '../../src/machines/draft.js'
import type { RecordDocument } from '../../src/machines/record.js'
import type { BlobStore } from '../../src/persistence/contract.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { openGate } from '../../src/providers/gate.js'
import { createCallRunner } from '../../src/worker/call-runner.js'
import { readJson, RESULT_BYTES_MAX } from '../../src/worker/payloads.js'
import { after, compile, pipeline, record, step, terms } from '../machines/pipelines.js'
import { createPrepare } from '../../src/worker/prepare.js'
import { createHandClock, settle } from './hand-clock.js'
import { answers, createHandProvider, refuses } from './hand-provider.js'

const one = compile(pipeline([step('read', { output: z.unknown() })]))
const SEND_WITHIN_MS = 5_000

const intent: CallIntent = {
  step: 'read',
  attempt: 1,
  generation: 1,
  provider: 'free',
  requestKey: 'r1.read.free.1.0',
  sendBy: after(SEND_WITHIN_MS),
}

const runnerOf = (blobs: BlobStore = createMemoryBlobStore()) => {
  const clock = createHandClock()
  const provider = createHandProvider(terms['free']!)
  const providers = new Map([['free', provider]])
  const deps = { providers, blobs, clock, gate: openGate, random: () => 0.5, storageRetryMs: 500 }
  const prepare = createPrepare({ providers, blobs, clock })
  const run = createCallRunner(deps)
  const stopping = new AbortController()
  const start = async (
    change: {
      compiled?: CompiledPipeline
      doc?: RecordDocument
      savedFromMs?: number
      intent?: Partial<CallIntent>
    } = {},
  ) => {
    const compiled = change.compiled ?? one
    const doc = change.doc ?? record(compiled as typeof one)
    const { savedFromMs = 0 } = change
    const of = { ...intent, ...change.intent }
    const prepared = await prepare(doc, compiled, of)
    return run({ intent: of, prepared, doc, compiled, savedFromMs, signal: stopping.signal, onProgress: () => {} })
  }
  return { clock, provider, stopping, start, blobs }
}

const away = () => Promise.reject(Object.assign(new Error('Away.'), { code: 'store-unavailable' }))

describe('R1 the time to send', () => {
  it.each([
    ['just within it', SEND_WITHIN_MS, 1],
    ['just past it', SEND_WITHIN_MS + 1, 0],
  ])('%s, counted from the start of the save', async (_, passedMs, calls) => {
    const { clock, provider, start } = runnerOf()
    provider.always(() => answers('text'))
    await clock.passes(1_000 + passedMs)
    const event = await start({ savedFromMs: 1_000 })
    expect(provider.calls).toHaveLength(calls)
    expect(event).toMatchObject({
      type: calls === 1 ? 'CALL_SUCCEEDED' : 'CALL_NOT_SENT',
      step: 'read',
      attempt: 1,
      generation: 1,
    })
  })

  it('is measured by a clock that nobody can set: the server’s, set back by a day, gives no leave to send', async () => {
    const { clock, provider, start } = runnerOf()
    await clock.passes(SEND_WITHIN_MS + 1)
    clock.jumps(-86_400_000)
    expect(clock.now() < intent.sendBy).toBe(true)
    expect(await start()).toMatchObject({ type: 'CALL_NOT_SENT' })
    expect(provider.calls).toHaveLength(0)
  })
})

describe('R2 one call, one event', () => {
  it('carries what the intent says, byte for byte', async () => {
    const { provider, start } = runnerOf()
    provider.always(() => answers('text'))
    await start()
    expect(provider.calls).toHaveLength(1)
    expect(provider.calls[0]!.request).toMatchObject({
      record: 'r1',
      step: 'read',
      attempt: 1,
      requestKey: intent.requestKey,
      deadlineMs: 10_000,
    })
    expect(await provider.calls[0]!.request.input.json()).toEqual({})
  })

  it.each([
    ['a refusal', refuses(), 'CALL_FAILED', 'at-capacity'],
    ['a doubt', { kind: 'unknown', code: 'reset', message: 'Reset.' } as const, 'CALL_UNCERTAIN', 'reset'],
  ])('%s', async (_, answer, type, code) => {
    const { provider, start } = runnerOf()
    provider.always(() => answer)
    expect(await start()).toMatchObject({ type, error: { code } })
    expect(provider.calls).toHaveLength(1)
  })

  it('no answer by the deadline is a doubt, and the adapter is told to end', async () => {
    const { clock, provider, start } = runnerOf()
    const event = start()
    await clock.passes(10_000)
    expect(await event).toMatchObject({ type: 'CALL_UNCERTAIN', error: { code: 'deadline-exceeded' } })
    expect(provider.calls[0]!.signal.aborted).toBe(true)
    expect(clock.sleeping()).toBe(0)
  })

  it('an adapter that throws is a doubt, and its words are not kept', async () => {
    const { provider, start } = runnerOf()
    provider.always(() => {
      throw new Error('the patient is called X')
    })
    const event = await start()
    expect(event).toMatchObject({ type: 'CALL_UNCERTAIN', error: { code: 'adapter-threw' } })
    expect(JSON.stringify(event)).not.toContain('patient')
  })

  it.each([
    [
      'a request function that throws',
      {
        request: (() => {
          throw new Error('no')
        }) as never,
      },
      {},
    ],
    ['a provider that is not here', {}, { provider: 'nobody' }],
  ])('%s: nothing is sent, and it may be tried again', async (_, change, intentChange) => {
    const { provider, start } = runnerOf()
    const event = await start({ compiled: compile(pipeline([step('read', change)])), intent: intentChange })
    expect(event).toMatchObject({
      type: 'CALL_FAILED',
      retryable: true,
      error: { code: 'request-not-built', kind: 'not-executed' },
    })
    expect(provider.calls).toHaveLength(0)
  })

  it('the pause grows with the tries at this provider in this generation', async () => {
    const pauses: unknown[] = []
    for (let tries = 0; tries < 3; tries += 1) {
      const { provider, start } = runnerOf()
      provider.always(() => refuses())
      const doc = record(one)
      const attempts = Array.from({ length: tries }, (_, n) => ({ n: n + 1, provider: 'free', generation: 1 }))
      // Others' tries and an earlier generation's do not count.
      attempts.push({ n: 1, provider: 'keyed', generation: 1 }, { n: 1, provider: 'free', generation: 0 })
      doc.steps['read']!.attempts = attempts as never
      const event = await start({ doc, intent: { attempt: tries + 1 } })
      pauses.push('backoffMs' in event && event.backoffMs)
    }
    expect(pauses).toEqual([100, 200, 400])
  })
})

describe('R3 an answer in hand', () => {
  it('is kept inline while it is small, and as a blob otherwise', async () => {
    const { provider, start, blobs } = runnerOf()
    provider.always(() => answers('x'.repeat(100_000)))
    const event = await start()
    expect(event).toMatchObject({ type: 'CALL_SUCCEEDED', result: { bytes: 100_002, blob: expect.any(String) } })
    if (event.type !== 'CALL_SUCCEEDED') throw new Error('It was no result.')
    expect(await readJson(blobs, event.result as never)).toBe('x'.repeat(100_000))
    provider.always(() => answers('x'))
    expect(await start()).toMatchObject({ result: { inline: '"x"', bytes: 3 } })
  })

  it('waits for the storage, and is not asked for again', async () => {
    let isAway = true
    const real = createMemoryBlobStore()
    const { clock, provider, start } = runnerOf({ ...real, put: (...put) => (isAway ? away() : real.put(...put)) })
    provider.always(() => answers('x'.repeat(100_000)))
    const event = start()
    await clock.passes(120_000)
    isAway = false
    await clock.passes(500)
    expect(await event).toMatchObject({ type: 'CALL_SUCCEEDED' })
    expect(provider.calls).toHaveLength(1)
  })

  it('that the process cannot wait for is a doubt with its spend', async () => {
    const { provider, stopping, start } = runnerOf({ ...createMemoryBlobStore(), put: away })
    const spend = { amount: '0.07', currency: 'EUR', basis: 'reported' } as const
    provider.always(() => ({ kind: 'succeeded', output: 'x'.repeat(100_000), spend, evidence: null }))
    const event = start()
    await settle()
    stopping.abort()
    expect(await event).toMatchObject({ type: 'CALL_UNCERTAIN', error: { code: 'stopped-with-answer' }, spend })
  })

  it.each([
    ['is no JSON', () => 1n, 'result-not-json'],
    ['is nothing', () => undefined, 'result-not-json'],
    ['is larger than anything that is stored', () => 'x'.repeat(RESULT_BYTES_MAX), 'result-too-large'],
  ])('that %s is RESULT_UNSTORABLE with its spend, never another try', async (_, output, code) => {
    const { provider, start } = runnerOf()
    const spend = { amount: '0.07', currency: 'EUR', basis: 'reported' } as const
    provider.always(() => ({ kind: 'succeeded', output: output(), spend, evidence: null }))
    expect(await start()).toMatchObject({ type: 'RESULT_UNSTORABLE', error: { code }, spend })
    expect(provider.calls).toHaveLength(1)
  })
})
