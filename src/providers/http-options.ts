/**
 * What `http({ … })` may be told. Types only; http-settings.ts checks them when the config is loaded.
 *
 * Written so that a config reads as the provider's own documentation does: places in an answer are JSON pointers or
 * header names, paths are templates, and each status word of the provider is given its meaning.
 */
import type { Spend, Usage } from '../machines/record.js'
import type { RequestParts } from './contract.js'
import type { Duration } from './durations.js'
import type { PriceTable } from './price-table.js'
import type { Secret } from './secret.js'

/** One whole answer of the provider. Header names in lower case. */
export type Answer = { status: number; headers: { [name: string]: string | undefined }; json: unknown }

/** Where something stands in an answer: a JSON pointer (RFC 6901), a header, or a function that finds it. */
export type Place = `/${string}` | { header: string } | ((answer: Answer) => unknown)

/**
 * A path on the provider's own origin: a template with the name in braces, for example `/v2/x/status/{handle}`, or a
 * function. An absolute URL is taken where it stays on that origin, because the credentials go with it.
 */
export type PathOf = string | ((value: string) => string)

/**
 * What a provider's word for a job's state means.
 * - `failed`: it ran without a usable result, and another try may help. `failed-for-good`: none will.
 * - `rejected`: the input can never be processed. `not-executed`: it certainly never ran.
 */
export const JOB_STATUSES = ['running', 'succeeded', 'failed', 'failed-for-good', 'rejected', 'not-executed'] as const
export type JobStatus = (typeof JOB_STATUSES)[number]

/** How the state of a job is read from an answer. A word that `means` doesn't name decides nothing. */
export type StatusReading = {
  status: Place
  means: { [word: string]: JobStatus }
  /** Where a failure's code stands: one word, no sentence. Anything else there is left out. */
  error?: Place
  /** Where the progress stands, 0 to 1. */
  fraction?: Place
}

export type JobOptions = {
  /** Where the answer to the submission names the job: visible ASCII, up to 512 characters. */
  handle: Place
  /** Asked with GET. Default url: the handle is the path or URL itself. */
  poll: StatusReading & {
    url?: PathOf
    /** The pause before the next question, where the provider's Retry-After says nothing. Default: the machine's. */
    every?: Duration
  }
  /** Where the output is not in the status' answer: one more GET, once the job has succeeded. */
  result?: {
    url: PathOf
    /** Where such an answer names the job's failure, one word; only read when its status is no 2xx. */
    error?: Place
    /** Statuses of this answer that mean that the job failed for good, for example 422. */
    failed?: readonly number[]
  }
  /** Advisory: the job may end well all the same. Default PUT. */
  cancel?: { method?: 'POST' | 'PUT' | 'DELETE'; url: PathOf }
}

/** How a call is found by our key. An answer of 404 or 410 means that there is no trace of it. */
export type LookupOptions = {
  url: PathOf
  /** How long a call that has run may still be missing. */
  lag: Duration
}

export type WebhookOptions = {
  /** How the provider is given our URL. `body`: a field at the top of the JSON body. */
  carries: { header: string } | { query: string } | { body: string }
} & (
  | {
      /** Unsigned, or signed in a way that is not read here: a delivery only means "ask now". */
      verify: 'none'
    }
  | {
      /** https://www.standardwebhooks.com, or an HMAC of the raw body in a header. */
      verify:
        | 'standard-webhooks'
        | { hmac: { header: string; algorithm: 'sha256' | 'sha512'; encoding?: 'hex' | 'base64'; prefix?: string } }
      secret: Secret
      /** `status`: the body says what the poll's answer would. Default `ignore`: the provider is asked. */
      body?: 'status' | 'ignore'
    }
)

export type HttpRecovery =
  | { recovery?: 'blind' }
  | {
      /** The endpoint's documentation promises that a repeated key does not run again. */
      recovery: 'idempotent'
      /** How long a key is honoured. */
      keyTtl: Duration
    }
  /** The endpoint promises so only while the call runs. */
  | { recovery: 'in-flight' }
  /** An ended call is found again by our key. Without `status`, an answer that is there holds the output. */
  | { recovery: 'retrievable'; lookup: LookupOptions & (StatusReading | { status?: never; means?: never }) }
  | {
      /** The submission is answered with a handle; the result is fetched later. */
      recovery: 'job'
      job: JobOptions
      /** Finds a job whose handle was lost. `handle`: where it stands in the look-up's answer. */
      lookup?: LookupOptions & { handle: Place }
      webhook?: WebhookOptions
    }

export type HttpOptions = HttpCommonOptions & HttpRecovery

export type HttpCommonOptions = {
  /** Absolute, http or https, without user and password in it. `{requestKey}` in it is replaced by the key. */
  url: string
  /** Default POST. */
  method?: 'POST' | 'PUT'
  headers?: { [name: string]: string | Secret }
  /** Carries the request key. Default `Idempotency-Key`. */
  keyHeader?: string
  /** Sent as `Authorization: Bearer …`. For another header: `headers: { 'x-api-key': env('NAME') }`. */
  apiKey?: Secret
  /** Instead of `Bearer`, for example `Key`. */
  apiKeyScheme?: string
  /** Calls at once per worker process. Default 8. */
  slots?: number
  cost: 'paid' | 'free'
  /** Limits that the account is known to have. */
  limits?: { requestsPerMinute?: number; tokensPerMinute?: number }
  /** Shown with each attempt; where the body names a model, this one. */
  model?: string
  /** How long a run may go on after we gave up on it, or a job after it was taken. Default 5m. */
  longestRun?: Duration
  /** The most that one call may cost; booked where nobody knows what it did cost. */
  spendMax?: { amount: string; currency: string }
  /** What the provider bills for the usage. */
  prices?: PriceTable
  /** The most that one call may use: with `prices`, it gives `spendMax`. */
  usageMax?: Usage
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
  /** Takes the output out of the answer that holds it. Default: the whole answer. */
  output?: `/${string}` | ((json: unknown) => unknown)
  /** Reads what the call used. `status`: of a job, the answer that told its end; else the same as `json`. */
  usage?: (json: unknown, status: unknown) => Usage | null
  /** Reads what the call cost, where the provider says so. */
  spend?: (json: unknown, status: unknown) => Spend | null
  /** Where the provider's own id of the call is. Default: the usual names. */
  requestIdHeader?: string
  /** A path that answers 2xx while the provider (and its model) is ready. */
  ready?: string
}
