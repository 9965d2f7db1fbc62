/**
 * What the records say about money, for reconciliation: every charge and every attempt, each with its explanation.
 * How an attempt is explained is in ledger-rule.ts; MongoDB and memory follow it alike (one suite over both).
 */
import type { Outcome, Spend } from '../machines/record.js'

/**
 * - `result`: it gave the step's result.
 * - `same-run`: in doubt, and the provider's answer to a repeat under the same key settled it: one run, billed there.
 * - `superseded`: it ran and cost, and another attempt gave the result.
 * - `orphan`: it ran and cost, and its step has no result.
 * - `free-failure`: it gave no result and cost nothing: refused, never executed, or at a provider that is free.
 * - `unknown`: nobody knows whether it ran, or what it cost. Unexplained.
 * - `running`: it has no end yet.
 */
export const EXPLANATIONS = [
  'result',
  'same-run',
  'superseded',
  'orphan',
  'free-failure',
  'unknown',
  'running',
] as const
export type Explanation = (typeof EXPLANATIONS)[number]

/**
 * - `possible-duplicate`: a second paid call was made, or may have to be, while this one may have run; still open.
 * - `duplicate`: the same, and this one did run.
 * - `prevented`: it was in doubt, and it was found out what became of it without a second paid run: a repeat under the
 *   same key was the same run, or a look-up, a poll, a webhook or a late answer told.
 */
export const DOUBTS = ['possible-duplicate', 'duplicate', 'prevented'] as const
export type Doubt = (typeof DOUBTS)[number]

/** Records accepted at `from` or later and before `to`; simulated ones are left out. */
export type LedgerQuery = {
  from: Date
  to: Date
  source?: string
  pipeline?: string
  provider?: string
  /** Providers that cost nothing. */
  free: readonly string[]
}

/** Sums of what is alike. Amounts are exact. */
export type LedgerGroup = {
  source: string
  pipeline: string
  /** Of a charge: the provider whose answer was charged; null for a charge of the whole record. */
  provider: string | null
  /** Null where there is no amount. */
  currency: string | null
  entry: 'charge' | Explanation
  basis: Spend['basis'] | null
  doubt: Doubt | null
  /** It ran at a provider that is paid, and nobody told what it cost. */
  unpriced: boolean
  count: number
  amount: string
}

/** One attempt behind the sums. */
export type LedgerAttempt = {
  record: string
  acceptedAt: Date
  source: string
  pipeline: string
  step: string
  n: number
  provider: string
  outcome: Outcome | null
  startedAt: Date
  spend: Spend | null
  error: string | null
  explanation: Explanation
  doubt: Doubt | null
  unpriced: boolean
}
