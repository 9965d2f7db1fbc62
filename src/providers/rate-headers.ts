/**
 * What an answer's headers tell about the account's limits.
 *
 * Formats: `x-ratelimit-limit-requests` and `-remaining-`, `-reset-` (OpenAI and who follows it; resets as "6m0s"),
 * `anthropic-ratelimit-*` (resets as RFC 3339 times). Unreadable values are left out: a header is advice.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { LearnedLimits } from './contract.js'

/** Null when there are none. */
export function readRateHeaders(headers: IncomingHttpHeaders): LearnedLimits | null {
  const first = (...names: string[]): number | undefined => {
    for (const name of names) {
      const value = headers[name]
      if (typeof value === 'string' && /^\d{1,12}$/.test(value.trim())) return Number(value)
    }
    return undefined
  }
  const limits: LearnedLimits = {}
  const put = (name: keyof LearnedLimits, value: number | undefined) => {
    if (value !== undefined) limits[name] = value
  }
  put('requestsPerMinute', first('x-ratelimit-limit-requests', 'anthropic-ratelimit-requests-limit'))
  put('tokensPerMinute', first('x-ratelimit-limit-tokens', 'anthropic-ratelimit-tokens-limit'))
  put('requestsRemaining', first('x-ratelimit-remaining-requests', 'anthropic-ratelimit-requests-remaining'))
  put('tokensRemaining', first('x-ratelimit-remaining-tokens', 'anthropic-ratelimit-tokens-remaining'))
  return Object.keys(limits).length === 0 ? null : limits
}
