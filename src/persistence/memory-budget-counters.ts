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

type Minute = { total: bigint; open: bigint }
type Counter = { key: CounterKey; base: bigint; spent: bigint; minutes: Map<number, Minute> }

export const createMemoryCounters = (clock: {
  now(): Date
}): Pick<ProviderStates, 'reserve' | 'settle' | 'recount' | 'counters'> => {
  const counters = new Map<string, Counter>()
  const of = (key: CounterKey): Counter => {
    const counter = counters.get(idOfCounter(key)) ?? { key, base: 0n, spent: 0n, minutes: new Map() }
    counters.set(idOfCounter(key), counter)
    return counter
  }
  const usedOf = ({ base, minutes }: Counter) => [...minutes.values()].reduce((sum, { total }) => sum + total, base)
  const endedOf = ({ spent, minutes }: Counter) =>
    [...minutes.values()].reduce((sum, { total, open }) => sum + total - open, spent)
  return {
    async reserve(key, limit, amounts) {
      const counter = of(key)
      const minute = Math.floor(clock.now().getTime() / MINUTE_MS)
      const spent = amountOf(endedOf(counter))
      const granted = amounts.map((amount) => {
        const fits = usedOf(counter) + unitsOf(amount) <= unitsOf(limit)
        const { total, open } = counter.minutes.get(minute) ?? { total: 0n, open: 0n }
        if (fits) counter.minutes.set(minute, { total: total + unitsOf(amount), open: open + unitsOf(amount) })
        return fits
      })
      return { granted, minute, spent }
    },
    async settle(key, settlements) {
      const { minutes } = of(key)
      for (const { minute, reserved, actual } of settlements) {
        const found = minutes.get(minute)
        if (!found) continue
        const { total, open } = found
        minutes.set(minute, { total: total + unitsOf(actual) - unitsOf(reserved), open: open - unitsOf(reserved) })
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
