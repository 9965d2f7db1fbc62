import { describe, expect, test } from 'vitest'
import {
  parseRetryAfter,
  verdictOf,
  verdictOfBrokenExchange,
  type StatusRules,
} from '../../src/providers/http-certainty.js'
import { http, type HttpOptions } from '../../src/providers/http.js'
import { env } from '../../src/providers/secret.js'

const set = (...statuses: number[]): ReadonlySet<number> => new Set(statuses)
const plain: StatusRules = { notExecuted: set(), executed: set(), retryable: null, rejects: set() }
const told: StatusRules = { notExecuted: set(503), executed: set(500), retryable: null, rejects: set(422) }

describe('what a status proves', () => {
  test.each([
    ...[200, 201, 203].map((status) => ({ status, kind: 'succeeded', retryable: undefined })),
    ...[204, 205, 206, 303].map((status) => ({ status, kind: 'partial', retryable: false })),
    ...[301, 307, 308].map((status) => ({ status, kind: 'not-executed', retryable: false })),
    ...[400, 401, 402, 403, 404, 413, 415, 422].map((status) => ({ status, kind: 'not-executed', retryable: false })),
    ...[429, 529].map((status) => ({ status, kind: 'not-executed', retryable: true })),
    ...[202, 302, 304, 408, 409, 500, 502, 503, 504, 599].map((status) => ({
      status,
      kind: 'unknown',
      retryable: undefined,
    })),
  ])('$status is $kind', ({ status, kind, retryable }) => {
    const verdict = verdictOf(status, plain, undefined)
    expect(verdict).toMatchObject({ kind, ...(retryable === undefined ? {} : { retryable, rejects: false }) })
    if (verdict.kind !== 'succeeded') expect(verdict.code).toBe(`http-${status}`)
  })

  test('an endpoint’s documentation goes before the table', () => {
    expect(verdictOf(503, told, 2000)).toMatchObject({ kind: 'not-executed', retryable: true, retryAfterMs: 2000 })
    expect(verdictOf(500, told, undefined)).toMatchObject({ kind: 'executed', retryable: true })
    expect(verdictOf(422, told, undefined)).toMatchObject({ kind: 'not-executed', rejects: true })
    expect(verdictOf(500, { ...told, retryable: set() }, undefined)).toMatchObject({
      kind: 'executed',
      retryable: false,
    })
    expect(verdictOf(404, { ...told, retryable: set(404) }, undefined)).toMatchObject({ retryable: true })
  })
})

describe('what a broken exchange proves', () => {
  test.each([
    ['ENOTFOUND', 'dns-failed'],
    ['EAI_AGAIN', 'dns-failed'],
    ['ECONNREFUSED', 'connection-refused'],
    ['ETIMEDOUT', 'connect-timeout'],
    ['CONNECT_TIMEOUT', 'connect-timeout'],
    ['ABORTED', 'connect-timeout'],
    ['EPROTO', 'tls-failed'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'tls-failed'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'tls-failed'],
    ['CERT_HAS_EXPIRED', 'tls-failed'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls-failed'],
    ['ECONNRESET', 'connect-failed'],
    ['EHOSTUNREACH', 'connect-failed'],
  ])('%s before the connection stood: %s, nothing ran', (errorCode, code) => {
    expect(verdictOfBrokenExchange(false, errorCode)).toMatchObject({ kind: 'not-executed', code, retryable: true })
  })

  test.each([
    ['ECONNRESET', 'connection-reset'],
    ['EPIPE', 'connection-reset'],
    ['ETIMEDOUT', 'connection-reset'],
    ['EPROTO', 'connection-reset'],
    ['HPE_INVALID_CONSTANT', 'malformed-response'],
    ['ABORTED', 'no-answer'],
  ])('%s after it stood: %s, nobody knows', (errorCode, code) => {
    expect(verdictOfBrokenExchange(true, errorCode)).toMatchObject({ kind: 'unknown', code })
  })
})

test.each([
  ['7', undefined, 7000],
  ['0', undefined, 0],
  [' 120 ', undefined, 120_000],
  ['999999999', undefined, 86_400_000],
  ['Wed, 21 Oct 2026 07:28:30 GMT', 'Wed, 21 Oct 2026 07:28:00 GMT', 30_000],
  ['Wed, 21 Oct 2026 07:27:00 GMT', 'Wed, 21 Oct 2026 07:28:00 GMT', 0],
  ['soon', undefined, undefined],
  [undefined, undefined, undefined],
])('Retry-After %s is %s ms', (retryAfter, date, ms) => {
  expect(parseRetryAfter(retryAfter, date)).toBe(ms)
})

describe('the options', () => {
  const good: HttpOptions = { url: 'http://127.0.0.1:1/', cost: 'free' }

  test('terms say what the machine must know', () => {
    const factory = http({
      ...good,
      cost: 'paid',
      recovery: 'idempotent',
      keyTtl: '7d',
      longestRun: '90s',
      slots: 3,
      spendMax: { amount: '0.10', currency: 'EUR' },
    })
    expect(factory.slots).toBe(3)
    expect(factory.terms('gpt')).toEqual({
      name: 'gpt',
      recovery: 'idempotent',
      cost: 'paid',
      longestRunMs: 90_000,
      keyTtlMs: 604_800_000,
      lookupLagMs: 0,
      findsByToken: false,
      spendMax: { amount: '0.10', currency: 'EUR' },
    })
    expect(http(good).terms('ocr')).toMatchObject({
      recovery: 'blind',
      keyTtlMs: 0,
      longestRunMs: 300_000,
      spendMax: null,
    })
  })

  test.each<{ wrong: object; says: string }>([
    { wrong: { url: '/infer' }, says: 'absolute url' },
    { wrong: { url: 'ftp://x/' }, says: 'absolute url' },
    { wrong: { url: 'http://user:hunter2@x/' }, says: 'user or password' },
    { wrong: { cost: undefined }, says: 'cost' },
    { wrong: { retries: 3 }, says: 'retries' },
    { wrong: { recovery: 'idempotent' }, says: 'keyTtl' },
    { wrong: { longestRun: '5 minutes' }, says: 'longestRun is "5 minutes"' },
    { wrong: { apiKey: 'sk-hunter2' }, says: "apiKey: is not written as env('NAME')" },
    { wrong: { executed: [500], notExecuted: [500] }, says: '500' },
    { wrong: { notExecuted: [200] }, says: 'notExecuted.0' },
    { wrong: { headers: { 'Content-Length': '1' } }, says: 'set by the provider itself' },
    { wrong: { headers: { 'a b': '1' } }, says: 'no header name' },
    { wrong: { spendMax: { amount: 0.1, currency: 'EUR' } }, says: 'spendMax.amount' },
  ])('$says', ({ wrong, says }) => {
    const make = () => http({ ...good, ...wrong } as HttpOptions)
    expect(make).toThrow(says)
    expect(make).not.toThrow('hunter2')
  })

  test('a secret is read when the worker starts, and never shown', () => {
    const reads: string[] = []
    const factory = http({ ...good, apiKey: env('GPT_KEY') })
    expect(reads).toEqual([])
    const provider = factory.create('gpt', { secret: (name) => (reads.push(name), 'hunter2') })
    expect(reads).toEqual(['GPT_KEY'])
    expect(JSON.stringify([factory, provider, factory.terms('gpt')])).not.toContain('hunter2')

    const broken = () => factory.create('gpt', { secret: () => 'hunter2\r\nx: y' })
    expect(broken).toThrow('GPT_KEY')
    expect(broken).not.toThrow('hunter2')
    expect(() => factory.create('gpt', { secret: () => '' })).toThrow('GPT_KEY')
    expect(() => env('not a name')).toThrow('OPENAI_API_KEY')
  })
})
