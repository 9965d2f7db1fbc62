/**
 * The money of one call: what the customer owes for its output, and what the provider bills us for it.
 *
 * - Y1 A valid output is never thrown away for the price's sake: an `unless` that throws, or answers neither true
 *   nor false, means no charge, and `priceRule` in the evidence says so. Failing the call instead would pay the
 *   provider again for a result that is there, and the rule would throw again; charging would bill in doubt.
 * - Y2 Spend of a paid call that nobody told us (`null`) is the provider's upper bound: a call that cost nothing is
 *   reported as "0". Only a call that certainly did not run has none.
 */
import type { Charge, Evidence, Spend, Usage } from '../machines/record.js'
import type { Price, ProviderTerms } from '../machines/pipeline.js'
import { isDecimal, isZeroDecimal } from './decimal.js'

/** `never` is the price's own type for the output: the builder has tied it to the schema that was just passed. */
export function decideCharge(
  price: Price | null,
  facts: { output: unknown; usage: Usage },
): { charge: Pick<Charge, 'amount' | 'currency'> | null; trouble: string | null } {
  if (price === null) return { charge: null, trouble: null }
  const amount = 'fixed' in price ? price.fixed : undefined
  if (!isDecimal(amount)) return { charge: null, trouble: 'names no valid amount' }
  if (isZeroDecimal(amount)) return { charge: null, trouble: null }
  if (price.unless !== undefined) {
    let free: unknown
    try {
      free = price.unless(facts.output as never)
    } catch {
      return { charge: null, trouble: 'threw' }
    }
    if (typeof free !== 'boolean') return { charge: null, trouble: `answered ${free === null ? 'null' : typeof free}` }
    if (free) return { charge: null, trouble: null }
  }
  return { charge: { amount, currency: price.currency }, trouble: null }
}

const SPEND_BASES: ReadonlySet<unknown> = new Set<Spend['basis']>(['reported', 'estimated', 'upper-bound'])

type Bound = { amount: string; currency: string } | undefined

export function spendOf(
  terms: ProviderTerms,
  bound: Bound,
  told: Spend | null | undefined,
  evidence: Evidence,
): Spend | null {
  if (told === null || told === undefined) return upperBound(terms, bound)
  if (isDecimal(told.amount) && /^[A-Z]{3}$/.test(told.currency) && SPEND_BASES.has(told.basis)) {
    return { amount: told.amount, currency: told.currency, basis: told.basis }
  }
  evidence['spendRule'] = 'answered no valid spend'
  return upperBound(terms, bound)
}

/** `bound`: of this attempt, where that is known better than by the terms. */
export function upperBound({ cost, spendMax }: ProviderTerms, bound?: Bound): Spend | null {
  const most = bound ?? spendMax
  return cost === 'paid' && most !== null ? { ...most, basis: 'upper-bound' } : null
}
