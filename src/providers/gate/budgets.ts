/**
 * Ceilings on what providers may cost: a call's upper bound is reserved before its intent is saved, and settled to what it
 * cost when it has ended.
 *
 * - U1 A reservation is granted by the shared counter alone (B1 of the counters); one that the second of two ceilings
 *   refuses is given back to the first.
 * - U2 A record's own ceiling is kept from its document alone: what its attempts cost, and may cost while they are open.
 * - U3 Reserved money that is not spent comes back: when the call ends, at the latest with the next recount from the
 *   records. So a ceiling that calls under way fill is a short wait; one that ended calls fill lasts until tomorrow.
 * - U4 Without budgets, and for free providers, the database is asked nothing.
 */
import type { ProviderTerms } from '../../machines/pipeline.js'
import type { RecordDocument, Spend } from '../../machines/record.js'
import type { CounterKey, ProviderStates } from '../../persistence/contract.js'
import type { Clock } from '../../worker/contract.js'
import { addDecimal, compareDecimal } from '../decimal.js'
import type { Budget, Gate, Hold, ReservedCall } from '../gate.js'
import { createCounterQueue } from './counter-queue.js'

export const DAY_MS = 24 * 3_600_000
/** How long a record waits while others' reservations fill a ceiling. */
export const RESERVED_WAIT_MS = 10_000
const RESERVATIONS_MAX = 100_000

export type BudgetDeps = {
  budgets: readonly Budget[]
  terms: { [provider: string]: ProviderTerms }
  states: Pick<ProviderStates, 'reserve' | 'settle'>
  clock: Clock
  failed(what: string, error: unknown): void
}

type Part = { key: CounterKey; minute: number; amount: string }
export type Ceiling = { key: CounterKey; limit: string; atLimit: Budget['atLimit'] }

export const startOfDay = (now: Date): Date => new Date(Math.floor(now.getTime() / DAY_MS) * DAY_MS)
const nameOf = ({ record, step, attempt, provider }: ReservedCall) => `${record} ${step} ${attempt} ${provider}`

/** The counters that a call is held against, each with its lowest limit. In one order everywhere. */
export const ceilingsOf = (
  budgets: readonly Budget[],
  { source, provider, day }: { source: string; provider: string; day: Date },
): Ceiling[] => {
  const ceilings = new Map<string, Ceiling>()
  for (const { per, name, limit, currency, atLimit } of budgets) {
    if (per === 'record') continue
    const whose = per === 'source' ? source : per === 'provider' ? provider : ''
    if (name !== null && name !== whose) continue
    const id = `${per} ${currency}`
    const lower = ceilings.get(id)
    if (lower && compareDecimal(lower.limit, limit) <= 0) continue
    ceilings.set(id, { key: { per, name: whose, currency, day }, limit, atLimit })
  }
  return [...ceilings.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, ceiling]) => ceiling)
}

/** U2. What the record's attempts cost, and open ones may cost. In other currencies: nothing. */
export const spentByRecord = (
  doc: Pick<RecordDocument, 'steps'>,
  currency: string,
  terms: { [provider: string]: ProviderTerms },
): string => {
  let sum = '0'
  for (const { attempts } of Object.values(doc.steps))
    for (const { outcome, spend, spendMax, provider } of attempts) {
      const cost = outcome === null ? (spendMax ?? terms[provider]?.spendMax) : spend
      if (cost?.currency === currency) sum = addDecimal(sum, cost.amount)
    }
  return sum
}

export const createBudgets = (deps: BudgetDeps) => {
  const { budgets, terms, clock } = deps
  const queue = createCounterQueue(deps)
  const reservations = new Map<string, Part[]>()
  const longAgo = new Date(0)

  const reserve: Gate['reserve'] = async ({ doc, provider, step, attempt, spendMax }) => {
    if (budgets.length === 0 || terms[provider]?.cost !== 'paid') return null
    const bound = spendMax ?? terms[provider]?.spendMax ?? null
    const now = clock.now()
    const ceilings = ceilingsOf(budgets, { source: doc.source, provider, day: startOfDay(now) })
    const own = budgets.filter(({ per }) => per === 'record')
    if (ceilings.length === 0 && own.length === 0) return null
    const currencies = [...ceilings.map(({ key }) => key.currency), ...own.map(({ currency }) => currency)]
    if (bound === null || !currencies.every((each) => each === bound.currency))
      return holdOf(`What a call to ${provider} may cost isn't known in ${currencies.join(', ')}.`, longAgo)
    for (const { limit, currency } of own)
      if (compareDecimal(addDecimal(spentByRecord(doc, currency, terms), bound.amount), limit) > 0)
        return holdOf(`Another call would pass the record's budget of ${limit} ${currency}.`, longAgo)

    const parts: Part[] = []
    for (const ceiling of ceilings) {
      const hold = await take(ceiling, bound.amount, parts, now)
      if (!hold) continue
      // U1
      for (const { key, minute, amount } of parts) queue.settle(key, { minute, reserved: amount, actual: '0' })
      return hold
    }
    remember(nameOf({ record: doc._id, step, attempt, provider }), parts)
    return null
  }

  const take = async (ceiling: Ceiling, amount: string, parts: Part[], now: Date): Promise<Hold | null> => {
    const { key, limit, atLimit } = ceiling
    const what = `the budget of ${limit} ${key.currency} a day per ${key.per}${key.name === '' ? '' : ` "${key.name}"`}`
    let answer: Awaited<ReturnType<typeof queue.reserve>>
    try {
      answer = await queue.reserve(key, limit, amount)
    } catch (error) {
      deps.failed('Reserving money', error)
      return holdOf(`Storage is away, so ${what} could not be asked.`, new Date(now.getTime() + 1_000))
    }
    if (answer.granted) {
      parts.push({ key, minute: answer.minute, amount })
      return null
    }
    // U3
    const isSpent = compareDecimal(addDecimal(answer.spent, amount), limit) > 0
    if (!isSpent)
      return holdOf(`Calls under way may use up ${what}.`, new Date(clock.now().getTime() + RESERVED_WAIT_MS))
    return holdOf(
      `Another call would pass ${what}.`,
      atLimit === 'wait' ? new Date(key.day.getTime() + DAY_MS) : longAgo,
    )
  }

  const remember = (name: string, parts: Part[]) => {
    if (parts.length === 0) return
    reservations.set(name, parts)
    const [oldest] = reservations.keys()
    if (reservations.size > RESERVATIONS_MAX && oldest !== undefined) reservations.delete(oldest)
  }

  const settle: Gate['settle'] = (call, spend: Spend | null) => {
    const parts = reservations.get(nameOf(call))
    if (!parts) return
    reservations.delete(nameOf(call))
    for (const { key, minute, amount } of parts) {
      // In another currency than the ceiling's: what it is worth there isn't known, so all of it stays reserved.
      const actual = spend === null ? '0' : spend.currency === key.currency ? spend.amount : amount
      queue.settle(key, { minute, reserved: amount, actual })
    }
  }

  return { reserve, settle, close: () => queue.close() }
}

const holdOf = (message: string, until: Date): Hold => ({ code: 'budget-reached', message, until })
