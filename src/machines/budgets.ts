/**
 * The machine's context: budgets and flags, nothing else. It is finite once attempts are bounded, which is
 * what lets `verify` walk every state. Results, times and identifiers live in the document.
 */
import { z } from 'zod'

export const stepBudgetSchema = z.strictObject({
  /** Number of the last attempt; never restarts, also not with a new generation. */
  attempt: z.int().nonnegative(),
  /** Attempts at the current provider in this generation. */
  tries: z.int().nonnegative(),
  /** Index into the step's `use`. */
  provider: z.int().nonnegative(),
  /** Certain failures of calls that ran: each used up its requestKey, so this is the part of the key that changes. */
  failures: z.int().nonnegative(),
  /** Calls made while an earlier paid call may have been executed. */
  doubts: z.int().nonnegative(),
  /** Attempt that gave the authoritative result; 0 = none yet. */
  result: z.int().nonnegative(),
  /** The current call's own id at the provider is known: it can be asked for by it. */
  handle: z.boolean().default(false),
  /** How often the provider was asked about the current call: polls come more and more slowly. */
  asks: z.int().nonnegative().default(0),
})

export const recordContextSchema = z.strictObject({
  generation: z.int().positive(),
  /** The record's deadline has passed: nothing new is started. */
  overdue: z.boolean(),
  settled: z.boolean(),
  steps: z.record(z.string(), stepBudgetSchema),
})

export type StepBudget = z.infer<typeof stepBudgetSchema>
export type RecordContext = z.infer<typeof recordContextSchema>

const freshBudget: StepBudget = {
  attempt: 0,
  tries: 0,
  provider: 0,
  failures: 0,
  doubts: 0,
  result: 0,
  handle: false,
  asks: 0,
}

export const initialContext = (steps: readonly string[]): RecordContext => ({
  generation: 1,
  overdue: false,
  settled: false,
  steps: Object.fromEntries(steps.map((name) => [name, freshBudget])),
})

export const budgetOf = (context: RecordContext, step: string): StepBudget => {
  const budget = context.steps[step]
  if (!budget) throw new Error(`The record's context has no budget for step "${step}".`)
  return budget
}

export const withBudget = (context: RecordContext, step: string, change: Partial<StepBudget>): RecordContext => ({
  ...context,
  steps: { ...context.steps, [step]: { ...budgetOf(context, step), ...change } },
})

/** A new generation: budgets restart, attempt numbers and results stay (P3). */
export const nextGeneration = (context: RecordContext): RecordContext => ({
  generation: context.generation + 1,
  overdue: false,
  settled: false,
  steps: Object.fromEntries(
    Object.entries(context.steps).map(([name, budget]) => [
      name,
      { ...freshBudget, attempt: budget.attempt, failures: budget.failures, result: budget.result },
    ]),
  ),
})
