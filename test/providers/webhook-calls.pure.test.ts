/** The token of a webhook's URL: made by us, for one call at one provider, and not to be guessed. */
import { describe, expect, it } from 'vitest'
import { createWebhookCalls } from '../../src/providers/webhook-calls.js'

const call = { record: '0192-aa', step: 'read', attempt: 2, generation: 1 }
const calls = createWebhookCalls('https://endstate.example.org/', 'a secret of the deployment')

const tokenOf = (of = call, provider = 'gpt', by = calls): string =>
  new URL(by.urlFor(provider, of)!).searchParams.get('call')!

describe('the URL', () => {
  it('names the provider, and carries the call', () => {
    expect(calls.urlFor('gpt', call)).toMatch(/^https:\/\/endstate\.example\.org\/v1\/webhooks\/gpt\?call=/)
    expect(calls.read('gpt', tokenOf())).toEqual(call)
  })

  it('is none where providers can’t reach us', () => {
    expect(createWebhookCalls(null, 'a secret').urlFor('gpt', call)).toBeNull()
  })
})

describe('a token', () => {
  it('is refused with any of its characters changed', () => {
    const token = tokenOf()
    const changed = token
      .split('')
      .flatMap((character, at) =>
        character === '.' ? [] : [token.slice(0, at) + (character === 'A' ? 'B' : 'A') + token.slice(at + 1)],
      )
    // The signature's last character holds no bits of its own that could be lost: 18 bytes are 24 characters.
    expect(changed.filter((each) => calls.read('gpt', each) !== null)).toEqual([])
  })

  it('of one call is not that of another, whatever is the signature’s length', () => {
    const [body] = tokenOf({ ...call, record: '0192-bb' }).split('.')
    const [, signature] = tokenOf().split('.')
    expect(calls.read('gpt', `${body}.${signature}`)).toBeNull()
  })

  it('of one provider, or of another deployment, is none here', () => {
    expect(calls.read('claude', tokenOf())).toBeNull()
    const others = createWebhookCalls('https://endstate.example.org', 'another secret')
    expect(calls.read('gpt', tokenOf(call, 'gpt', others))).toBeNull()
  })

  it.each(['', '.', 'a', 'a.', '.a', 'e30.AAAA', `${'a'.repeat(2_000)}.${'b'.repeat(2_000)}`])(
    'that is none is refused: %j',
    (token) => expect(calls.read('gpt', token)).toBeNull(),
  )

  it('with a third part is none', () => expect(calls.read('gpt', `${tokenOf()}.x`)).toBeNull())
})
