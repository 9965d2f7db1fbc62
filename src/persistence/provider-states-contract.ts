/**
 * The port of what all workers of a deployment know together about its providers: limits, pauses, breakers, health, and
 * the day's budgets. Times are the database server's.
 *
 * V1 Each change is one atomic update on the server's time: two workers never get the same permit.
 * V2 Nothing here is truth about a record: losing all of it costs a minute of care, and budgets are recomputed from the
 *    records.
 */

/** Requests and tokens by GCRA (the generic cell rate algorithm, ITU-T I.371): one number per bucket. */
export type ProviderState = {
  provider: string
  /** When the next request is due at the even rate, in epoch ms; in the past: the bucket is full. */
  requestsDueMs: number
  tokensDueMs: number
  learned: SeenLimits | null
  /** A rate that a refusal made us choose. */
  cut: { perMinute: number; at: Date } | null
  pausedUntil: Date | null
  breaker: BreakerState
  ready: { ready: boolean; detail: string; at: Date } | null
}

export type SeenLimits = {
  requestsPerMinute: number | null
  tokensPerMinute: number | null
  requestsRemaining: number | null
  tokensRemaining: number | null
  at: Date
}

export type BreakerState = {
  open: boolean
  /** When it took this state. */
  since: Date | null
  /** Open: nothing is tried before. */
  until: Date | null
  /** Openings in a row, each with a longer pause. */
  openings: number
  /** Of the failure that opened it. */
  code: string | null
  /** Tries let through since `until`, and when the last one was. */
  probes: number
  probedAt: Date | null
}

/** How fast permits may be had. An interval of 0: unlimited. Intervals are multiples of 1/1024 ms, so sums are exact. */
export type Meter = {
  requestIntervalMs: number
  requestBurst: number
  /** For one token. */
  tokenIntervalMs: number
  tokenBurst: number
}

export type LeaseAsk = Meter & {
  want: number
  /** What one call uses, about; 1 or more. */
  tokensPerCall: number
  /** Tokens used since the last ask. */
  tokensUsed: number
  /** Time on the bucket that permits which were not used give back. */
  returnMs: number
  /** An open breaker lets through so many tries for each `probeEveryMs`. */
  probesMax: number
  probeEveryMs: number
}

export type Grant = { granted: number; at: Date; state: ProviderState }

export type TripAsk = {
  code: string
  /** `until` of the breaker that the caller saw; null: it saw a closed one. Another state there: nothing changes. */
  seenUntil: Date | null
  cooldownMs: number
  cooldownMsMax: number
  /** Openings closer than this to the last closing count as openings in a row. */
  forgetMs: number
  /** 0.5 up to 1.5 or so: breakers of many providers shall not try in the same instant. */
  jitter: number
}

export type PauseAsk = {
  /** Told by the provider; null: a growing pause, times `jitter` (0 up to 1). */
  forMs: number | null
  jitter: number
  /** The rate to go on with; not taken when another cut is younger than `cutEveryMs`. */
  cutPerMinute: number | null
  cutEveryMs: number
}

/** Counts of one provider in one minute. */
export type HealthCounts = {
  calls: number
  outcomes: { [outcome: string]: number }
  /** Certainty of failures: not-executed, executed, partial, unknown. */
  kinds: { [kind: string]: number }
  errors: { [code: string]: number }
  /** Calls by duration: as many entries as `LATENCY_BOUNDS_MS`, and one above. */
  latency: number[]
  durationMs: number
  inputTokens: number
  outputTokens: number
}

export type HealthMinute = HealthCounts & { provider: string; minute: Date }

/** Upper bounds of the latency classes, in ms. */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
]

/** A ceiling's counter of one UTC day. */
export type CounterKey = {
  per: 'source' | 'provider' | 'deployment'
  /** Empty for the deployment. */
  name: string
  currency: string
  /** The day's first instant. */
  day: Date
}

/** `spent`: by calls that have ended, before these amounts. */
export type Reserved = { granted: boolean[]; minute: number; spent: string }
/** `actual` is what the call cost in the end; `minute` and `reserved` are as it was granted. */
export type Settlement = { minute: number; reserved: string; actual: string }

/** What records spent at one provider for one source, from attempts that were started in a span of time. */
export type SpendRow = {
  provider: string
  source: string
  /** Null: open attempts of which nothing is known but the provider's terms. */
  currency: string | null
  /** Of attempts that ended. */
  spent: string
  /** Of attempts that run: what they may cost at most. */
  open: string
  /** Open attempts without a bound of their own. */
  openUnbounded: number
  /** Of `spent`: attempts that may have been executed besides another paid one. */
  possibleDuplicate: string
}

export interface ProviderStates {
  read(): Promise<ProviderState[]>
  /** Takes up to `want` permits. */
  lease(provider: string, ask: LeaseAsk): Promise<Grant>
  learn(provider: string, limits: Partial<Omit<SeenLimits, 'at'>>): Promise<ProviderState>
  pause(provider: string, ask: PauseAsk): Promise<ProviderState>
  trip(provider: string, ask: TripAsk): Promise<ProviderState>
  /** A call that began then was answered: closes a breaker whose pause is over, or that had opened before. */
  recover(provider: string, beganAt: Date): Promise<ProviderState>
  setReady(provider: string, ready: { ready: boolean; detail: string }): Promise<void>

  addHealth(minutes: readonly HealthMinute[]): Promise<void>
  /** Minutes from `since` on, by provider and minute. */
  health(since: Date): Promise<HealthMinute[]>
  /** Since the deployment began, by provider. */
  totals(): Promise<(HealthCounts & { provider: string })[]>

  /** Reserves each amount in turn, as long as all that is reserved and spent stays within `limit`. */
  reserve(key: CounterKey, limit: string, amounts: readonly string[]): Promise<Reserved>
  settle(key: CounterKey, settlements: readonly Settlement[]): Promise<void>
  /** Replaces what was counted for minutes before `minute` by what the records say. */
  recount(key: CounterKey, found: { spent: string; open: string }, minute: number): Promise<void>
  counters(day: Date): Promise<(CounterKey & { used: string })[]>
  spendRows(span: { from: Date; to: Date }): Promise<SpendRow[]>
}
