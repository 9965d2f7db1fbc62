/**
 * May a call start now? What the worker asks before it saves an intent, and what it tells after each answer. Types
 * only; src/providers/gate/ implements it on what all workers of a deployment know together.
 *
 * Answers at once from what this process knows, except for money, which is reserved in the database.
 */
import type { CallResult } from './call.js'
import type { LearnedLimits } from './contract.js'
import type { HealthCounts } from '../persistence/contract.js'
import type { Recovery } from '../machines/pipeline.js'
import type { RecordDocument, Spend, Usage } from '../machines/record.js'

/** The right to start one call now. Given back only when nothing was sent. */
export type Permit = { giveBack(): void }

/** Why nothing may start at a provider, and until when. */
export type Hold = {
  /** `provider-down` (breaker), `provider-paused` (it said so), `rate-limited`, `budget-reached`. */
  code: string
  message: string
  until: Date
}

export type CallReport = {
  /** Whose call it was: failures of one record never open a breaker. Kept in memory alone, for less than a minute. */
  record: string
  provider: string
  source: string
  pipeline: string
  outcome: CallResult['kind'] | 'accepted'
  /** Of the failure, where there is one. */
  code: string | null
  kind: 'not-executed' | 'executed' | 'partial' | 'unknown' | null
  durationMs: number
  usage: Usage | null
  /** What headers tell; `pauseMs` is also what a refusal told (Retry-After). */
  limits: LearnedLimits | null
}

/** A ceiling on what providers may cost us. Of a record: in all; of the others: for each UTC day. */
export type Budget = {
  per: 'record' | 'source' | 'provider' | 'deployment'
  /** One source or provider; null: each of them has this ceiling. */
  name: string | null
  /** A decimal string. */
  limit: string
  currency: string
  /** What happens to a record that would pass it. */
  atLimit: 'wait' | 'investigate'
}

/** Names an attempt for its reservation. */
export type ReservedCall = { record: string; step: string; attempt: number; provider: string }

export interface Gate {
  /** Calls that may start now, besides slots. `Infinity` when nothing limits the provider. */
  free(provider: string): number
  /** Null when none is free. */
  take(provider: string): Permit | null
  /** Since the provider is down or paused; null while calls may start (perhaps later, by the rate). */
  hold(provider: string): Hold | null
  /**
   * Reserves what a call may cost at most against the ceilings of record, source, provider and day. Null: it may start.
   * A hold with `until` in the past means that no waiting helps.
   */
  reserve(call: {
    doc: RecordDocument
    provider: string
    step: string
    attempt: number
    spendMax: { amount: string; currency: string } | null
  }): Promise<Hold | null>
  /**
   * The attempt has ended with this spend: what was reserved above it is free again. Null: nothing was sent, or it cost
   * nothing. To be called once for each reservation that was granted, also when its intent could not be saved; what is
   * forgotten is mended from the records within minutes.
   */
  settle(call: ReservedCall, spend: Spend | null): void
  report(report: CallReport): void
  /** Called when `free` or `hold` of a provider may have changed. */
  onChange(listener: (provider: string) => void): void
  start(): void
  close(): Promise<void>
}

/** How a provider does, for people and their monitors: of the whole deployment, whichever process is asked. */
export type ProviderReport = {
  name: string
  recovery: Recovery
  cost: 'paid' | 'free'
  model: string | null
  /** Calls at once in each worker process. */
  slots: number
  breaker: {
    state: 'closed' | 'open' | 'half-open'
    since: Date | null
    until: Date | null
    openings: number
    code: string | null
  }
  pausedUntil: Date | null
  ready: { ready: boolean; detail: string; at: Date } | null
  /** Null: not limited, or not told. `lowered`: a refusal made us go slower. */
  limits: {
    requestsPerMinute: number | null
    tokensPerMinute: number | null
    requestsRemaining: number | null
    tokensRemaining: number | null
    /** Permits in the shared bucket. */
    permits: number | null
    lowered: boolean
  }
  recent: {
    minutes: number
    calls: number
    perMinute: number
    outcomes: { [outcome: string]: number }
    kinds: { [kind: string]: number }
    errors: { [code: string]: number }
    p50Ms: number | null
    p95Ms: number | null
    inputTokens: number
    outputTokens: number
  }
  /** Since the UTC day began, by currency; null while it can't be added up. */
  today: { currency: string; spent: string; open: string; possibleDuplicate: string }[] | null
}

export type ProviderReports = {
  /** `source`: whose spending is told; null: everyone's. Throws StoreUnavailable. */
  list(source: string | null): Promise<ProviderReport[]>
  /** Counts since the deployment began. */
  totals(): Promise<(HealthCounts & { provider: string })[]>
}

/** Nothing is limited: for pipelines of engines inside the worker, and for tests. */
export const openGate: Gate = {
  free: () => Infinity,
  take: () => ({ giveBack: () => {} }),
  hold: () => null,
  reserve: () => Promise.resolve(null),
  settle: () => {},
  report: () => {},
  onChange: () => {},
  start: () => {},
  close: () => Promise.resolve(),
}
