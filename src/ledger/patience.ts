/**
 * When a sink may be tried again: as a whole (R3), and for each record that is in trouble (R2). Pure but for time and
 * chance, which come from outside.
 *
 * - W1 Pauses are drawn from 0 up to a limit that doubles (full jitter): receivers that come back are not hit at once.
 * - W2 Memory is bounded: of more than WAITING_MAX records the one longest in trouble is forgotten, and so tried sooner.
 */
import type { SendOutcome } from './contract.js'

/** Failures in a row after which a sink counts as down. */
export const FAILURES_MAX = 8
const WAITING_MAX = 10_000
const RECORD_PAUSE_MS = { first: 1_000, max: 5 * 60_000 }
const SINK_PAUSE_MS = { first: 500, max: 30_000 }
const RETRY_AFTER_MS_MAX = 3_600_000

type Failed = Exclude<SendOutcome, { kind: 'sent' }>
type Waiting = { failures: number; notBeforeMs: number; kind: Failed['kind'] }

export type Patience = {
  /** Is this record's pause over? */
  isDue(record: string): boolean
  /** May another send start now? */
  mayStart(): boolean
  isProbing(): boolean
  /** How long the sink is left alone from now; 0 when it is not. */
  pausedMs(): number
  arrived(record: string): void
  /** How long the sink is left alone now, when that is new; null when it is not. */
  failed(record: string, outcome: Failed): number | null
  /** True once after the sink came back: what waited for it goes at once. */
  hasRecovered(): boolean
}

export const createPatience = ({ nowMs, random }: { nowMs(): number; random(): number }): Patience => {
  const waiting = new Map<string, Waiting>()
  let inARow = 0
  let pauses = 0
  let pausedUntilMs = 0
  let recovered = false

  const draw = ({ first, max }: { first: number; max: number }, times: number) =>
    Math.round(random() * Math.min(max, first * 2 ** Math.min(times, 20)))

  const isAlive = () => {
    inARow = 0
    if (pauses === 0) return
    pauses = 0
    pausedUntilMs = 0
    recovered = true
    for (const [record, { kind }] of waiting) if (kind === 'failed') waiting.delete(record)
  }

  return {
    isDue: (record) => (waiting.get(record)?.notBeforeMs ?? 0) <= nowMs(),
    mayStart: () => pausedUntilMs <= nowMs(),
    isProbing: () => pauses > 0,
    pausedMs: () => Math.max(0, pausedUntilMs - nowMs()),
    arrived(record) {
      waiting.delete(record)
      isAlive()
    },
    failed(record, outcome) {
      const failures = (waiting.get(record)?.failures ?? 0) + 1
      const toldMs =
        outcome.kind === 'failed' ? Math.min(RETRY_AFTER_MS_MAX, Math.max(0, outcome.retryAfterMs ?? 0)) : 0
      waiting.delete(record)
      const notBeforeMs = nowMs() + toldMs + draw(RECORD_PAUSE_MS, failures - 1)
      waiting.set(record, { failures, notBeforeMs, kind: outcome.kind })
      if (waiting.size > WAITING_MAX) waiting.delete(waiting.keys().next().value!)
      if (outcome.kind === 'refused') {
        isAlive()
        return null
      }
      inARow += 1
      if (pauses === 0 && inARow < FAILURES_MAX) return null
      // Sends that were under way when the pause began say nothing new.
      if (pausedUntilMs > nowMs()) return null
      const pauseMs = toldMs + draw(SINK_PAUSE_MS, pauses)
      pauses += 1
      pausedUntilMs = nowMs() + pauseMs
      return pauseMs
    },
    hasRecovered() {
      const was = recovered
      recovered = false
      return was
    },
  }
}
