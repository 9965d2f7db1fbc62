/**
 * Budgets as a config writes them. What is wrong with one alone is told where it is written; whether it fits the providers
 * is told when the config is compiled: a call of which nobody knows what it may cost can't be held to a ceiling.
 */
import { NAME_PATTERN } from '../machines/compile.js'
import type { ProviderTerms } from '../machines/pipeline.js'
import type { Budget } from '../providers/gate.js'
import { refuseUnknown } from './known-options.js'

export type BudgetOptions = {
  /** What it is a ceiling of: each record, each (or one) source or provider, or everything. */
  per: Budget['per']
  /** Of one source or provider alone. */
  name?: string
  /** A decimal string, such as '5.00'. */
  limit: string
  /** Three letters, such as 'EUR'. */
  currency: string
  /** Days are UTC days. Not for `record`, whose ceiling is for its whole life. */
  window?: 'day'
  /** What becomes of a record that would pass it. Default `wait`, until the next day; a record's own: `investigate`. */
  then?: Budget['atLimit']
}

// oxlint-disable-next-line unicorn/no-thenable -- the option's name, as a config reads; its value is never a function
const OPTIONS = { per: true, name: true, limit: true, currency: true, window: true, then: true } as const
const AMOUNT = /^(0|[1-9]\d{0,14})(\.\d{1,12})?$/
const SCOPES: readonly unknown[] = ['record', 'source', 'provider', 'deployment']
const BUDGETS_MAX = 100

/** Throws TypeError naming what is wrong, what was found and what to write. */
export const defineBudgets = (options: readonly BudgetOptions[]): Budget[] => {
  if (!Array.isArray(options)) throw new TypeError('The config\'s "budgets" is no list: write budgets: [{ per, … }].')
  if (options.length > BUDGETS_MAX)
    throw new TypeError(`The config lists ${options.length} budgets; ${BUDGETS_MAX} are possible.`)
  return options.map((each, index) => defineBudget(each, `Budget ${index + 1}`))
}

const defineBudget = (options: BudgetOptions, where: string): Budget => {
  refuseUnknown(options, OPTIONS, where)
  const { per, name, limit, currency, window, then } = options
  const refuse = (what: string): never => {
    throw new TypeError(`${where} ${what}`)
  }
  if (!SCOPES.includes(per)) refuse(`has per ${JSON.stringify(per)}. Write one of: ${SCOPES.join(', ')}.`)
  if (typeof limit !== 'string' || !AMOUNT.test(limit))
    refuse(`has the limit ${JSON.stringify(limit)}. Write a decimal string such as '5.00'.`)
  if (typeof currency !== 'string' || !/^[A-Z]{3}$/.test(currency))
    refuse(`has the currency ${JSON.stringify(currency)}. Write three capital letters such as 'EUR'.`)
  if (name !== undefined && per !== 'source' && per !== 'provider')
    refuse(`names "${name}", but a budget per ${per} has no name: leave it out.`)
  if (name !== undefined && !NAME_PATTERN.test(name))
    refuse(`names ${JSON.stringify(name)}; names are of a-z, 0-9 and "-", 1 to 40 characters long.`)
  if (window !== undefined && window !== 'day') refuse(`has the window ${JSON.stringify(window)}. Write 'day'.`)
  if (then !== undefined && then !== 'wait' && then !== 'investigate')
    refuse(`has then ${JSON.stringify(then)}. Write 'wait' or 'investigate'.`)
  if (per === 'record' && window !== undefined) refuse('is of each record, for its whole life: leave out "window".')
  if (per === 'record' && then === 'wait')
    refuse("is of each record, and no waiting helps one that has spent it: write then: 'investigate'.")
  return { per, name: name ?? null, limit, currency, atLimit: then ?? (per === 'record' ? 'investigate' : 'wait') }
}

/** What is wrong with budgets at these providers, in sentences; empty: nothing. `used`: by the config's pipelines. */
export const faultsOfBudgets = (
  budgets: readonly Budget[],
  terms: { [provider: string]: ProviderTerms },
  used: ReadonlySet<string>,
): string[] =>
  budgets.flatMap((budget) => {
    const { per, name, currency } = budget
    const what = `The budget per ${per}${name === null ? '' : ` "${name}"`}`
    if (per === 'provider' && name !== null && !terms[name])
      return [`${what} names a provider that there is not. Known: ${Object.keys(terms).join(', ')}.`]
    const covered = Object.values(terms).filter(
      (each) =>
        each.cost === 'paid' && used.has(each.name) && (per !== 'provider' || name === null || each.name === name),
    )
    return covered.flatMap(({ name: provider, spendMax }) => {
      if (spendMax === null)
        return [
          `${what} can't be kept: nobody knows what one call to "${provider}" may cost at most. ` +
            `Give that provider its spendMax: { amount: '…', currency: '${currency}' }, or cost: 'free'.`,
        ]
      if (spendMax.currency !== currency)
        return [
          `${what} is in ${currency}, but calls to "${provider}" cost ${spendMax.currency}. ` +
            `Write the budget in ${spendMax.currency}, or the provider's spendMax in ${currency}.`,
        ]
      return []
    })
  })
