/**
 * What decides whether a call may start now, for one worker process: a desk per provider (limits, pauses, breaker), the
 * budgets, and the counting of health.
 *
 * - J1 The shared state is looked at every LOOK_MS in one question for all providers, so that all workers know within a
 *   second that a provider is down or pauses. Nothing is asked per call, but for money.
 * - J2 Storage that is away stops nothing that runs: unlimited providers go on, limited ones get no new permits, and
 *   what was seen last holds.
 */
import type { ProviderTerms } from '../../machines/pipeline.js'
import type { ProviderStates } from '../../persistence/contract.js'
import type { Clock } from '../../worker/contract.js'
import type { Provider } from '../contract.js'
import type { Budget, Gate } from '../gate.js'
import { createAlarm } from './alarm.js'
import { createBudgets } from './budgets.js'
import { createDesk, type Desk } from './desk.js'
import { createHealthCount } from './health.js'
import type { KnownLimits } from './rates.js'
import { askReadiness } from './readiness.js'
import { RECOUNT_MS, recountBudgets } from './recount.js'

export const LOOK_MS = 500
const FLUSH_MS = 5_000
const READY_MS = 30_000

export type GateDeps = {
  /** As the worker calls them. */
  providers: ReadonlyMap<string, Pick<Provider, 'terms' | 'slots' | 'ready'>>
  /** What the config says of accounts' limits, by provider. */
  limits: { [provider: string]: KnownLimits | undefined }
  budgets: readonly Budget[]
  states: ProviderStates
  clock: Clock
  /** 0 up to 1. */
  random(): number
  /** Worker processes that are up, this one included. */
  processes(): number
  /** True in one process of the deployment at a time: it recounts budgets. Asked once a minute, and only with budgets. */
  leads(): Promise<boolean>
  log: { warn(facts: { [name: string]: unknown }, message: string): void }
}

type Loop = { everyMs: number; run(): Promise<void>; what: string }

/** Nothing is asked before `start`; until then each provider counts as unlimited and up, unless the config limits it. */
export const createGate = (deps: GateDeps): Gate => {
  const { clock, states, log } = deps
  const closing = new AbortController()
  const listeners: ((provider: string) => void)[] = []
  const health = createHealthCount()
  const failed = (what: string, error: unknown) =>
    log.warn({ err: error instanceof Error ? error.name : typeof error }, `${what} failed.`)
  const terms: { [provider: string]: ProviderTerms } = Object.fromEntries(
    [...deps.providers].map(([name, provider]) => [name, provider.terms]),
  )
  const budgets = createBudgets({ budgets: deps.budgets, terms, states, clock, failed })
  const changed = (provider: string) => {
    if (!closing.signal.aborted) for (const listener of listeners) listener(provider)
  }
  const alarms: { close(): void }[] = []
  const deskOf = (provider: string, slots: number): Desk => {
    const alarm = createAlarm(clock, () => {
      desk.wake()
      changed(provider)
    })
    alarms.push(alarm)
    const desk: Desk = createDesk({
      provider,
      slots,
      limits: deps.limits[provider],
      states,
      clock,
      random: deps.random,
      processes: deps.processes,
      wakeAt: (atMs) => alarm.at(atMs),
      changed: () => changed(provider),
      failed,
    })
    return desk
  }
  const desks = new Map([...deps.providers].map(([name, { slots }]) => [name, deskOf(name, slots)]))
  let readyAtMs: { [provider: string]: number } = {}

  const loops: Loop[] = [
    {
      what: 'Looking at providers',
      everyMs: LOOK_MS,
      async run() {
        const found = await states.read()
        for (const state of found) desks.get(state.provider)?.see(state)
        readyAtMs = Object.fromEntries(found.map(({ provider, ready }) => [provider, ready?.at.getTime() ?? 0]))
      },
    },
    {
      what: 'Counting calls',
      everyMs: FLUSH_MS,
      async run() {
        const minutes = health.take()
        await states.addHealth(minutes).catch((error: unknown) => {
          health.putBack(minutes)
          throw error
        })
      },
    },
    {
      what: 'Asking whether providers are ready',
      everyMs: READY_MS,
      run: () =>
        askReadiness({ providers: deps.providers, states, clock, readyAtMs, everyMs: READY_MS }, closing.signal),
    },
    {
      what: 'Recounting budgets',
      everyMs: RECOUNT_MS,
      async run() {
        if (deps.budgets.some(({ per }) => per !== 'record') && (await deps.leads()))
          await recountBudgets({ budgets: deps.budgets, terms, states, clock })
      },
    },
  ]
  let running: Promise<void>[] = []
  const repeat = async ({ what, everyMs, run }: Loop): Promise<void> => {
    let wasAway = false
    while (!closing.signal.aborted) {
      try {
        await run()
        wasAway = false
      } catch (error) {
        // Once for each time that storage is away, not twice a second.
        if (!wasAway) failed(what, error)
        wasAway = true
      }
      await clock.sleep(everyMs * (0.9 + 0.2 * deps.random()), closing.signal)
    }
  }

  return {
    free: (provider) => desks.get(provider)?.free() ?? Infinity,
    take: (provider) => {
      const desk = desks.get(provider)
      return desk ? desk.take() : { giveBack: () => {} }
    },
    hold: (provider) => desks.get(provider)?.hold() ?? null,
    reserve: budgets.reserve,
    settle: budgets.settle,
    report(report) {
      health.count(report, clock.now())
      desks.get(report.provider)?.report(report)
    },
    onChange: (listener) => void listeners.push(listener),
    start() {
      if (running.length === 0 && desks.size > 0) running = loops.map(repeat)
    },
    async close() {
      closing.abort()
      for (const alarm of alarms) alarm.close()
      await Promise.all(running)
      await budgets.close()
      if (running.length > 0)
        await states.addHealth(health.take()).catch((error: unknown) => failed('Counting calls', error))
    },
  }
}
