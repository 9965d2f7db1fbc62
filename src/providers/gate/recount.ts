/**
 * Recounts the day's budgets from the records, regularly, by one process of the deployment: whatever a crash left reserved
 * is gone after the next one, and what calls cost in the end is what counts.
 *
 * - O1 Counted from the records are attempts that were started before `to`; reservations since the minute before it stay
 *   counted as they are. An attempt is started after its reservation, within SAVED_WITHIN_MS or so: one that was reserved
 *   just before the cut is found in the records, or counted twice for a minute, and never forgotten.
 */
import type { ProviderTerms } from '../../machines/pipeline.js'
import type { CounterKey, ProviderStates, SpendRow } from '../../persistence/contract.js'
import type { Clock } from '../../worker/contract.js'
import { addDecimal, multiplyDecimal } from '../decimal.js'
import type { Budget } from '../gate.js'
import { startOfDay } from './budgets.js'

export const RECOUNT_MS = 60_000
/** An intent that is not saved by then will not be. */
const QUIET_MS = 60_000
const SAVED_WITHIN_MS = 5_000
const MINUTE_MS = 60_000

type Sums = { spent: string; open: string }

export type RecountDeps = {
  budgets: readonly Budget[]
  terms: { [provider: string]: ProviderTerms }
  states: Pick<ProviderStates, 'counters' | 'recount' | 'spendRows'>
  clock: Pick<Clock, 'now'>
}

/** What rows add up to for a counter. Open attempts without a bound of their own cost what their provider's terms say. */
export const sumsFor = (
  rows: readonly SpendRow[],
  { per, name, currency }: Pick<CounterKey, 'per' | 'name' | 'currency'>,
  terms: { [provider: string]: ProviderTerms },
): Sums => {
  let spent = '0'
  let open = '0'
  for (const row of rows) {
    if (per !== 'deployment' && name !== (per === 'source' ? row.source : row.provider)) continue
    if (row.currency === currency) {
      spent = addDecimal(spent, row.spent)
      open = addDecimal(open, row.open)
    }
    const bound = terms[row.provider]?.spendMax
    if (row.openUnbounded > 0 && bound?.currency === currency)
      open = addDecimal(open, multiplyDecimal(bound.amount, row.openUnbounded))
  }
  return { spent, open }
}

/** The counters that budgets ask for, where the records tell of spending. */
const keysIn = (rows: readonly SpendRow[], budgets: readonly Budget[], day: Date): CounterKey[] => {
  const keys = new Map<string, CounterKey>()
  for (const { per, name, currency } of budgets) {
    if (per === 'record') continue
    const names = per === 'deployment' ? [''] : rows.map((row) => (per === 'source' ? row.source : row.provider))
    for (const each of names)
      if (name === null || name === each) keys.set(`${per} ${each} ${currency}`, { per, name: each, currency, day })
  }
  return [...keys.values()]
}

export const recountBudgets = async ({ budgets, terms, states, clock }: RecountDeps): Promise<void> => {
  const now = clock.now()
  const minute = Math.floor((now.getTime() - QUIET_MS) / MINUTE_MS)
  const day = startOfDay(now)
  // In the first minutes of a day there is nothing to recount yet.
  if (minute * MINUTE_MS < day.getTime()) return
  const to = new Date(minute * MINUTE_MS + SAVED_WITHIN_MS)
  const rows = await states.spendRows({ from: day, to })
  const known = await states.counters(day)
  const keys = new Map<string, CounterKey>()
  for (const { per, name, currency } of [...known, ...keysIn(rows, budgets, day)])
    keys.set(`${per} ${name} ${currency}`, { per, name, currency, day })
  for (const key of keys.values()) await states.recount(key, sumsFor(rows, key, terms), minute)
}
