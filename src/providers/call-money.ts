/**
 * The money of one call: what the customer owes for its output, and what the provider bills us for it.
 *
 * - Y1 A valid output is never thrown away for the price's sake: an `unless` that throws, a function that answers no
 *   amount, a price for usage that was not told mean no charge, and `priceRule` in the evidence says so. Failing the
 *   call instead would pay the provider again for a result that is there; charging would bill in doubt.
 * - Y2 Spend of a paid call that nobody told us (`null`) is the provider's upper bound: a call that cost nothing is
 *   reported as "0". Only a call that certainly did not run has none.
 * - Y3 Amounts are exact (decimal.ts), whatever the form of the price; an amount of zero is no charge.
 */
import type { Charge, Evidence, Spend, Usage } from '../machines/record.js'
import type { Price, ProviderTerms } from '../machines/pipeline.js'
import { addDecimal, isDecimal, isZeroDecimal, multiplyDecimal, perMillion } from './decimal.js'

type Facts = { output: unknown; usage: Usage }
/** Why there is no amount; ends up in the evidence, so it never quotes what was answered. */
type Trouble = { trouble: string }
type Decided = { charge: Pick<Charge, 'amount' | 'currency'> | null; trouble: string | null }

/** `never` is the price's own type for the output: the builder has tied it to the schema that was just passed. */
export function decideCharge(price: Price | null, facts: Facts): Decided {
  if (price === null || ('fixed' in price && isZeroDecimal(price.fixed))) return { charge: null, trouble: null }
  const free = asked(() => price.unless?.(facts.output as never) ?? false)
  if (isTrouble(free)) return { charge: null, ...free }
  if (typeof free.answer !== 'boolean') return { charge: null, trouble: `answered ${kindOf(free.answer)}` }
  if (free.answer) return { charge: null, trouble: null }
  const amount = amountOf(price, facts)
  if (typeof amount !== 'string') return { charge: null, ...amount }
  return { charge: isZeroDecimal(amount) ? null : { amount, currency: price.currency }, trouble: null }
}

function amountOf(price: Price, facts: Facts): string | Trouble {
  if ('amount' in price) {
    const told = asked(() => price.amount(facts as never))
    if (isTrouble(told)) return told
    return isDecimal(told.answer) ? told.answer : { trouble: `answered ${kindOf(told.answer)} that is no amount` }
  }
  try {
    return ofDeclared(price, facts.usage)
  } catch (error) {
    // A config that nobody typed, or a count beyond any bill.
    if (error instanceof TypeError || error instanceof RangeError) return { trouble: 'names no valid amount' }
    throw error
  }
}

type Declared = Exclude<Price, { amount: unknown }>

function ofDeclared(price: Declared, usage: Usage): string | Trouble {
  if ('fixed' in price) return isDecimal(price.fixed) ? price.fixed : { trouble: 'names no valid amount' }
  if ('perPage' in price) {
    const pages = countOf(usage, 'pages')
    return typeof pages === 'number' ? multiplyDecimal(price.perPage, pages) : pages
  }
  const { input, output } = price.perMillionTokens
  let sum = '0'
  for (const [rate, unit] of [
    [input, 'inputTokens'],
    [output, 'outputTokens'],
  ] as const) {
    if (rate === undefined) continue
    const tokens = countOf(usage, unit)
    if (typeof tokens !== 'number') return tokens
    sum = addDecimal(sum, perMillion(rate, tokens))
  }
  return sum
}

function countOf(usage: Usage, unit: 'pages' | 'inputTokens' | 'outputTokens'): number | Trouble {
  const count = usage[unit]
  if (count === undefined) return { trouble: `needs usage.${unit}, which was not told` }
  return Number.isSafeInteger(count) && count >= 0 ? count : { trouble: `was told a usage.${unit} that is no count` }
}

/** A pipeline's function may throw anything. */
function asked(ask: () => unknown): { answer: unknown } | Trouble {
  try {
    return { answer: ask() }
  } catch {
    return { trouble: 'threw' }
  }
}

const isTrouble = (one: object): one is Trouble => 'trouble' in one
const kindOf = (value: unknown): string => (value === null ? 'null' : typeof value)

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
