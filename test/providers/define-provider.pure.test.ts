/** defineProvider: what is promised has its means, and nothing is opened before a worker starts. */
import { expect, test } from 'vitest'
import { defineProvider, env, type ProviderDefinition } from '../../src/providers/provider-kit.js'
import { aRequest } from './call-inputs.js'

const call = () => Promise.resolve({ kind: 'succeeded', output: 1, spend: null } as const)
const ask = () => Promise.resolve({ kind: 'missing' } as const)
const build = () => Promise.resolve({ body: '{}', contentType: 'application/json' })
const free = { cost: 'free', longestRun: '1m' } as const
const good = { open: () => null, terms: { recovery: 'blind', ...free }, call } as const

test.each<{ wrong: object; says: string }>([
  { wrong: { call: undefined }, says: 'call: is no function' },
  { wrong: { open: undefined }, says: 'open: is no function' },
  { wrong: { asks: ask }, says: 'asks' },
  { wrong: { slots: 0 }, says: 'slots' },
  { wrong: { terms: { recovery: 'sometimes', ...free } }, says: 'terms.recovery' },
  { wrong: { terms: { recovery: 'job', ...free } }, says: 'recovery "job" needs ask' },
  { wrong: { terms: { recovery: 'retrievable', lookupLag: '1s', ...free } }, says: 'recovery "retrievable" needs ask' },
  { wrong: { ask, terms: { recovery: 'retrievable', ...free } }, says: 'needs terms.lookupLag' },
  { wrong: { build, terms: { recovery: 'idempotent', ...free } }, says: 'needs terms.keyTtl' },
  { wrong: { terms: { recovery: 'idempotent', keyTtl: '1h', ...free } }, says: 'needs build' },
  { wrong: { ask }, says: 'recovery "blind" can\'t use ask' },
  { wrong: { terms: { ...good.terms, findsByToken: true } }, says: "can't use terms.findsByToken" },
  { wrong: { webhook: () => ({ kind: 'ask' }) }, says: "can't use webhook" },
  { wrong: { terms: { ...good.terms, cost: 'paid' } }, says: 'paid provider needs terms.spendMax' },
  { wrong: { terms: { ...good.terms, spendMax: 'unknown' } }, says: 'free provider has no terms.spendMax' },
  { wrong: { terms: { ...good.terms, cost: 'paid', spendMax: 'a lot' } }, says: 'terms.spendMax: is neither' },
  { wrong: { terms: { ...good.terms, longestRun: 'long' } }, says: 'longestRun is "long"' },
])('$says', ({ wrong, says }) => {
  expect(() => defineProvider({ ...good, ...wrong } as unknown as ProviderDefinition<null>)).toThrow(says)
})

test('the terms of each promise', () => {
  expect(defineProvider(good).terms('x')).toEqual({
    name: 'x',
    recovery: 'blind',
    cost: 'free',
    longestRunMs: 60_000,
    keyTtlMs: 0,
    lookupLagMs: 0,
    findsByToken: false,
    spendMax: null,
  })
  const retrievable = { recovery: 'retrievable', lookupLag: '10s', ...free } as const
  expect(defineProvider({ ...good, ask, terms: retrievable }).terms('x')).toMatchObject({
    findsByToken: true,
    lookupLagMs: 10_000,
  })
  const paid = { recovery: 'job', cost: 'paid', longestRun: '1h', spendMax: 'unknown', model: 'm' } as const
  expect(defineProvider({ ...good, ask, terms: paid }).terms('x')).toMatchObject({
    findsByToken: false,
    spendMax: null,
    model: 'm',
  })
})

test('opened once per worker, with the secrets, and closed with it', async () => {
  const log: string[] = []
  const factory = defineProvider({
    open: ({ name, secret }) => {
      log.push(`open ${name}`)
      return { key: secret(env('KEY')) }
    },
    terms: { recovery: 'job', ...free },
    call: (_request, _signal, opened) => Promise.resolve({ kind: 'accepted', handle: opened.key }),
    ask,
    webhook: (_delivery, { secret }) => ({ kind: secret(env('HOOK')) === 'value-of-HOOK' ? 'ask' : 'ask' }),
    close: (opened) => void log.push(`close ${opened.key}`),
  })
  expect(log).toEqual([])
  const deps = { secret: (name: string) => (log.push(name), `value-of-${name}`) }
  const provider = factory.create('gpt', deps)
  expect(await provider.call(aRequest(), new AbortController().signal)).toEqual({
    kind: 'accepted',
    handle: 'value-of-KEY',
  })
  await provider.close()
  expect(log).toEqual(['open gpt', 'KEY', 'close value-of-KEY'])
  await factory.webhook!('gpt', deps)({ headers: {}, body: new Uint8Array() })
  expect(log.at(-1)).toBe('HOOK')
  expect('cancel' in provider).toBe(false)
  const misused = defineProvider({ ...good, open: ({ secret }) => secret('sk-hunter2' as never) as never })
  expect(() => misused.create('gpt', deps)).toThrow("env('NAME')")
  expect(() => misused.create('gpt', deps)).not.toThrow('hunter2')
})
