/** What monitors are told of providers. Made anew for each question, from what the deployment knows. */
import { Counter, Gauge, Registry, type Metric } from 'prom-client'
import { LATENCY_BOUNDS_MS, type HealthCounts } from '../persistence/contract.js'
import type { ProviderReport } from '../providers/gate.js'

type Totals = HealthCounts & { provider: string }

const OUTCOMES = ['succeeded', 'accepted', 'failed', 'uncertain']
const KINDS = ['not-executed', 'executed', 'partial', 'unknown']
const BREAKER_STATES = ['closed', 'open', 'half-open']

export const providerMetrics = (reports: readonly ProviderReport[], totals: readonly Totals[]): Registry => {
  const registry = new Registry()
  const named = new Set(reports.map(({ name }) => name))
  counters(
    registry,
    totals.filter(({ provider }) => named.has(provider)),
  )
  gauges(registry, reports)
  return registry
}

const counters = (registry: Registry, totals: readonly Totals[]): void => {
  const counter = (name: string, help: string, label: string) =>
    new Counter({ name, help, labelNames: ['provider', label], registers: [registry] })
  const calls = counter('endstate_provider_calls_total', 'Calls that ended, by outcome.', 'outcome')
  const failures = counter('endstate_provider_failures_total', 'Calls without a result, by certainty.', 'kind')
  const tokens = counter('endstate_provider_tokens_total', 'Tokens as providers told them.', 'direction')
  for (const { provider, outcomes, kinds, inputTokens, outputTokens } of totals) {
    for (const outcome of OUTCOMES) calls.inc({ provider, outcome }, outcomes[outcome] ?? 0)
    for (const kind of KINDS) failures.inc({ provider, kind }, kinds[kind] ?? 0)
    tokens.inc({ provider, direction: 'input' }, inputTokens)
    tokens.inc({ provider, direction: 'output' }, outputTokens)
  }
  registry.registerMetric(latencyHistogram(totals) as unknown as Metric)
}

/** A histogram that was counted elsewhere: prom-client's own can only observe. */
const latencyHistogram = (totals: readonly Totals[]) => {
  const name = 'endstate_provider_call_duration_seconds'
  const values = totals.flatMap(({ provider, latency, durationMs, calls }) => {
    let below = 0
    const buckets = [...LATENCY_BOUNDS_MS, Infinity].map((boundMs, index) => {
      below += latency[index] ?? 0
      const le = boundMs === Infinity ? '+Inf' : String(boundMs / 1_000)
      return { metricName: `${name}_bucket`, labels: { le, provider }, value: below }
    })
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels: { provider }, value: durationMs / 1_000 },
      { metricName: `${name}_count`, labels: { provider }, value: calls },
    ]
  })
  const metric = { name, help: 'How long calls took.', type: 'histogram', aggregator: 'sum', values }
  return { ...metric, get: () => Promise.resolve(metric) }
}

const gauges = (registry: Registry, reports: readonly ProviderReport[]): void => {
  const gauge = (name: string, help: string, ...labels: string[]) =>
    new Gauge({ name, help, labelNames: ['provider', ...labels], registers: [registry] })
  const breaker = gauge('endstate_provider_breaker_state', '1 for the state that the breaker has.', 'state')
  const openings = gauge('endstate_provider_breaker_openings', 'Times that it opened in a row.')
  const paused = gauge('endstate_provider_paused', '1 while the provider is paused because it refused calls.')
  const ready = gauge('endstate_provider_ready', '1 when it said that it is ready.')
  const slots = gauge('endstate_provider_slots', 'Calls at once in each worker process.')
  const limits = gauge('endstate_provider_limit_per_minute', 'Limits that hold; absent: none is known.', 'unit')
  const permits = gauge('endstate_provider_permits', 'Calls that may start now under the limit.')
  const spend = gauge('endstate_provider_spend_today', 'Spent since the UTC day began.', 'currency')
  const open = gauge('endstate_provider_open_spend_today', 'What calls under way may cost at most.', 'currency')
  const duplicates = gauge('endstate_provider_possible_duplicate_spend_today', 'Of the spend: in doubt.', 'currency')
  for (const { name: provider, ...report } of reports) {
    for (const state of BREAKER_STATES) breaker.set({ provider, state }, report.breaker.state === state ? 1 : 0)
    openings.set({ provider }, report.breaker.openings)
    paused.set({ provider }, report.pausedUntil === null ? 0 : 1)
    slots.set({ provider }, report.slots)
    if (report.ready) ready.set({ provider }, report.ready.ready ? 1 : 0)
    const { requestsPerMinute, tokensPerMinute } = report.limits
    if (requestsPerMinute !== null) limits.set({ provider, unit: 'requests' }, requestsPerMinute)
    if (tokensPerMinute !== null) limits.set({ provider, unit: 'tokens' }, tokensPerMinute)
    if (report.limits.permits !== null) permits.set({ provider }, report.limits.permits)
    // A monitor's numbers are floats; the ledger's are not.
    for (const sum of report.today ?? []) {
      const { currency } = sum
      spend.set({ provider, currency }, Number(sum.spent))
      open.set({ provider, currency }, Number(sum.open))
      duplicates.set({ provider, currency }, Number(sum.possibleDuplicate))
    }
  }
}
