/**
 * What a provider bills, from a table in the config and the usage that its answer tells.
 *
 * - T1 Exact: every rate has up to 6 digits after the point, counts are whole, seconds count to the microsecond.
 * - T2 A rate whose usage was not told, or was told as nonsense, makes the spend unknown (null), never smaller: the call
 *   layer then books the upper bound.
 * - T3 `cachedInputTokens` are part of `inputTokens`. Without a rate of their own they cost what input costs.
 */
import { z } from 'zod'
import type { Spend, Usage } from '../machines/record.js'
import { addDecimal, compareDecimal, perMillion, trimDecimal } from './decimal.js'

/** Decimal strings. A rate that is not given costs nothing. */
export type PriceTable = {
  currency: string
  inputPerMillion?: string
  cachedInputPerMillion?: string
  outputPerMillion?: string
  perRequest?: string
  perPage?: string
  perSecond?: string
}

const rate = z
  .string({ error: 'Write the rate as a decimal string such as "2.50": a number would be a float.' })
  .regex(
    /^(0|[1-9]\d{0,8})(\.\d{1,6})?$/,
    'Write a decimal string such as "2.50", with up to 6 digits after the point.',
  )

const entries = {
  currency: z.string().regex(/^[A-Z]{3}$/, 'Write the code of the currency, such as "USD".'),
  inputPerMillion: rate.exactOptional(),
  cachedInputPerMillion: rate.exactOptional(),
  outputPerMillion: rate.exactOptional(),
  perRequest: rate.exactOptional(),
  perPage: rate.exactOptional(),
  perSecond: rate.exactOptional(),
}

const RATES = Object.keys(entries).filter((name) => name !== 'currency')

export const priceTableSchema = z.strictObject(entries).refine((table) => Object.keys(table).length > 1, {
  error: `Give at least one rate: ${RATES.join(', ')}. A free provider needs no table.`,
})

/** How many units there are; null when that is not known. `up`: a part of a unit counts as one. */
type Count = (units: number | undefined, scale: 'whole' | 'micro') => bigint | null

const exactly: Count = (units, scale) => {
  if (units === undefined || !Number.isFinite(units) || units < 0) return null
  // toFixed answers the exact value's nearest microsecond, without another float between.
  if (scale === 'micro') return units < 1e12 ? BigInt(units.toFixed(6).replace('.', '')) : null
  return Number.isSafeInteger(units) ? BigInt(units) : null
}

const atMost: Count = (units, scale) => {
  const count = exactly(scale === 'whole' && units !== undefined ? Math.ceil(units) : units, scale)
  return count !== null && scale === 'micro' ? count + 1n : count
}

/** Of each rate: how many millionths of it are due. */
type Parts = [rate: string | undefined, millionths: bigint | null][]

const MILLION = 1_000_000n
const times = (count: bigint | null, by: bigint): bigint | null => (count === null ? null : count * by)

const partsOf = (table: PriceTable, usage: Usage, count: Count): Parts => [
  [table.outputPerMillion, count(usage.outputTokens, 'whole')],
  [table.perRequest, MILLION],
  [table.perPage, times(count(usage.pages, 'whole'), MILLION)],
  [table.perSecond, count(usage.seconds, 'micro')],
]

const sumOf = (parts: Parts): string | null => {
  let sum = '0'
  try {
    for (const [amount, millionths] of parts) {
      if (amount === undefined) continue
      if (millionths === null) return null
      sum = addDecimal(sum, perMillion(amount, millionths))
    }
  } catch (error) {
    // More than any bill: nonsense was told (T2).
    if (error instanceof RangeError) return null
    throw error
  }
  return trimDecimal(sum)
}

/** Null when the table or what it needs of the usage is missing. */
export function spendOfUsage(table: PriceTable | null, usage: Usage | null): Spend | null {
  if (table === null) return null
  const told = usage ?? {}
  const input = exactly(told.inputTokens, 'whole')
  const cached = exactly(told.cachedInputTokens ?? 0, 'whole')
  // T3
  const fresh = input === null || cached === null || cached > input ? null : input - cached
  const amount = sumOf([
    [table.inputPerMillion, fresh],
    [table.cachedInputPerMillion ?? table.inputPerMillion, fresh === null ? null : cached],
    ...partsOf(table, told, exactly),
  ])
  return amount === null ? null : { amount, currency: table.currency, basis: 'reported' }
}

/** What a call with at most this usage may cost; undefined when the table needs a limit that `most` doesn't name. */
export function spendBound(table: PriceTable | null, most: Usage): { amount: string; currency: string } | undefined {
  if (table === null) return undefined
  const { inputPerMillion, cachedInputPerMillion } = table
  // Nobody knows how much of it will be cached, and writing a cache may cost more than plain input.
  const dearest =
    inputPerMillion !== undefined &&
    cachedInputPerMillion !== undefined &&
    compareDecimal(cachedInputPerMillion, inputPerMillion) > 0
      ? cachedInputPerMillion
      : (inputPerMillion ?? cachedInputPerMillion)
  const amount = sumOf([[dearest, atMost(most.inputTokens, 'whole')], ...partsOf(table, most, atMost)])
  return amount === null ? undefined : { amount, currency: table.currency }
}
