/** What a price may look like, and how it goes into a pipeline's version. Amounts are worked out in the call layer. */
import type { Price, RecordPrice } from './pipeline.js'

/** Up to 6 digits after the point: a price for a million units is then exact for any number of them. */
const AMOUNT = /^(0|[1-9]\d{0,11})(\.\d{1,6})?$/
const CURRENCY = /^[A-Z]{3}$/
/** Of a config that nobody typed; a number would pass the pattern and be charged as a float. */
const isAmount = (value: unknown): boolean => typeof value === 'string' && AMOUNT.test(value)

const RULES = ['fixed', 'perPage', 'perMillionTokens', 'amount'] as const

const amountsOf = (price: Price | RecordPrice): unknown[] => {
  if ('fixed' in price) return [price.fixed]
  if ('perPage' in price) return [price.perPage]
  if ('perMillionTokens' in price) return Object.values(price.perMillionTokens ?? {})
  return []
}

/** Each problem as the end of a sentence: `has a price in "eur"; …`. */
export const priceProblems = (price: Price | RecordPrice): string[] => {
  const problems: string[] = []
  const given = RULES.filter((rule) => rule in price)
  if (given.length !== 1)
    problems.push(`has a price with ${given.join(' and ') || 'no amount'}; give exactly one of ${RULES.join(', ')}.`)
  for (const amount of amountsOf(price))
    if (!isAmount(amount))
      problems.push(`has the price ${JSON.stringify(amount)}; write a decimal string such as "0.40".`)
  if (given[0] === 'amount' && typeof (price as { amount?: unknown }).amount !== 'function')
    problems.push('has a price with an "amount" that is no function; for a fixed amount write { fixed: "0.40" }.')
  if ('perMillionTokens' in price && amountsOf(price).length === 0)
    problems.push('has a price for tokens that names neither; give input, output or both.')
  if ('unless' in price && typeof price.unless !== 'function')
    problems.push('has a price with an "unless" that is no function; write (output) => true for outputs that are free.')
  if (!CURRENCY.test(price.currency))
    problems.push(`has a price in "${price.currency}"; write the currency's code, such as "EUR".`)
  return problems
}

/** Functions are covered by the pipeline's `revision`; here they only say that they are there. */
export const describePrice = (price: Price | null): unknown =>
  price && {
    ...('fixed' in price && { fixed: price.fixed }),
    ...('perPage' in price && { perPage: price.perPage }),
    ...('perMillionTokens' in price && { perMillionTokens: price.perMillionTokens }),
    ...('amount' in price && { amount: 'function' }),
    currency: price.currency,
    rule: price.unless !== undefined,
  }
