/** A description that can't be right does not compile. Each line below a directive would otherwise fail the type check. */
import { expect, test } from 'vitest'
import { http } from '../../src/providers/http.js'
import { defineProvider } from '../../src/providers/define-provider.js'

const base = { url: 'https://models.example/jobs', cost: 'free' } as const
const call = () => Promise.resolve({ kind: 'unknown', code: 'x', message: 'x' } as const)

test('misspelt statuses and missing parts', () => {
  const job = { handle: '/id', poll: { status: '/state', means: { done: 'succeeded' } } } as const
  expect(http({ ...base, recovery: 'job', job }).slots).toBe(8)
  expect(() =>
    http({
      ...base,
      recovery: 'job',
      // @ts-expect-error -- a misspelt meaning
      job: { handle: '/id', poll: { status: '/state', means: { done: 'suceeded' } } },
    }),
  ).toThrow('means')
  // @ts-expect-error -- a place that is no pointer
  expect(() => http({ ...base, recovery: 'job', job: { ...job, handle: 'id' } })).toThrow('job.handle')
  // @ts-expect-error -- a job without its description
  expect(() => http({ ...base, recovery: 'job' })).toThrow('needs job')
  // @ts-expect-error -- how long a key is honoured
  expect(() => http({ ...base, recovery: 'idempotent' })).toThrow('keyTtl')
  // @ts-expect-error -- a signature without the secret
  const webhook: Parameters<typeof http>[0] & { webhook: unknown } = {
    ...base,
    recovery: 'job',
    job,
    webhook: { carries: { header: 'x' }, verify: 'standard-webhooks' },
  }
  expect(() => http(webhook)).toThrow('webhook')
})

test('a provider of one’s own', () => {
  const open = () => ({ count: 0 })
  const terms = { recovery: 'blind', cost: 'free', longestRun: '1m' } as const
  expect(defineProvider({ open, terms, call }).slots).toBe(8)
  // `opened` has the type that open answers.
  defineProvider({ open, terms, call: (_request, _signal, opened) => ((opened.count += 1), call()) })
  // @ts-expect-error -- it has no such member
  defineProvider({ open, terms, call: (_request, _signal, opened) => (opened.counts, call()) })
  // @ts-expect-error -- a paid provider says what a call may cost
  expect(() => defineProvider({ open, terms: { ...terms, cost: 'paid' }, call })).toThrow('spendMax')
  // @ts-expect-error -- a recovery that there is not
  expect(() => defineProvider({ open, terms: { ...terms, recovery: 'blnd' }, call })).toThrow('recovery')
})
