/**
 * One provider as this process sees it: may a call start now, and what does its end tell.
 *
 * - K1 What all workers know together (ProviderState) is looked at as of the last answer of the database, at most LOOK_MS
 *   old; what this process found out itself holds at once.
 * - K2 A provider without limits and with a closed breaker asks the database nothing.
 * - K3 An open breaker, once its pause is over, lets through only what the shared state grants: a few tries for all
 *   workers. One success closes it, one failure opens it for longer. Calls that began before say nothing.
 */
import type { Grant, Meter, ProviderState, ProviderStates, SeenLimits } from '../../persistence/contract.js'
import type { Clock } from '../../worker/contract.js'
import type { CallReport, Hold, Permit } from '../gate.js'
import { createFailureWatch, meaningOf } from './failures.js'
import { createMinuteCount } from './minute-count.js'
import { createPermitPool } from './permits.js'
import { CUT_EVERY_MS, cutRate, meterOf, ratesOf, TOKENS_PER_CALL, type KnownLimits, type Rates } from './rates.js'

export const COOLDOWN_MS = 5_000
export const COOLDOWN_MS_MAX = 5 * 60_000
const OPENINGS_FORGOTTEN_MS = 10 * 60_000
export const PROBES_MAX = 3
export const PROBE_EVERY_MS = 15_000
/** What was decided here holds so long before the shared state must say the same (K1). */
const OWN_WORD_MS = 1_500
const LEARN_EVERY_MS = 30_000

export type DeskDeps = {
  provider: string
  slots: number
  limits: KnownLimits | undefined
  states: Pick<ProviderStates, 'lease' | 'learn' | 'pause' | 'trip' | 'recover'>
  clock: Clock
  /** 0 up to 1. */
  random(): number
  /** Worker processes of the deployment: what this one observed is taken for one of so many equal parts. */
  processes(): number
  wakeAt(atMs: number): void
  changed(): void
  /** A change of the shared state that could not be made; it is made again when the reason comes up again. */
  failed(what: string, error: unknown): void
}

export type Desk = {
  free(): number
  take(): Permit | null
  hold(): Hold | null
  report(report: CallReport): void
  see(state: ProviderState): void
  wake(): void
  held(): number
}

const OPEN_PERMIT: Permit = { giveBack: () => {} }
type Mode = 'open' | 'metered' | 'probing' | 'paused' | 'down'

export const createDesk = (deps: DeskDeps): Desk => {
  const { provider, states, clock, random } = deps
  const watch = createFailureWatch()
  let state: ProviderState | null = null
  let downUntilMs = 0
  let pausedUntilMs = 0
  let ownCode = ''
  let tokensUsed = 0
  let tokensPerCall = TOKENS_PER_CALL
  let learnedAtMs = -Infinity
  const observed = createMinuteCount()

  const nowMs = () => clock.now().getTime()
  const rates = (): Rates => ratesOf(deps.limits, state, nowMs())
  const meter = (): Meter => meterOf(rates())
  const isLimited = ({ requestsPerMinute, tokensPerMinute }: Rates) =>
    requestsPerMinute !== null || tokensPerMinute !== null
  const openUntilMs = () => Math.max(downUntilMs, state?.breaker.open ? (state.breaker.until?.getTime() ?? 0) : 0)
  const restUntilMs = () => Math.max(pausedUntilMs, state?.pausedUntil?.getTime() ?? 0)
  const mode = (): Mode => {
    if (openUntilMs() > nowMs()) return 'down'
    if (restUntilMs() > nowMs()) return 'paused'
    if (state?.breaker.open) return 'probing'
    return isLimited(rates()) ? 'metered' : 'open'
  }
  /** Half-open: when the next tries may be had. */
  const probesFromMs = (): number => {
    const { open, probes, probedAt } = state?.breaker ?? { open: false, probes: 0, probedAt: null }
    return open && probes >= PROBES_MAX && probedAt ? probedAt.getTime() + PROBE_EVERY_MS : 0
  }

  const ask = async (want: number, returnMs: number): Promise<Grant | null> => {
    const used = tokensUsed
    tokensUsed = 0
    try {
      const grant = await states.lease(provider, {
        ...meter(),
        want,
        returnMs,
        tokensUsed: used,
        tokensPerCall: Math.max(1, Math.round(tokensPerCall)),
        probesMax: PROBES_MAX,
        probeEveryMs: PROBE_EVERY_MS,
      })
      see(grant.state)
      return grant
    } catch (error) {
      tokensUsed += used
      deps.failed('Taking permits', error)
      return null
    }
  }

  const pool = createPermitPool({
    clock,
    most: () => {
      const { requestsPerMinute } = rates()
      const most = requestsPerMinute === null ? deps.slots : Math.min(deps.slots, meter().requestBurst)
      return mode() === 'probing' ? 1 : most
    },
    meter,
    notBeforeMs: () => Math.max(openUntilMs(), restUntilMs(), probesFromMs()),
    state: () => state,
    ask,
    wakeAt: deps.wakeAt,
    changed: deps.changed,
    random,
  })

  /** What a change of must be told. */
  const regime = () => {
    const { requestsPerMinute, tokensPerMinute } = rates()
    return `${mode()} ${requestsPerMinute ?? ''} ${tokensPerMinute ?? ''}`
  }
  let lastRegime = regime()
  const noteRegime = () => {
    const now = regime()
    if (now === lastRegime) return
    lastRegime = now
    deps.changed()
  }

  const see = (seen: ProviderState) => {
    state = seen
    if (!seen.breaker.open && downUntilMs <= nowMs()) downUntilMs = 0
    for (const atMs of [openUntilMs(), restUntilMs()]) if (atMs > nowMs()) deps.wakeAt(atMs)
    noteRegime()
  }
  const tell = (what: string, change: Promise<ProviderState>) =>
    void change.then(see, (error: unknown) => deps.failed(what, error))

  /** K1, K3 */
  const trip = (code: string) => {
    const seenUntil = state?.breaker.open ? state.breaker.until : null
    if (downUntilMs > nowMs()) return
    downUntilMs = nowMs() + OWN_WORD_MS
    ownCode = code
    watch.forget()
    const ask = {
      code,
      seenUntil,
      cooldownMs: COOLDOWN_MS,
      cooldownMsMax: COOLDOWN_MS_MAX,
      forgetMs: OPENINGS_FORGOTTEN_MS,
      jitter: 0.8 + 0.4 * random(),
    }
    tell('Opening the breaker', states.trip(provider, ask))
    deps.wakeAt(downUntilMs)
    noteRegime()
  }

  const judgeHealth = (report: CallReport) => {
    const meaning = meaningOf(report)
    const tripsNow = watch.note(report.record, meaning, nowMs())
    const { open, since, until } = state?.breaker ?? { open: false, since: null, until: null }
    if (open && until) {
      const beganMs = nowMs() - report.durationMs
      const isLater = nowMs() >= until.getTime() || beganMs > (since?.getTime() ?? 0)
      if (meaning === 'nothing') return
      if (meaning !== 'down' && isLater) tell('Closing the breaker', states.recover(provider, new Date(beganMs)))
      if (meaning === 'down' && beganMs >= until.getTime()) trip(report.code ?? 'unknown')
    } else if (tripsNow) trip(report.code ?? 'unknown')
    if (meaning === 'refused' || meaning === 'full') rest(report, meaning === 'refused')
  }

  /** A refusal holds back all workers; one that was about the rate lowers it. */
  const rest = ({ limits }: Pick<CallReport, 'limits'>, lowers: boolean) => {
    const forMs = limits?.pauseMs ?? null
    pausedUntilMs = nowMs() + Math.min(forMs ?? 250, OWN_WORD_MS)
    const perMinute = Math.max(1, observed.lastMinute(nowMs())) * Math.max(1, deps.processes())
    const cutPerMinute = lowers ? cutRate(rates(), perMinute) : null
    tell('Pausing', states.pause(provider, { forMs, jitter: random(), cutPerMinute, cutEveryMs: CUT_EVERY_MS }))
    deps.wakeAt(pausedUntilMs)
    noteRegime()
  }

  const learn = ({ limits }: CallReport) => {
    if (!limits) return
    const { pauseMs: _pauseMs, ...told } = limits
    if (Object.keys(told).length === 0) return
    const news =
      differs(told.requestsPerMinute, state?.learned, 'requestsPerMinute') ||
      differs(told.tokensPerMinute, state?.learned, 'tokensPerMinute')
    if (!news && nowMs() - learnedAtMs < LEARN_EVERY_MS) return
    // A second's answers that all bring the same news write it once.
    if (news && nowMs() - learnedAtMs < 1_000) return
    learnedAtMs = nowMs()
    tell('Noting limits', states.learn(provider, told))
  }

  const countTokens = ({ usage }: CallReport) => {
    const used = (usage?.inputTokens ?? 0) + (usage?.outputTokens ?? 0)
    if (used <= 0) return
    tokensPerCall += (used - tokensPerCall) / 8
    if (rates().tokensPerMinute === null) return
    tokensUsed += used
    deps.wakeAt(nowMs() + 250)
  }

  return {
    free() {
      const now = mode()
      if (now === 'open') return Infinity
      if (now !== 'down' && now !== 'paused') return pool.free()
      deps.wakeAt(now === 'down' ? openUntilMs() : restUntilMs())
      return 0
    },
    take() {
      const now = mode()
      if (now === 'open') return OPEN_PERMIT
      return now === 'down' || now === 'paused' ? null : pool.take()
    },
    hold() {
      const now = mode()
      const probesMs = probesFromMs()
      const holds = (code: string, message: string, untilMs: number): Hold => ({
        code,
        message,
        until: new Date(untilMs),
      })
      const why = state?.breaker.open ? state.breaker.code : ownCode
      const down = `The provider ${provider} does not answer (${why || 'unknown'}).`
      if (now === 'down') return holds('provider-down', down, openUntilMs())
      if (now === 'paused')
        return holds('provider-paused', `The provider ${provider} asked for a pause.`, restUntilMs())
      // Others try it; whether it is back is known soon.
      if (now === 'probing' && pool.held() === 0 && probesMs > nowMs()) return holds('provider-down', down, probesMs)
      return null
    },
    report(report) {
      observed.count(nowMs())
      learn(report)
      countTokens(report)
      judgeHealth(report)
    },
    see,
    wake() {
      noteRegime()
      pool.wake()
      if (tokensUsed > 0 && rates().tokensPerMinute !== null) void ask(0, 0)
    },
    held: () => pool.held(),
  }
}

const differs = (
  told: number | undefined,
  known: SeenLimits | null | undefined,
  name: 'requestsPerMinute' | 'tokensPerMinute',
): boolean => told !== undefined && known?.[name] !== told
