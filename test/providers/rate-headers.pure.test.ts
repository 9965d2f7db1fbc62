/** What providers' rate headers tell, in the forms that they publish. */
import { expect, it } from 'vitest'
import { readRateHeaders } from '../../src/providers/rate-headers.js'

it('OpenAI’s: limits and what is left', () => {
  const headers = {
    'x-ratelimit-limit-requests': '500',
    'x-ratelimit-limit-tokens': '30000',
    'x-ratelimit-remaining-requests': '499',
    'x-ratelimit-remaining-tokens': '29000',
    'x-ratelimit-reset-requests': '120ms',
  }
  expect(readRateHeaders(headers)).toEqual({
    requestsPerMinute: 500,
    tokensPerMinute: 30_000,
    requestsRemaining: 499,
    tokensRemaining: 29_000,
  })
})

it.each([
  ['20ms', 20],
  ['1s', 1_000],
  ['6m0s', 360_000],
  ['1h2m3.5s', 3_723_500],
  ['99d', 86_400_000],
])('with nothing left, all wait for the reset of %s', (reset, pauseMs) => {
  const headers = { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': reset }
  expect(readRateHeaders(headers)).toEqual({ requestsRemaining: 0, pauseMs })
})

it('Anthropic’s: resets are times, read against the answer’s own Date; of two that are empty the later one counts', () => {
  const headers = {
    date: 'Wed, 25 Nov 2026 04:00:00 GMT',
    'anthropic-ratelimit-requests-limit': '50',
    'anthropic-ratelimit-requests-remaining': '0',
    'anthropic-ratelimit-requests-reset': '2026-11-25T04:00:10Z',
    'anthropic-ratelimit-input-tokens-limit': '40000',
    'anthropic-ratelimit-input-tokens-remaining': '0',
    'anthropic-ratelimit-input-tokens-reset': '2026-11-25T04:00:30Z',
  }
  expect(readRateHeaders(headers)).toEqual({
    requestsPerMinute: 50,
    tokensPerMinute: 40_000,
    requestsRemaining: 0,
    tokensRemaining: 0,
    pauseMs: 30_000,
  })
})

it.each([
  [{}],
  [{ 'x-ratelimit-limit-requests': 'many' }],
  [{ 'x-ratelimit-limit-requests': '-5', 'x-ratelimit-reset-requests': '1s' }],
  [{ 'retry-after': '5' }],
])('what can’t be read is left out: %j', (headers) => expect(readRateHeaders(headers)).toBeNull())

it('a reset that can’t be read is no pause', () => {
  const headers = { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': 'soon' }
  expect(readRateHeaders(headers)).toEqual({ requestsRemaining: 0 })
})
