/**
 * What an answer's headers tell about the account's limits.
 *
 * Formats: `x-ratelimit-limit-requests` and `-remaining-`, `-reset-` (OpenAI and who follows it; resets as "6m0s",
 * https://platform.openai.com/docs/guides/rate-limits), `anthropic-ratelimit-*` (resets as RFC 3339 times,
 * https://docs.anthropic.com/en/api/rate-limits). Unreadable values are left out: a header is advice.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { LearnedLimits } from './contract.js'

const PAUSE_MS_MAX = 24 * 60 * 60 * 1000

type Family = { limit: readonly string[]; remaining: readonly string[]; reset: readonly string[] }

const REQUESTS: Family = {
  limit: ['x-ratelimit-limit-requests', 'anthropic-ratelimit-requests-limit'],
  remaining: ['x-ratelimit-remaining-requests', 'anthropic-ratelimit-requests-remaining'],
  reset: ['x-ratelimit-reset-requests', 'anthropic-ratelimit-requests-reset'],
}
/** Where input and output have limits of their own, the input's counts: it is the one that fills first. */
const TOKENS: Family = {
  limit: ['x-ratelimit-limit-tokens', 'anthropic-ratelimit-tokens-limit', 'anthropic-ratelimit-input-tokens-limit'],
  remaining: [
    'x-ratelimit-remaining-tokens',
    'anthropic-ratelimit-tokens-remaining',
    'anthropic-ratelimit-input-tokens-remaining',
  ],
  reset: ['x-ratelimit-reset-tokens', 'anthropic-ratelimit-tokens-reset', 'anthropic-ratelimit-input-tokens-reset'],
}

/** Null when there are none. */
export function readRateHeaders(headers: IncomingHttpHeaders): LearnedLimits | null {
  const first = (names: readonly string[]): string | undefined => {
    const name = names.find((each) => typeof headers[each] === 'string')
    return name === undefined ? undefined : String(headers[name]).trim()
  }
  const count = (names: readonly string[]): number | undefined => {
    const text = first(names)
    return text !== undefined && /^\d{1,12}$/.test(text) ? Number(text) : undefined
  }
  const limits: LearnedLimits = {}
  const put = (name: keyof LearnedLimits, value: number | undefined) => {
    if (value !== undefined) limits[name] = value
  }
  put('requestsPerMinute', count(REQUESTS.limit))
  put('tokensPerMinute', count(TOKENS.limit))
  put('requestsRemaining', count(REQUESTS.remaining))
  put('tokensRemaining', count(TOKENS.remaining))
  // With nothing left, the next call would only be refused: the reset says until when.
  const pauses = [REQUESTS, TOKENS]
    .filter(({ remaining }) => count(remaining) === 0)
    .map(({ reset }) => resetMs(first(reset), headers.date))
    .filter((ms) => ms !== undefined)
  if (pauses.length > 0) limits.pauseMs = Math.min(PAUSE_MS_MAX, Math.max(...pauses))
  return Object.keys(limits).length === 0 ? null : limits
}

const UNIT_MS: { [unit: string]: number } = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const DURATION = /^(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h|d))+$/

/** "6m0s", "20ms", or a time, read against the answer's own Date, so that a clock that is off does not matter. */
function resetMs(text: string | undefined, date: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (DURATION.test(text)) {
    const parts = text.matchAll(/([\d.]+)(ms|s|m|h|d)/g)
    return Math.ceil([...parts].reduce((sum, [, amount, unit]) => sum + Number(amount) * UNIT_MS[unit!]!, 0))
  }
  if (!/^\d{4}-\d\d-\d\dT/.test(text)) return undefined
  const ms = Date.parse(text) - (date === undefined ? Date.now() : Date.parse(date))
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined
}
