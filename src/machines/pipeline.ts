/**
 * What a pipeline declares. Data plus the few functions that a pipeline needs (`request`, price rules,
 * guards); the functions are versioned by `revision`, everything else by its hash.
 */
import type { z } from 'zod'

/**
 * What the machine must know of a provider.
 * - `idempotent`: the provider honours our requestKey for `keyTtlMs`: call again with the same key and bytes.
 * - `blind`: nothing can be asked. Free: run again. Paid: quarantine, then the step's `onUncertain`.
 */
export type Recovery = 'idempotent' | 'blind'

export type ProviderTerms = {
  name: string
  recovery: Recovery
  cost: 'paid' | 'free'
  /** How long a run may go on after our side gave up on it, in ms: the quarantine of a blind paid call. */
  longestRunMs: number
  /** How long an idempotency key is honoured, in ms. */
  keyTtlMs: number
  /** Upper bound of what one call may cost; null for free providers and where nothing is known. */
  spendMax: { amount: string; currency: string } | null
}

export type OnUncertain = 'fallback' | 'investigate' | { retry: { duplicateBudget: number } }

/** `unless`: outputs that cost the customer nothing (a blank page). A function: versioned by `revision`. */
export type Price = { fixed: string; currency: string; unless?: (output: never) => boolean }

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
  price: Pick<Price, 'fixed' | 'currency'> | null
}
