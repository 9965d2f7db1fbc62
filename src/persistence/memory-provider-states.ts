/**
 * The twin of the providers' shared state in memory: one object is the whole deployment, `clock` is its server's time,
 * `spends` what its records say.
 */
import type {
  BreakerState,
  HealthCounts,
  HealthMinute,
  LeaseAsk,
  PauseAsk,
  ProviderState,
  ProviderStates,
  SpendRow,
  TripAsk,
} from './contract.js'
import { createMemoryCounters } from './memory-budget-counters.js'
import { plainCopy } from './plain-copy.js'
import { boundedErrors, byText } from './provider-health.js'
import { OPENINGS_MAX, PAUSE_MS, PAUSE_MS_MAX, PAUSES_FORGOTTEN_MS } from './provider-updates.js'

const CLOSED: BreakerState = {
  open: false,
  since: null,
  until: null,
  openings: 0,
  code: null,
  probes: 0,
  probedAt: null,
}

type Kept = ProviderState & { pauses: number }

export type MemoryProviderOptions = {
  clock: { now(): Date }
  spends?(span: { from: Date; to: Date }): SpendRow[]
}

export const createMemoryProviderStates = ({ clock, spends }: MemoryProviderOptions): ProviderStates => {
  const kept = new Map<string, Kept>()
  const minutes = new Map<string, HealthMinute>()
  const totals = new Map<string, HealthCounts>()
  const counters = createMemoryCounters(clock)
  const of = (provider: string): Kept => {
    const fresh: Kept = {
      provider,
      requestsDueMs: 0,
      tokensDueMs: 0,
      learned: null,
      cut: null,
      pausedUntil: null,
      pauses: 0,
      breaker: CLOSED,
      ready: null,
    }
    const state = kept.get(provider) ?? fresh
    kept.set(provider, state)
    return state
  }
  const shown = ({ pauses: _pauses, ...state }: Kept): ProviderState => plainCopy(state)
  const changed = (provider: string, change: (state: Kept, now: Date) => void): ProviderState => {
    const state = of(provider)
    change(state, clock.now())
    return shown(state)
  }
  return {
    read: async () => [...kept.values()].map(shown),
    async lease(provider, ask) {
      const now = clock.now()
      const state = of(provider)
      const granted = take(state, ask, now)
      return { granted, at: now, state: shown(state) }
    },
    learn: async (provider, limits) =>
      changed(provider, (state, at) => {
        const unknown = {
          requestsPerMinute: null,
          tokensPerMinute: null,
          requestsRemaining: null,
          tokensRemaining: null,
        }
        state.learned = { ...(state.learned ?? unknown), ...limits, at }
      }),
    pause: async (provider, ask) => changed(provider, (state, now) => pause(state, ask, now)),
    trip: async (provider, ask) => changed(provider, (state, now) => trip(state, ask, now)),
    recover: async (provider, beganAt) =>
      changed(provider, (state, now) => {
        const { open, since, until, openings } = state.breaker
        const isLater = (until && until <= now) || (since && since < beganAt)
        if (open && isLater) state.breaker = { ...CLOSED, since: now, openings }
      }),
    setReady: async (provider, ready) => void changed(provider, (state, at) => void (state.ready = { ...ready, at })),
    async addHealth(added) {
      for (const { provider, minute, ...found } of added) {
        const bounded = { ...found, errors: boundedErrors(found.errors) }
        const id = `${provider}|${minute.toISOString()}`
        minutes.set(id, { provider, minute, ...sum(minutes.get(id), bounded) })
        totals.set(provider, sum(totals.get(provider), bounded))
      }
    },
    health: async (since) =>
      plainCopy([...minutes.values()].filter(({ minute }) => minute >= since)).sort(
        (a, b) => byText(a.provider, b.provider) || a.minute.getTime() - b.minute.getTime(),
      ),
    totals: async () =>
      [...totals].map(([provider, found]) => ({ provider, ...found })).sort((a, b) => byText(a.provider, b.provider)),
    ...counters,
    spendRows: async (span) => spends?.(span) ?? [],
  }
}

const take = (state: Kept, ask: LeaseAsk, now: Date): number => {
  const nowMs = now.getTime()
  state.requestsDueMs -= ask.returnMs
  if (ask.tokensUsed > 0 && ask.tokenIntervalMs > 0)
    state.tokensDueMs = Math.max(state.tokensDueMs, nowMs) + ask.tokensUsed * ask.tokenIntervalMs
  const from = Math.max(state.requestsDueMs, nowMs)
  const bounds = [ask.want]
  if (ask.requestIntervalMs > 0)
    bounds.push(Math.floor((nowMs + ask.requestBurst * ask.requestIntervalMs - from) / ask.requestIntervalMs))
  if (ask.tokenIntervalMs > 0) {
    const leftMs = nowMs + ask.tokenBurst * ask.tokenIntervalMs - Math.max(state.tokensDueMs, nowMs)
    const tokens = leftMs / ask.tokenIntervalMs
    bounds.push(tokens <= 0 ? 0 : Math.max(1, Math.floor(tokens / ask.tokensPerCall)))
  }
  const { breaker } = state
  const old = breaker.probedAt === null || nowMs - breaker.probedAt.getTime() >= ask.probeEveryMs
  const probed = old ? 0 : breaker.probes
  if (breaker.open) bounds.push(breaker.until && breaker.until > now ? 0 : ask.probesMax - probed)
  if (state.pausedUntil && state.pausedUntil > now) bounds.push(0)
  const granted = Math.max(0, Math.min(...bounds))
  if (granted === 0) return 0
  state.requestsDueMs = from + granted * ask.requestIntervalMs
  if (breaker.open) state.breaker = { ...breaker, probes: probed + granted, probedAt: now }
  return granted
}

const pause = (state: Kept, ask: PauseAsk, now: Date): void => {
  const endedMs = now.getTime() - (state.pausedUntil?.getTime() ?? 0)
  if (endedMs < 0) state.pauses = Math.max(1, state.pauses)
  else state.pauses = endedMs > PAUSES_FORGOTTEN_MS ? 1 : Math.min(16, state.pauses + 1)
  const grownMs = ask.jitter * Math.min(PAUSE_MS_MAX, PAUSE_MS * 2 ** state.pauses)
  const until = new Date(Math.trunc(now.getTime() + (ask.forMs ?? Math.max(PAUSE_MS / 4, grownMs))))
  if (!state.pausedUntil || until > state.pausedUntil) state.pausedUntil = until
  const cutAgoMs = now.getTime() - (state.cut?.at.getTime() ?? 0)
  if (ask.cutPerMinute !== null && cutAgoMs >= ask.cutEveryMs) state.cut = { perMinute: ask.cutPerMinute, at: now }
}

const trip = (state: Kept, ask: TripAsk, now: Date): void => {
  const { breaker } = state
  const asSeen =
    ask.seenUntil === null ? !breaker.open : breaker.open && breaker.until?.getTime() === ask.seenUntil.getTime()
  if (!asSeen) return
  const inRow = breaker.open || now.getTime() - (breaker.since?.getTime() ?? 0) < ask.forgetMs
  const openings = inRow ? Math.min(OPENINGS_MAX, breaker.openings + 1) : 1
  const cooldownMs = ask.jitter * Math.min(ask.cooldownMsMax, ask.cooldownMs * 2 ** (openings - 1))
  state.breaker = {
    open: true,
    since: breaker.open ? breaker.since : now,
    until: new Date(Math.trunc(now.getTime() + cooldownMs)),
    openings,
    code: ask.code,
    probes: 0,
    probedAt: null,
  }
}

type Named = { [name: string]: number }
const sumNamed = (a: Named, b: Named): Named => {
  const all = { ...a }
  for (const [name, value] of Object.entries(b)) all[name] = (all[name] ?? 0) + value
  return all
}

const sum = (a: HealthCounts | undefined, b: HealthCounts): HealthCounts =>
  a
    ? {
        calls: a.calls + b.calls,
        outcomes: sumNamed(a.outcomes, b.outcomes),
        kinds: sumNamed(a.kinds, b.kinds),
        errors: sumNamed(a.errors, b.errors),
        latency: a.latency.map((value, index) => value + (b.latency[index] ?? 0)),
        durationMs: a.durationMs + b.durationMs,
        inputTokens: a.inputTokens + b.inputTokens,
        outputTokens: a.outputTokens + b.outputTokens,
      }
    : plainCopy(b)
