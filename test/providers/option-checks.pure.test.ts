/** What options of all adapters have in common: each refuses what would break a request, and says what there is. */
import { expect, it } from 'vitest'
import { anthropic } from '../../src/providers/anthropic/anthropic.js'
import { cog } from '../../src/providers/cog/cog.js'
import { http } from '../../src/providers/http.js'
import { kserve } from '../../src/providers/kserve/kserve.js'
import { openai } from '../../src/providers/openai/openai.js'
import { env } from '../../src/providers/secret.js'

const url = 'http://127.0.0.1:1'
const makers: { [name: string]: (more: object) => unknown } = {
  anthropic: (more) => anthropic({ model: 'm', apiKey: env('KEY'), ...more }),
  cog: (more) => cog({ url, ...more }),
  http: (more) => http({ url, cost: 'free', ...more }),
  kserve: (more) => kserve({ url, model: 'm', ...more }),
  openai: (more) => openai({ model: 'm', compatible: true, baseUrl: url, ...more }),
}
const adapters = Object.entries(makers)

it.each(adapters)('%s lets nobody set where a request ends', (_, make) => {
  for (const name of ['Content-Length', 'transfer-encoding', 'Connection', 'Expect', 'host'])
    expect(() => make({ headers: { [name]: '1' } }), name).toThrow(`headers.${name}: is set by the provider itself`)
})

it.each(adapters)('%s refuses a header that is none, and takes one that is', (_, make) => {
  expect(() => make({ headers: { 'a b': '1' } })).toThrow('headers.a b: is no header name')
  expect(() => make({ headers: { 'X-Tenant_1': '1' } })).not.toThrow()
})

it.each(adapters)('%s names an option that there is not, and those that there are', (_, make) => {
  expect(() => make({ slot: 3 })).toThrow(/there is no "slot"\. Known: .*headers.*slots/)
})
