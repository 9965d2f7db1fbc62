/**
 * What `http({ … })` may be told, checked when the config is loaded: a mistake is named with its setting, and no
 * secret is read here.
 */
import { z } from 'zod'
import type { Spend } from '../machines/record.js'
import type { ProviderTerms } from '../machines/pipeline.js'
import type { RequestParts } from './contract.js'
import { DECIMAL_PATTERN } from './decimal.js'
import { parseDuration, type Duration } from './durations.js'
import type { StatusRules } from './http-certainty.js'
import { isSecret, type Secret } from './secret.js'

export type HttpOptions = {
  /** Absolute, http or https, without user and password in it. */
  url: string
  /** Default POST. */
  method?: 'POST' | 'PUT'
  headers?: { [name: string]: string | Secret }
  /** Carries the request key. Default `Idempotency-Key`. */
  keyHeader?: string
  /** Sent as `Authorization: Bearer …`. For another header: `headers: { 'x-api-key': env('NAME') }`. */
  apiKey?: Secret
  /** Calls at once per worker process. Default 8. */
  slots?: number
  /** `idempotent`: the endpoint's documentation promises that a repeated key does not run again. Default `blind`. */
  recovery?: 'idempotent' | 'blind'
  /** How long a key is honoured; needed with `idempotent`. */
  keyTtl?: Duration
  cost: 'paid' | 'free'
  /** How long a run may go on after we gave up on it. Default 5m. */
  longestRun?: Duration
  /** The most that one call may cost; booked where nobody knows what it did cost. */
  spendMax?: { amount: string; currency: string }
  /** Default 10s. */
  connectTimeout?: Duration
  /** Default 16 MiB. */
  responseBytesMax?: number
  /** Statuses that the endpoint documents as "did not run", for example 503. */
  notExecuted?: readonly number[]
  /** Statuses that it documents as "ran, and failed", for example 500. */
  executed?: readonly number[]
  /** Statuses after which another try may help. Default: 429, 529, and what is 500 or above in the two lists. */
  retryable?: readonly number[]
  /** Statuses that mean that the input can never be processed: the record is rejected. */
  rejects?: readonly number[]
  /**
   * Builds the body: JSON, or a Uint8Array that is sent as it is with the input's media type. Deterministic.
   * Default: what the step's `request` built; else a JSON input itself; else `{ mediaType, base64 }`.
   */
  body?: (request: RequestParts) => unknown
  /** Takes the output out of the answer. Default: the whole answer. */
  output?: (json: unknown) => unknown
  /** Reads from the answer what the call cost. */
  spend?: (json: unknown) => Spend | null
  /** Where the provider's own id of the call is. Default: the usual names. */
  requestIdHeader?: string
}

export type HttpSettings = {
  url: URL
  method: 'POST' | 'PUT'
  headers: { [name: string]: string | Secret }
  apiKey: Secret | undefined
  keyHeader: string
  slots: number
  terms: Omit<ProviderTerms, 'name'>
  statuses: StatusRules
  connectTimeoutMs: number
  responseBytesMax: number
  requestIdHeaders: readonly string[]
  body: HttpOptions['body']
  output: HttpOptions['output']
  spend: HttpOptions['spend']
}

const KEY_TTL_MS_MAX = 366 * 24 * 60 * 60 * 1000
const REQUEST_ID_HEADERS = ['x-request-id', 'request-id', 'x-amzn-requestid', 'apim-request-id'] as const

const headerName = z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, 'is no header name')
/** These say where a request ends: they are ours. */
const framing = new Set(['content-length', 'transfer-encoding', 'connection', 'expect', 'host'])
const secret = z.custom<Secret>(isSecret, "is not written as env('NAME')")
const statuses = z.array(z.int().min(300).max(599))
const aFunction = z.custom<never>((value) => typeof value === 'function', 'is no function').optional()

function headerTrouble(name: string): string | null {
  if (framing.has(name.toLowerCase())) return 'is set by the provider itself'
  return headerName.safeParse(name).success ? null : 'is no header name'
}

/** Durations and functions keep their own types; zod checks the rest, and that nothing is misspelt. */
const Options = z.strictObject({
  url: z.string(),
  method: z.enum(['POST', 'PUT']).default('POST'),
  headers: z
    .record(z.string(), z.union([z.string(), secret]))
    .superRefine((headers, context) => {
      for (const name of Object.keys(headers)) {
        const wrong = headerTrouble(name)
        if (wrong !== null) context.addIssue({ code: 'custom', path: [name], message: wrong })
      }
    })
    .default({}),
  keyHeader: headerName.default('Idempotency-Key'),
  apiKey: secret.optional(),
  slots: z.int().min(1).max(10_000).default(8),
  recovery: z.enum(['idempotent', 'blind']).default('blind'),
  keyTtl: z.unknown().optional(),
  cost: z.enum(['paid', 'free']),
  longestRun: z.unknown().optional(),
  spendMax: z
    .strictObject({
      amount: z.string().regex(DECIMAL_PATTERN, 'is no decimal string such as "0.40"'),
      currency: z.string().regex(/^[A-Z]{3}$/, 'is no currency such as "EUR"'),
    })
    .optional(),
  connectTimeout: z.unknown().optional(),
  responseBytesMax: z
    .int()
    .min(1)
    .max(1024 * 1024 * 1024)
    .default(16 * 1024 * 1024),
  notExecuted: statuses.default([]),
  executed: statuses.default([]),
  retryable: statuses.optional(),
  rejects: statuses.default([]),
  body: aFunction,
  output: aFunction,
  spend: aFunction,
  requestIdHeader: headerName.optional(),
})

/** Throws TypeError naming the setting and what is wrong with it. */
export function readHttpOptions(given: HttpOptions): HttpSettings {
  const parsed = Options.safeParse(given)
  if (!parsed.success) {
    const wrong = parsed.error.issues.map(
      (issue) => `${issue.path.map(String).join('.') || 'options'}: ${issue.message}`,
    )
    throw new TypeError(`The http provider's options are not valid: ${wrong.join('; ')}.`)
  }
  const options = parsed.data
  const { recovery, cost } = options
  if (recovery === 'idempotent' && given.keyTtl === undefined) {
    throw new TypeError(
      'An http provider with recovery "idempotent" needs keyTtl: how long a key is honoured, e.g. "24h".',
    )
  }
  const both = options.executed.find((status) => options.notExecuted.includes(status))
  if (both !== undefined) throw new TypeError(`An http provider names status ${both} in executed and in notExecuted.`)

  return {
    url: readUrl(options.url),
    method: options.method,
    headers: options.headers,
    apiKey: options.apiKey,
    keyHeader: options.keyHeader,
    slots: options.slots,
    terms: {
      recovery,
      cost,
      longestRunMs: parseDuration(given.longestRun ?? '5m', "An http provider's longestRun"),
      keyTtlMs: recovery === 'blind' ? 0 : parseDuration(given.keyTtl, "An http provider's keyTtl", KEY_TTL_MS_MAX),
      lookupLagMs: 0,
      findsByToken: false,
      spendMax: cost === 'free' ? null : (options.spendMax ?? null),
    },
    statuses: {
      notExecuted: new Set(options.notExecuted),
      executed: new Set(options.executed),
      retryable: options.retryable === undefined ? null : new Set(options.retryable),
      rejects: new Set(options.rejects),
    },
    connectTimeoutMs: parseDuration(given.connectTimeout ?? '10s', "An http provider's connectTimeout"),
    responseBytesMax: options.responseBytesMax,
    requestIdHeaders:
      options.requestIdHeader === undefined ? REQUEST_ID_HEADERS : [options.requestIdHeader.toLowerCase()],
    body: given.body,
    output: given.output,
    spend: given.spend,
  }
}

function readUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new TypeError('An http provider needs an absolute url that begins with http:// or https://.')
  }
  if (url.username !== '' || url.password !== '') {
    throw new TypeError(
      "An http provider's url holds a user or password: give them as a header with env('NAME') instead.",
    )
  }
  return url
}
