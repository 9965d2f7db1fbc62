import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { performCall, SETTLE_GRACE_MS } from '../../src/providers/call.js'
import type { CallAnswer, CallRequest, Provider } from '../../src/providers/contract.js'
import type { Price, ProviderTerms } from '../../src/machines/pipeline.js'
import { aRequest, handClock, jsonInput, options } from './call-inputs.js'

const paid: ProviderTerms = {
  name: 'gpt',
  recovery: 'blind',
  cost: 'paid',
  longestRunMs: 60_000,
  keyTtlMs: 0,
  lookupLagMs: 0,
  findsByToken: false,
  spendMax: { amount: '0.25', currency: 'USD' },
}
const free: ProviderTerms = { ...paid, name: 'ocr', cost: 'free' }
const upperBound = { amount: '0.25', currency: 'USD', basis: 'upper-bound' }
const told = { amount: '0.031', currency: 'USD', basis: 'reported' } as const
const never = new Promise<never>(() => {})

const provider = (
  call: (request: CallRequest, signal: AbortSignal) => Promise<CallAnswer>,
  terms: ProviderTerms = paid,
): Provider => ({ terms, slots: 1, call, close: () => Promise.resolve() })
const answering = (answer: CallAnswer, terms: ProviderTerms = paid): Provider =>
  provider(() => Promise.resolve(answer), terms)
const succeeds = (output: unknown): CallAnswer => ({ kind: 'succeeded', output, spend: told, evidence: null })

describe('what an answer means', () => {
  test('a valid output succeeds with its charge, its spend and how long it took', async () => {
    const price: Price = { fixed: '0.40', currency: 'EUR' }
    const result = await performCall(answering(succeeds({ a: 1, more: 2 })), aRequest(), {
      ...options({ price, schema: z.object({ a: z.number() }) }),
    })
    expect(result).toEqual({
      kind: 'succeeded',
      output: { a: 1 },
      charge: { amount: '0.40', currency: 'EUR' },
      spend: told,
      evidence: { durationMs: expect.any(Number) },
      usage: null,
    })
  })

  const base = { code: 'c', message: 'm', retryable: true }
  test.each<{ answer: CallAnswer; kind: string; spend: unknown }>([
    { answer: { kind: 'not-executed', ...base }, kind: 'failed', spend: null },
    { answer: { kind: 'executed', ...base }, kind: 'failed', spend: upperBound },
    { answer: { kind: 'executed', ...base, spend: told }, kind: 'failed', spend: told },
    { answer: { kind: 'partial', ...base, spend: told }, kind: 'failed', spend: told },
    { answer: { kind: 'partial', ...base }, kind: 'failed', spend: upperBound },
    { answer: { kind: 'unknown', code: 'c', message: 'm' }, kind: 'uncertain', spend: upperBound },
  ])('$answer.kind ends as $kind', async ({ answer, kind, spend }) => {
    const result = await performCall(answering(answer), aRequest(), options())
    expect(result).toMatchObject({ kind, spend, error: { code: 'c', message: 'm', kind: answer.kind, attempt: 3 } })
  })

  test('a free provider costs nothing, also in doubt', async () => {
    const result = await performCall(
      answering({ kind: 'unknown', code: 'c', message: 'm' }, free),
      aRequest(),
      options(),
    )
    expect(result).toMatchObject({ spend: null })
  })

  test('a spend that is no spend is replaced by the upper bound, and said', async () => {
    const spend = { amount: '-1', currency: 'USD', basis: 'reported' } as const
    const answer: CallAnswer = { kind: 'succeeded', output: 1, spend, evidence: null }
    const result = await performCall(answering(answer), aRequest(), options())
    expect(result).toMatchObject({ spend: upperBound, evidence: { spendRule: 'answered no valid spend' } })
  })

  test('an adapter that throws, or answers nonsense, is uncertain, and its words are not kept', async () => {
    const throws = provider(() => Promise.reject(new TypeError('patient Anna Muster')))
    const thrown = await performCall(throws, aRequest(), options())
    expect(thrown).toMatchObject({ kind: 'uncertain', error: { code: 'adapter-threw', kind: 'unknown' } })
    expect(JSON.stringify(thrown)).not.toContain('Anna')
    expect(JSON.stringify(thrown)).toContain('TypeError')

    const nonsense = provider(() => Promise.resolve(undefined as unknown as CallAnswer))
    expect(await performCall(nonsense, aRequest(), options())).toMatchObject({
      kind: 'uncertain',
      error: { code: 'bad-answer' },
    })
  })

  test('an input that cannot be read is certain: nothing was sent', async () => {
    const input = { ...jsonInput({}), json: () => Promise.reject(new Error('storage is away')) }
    const reads = provider(async (request) => succeeds(await request.input.json()))
    expect(await performCall(reads, aRequest({ input }), options())).toMatchObject({
      kind: 'failed',
      retryable: true,
      spend: null,
      error: { code: 'input-unavailable', kind: 'not-executed' },
    })
  })

  test('evidence and messages are bounded, whatever the adapter says', async () => {
    const evidence = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`name${i}`, 'x'.repeat(9999)]))
    const message = 'm'.repeat(9999)
    const result = await performCall(
      answering({ kind: 'unknown', code: 'Not A Code', message, evidence: { ...evidence, 'bad name': 1 } }),
      aRequest(),
      options(),
    )
    expect(JSON.stringify(result).length).toBeLessThan(5000)
    expect(result).toMatchObject({ error: { code: 'unnamed' } })
  })
})

describe('the output schema', () => {
  const schema = z.object({
    fields: z.array(z.object({ name: z.string(), at: z.number() })),
    byPatient: z.record(z.string(), z.number()),
  })

  test('a mismatch is a certain failure that names places, never what was there', async () => {
    const output = { fields: [{ name: 'ok', at: 'Diabetes' }], byPatient: { 'Anna Muster': 'HIV' } }
    const result = await performCall(answering(succeeds(output)), aRequest(), options({ schema }))
    expect(result).toMatchObject({
      kind: 'failed',
      retryable: true,
      rejects: false,
      spend: told,
      error: {
        code: 'output-schema',
        kind: 'partial',
        message:
          "The output does not fit the step's schema at fields.0.at (expected number), byPatient.* (expected number).",
      },
    })
    expect(JSON.stringify(result)).not.toMatch(/Anna|HIV|Diabetes/)
  })

  test('a schema that throws fails the call, and another try would not help', async () => {
    const throwing = z.string().refine(() => {
      throw new RangeError('Anna')
    })
    const result = await performCall(answering(succeeds('x')), aRequest(), options({ schema: throwing }))
    expect(result).toMatchObject({ kind: 'failed', retryable: false, error: { code: 'schema-threw', kind: 'partial' } })
    expect(JSON.stringify(result)).not.toContain('Anna')
  })
})

describe('the price', () => {
  const priced = (unless?: (output: never) => boolean): Price => ({
    fixed: '0.40',
    currency: 'EUR',
    ...(unless === undefined ? {} : { unless }),
  })
  const charge = { amount: '0.40', currency: 'EUR' }
  test.each<{ name: string; price: Price; expected: unknown; rule?: string }>([
    { name: 'no rule', price: priced(), expected: charge },
    { name: 'the rule says no', price: priced(() => false), expected: charge },
    { name: 'the rule says free', price: priced(() => true), expected: null },
    { name: 'nothing is owed', price: { fixed: '0.00', currency: 'EUR' }, expected: null },
    {
      name: 'the rule throws',
      price: priced(() => {
        throw new Error('x')
      }),
      expected: null,
      rule: 'threw',
    },
    {
      name: 'the rule answers a promise',
      price: priced((() => Promise.resolve(false)) as unknown as () => boolean),
      expected: null,
      rule: 'answered object',
    },
    {
      name: 'the amount is no amount',
      price: { fixed: '1,50', currency: 'EUR' },
      expected: null,
      rule: 'names no valid amount',
    },
  ])('$name', async ({ price, expected, rule }) => {
    const result = await performCall(answering(succeeds({ a: 1 })), aRequest(), options({ price }))
    expect(result).toMatchObject({ kind: 'succeeded', output: { a: 1 }, charge: expected })
    expect(result.evidence['priceRule']).toBe(rule)
  })
})

describe('the deadline', () => {
  test('an adapter that never settles ends as uncertain (C1)', async () => {
    const clock = handClock()
    let aborted = false
    const hangs = provider((_, signal) => {
      signal.addEventListener('abort', () => (aborted = true))
      return never
    })
    const pending = performCall(hangs, aRequest({ deadlineMs: 1000 }), options({ clock }))
    await clock.advance(999)
    expect(aborted).toBe(false)
    await clock.advance(1)
    expect(aborted).toBe(true)
    await clock.advance(SETTLE_GRACE_MS)
    expect(await pending).toMatchObject({
      kind: 'uncertain',
      spend: upperBound,
      error: { code: 'deadline-exceeded', message: 'No answer within 1000 ms.' },
      evidence: { durationMs: 1000 + SETTLE_GRACE_MS },
    })
    expect(clock.waiting).toBe(0)
  })

  test('after the abort an adapter may still say what is certain', async () => {
    const clock = handClock()
    const answer: CallAnswer = { kind: 'not-executed', code: 'connect-timeout', message: 'm', retryable: true }
    const knows = provider(
      (_, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(answer))),
    )
    const pending = performCall(knows, aRequest({ deadlineMs: 1000 }), options({ clock }))
    await clock.advance(1000)
    expect(await pending).toMatchObject({ kind: 'failed', error: { code: 'connect-timeout' } })
    expect(clock.waiting).toBe(0)
  })

  test('a throw after the abort is still no answer, and no rejection is left behind', async () => {
    const clock = handClock()
    const throwsLate = provider(
      (_, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('x')))),
    )
    const pending = performCall(throwsLate, aRequest({ deadlineMs: 1000 }), options({ clock }))
    await clock.advance(1000)
    expect(await pending).toMatchObject({ kind: 'uncertain', error: { code: 'deadline-exceeded' } })
  })

  test('a worker that stops: uncertain while the call ran, certain before it', async () => {
    const clock = handClock()
    const stop = new AbortController()
    const pending = performCall(
      provider(() => never),
      aRequest(),
      options({ clock, signal: stop.signal }),
    )
    stop.abort()
    await clock.advance(0)
    await clock.advance(SETTLE_GRACE_MS)
    expect(await pending).toMatchObject({ kind: 'uncertain', error: { code: 'call-stopped' } })

    let called = 0
    const counts = provider(() => Promise.resolve(succeeds((called += 1))))
    const stopped = await performCall(counts, aRequest(), options({ clock, signal: stop.signal }))
    expect(stopped).toMatchObject({ kind: 'failed', retryable: true, error: { kind: 'not-executed' } })
    expect(called).toBe(0)
  })

  test('an answer in time leaves no timer behind', async () => {
    const clock = handClock()
    await performCall(answering(succeeds(1)), aRequest(), options({ clock }))
    expect(clock.waiting).toBe(0)
  })
})

describe('the pause before the next try', () => {
  const refused = (retryAfterMs?: number, retryable = true): CallAnswer => ({
    kind: 'not-executed',
    code: 'c',
    message: 'm',
    retryable,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  })
  const pauseOf = async (answer: CallAnswer, tryIndex: number, random: number): Promise<number> => {
    const retry = { initialMs: 1000, maxMs: 30_000, tryIndex }
    const result = await performCall(answering(answer), aRequest(), options({ retry, random: () => random }))
    if (result.kind !== 'failed') throw new Error(`Expected a failure, found ${result.kind}.`)
    return result.backoffMs
  }

  test.each([
    { what: 'the first try', answer: refused(), tryIndex: 0, random: 0.5, ms: 500 },
    { what: 'the third try', answer: refused(), tryIndex: 2, random: 0.5, ms: 2000 },
    { what: 'the cap', answer: refused(), tryIndex: 1000, random: 0.999999, ms: 30_000 },
    { what: 'Retry-After and jitter', answer: refused(7000), tryIndex: 0, random: 0.5, ms: 7500 },
    { what: 'Retry-After above the cap', answer: refused(3_600_000), tryIndex: 0, random: 0.5, ms: 30_000 },
    { what: 'not retryable', answer: refused(7000, false), tryIndex: 0, random: 0.5, ms: 0 },
    { what: 'nonsense', answer: refused(Number.NaN), tryIndex: 0, random: 0.5, ms: 500 },
  ])('$what', async ({ answer, tryIndex, random, ms }) => {
    expect(await pauseOf(answer, tryIndex, random)).toBe(ms)
  })

  test('never outside 0..maxMs, and a whole number', async () => {
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    await fc.assert(
      fc.asyncProperty(fc.nat(), random, fc.option(fc.double()), async (tryIndex, drawn, retryAfterMs) => {
        const ms = await pauseOf(refused(retryAfterMs ?? undefined), tryIndex, drawn)
        return Number.isInteger(ms) && ms >= 0 && ms <= 30_000
      }),
    )
  })

  test('a rejecting failure is not retried', async () => {
    const answer: CallAnswer = { ...refused(), rejects: true } as CallAnswer
    expect(await performCall(answering(answer), aRequest(), options())).toMatchObject({
      rejects: true,
      retryable: false,
    })
  })
})

test('what is kept of the usage is bounded: names and amounts that are such, and not without end', async () => {
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`unit${n}`, n]))
  const odd = { inputTokens: 12, outputTokens: Number.NaN, pages: -1, 'a b': 3 }
  const usageOf = async (usage: object) => {
    const result = await performCall(answering({ ...succeeds(1), usage } as CallAnswer), aRequest(), options())
    return result.kind === 'succeeded' ? result.usage : null
  }
  expect(Object.keys((await usageOf(many))!)).toHaveLength(16)
  expect(await usageOf(odd)).toEqual({ inputTokens: 12 })
  expect(await usageOf({ seconds: Number.POSITIVE_INFINITY })).toBeNull()
})
