/** Several workers' gates on one deployment's state in memory, with time in the test's hand. */
import type { RecordDocument } from '../../../src/machines/record.js'
import { freeBlindTerms, type ProviderTerms } from '../../../src/machines/pipeline.js'
import type { ProviderStates } from '../../../src/persistence/contract.js'
import { createMemoryProviderStates } from '../../../src/persistence/memory-provider-states.js'
import type { Budget, CallReport, Gate } from '../../../src/providers/gate.js'
import { createGate, type GateDeps } from '../../../src/providers/gate/create-gate.js'
import { createHandClock, type HandClock } from '../../worker/hand-clock.js'

export const paidTerms = (name: string, amount: string | null = '0.10'): ProviderTerms => ({
  ...freeBlindTerms(name, 1_000),
  cost: 'paid',
  spendMax: amount === null ? null : { amount, currency: 'EUR' },
})

export type Gates = {
  clock: HandClock
  states: ProviderStates
  gates: Gate[]
  warnings: string[]
  close(): Promise<void>
}

export const createGates = (
  count: number,
  options: {
    limits?: GateDeps['limits']
    budgets?: Budget[]
    slots?: number
    random?: () => number
    states?: (clock: HandClock) => ProviderStates
    ready?: () => Promise<{ ready: boolean; detail: string }>
  } = {},
): Gates => {
  const clock = createHandClock()
  const states = options.states?.(clock) ?? createMemoryProviderStates({ clock })
  const { slots = 32, ready } = options
  const providers = new Map(
    ['gpt', 'claude'].map((name) => [name, { terms: paidTerms(name), slots, ...(ready && { ready }) }]),
  )
  const warnings: string[] = []
  const gates = Array.from({ length: count }, (_, index) =>
    createGate({
      providers,
      limits: options.limits ?? {},
      budgets: options.budgets ?? [],
      states,
      clock,
      random: options.random ?? (() => 0.5),
      processes: () => count,
      leads: async () => index === 0,
      log: { warn: (_facts, message) => void warnings.push(message) },
    }),
  )
  for (const gate of gates) gate.start()
  return {
    clock,
    states,
    gates,
    warnings,
    close: async () => void (await Promise.all(gates.map((gate) => gate.close()))),
  }
}

/** A call's end as the worker reports it. */
export const report = (changes: Partial<CallReport> = {}): CallReport => ({
  record: 'r1',
  provider: 'gpt',
  source: 'north',
  pipeline: 'referral',
  outcome: 'succeeded',
  code: null,
  kind: null,
  durationMs: 10,
  usage: null,
  limits: null,
  ...changes,
})

export const refused = (changes: Partial<CallReport> = {}): CallReport =>
  report({ outcome: 'failed', code: 'http-429', kind: 'not-executed', ...changes })
export const down = (record: string, changes: Partial<CallReport> = {}): CallReport =>
  report({ record, outcome: 'failed', code: 'connection-refused', kind: 'not-executed', ...changes })

export const docOf = (id: string, steps: RecordDocument['steps'] = {}, source = 'north'): RecordDocument =>
  ({ _id: id, source, steps }) as RecordDocument
