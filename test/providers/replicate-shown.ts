/** `replicate` and `cog` in a config, as docs/providers.md shows them; a test compares these lines with the page. */
import { cog } from '../../src/providers/cog/cog.js'
import { replicate } from '../../src/providers/replicate/replicate.js'
import { env } from '../../src/providers/secret.js'

export const reader = replicate({
  deployment: 'clinic/referral-reader',
  apiKey: env('REPLICATE_API_TOKEN'),
  webhookSecret: env('REPLICATE_WEBHOOK_SECRET'),
  inputField: 'page',
  tokenField: 'reference',
  prices: { currency: 'USD', perSecond: '0.000975' },
  longestRun: '20m',
})

export const ownReader = cog({
  url: 'http://gpu-1.clinic.example:5000',
  inputField: 'page',
  longestRun: '2m',
})
