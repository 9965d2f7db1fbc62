/** `anthropic` in a config, as docs/providers.md shows it; a test compares these lines with the page. */
import { anthropic } from '../../src/providers/anthropic/anthropic.js'
import { env } from '../../src/providers/secret.js'

const apiKey = env('ANTHROPIC_API_KEY')
const prices = { currency: 'USD', inputPerMillion: '4.00', cachedInputPerMillion: '0.20', outputPerMillion: '20.00' }

export const claude = anthropic({ model: 'claude-opus-5-5', apiKey, prices, maxOutputTokens: 4000 })
export const older = anthropic({ model: 'claude-haiku-4-5', apiKey, output: 'tool', contextTokensMax: 200_000 })
