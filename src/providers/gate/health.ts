/**
 * Counts what calls ended with, per provider and minute, and hands the counts over. Bounded: one entry per provider and
 * minute, and MINUTES_KEPT_MAX of them while storage is away; then the oldest are dropped. Codes are the adapters' own
 * short names; nothing of a record is counted.
 */
import { LATENCY_BOUNDS_MS, type HealthMinute } from '../../persistence/contract.js'
import type { CallReport } from '../gate.js'

const MINUTE_MS = 60_000
const MINUTES_KEPT_MAX = 500
const CODES_MAX = 50

export type HealthCount = {
  count(report: CallReport, now: Date): void
  /** What was counted since the last time; it is forgotten here. */
  take(): HealthMinute[]
  /** It could not be handed over. */
  putBack(minutes: readonly HealthMinute[]): void
}

export const latencyClass = (durationMs: number): number => {
  const index = LATENCY_BOUNDS_MS.findIndex((bound) => durationMs <= bound)
  return index === -1 ? LATENCY_BOUNDS_MS.length : index
}

const add = (counts: { [name: string]: number }, name: string, most = Infinity): void => {
  const key = name in counts || Object.keys(counts).length < most ? name : 'other'
  counts[key] = (counts[key] ?? 0) + 1
}

export const createHealthCount = (): HealthCount => {
  let minutes: HealthMinute[] = []
  const entryOf = (provider: string, minute: Date): HealthMinute => {
    const found = minutes.find((each) => each.provider === provider && each.minute.getTime() === minute.getTime())
    if (found) return found
    const entry: HealthMinute = {
      provider,
      minute,
      calls: 0,
      outcomes: {},
      kinds: {},
      errors: {},
      latency: Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, () => 0),
      durationMs: 0,
      inputTokens: 0,
      outputTokens: 0,
    }
    minutes = [...minutes.slice(-MINUTES_KEPT_MAX + 1), entry]
    return entry
  }
  return {
    count(report, now) {
      const entry = entryOf(report.provider, new Date(Math.floor(now.getTime() / MINUTE_MS) * MINUTE_MS))
      const durationMs = Math.max(0, Math.round(report.durationMs))
      entry.calls += 1
      entry.durationMs += durationMs
      entry.latency[latencyClass(durationMs)]! += 1
      add(entry.outcomes, report.outcome)
      if (report.kind !== null) add(entry.kinds, report.kind)
      if (report.code !== null) add(entry.errors, report.code, CODES_MAX)
      entry.inputTokens += Math.max(0, Math.round(report.usage?.inputTokens ?? 0))
      entry.outputTokens += Math.max(0, Math.round(report.usage?.outputTokens ?? 0))
    },
    take() {
      const taken = minutes
      minutes = []
      return taken
    },
    putBack(returned) {
      minutes = [...returned, ...minutes].slice(-MINUTES_KEPT_MAX)
    },
  }
}
