/**
 * How providers do, put together from what all workers know: state, the last RECENT_MINUTES of health, and today's
 * spending. Bounded: one read each, and what records spent is added up once in SPEND_KEPT_MS, whoever asks.
 */
import type { ProviderTerms } from '../../machines/pipeline.js'
import {
  LATENCY_BOUNDS_MS,
  type HealthCounts,
  type HealthMinute,
  type ProviderState,
  type ProviderStates,
  type SpendRow,
} from '../../persistence/contract.js'
import type { Clock } from '../../worker/contract.js'
import { addDecimal, multiplyDecimal } from '../decimal.js'
import type { ProviderReport, ProviderReports } from '../gate.js'
import { startOfDay } from './budgets.js'
import { CUT_FORGOTTEN_MS, meterOf, ratesOf, type KnownLimits } from './rates.js'

export const RECENT_MINUTES = 15
const SPEND_KEPT_MS = 15_000

export type ReportDeps = {
  providers: { [name: string]: { terms: ProviderTerms; slots: number; limits?: KnownLimits | undefined } }
  states: Pick<ProviderStates, 'read' | 'health' | 'totals' | 'spendRows'>
  clock: Pick<Clock, 'now' | 'monotonicMs'>
}

/** The duration that the part `q` of calls did not pass, within its class. Null without calls. */
export const quantileMs = (latency: readonly number[], q: number): number | null => {
  const total = latency.reduce((sum, count) => sum + count, 0)
  if (total === 0) return null
  let below = 0
  for (const [index, count] of latency.entries()) {
    if (count > 0 && below + count >= q * total) {
      const from = LATENCY_BOUNDS_MS[index - 1] ?? 0
      const to = LATENCY_BOUNDS_MS[index] ?? from
      return Math.round(from + ((to - from) * (q * total - below)) / count)
    }
    below += count
  }
  return null
}

const addNamed = (into: { [name: string]: number }, from: { [name: string]: number }): void => {
  for (const [name, count] of Object.entries(from)) into[name] = (into[name] ?? 0) + count
}

export const recentOf = (minutes: readonly HealthMinute[]): ProviderReport['recent'] => {
  const all: HealthCounts = {
    calls: 0,
    outcomes: {},
    kinds: {},
    errors: {},
    latency: Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, () => 0),
    durationMs: 0,
    inputTokens: 0,
    outputTokens: 0,
  }
  for (const minute of minutes) {
    all.calls += minute.calls
    all.inputTokens += minute.inputTokens
    all.outputTokens += minute.outputTokens
    addNamed(all.outcomes, minute.outcomes)
    addNamed(all.kinds, minute.kinds)
    addNamed(all.errors, minute.errors)
    minute.latency.forEach((count, index) => (all.latency[index]! += count))
  }
  const { latency, durationMs: _durationMs, ...counts } = all
  return {
    minutes: RECENT_MINUTES,
    ...counts,
    perMinute: Math.round((all.calls / RECENT_MINUTES) * 100) / 100,
    p50Ms: quantileMs(latency, 0.5),
    p95Ms: quantileMs(latency, 0.95),
  }
}

const breakerOf = (state: ProviderState | undefined, nowMs: number): ProviderReport['breaker'] => {
  if (!state) return { state: 'closed', since: null, until: null, openings: 0, code: null }
  const { open, since, until, openings, code } = state.breaker
  const isOver = until !== null && until.getTime() <= nowMs
  return { state: open ? (isOver ? 'half-open' : 'open') : 'closed', since, until, openings, code }
}

const limitsOf = (
  given: KnownLimits | undefined,
  state: ProviderState | undefined,
  nowMs: number,
): ProviderReport['limits'] => {
  const rates = ratesOf(given, state ?? null, nowMs)
  const { requestBurst, requestIntervalMs } = meterOf(rates)
  const aheadMs = Math.max(0, (state?.requestsDueMs ?? 0) - nowMs)
  return {
    ...rates,
    requestsRemaining: state?.learned?.requestsRemaining ?? null,
    tokensRemaining: state?.learned?.tokensRemaining ?? null,
    permits:
      rates.requestsPerMinute === null ? null : Math.max(0, Math.floor(requestBurst - aheadMs / requestIntervalMs)),
    lowered: state?.cut ? nowMs - state.cut.at.getTime() < CUT_FORGOTTEN_MS : false,
  }
}

/** Open calls without a bound of their own may cost what their provider's terms say. */
export const todayOf = (rows: readonly SpendRow[], terms: ProviderTerms): NonNullable<ProviderReport['today']> => {
  const sums = new Map<string, { spent: string; open: string; possibleDuplicate: string }>()
  const sumOf = (currency: string) => {
    const sum = sums.get(currency) ?? { spent: '0', open: '0', possibleDuplicate: '0' }
    sums.set(currency, sum)
    return sum
  }
  for (const row of rows) {
    if (row.currency !== null) {
      const sum = sumOf(row.currency)
      sum.spent = addDecimal(sum.spent, row.spent)
      sum.open = addDecimal(sum.open, row.open)
      sum.possibleDuplicate = addDecimal(sum.possibleDuplicate, row.possibleDuplicate)
    }
    if (row.openUnbounded > 0 && terms.cost === 'paid' && terms.spendMax) {
      const sum = sumOf(terms.spendMax.currency)
      sum.open = addDecimal(sum.open, multiplyDecimal(terms.spendMax.amount, row.openUnbounded))
    }
  }
  return [...sums].map(([currency, sum]) => ({ currency, ...sum })).sort((a, b) => (a.currency < b.currency ? -1 : 1))
}

export const createProviderReports = ({ providers, states, clock }: ReportDeps): ProviderReports => {
  let spends: { atMs: number; rows: Promise<SpendRow[] | null> } | null = null
  const spendRows = (): Promise<SpendRow[] | null> => {
    if (!spends || clock.monotonicMs() - spends.atMs > SPEND_KEPT_MS) {
      const now = clock.now()
      const rows = states.spendRows({ from: startOfDay(now), to: new Date(now.getTime() + 60_000) })
      spends = { atMs: clock.monotonicMs(), rows: rows.catch(() => null) }
    }
    return spends.rows
  }
  return {
    async list(source) {
      const nowMs = clock.now().getTime()
      const since = new Date(nowMs - RECENT_MINUTES * 60_000)
      const [known, health, rows] = await Promise.all([states.read(), states.health(since), spendRows()])
      const visible = rows?.filter((row) => source === null || row.source === source)
      return Object.entries(providers).map(([name, { terms, slots, limits }]) => {
        const state = known.find(({ provider }) => provider === name)
        const pausedUntil = state?.pausedUntil ?? null
        return {
          name,
          recovery: terms.recovery,
          cost: terms.cost,
          model: terms.model ?? null,
          slots,
          breaker: breakerOf(state, nowMs),
          pausedUntil: pausedUntil && pausedUntil.getTime() > nowMs ? pausedUntil : null,
          ready: state?.ready ?? null,
          limits: limitsOf(limits, state, nowMs),
          recent: recentOf(health.filter(({ provider }) => provider === name)),
          today:
            visible === undefined
              ? null
              : todayOf(
                  visible.filter(({ provider }) => provider === name),
                  terms,
                ),
        }
      })
    },
    totals: () => states.totals(),
  }
}
