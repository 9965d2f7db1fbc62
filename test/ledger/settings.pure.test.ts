/** Who is told of charges, as a config writes it. */
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { endstate } from '../../src/config/builder.js'
import { parseCharges, sinkNames } from '../../src/ledger/settings.js'
import { env } from '../../src/providers/secret.js'
import { factory } from '../types/providers.js'

const webhook = { url: 'https://billing.example/charges', secret: env('CHARGES_SECRET') }

describe('charges in a config', () => {
  test('names its sinks to the store, and none without', () => {
    expect(sinkNames(parseCharges({ nats: true, webhook }))).toEqual(['charges-nats', 'charges-webhook'])
    expect(sinkNames(parseCharges({ webhook }))).toEqual(['charges-webhook'])
    expect(sinkNames(undefined)).toEqual([])
  })

  test('comes through es.config', () => {
    const es = endstate({ providers: { ocr: factory() } })
    const pipelines = [
      es
        .pipeline('p', { revision: 1, accepts: ['image/*'] })
        .step('read', { use: ['ocr'], deadline: '1s', output: z.unknown() }),
    ]
    expect(es.config({ pipelines }).charges).toBeUndefined()
    const asked = { ...webhook, remembers: '24h', ask: 'https://billing.example/known' } as const
    expect(es.config({ pipelines, charges: { webhook: asked } }).charges).toEqual({
      nats: false,
      webhook: { ...webhook, forgets: { afterMs: 86_400_000, askUrl: asked.ask } },
    })
    // @ts-expect-error -- there is no such sink
    expect(() => es.config({ pipelines, charges: { kafka: true } })).toThrow('kafka')
  })

  test.each<[string, unknown, string]>([
    ['no sink', {}, 'names no sink'],
    ['NATS switched off and nothing else', { nats: false }, 'names no sink'],
    ['an address that is none', { webhook: { ...webhook, url: 'billing' } }, '"charges.webhook.url" must be an http'],
    ['another protocol', { webhook: { ...webhook, url: 'ftp://x/' } }, 'must be an http or https URL'],
    ['a password in the address', { webhook: { ...webhook, url: 'https://u:hush@x/' } }, 'no user or password'],
    ['a secret in the open', { webhook: { ...webhook, secret: 'whsec_hush' } }, "env('CHARGES_SECRET')"],
    ['a memory without a way to ask', { webhook: { ...webhook, remembers: '24h' } }, 'give both'],
    ['a way to ask without a memory', { webhook: { ...webhook, ask: webhook.url } }, 'give both'],
    ['a memory that is too short', { webhook: { ...webhook, remembers: '1m', ask: webhook.url } }, '10 minutes'],
    ['a memory that is none', { webhook: { ...webhook, remembers: 'long', ask: webhook.url } }, '"long"'],
    ['a misspelt setting', { webhook: { ...webhook, remember: '24h' } }, 'remember'],
  ])('%s is refused', (_what, options, message) => {
    let said = ''
    try {
      parseCharges(options)
    } catch (error) {
      said = (error as Error).message
    }
    expect(said).toContain(message)
    expect(said).not.toContain('hush')
  })
})
