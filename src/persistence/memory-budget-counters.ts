/** The twin of the budgets' counters in memory. Amounts are whole numbers of 10^-12, so that nothing is rounded. */
import { byText } from './provider-health.js'
import { idOfCounter } from './budget-counters.js'
import type { CounterKey, ProviderStates } from './contract.js'

const DIGITS = 12
const MINUTE_MS = 60_000

const unitsOf = (amount: string): bigint => {
  const [whole = '0', fraction = ''] = amount.split('.')
  return BigInt(whole + fraction.padEnd(DIGITS, '0'))
}
const amountOf = (units: bigint): string => {
  const text = units.toString().padStart(DIGITS + 1, '0')
  const fraction = text.slice(-DIGITS).replace(/0+$/, '')
  return text.slice(0, -DIGITS) + (fraction === '' ? '' : `.${fraction}`)
}

type Counter = { key: CounterKey; base: bigint; spent: bigint; minutes: Map<number, bigint> }

export const createMemoryCounters = (clock: {
  now(): Date
}): Pick<ProviderStates, 'reserve' | 'settle' | 'recount' | 'counters'> => {
  const counters = new Map<string, Counter>()
  const of = (key: CounterKey): Counter => {
    const counter = counters.get(idOfCounter(key)) ?? { key, base: 0n, spent: 0n, minutes: new Map() }
    counters.set(idOfCounter(key), counter)
    return counter
  }
  const usedOf = ({ base, minutes }: Counter) => [...minutes.values()].reduce((sum, each) => sum + each, base)
  return {
    async reserve(key, limit, amounts) {
      const counter = of(key)
      const minute = Math.floor(clock.now().getTime() / MINUTE_MS)
      const granted = amounts.map((amount) => {
        const fits = usedOf(counter) + unitsOf(amount) <= unitsOf(limit)
        if (fits) counter.minutes.set(minute, (counter.minutes.get(minute) ?? 0n) + unitsOf(amount))
        return fits
      })
      return { granted, minute, spent: amountOf(counter.spent) }
    },
    async settle(key, settlements) {
      const { minutes } = of(key)
      for (const { minute, reserved, actual } of settlements) {
        const total = minutes.get(minute)
        if (total !== undefined) minutes.set(minute, total + unitsOf(actual) - unitsOf(reserved))
      }
    },
    async recount(key, { spent, open }, minute) {
      const counter = of(key)
      counter.spent = unitsOf(spent)
      counter.base = unitsOf(spent) + unitsOf(open)
      for (const each of counter.minutes.keys()) if (each < minute) counter.minutes.delete(each)
    },
    counters: async (day) =>
      [...counters.values()]
        .filter(({ key }) => key.day.getTime() === day.getTime())
        .map((counter) => ({ ...counter.key, used: amountOf(usedOf(counter)) }))
        .sort((a, b) => byText(idOfCounter(a), idOfCounter(b))),
  }
}
