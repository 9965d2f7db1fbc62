/** What a description may say: a mistake is named with its setting when the config is loaded. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { at } from '../../src/providers/http-places.js'
import { http, type HttpOptions } from '../../src/providers/http.js'
import { env } from '../../src/providers/secret.js'
import { aRequest } from './call-inputs.js'
import { florence, layout, triage } from './described.js'

const poll = { status: '/state', means: { done: 'succeeded' }, url: '/jobs/{handle}' }
const job = { handle: '/id', poll }
const jobs = { url: 'https://models.example/jobs', cost: 'free', recovery: 'job', job }
const lookup = { url: '/runs/{requestKey}', lag: '2s' }
const secret = env('HOOK')
const carries = { body: 'hook' }

test.each<{ wrong: object; says: string }>([
  { wrong: { job: undefined }, says: 'recovery "job" needs job' },
  { wrong: { recovery: 'blind' }, says: 'recovery "blind" can\'t use job' },
  { wrong: { recovery: 'retrievable', job: undefined }, says: 'recovery "retrievable" needs lookup' },
  {
    wrong: { recovery: 'retrievable', job: undefined, lookup: { ...lookup, lag: 'soon' } },
    says: 'lookup.lag is "soon"',
  },
  {
    wrong: { recovery: 'retrievable', job: undefined, lookup: { ...lookup, status: '/state' } },
    says: 'needs both status and means',
  },
  {
    wrong: { recovery: 'retrievable', job: undefined, lookup: { ...lookup, handle: '/id' } },
    says: 'only with recovery',
  },
  { wrong: { lookup }, says: "job's lookup needs handle" },
  { wrong: { keyTtl: '1h' }, says: "can't use keyTtl" },
  { wrong: { job: { ...job, handle: 'id' } }, says: 'job.handle: is no place in an answer' },
  { wrong: { job: { ...job, handle: '/a~2' } }, says: 'job.handle' },
  { wrong: { job: { ...job, handle: { header: 'a b' } } }, says: 'job.handle' },
  { wrong: { job: { handle: '/id', poll: { ...poll, url: '/jobs' } } }, says: 'job.poll.url: needs {handle}' },
  { wrong: { job: { handle: '/id', poll: { ...poll, means: { done: 'suceeded' } } } }, says: 'job.poll.means.done' },
  {
    wrong: { job: { handle: '/id', poll: { ...poll, means: { a: 'running' } } } },
    says: 'no word the meaning "succeeded"',
  },
  { wrong: { job: { handle: '/id', poll: { ...poll, every: 'often' } } }, says: 'job.poll.every is "often"' },
  {
    wrong: { job: { ...job, result: { url: '//evil.example/{handle}' } } },
    says: 'job.result.url is no path on https://models.example',
  },
  { wrong: { job: { ...job, cancel: { url: 'http://models.example/{handle}' } } }, says: 'job.cancel.url is no path' },
  {
    wrong: { lookup: { ...lookup, handle: '/id', url: 'https://evil.example/{requestKey}' } },
    says: 'lookup.url is no path',
  },
  { wrong: { ready: 'https://evil.example/health' }, says: 'ready is no path' },
  { wrong: { webhook: { carries, verify: 'none', secret } }, says: 'webhook: there is no "secret"' },
  { wrong: { webhook: { carries, verify: 'standard-webhooks' } }, says: 'webhook: needs carries, and verify' },
  { wrong: { webhook: { carries: { cookie: 'x' }, verify: 'none' } }, says: 'webhook' },
  { wrong: { prices: { currency: 'USD', perSecond: 0.1 } }, says: 'prices.perSecond' },
  { wrong: { apiKeyScheme: 'Bearer x' }, says: 'apiKeyScheme' },
  { wrong: { output: 'output' }, says: 'output: is no JSON pointer' },
])('$says', ({ wrong, says }) => {
  expect(() => http({ ...jobs, ...wrong } as HttpOptions)).toThrow(says)
})

test.each([
  ['/a/0/b~1c', 1],
  ['/a/0/m~0n', 2],
  ['/a/length', 1],
  ['/a/1', undefined],
  ['/constructor', undefined],
  ['/__proto__/x', undefined],
  ['/a/0/b~1c/x', undefined],
] as const)('at %s stands %s', (pointer, value) => {
  expect(at({ a: [{ 'b/c': 1, 'm~n': 2 }] }, pointer)).toBe(value)
})

test('terms say what the machine must know of the description', () => {
  const terms = (more: object = {}) => http({ ...jobs, ...more } as HttpOptions).terms('gpt')
  expect(terms()).toMatchObject({ recovery: 'job', findsByToken: false, lookupLagMs: 0, keyTtlMs: 0 })
  expect(terms({ lookup: { ...lookup, handle: '/id' } })).toMatchObject({ findsByToken: true, lookupLagMs: 2000 })
  expect(terms({ recovery: 'retrievable', job: undefined, lookup })).toMatchObject({
    recovery: 'retrievable',
    findsByToken: true,
    lookupLagMs: 2000,
  })
  expect(terms({ recovery: 'in-flight', job: undefined, model: 'm-1' })).toMatchObject({
    recovery: 'in-flight',
    findsByToken: false,
    model: 'm-1',
  })
  const paid = { cost: 'paid', prices: { currency: 'USD', perPage: '0.01' } }
  expect(terms({ ...paid, usageMax: { pages: 50 } }).spendMax).toEqual({ amount: '0.5', currency: 'USD' })
  expect(terms(paid).spendMax).toBeNull()
  expect(http({ ...jobs, limits: { requestsPerMinute: 60 } } as HttpOptions).limits).toEqual({ requestsPerMinute: 60 })
})

test('a body that can’t carry the webhook’s URL is refused before it is sent', async () => {
  const build = (body: () => unknown) =>
    http({ ...jobs, webhook: { carries, verify: 'none' }, body } as HttpOptions).create('gpt', { secret: () => '' })
      .build!(aRequest())
  await expect(build(() => [1])).rejects.toThrow('must be a JSON object')
  await expect(build(() => new Uint8Array(3))).rejects.toThrow('must be a JSON object')
  await expect(build(() => ({ hook: 'mine' }))).rejects.toThrow('has a field hook')
  expect(await build(() => ({}))).toMatchObject({ body: '{}' })
})

describe('docs/providers.md shows the descriptions that are tested', () => {
  const page = readFileSync(new URL('../../docs/providers.md', import.meta.url), 'utf8')
  const source = readFileSync(new URL('./described.ts', import.meta.url), 'utf8')
  test.each(Object.entries({ florence, triage, layout }))('%s', (name) => {
    const [, inner] =
      new RegExp(`^export const ${name} = \\{\\n([\\s\\S]*?)\\n\\} satisfies HttpOptions`, 'm').exec(source) ?? []
    expect(inner).toBeDefined()
    expect(page).toContain(`const ${name} = http({\n${inner}\n})`)
  })

  test('and the adapter of a team', () => {
    const own = readFileSync(new URL('./own-adapter.ts', import.meta.url), 'utf8')
    const [, body] = /^(const rules = [\s\S]*)$/m.exec(own) ?? []
    expect(page).toContain(body!.trim())
  })
})
