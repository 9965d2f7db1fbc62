/**
 * What a pipeline declares. Data plus the few functions that a pipeline needs (`request`, price rules,
 * guards); the functions are versioned by `revision`, everything else by its hash.
 */
import type { z } from 'zod'
import type { Usage } from './record.js'

/**
 * What may be done about a call of which nobody knows whether it ran.
 * - `idempotent`: the provider honours our requestKey for `keyTtlMs`: call again with the same key and bytes.
 * - `retrievable`: an ended call can be found again: by a name that we chose (`findsByToken`), or by the id that the
 *   provider gave while it ran. Look up until lag + longest run have passed; only then call again.
 * - `job`: the submission is answered with a handle, the result is fetched by it later. Handle lost: found by our
 *   token (`findsByToken`), else as `blind`.
 * - `in-flight`: the provider tells repeats apart only while the call runs: repeat early, afterwards as `blind`.
 * - `blind`: nothing can be asked. Free: run again. Paid: quarantine, then the step's `onUncertain`.
 */
export const RECOVERIES = ['idempotent', 'retrievable', 'job', 'in-flight', 'blind'] as const
export type Recovery = (typeof RECOVERIES)[number]

export type ProviderTerms = {
  name: string
  recovery: Recovery
  cost: 'paid' | 'free'
  /** How long a run may go on after our side gave up on it (or a job after it was taken), in ms. */
  longestRunMs: number
  /** How long an idempotency key is honoured, in ms. */
  keyTtlMs: number
  /** How long a call that has run may still be missing from a look-up, in ms. */
  lookupLagMs: number
  /** `retrievable`, `job`: a call can be found by what we sent, without the provider's own id. */
  findsByToken: boolean
  /** Its calls may be taken as jobs although its recovery is another: the result is then fetched by asking. */
  polled?: boolean
  /** Upper bound of what one call may cost; null for free providers and where nothing is known. */
  spendMax: { amount: string; currency: string } | null
  /** The model that is asked for, where there is one. */
  model?: string
}

/** Terms of a provider inside the worker that costs nothing and may run again at will. */
export const freeBlindTerms = (name: string, longestRunMs: number): ProviderTerms => ({
  name,
  recovery: 'blind',
  cost: 'free',
  longestRunMs,
  keyTtlMs: 0,
  lookupLagMs: 0,
  findsByToken: false,
  spendMax: null,
})

export type OnUncertain = 'fallback' | 'investigate' | { retry: { duplicateBudget: number } }

/** How an amount follows from a call, as decimal strings; exactly one way is given. */
export type PriceRule =
  | { fixed: string }
  /** Times `usage.pages`. */
  | { perPage: string }
  /** For a million tokens; what is not given costs nothing. */
  | { perMillionTokens: { input?: string; output?: string } }
  /** A function of usage and output: versioned by `revision`. Answers a decimal string. */
  | { amount: (facts: { output: never; usage: Usage }) => string }

/** `unless`: outputs that cost the customer nothing (a blank page). A function: versioned by `revision`. */
export type Price = PriceRule & { currency: string; unless?: (output: never) => boolean }

/** What the whole record costs, once, when it completes. */
export type RecordPrice = { fixed: string; currency: string }

export type StepDefinition = {
  name: string
  /** Shown in the console and in docs. */
  description: string
  /** Providers in fallback order. */
  use: readonly string[]
  /** One call's limit. */
  deadlineMs: number
  /** Attempts per provider and generation. */
  attempts: number
  /** Pause between tries: drawn from 0..min(maxMs, initialMs * 2^try) by the worker. */
  backoff: { initialMs: number; maxMs: number }
  output: z.ZodType
  /** Builds the provider's request from the outputs of earlier steps. Deterministic: a repeat sends the same bytes. */
  request: ((outputs: never) => unknown) | null
  onUncertain: OnUncertain | null
  price: Price | null
  /** For paid blind steps: may the intent be saved together with the previous result? */
  fuse: boolean
  /** Keep each request's bytes: they can't be built again from the record (they name the time, say). */
  keepRequest: boolean
}

export type PipelineDefinition = {
  name: string
  revision: number
  description: string
  /** Media types, `image/*` style wildcards allowed. */
  accepts: readonly string[]
  /** Bounds all queueing; the steps' own limits come on top of it. */
  maxWaitMs: number
  /** How long an intent may wait to be sent, and what a database failover may take: both are part of each lease. */
  lease: { sendWithinMs: number; failoverMs: number }
  inputBytesMax: number
  steps: readonly StepDefinition[]
  /** Charged once when the record completes, under the key `record`. */
  price: RecordPrice | null
}
