/** What the tests of the anthropic provider share: a provider on a protocol server, and one call as a worker makes it. */
import { afterEach } from 'vitest'
import { z } from 'zod'
import { anthropic, type AnthropicOptions } from '../../src/providers/anthropic/anthropic.js'
import { performCall, type CallOptions, type CallResult } from '../../src/providers/call.js'
import type { CallAnswer, CallRequest, Provider } from '../../src/providers/contract.js'
import type { PriceTable } from '../../src/providers/price-table.js'
import { env } from '../../src/providers/secret.js'
import { startAnthropicServer, type AnthropicServer } from '../support/protocol/anthropic-server.js'
import { aRequest, options } from './call-inputs.js'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

export const PRICES = { currency: 'USD', inputPerMillion: '3', cachedInputPerMillion: '0.30', outputPerMillion: '15' }
export const Fields = z.object({ name: z.string(), age: z.number() })
export const FIELDS_SCHEMA = z.toJSONSchema(Fields)

export async function serve(): Promise<AnthropicServer> {
  const server = await startAnthropicServer()
  closing.push(() => server.close())
  return server
}

export const deps = { secret: (name: string) => (name === 'ANTHROPIC_API_KEY' ? 'test-key' : 'wrong') }

export const anOptions = (
  more: Partial<AnthropicOptions> = {},
  prices: PriceTable | null = PRICES,
): AnthropicOptions => ({
  model: 'claude-test',
  apiKey: env('ANTHROPIC_API_KEY'),
  ...(prices !== null && { prices }),
  maxOutputTokens: 100,
  output: 'tool',
  ...more,
})

export function connect(
  url: string,
  more: Partial<AnthropicOptions> = {},
  prices: PriceTable | null = PRICES,
): Provider {
  const provider = anthropic(anOptions({ baseUrl: url, ...more }, prices)).create('claude', deps)
  closing.push(() => provider.close())
  return provider
}

export type Called = { result: CallResult; answer: CallAnswer | null; spendMax: string | null }

/** Builds, calls, and judges by the bound that the build gave, as the worker does. */
export async function call(
  provider: Provider,
  request: Partial<CallRequest> = {},
  more: Partial<CallOptions> = {},
): Promise<Called> {
  const parts = aRequest({ request: 'Who is it?', outputSchema: FIELDS_SCHEMA, ...request })
  const built = await provider.build!(parts)
  let answer: CallAnswer | null = null
  const result = await performCall(
    provider,
    { ...parts, built },
    options({ spendMax: built.spendMax, told: (told) => (answer = told), ...more }),
  )
  return { result, answer, spendMax: built.spendMax?.amount ?? null }
}
