/**
 * How fast a provider may be called, and what that means for permits. Pure.
 *
 * Permits come from a bucket that all workers share (GCRA: the generic cell rate algorithm, ITU-T I.371): in any span of
 * time it gives at most burst + span / interval.
 *
 * - E1 No span of WINDOW_MS ever holds more calls than the limit: a permit lives up to STALE_MS, and its call reaches the
 *   provider within TRANSIT_MS of it being taken, so the calls of one window had their permits from a span that is longer
 *   by both, and the interval is chosen for that span. It costs a twentieth of the rate.
 * - E2 A refusal lowers the rate once per CUT_EVERY_MS to CUT_TO of what it was; it recovers by RECOVERY a minute and is
 *   forgotten after CUT_FORGOTTEN_MS. Additive or slower would hammer a provider that is already refusing.
 */
import type { Meter, ProviderState } from '../../persistence/contract.js'

export const WINDOW_MS = 60_000
/** Permits that were not used by then are given back. */
export const STALE_MS = 2_000
export const TRANSIT_MS = 1_000
const SPAN_MS = WINDOW_MS + STALE_MS + TRANSIT_MS

export const CUT_TO = 0.7
export const CUT_EVERY_MS = 2_000
export const CUT_FORGOTTEN_MS = 10 * 60_000
const RECOVERY = 1.1
/** What headers told is believed for so long. */
export const LEARNED_FORGOTTEN_MS = 10 * 60_000
/** A call that no answer told the usage of is taken for one of so many tokens. */
export const TOKENS_PER_CALL = 1_000

/** Null: not limited. */
export type Rates = { requestsPerMinute: number | null; tokensPerMinute: number | null }
export type KnownLimits = { requestsPerMinute?: number; tokensPerMinute?: number }

const least = (...limits: (number | null | undefined)[]): number | null => {
  const known = limits.filter((limit) => typeof limit === 'number' && Number.isFinite(limit) && limit > 0) as number[]
  return known.length === 0 ? null : Math.max(1, Math.floor(Math.min(...known)))
}

type Known = Pick<ProviderState, 'learned' | 'cut'>

/** The limits that hold at `nowMs`, on the server's clock: of the config, of headers, and of refusals (E2). */
export const ratesOf = (given: KnownLimits | undefined, state: Known | null, nowMs: number): Rates => {
  const told = state?.learned && nowMs - state.learned.at.getTime() < LEARNED_FORGOTTEN_MS ? state.learned : null
  return {
    requestsPerMinute: least(given?.requestsPerMinute, told?.requestsPerMinute, cutNow(state, nowMs)),
    tokensPerMinute: least(given?.tokensPerMinute, told?.tokensPerMinute),
  }
}

const cutNow = (state: Known | null, nowMs: number): number | null => {
  if (!state?.cut) return null
  const ageMs = Math.max(0, nowMs - state.cut.at.getTime())
  return ageMs >= CUT_FORGOTTEN_MS ? null : Math.max(1, state.cut.perMinute * RECOVERY ** (ageMs / 60_000))
}

/** The rate after a refusal. `observedPerMinute`: what was called, where no limit is known. */
export const cutRate = ({ requestsPerMinute }: Rates, observedPerMinute: number): number =>
  Math.max(1, Math.floor((requestsPerMinute ?? observedPerMinute) * CUT_TO))

/** Multiples of 1/1024 ms: sums with times of today are exact in a double. */
const exactMs = (ms: number): number => Math.floor(ms * 1024 + 1) / 1024

/** E1. A second's worth at once, and the rest evenly. */
export const meterOf = ({ requestsPerMinute, tokensPerMinute }: Rates): Meter => {
  const burst = Math.max(1, Math.ceil((requestsPerMinute ?? 0) / 60))
  const tokenBurst = Math.max(1, Math.ceil((tokensPerMinute ?? 0) / 12))
  return {
    // burst + floor(span / interval) <= limit, as long as span / interval < limit - burst + 1
    requestIntervalMs: requestsPerMinute === null ? 0 : exactMs(SPAN_MS / (requestsPerMinute - burst + 1)),
    requestBurst: burst,
    tokenIntervalMs: tokensPerMinute === null ? 0 : exactMs(SPAN_MS / (tokensPerMinute - tokenBurst + 1)),
    tokenBurst,
  }
}

/**
 * When a bucket has at least one permit, in ms of the server's clock, as far as `state` tells. In the past or now: it has.
 */
export const dueMs = (meter: Meter, state: Pick<ProviderState, 'requestsDueMs' | 'tokensDueMs'>): number => {
  const requests =
    meter.requestIntervalMs > 0 ? state.requestsDueMs - (meter.requestBurst - 1) * meter.requestIntervalMs : 0
  const tokens = meter.tokenIntervalMs > 0 ? state.tokensDueMs - meter.tokenBurst * meter.tokenIntervalMs + 1 : 0
  return Math.max(requests, tokens)
}

/**
 * What permits that were taken at `takenAtMs` and never used may give back of the bucket's time. What has passed since is
 * lost: others may have found the bucket fuller than it would have been.
 */
export const returnedMs = (meter: Meter, permits: number, takenAtMs: number, nowMs: number): number =>
  Math.max(0, permits * meter.requestIntervalMs - Math.max(0, nowMs - takenAtMs))
