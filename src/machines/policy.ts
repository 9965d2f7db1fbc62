/**
 * What may follow a call that did not give a result. Pure questions over one step's budget; the guards of the
 * machine ask them and nothing else decides.
 *
 * I1 A certain failure is tried again only within the step's attempts, at the same provider first (P2).
 * I2 An uncertain call is followed by another only where the provider tells repeats apart (`idempotent`), where
 *    runs are free, or under the step's written policy (P6).
 * I3 Past the record's deadline nothing new is started.
 * I4 A provider that can be asked about a call is asked first, also past the deadline: asking starts nothing.
 */
import type { RecordContext, StepBudget } from './budgets.js'
import { budgetOf } from './budgets.js'
import type { ProviderTerms, StepDefinition } from './pipeline.js'

export type StepPolicy = { step: StepDefinition; terms: { [provider: string]: ProviderTerms } }

export const providerOf = ({ step, terms }: StepPolicy, budget: StepBudget): ProviderTerms => {
  const name = step.use[budget.provider]
  const found = name === undefined ? undefined : terms[name]
  if (!found) throw new Error(`Step "${step.name}" has no provider at position ${budget.provider}.`)
  return found
}

const hasTries = (policy: StepPolicy, budget: StepBudget) => budget.tries < policy.step.attempts
/** I1: no try is left at the current provider. */
export const isSpent = (policy: StepPolicy, context: RecordContext): boolean =>
  !hasTries(policy, budgetOf(context, policy.step.name))

const hasNextProvider = (policy: StepPolicy, budget: StepBudget) => budget.provider + 1 < policy.step.use.length

/** I1, I3 */
export const mayTryAgain = (policy: StepPolicy, context: RecordContext): boolean =>
  !context.overdue && hasTries(policy, budgetOf(context, policy.step.name))

/**
 * I1, I3. `answered`: the failure used up its key, so it speaks for every call under that key. Otherwise an uncertain
 * call at a provider that could be asked is still in doubt, and another provider's call needs the policy's leave (I2).
 */
export const mayFallBack = (policy: StepPolicy, context: RecordContext, answered: boolean): boolean => {
  const budget = budgetOf(context, policy.step.name)
  if (context.overdue || !hasNextProvider(policy, budget)) return false
  const { recovery } = providerOf(policy, budget)
  return answered || recovery !== 'idempotent' || budget.doubts <= doubtsAllowed(policy)
}

const doubtsAllowed = ({ step: { onUncertain } }: StepPolicy): number => {
  if (onUncertain === 'fallback') return Infinity
  return typeof onUncertain === 'object' && onUncertain !== null ? onUncertain.retry.duplicateBudget : 0
}

const isLookedUp = ({ recovery }: ProviderTerms): boolean => recovery === 'retrievable' || recovery === 'job'

/** Something can be asked about a call of this provider, once its own id is known at the latest. */
export const isAsked = (terms: ProviderTerms): boolean => isLookedUp(terms) || terms.polled === true

/** I4: by the call's own id where that is known, else by what we sent. */
export const mayAsk = (policy: StepPolicy, context: RecordContext): boolean => {
  const budget = budgetOf(context, policy.step.name)
  const terms = providerOf(policy, budget)
  return isAsked(terms) && (budget.handle || (isLookedUp(terms) && terms.findsByToken))
}

/** A lost call may stay in doubt for good: a paid one needs the step's written policy. */
export const mayStayInDoubt = (terms: ProviderTerms): boolean =>
  terms.recovery !== 'idempotent' && !(isLookedUp(terms) && terms.findsByToken)

/** A second call would leave the first one in doubt: it may have been executed and billed. */
export const leavesDoubt = (terms: ProviderTerms): boolean => terms.cost === 'paid'

/** I2, I3: call the same provider again after an uncertain outcome. */
export const mayRepeatUncertain = (policy: StepPolicy, context: RecordContext): boolean => {
  const budget = budgetOf(context, policy.step.name)
  if (context.overdue || !hasTries(policy, budget)) return false
  const terms = providerOf(policy, budget)
  if (terms.recovery === 'idempotent' || terms.cost === 'free') return true
  return policy.step.onUncertain !== 'fallback' && budget.doubts < doubtsAllowed(policy)
}

/** I2, I3: go to the next provider after an uncertain outcome. */
export const mayFallBackUncertain = (policy: StepPolicy, context: RecordContext): boolean => {
  const budget = budgetOf(context, policy.step.name)
  if (context.overdue || !hasNextProvider(policy, budget)) return false
  return !leavesDoubt(providerOf(policy, budget)) || policy.step.onUncertain === 'fallback'
}
