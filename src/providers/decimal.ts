/**
 * Amounts of money as decimal strings, exactly: no floats. Never negative.
 * Up to 15 digits before the point and 12 after it: a millionth of a cent still has room.
 *
 * The rule of rounding: a sum that is owed or was billed is exact or an error. Only a bound is rounded, and only up, to
 * the next 10^-12. An amount of up to 6 digits after the point for a million units is exact for any number of units.
 */

export const DECIMAL_PATTERN = /^(0|[1-9]\d{0,14})(\.\d{1,12})?$/
const FRACTION_DIGITS = 12
const WHOLE_DIGITS = 15
const MILLION = 1_000_000n

export const isDecimal = (value: unknown): value is string => typeof value === 'string' && DECIMAL_PATTERN.test(value)

/** The amount in units of 10^-12. Throws where `value` is no decimal string. */
function toUnits(value: string): bigint {
  if (!isDecimal(value)) {
    throw new TypeError(`An amount is a decimal string such as "0.40", not ${JSON.stringify(value)}.`)
  }
  const [whole = '0', fraction = ''] = value.split('.')
  return BigInt(whole + fraction.padEnd(FRACTION_DIGITS, '0'))
}

/** -1, 0 or 1. "0.4" and "0.40" are equal. */
export function compareDecimal(a: string, b: string): -1 | 0 | 1 {
  const left = toUnits(a)
  const right = toUnits(b)
  if (left === right) return 0
  return left < right ? -1 : 1
}

/** With at least `digits` after the point, and more where they are not zero. Throws where it is too large. */
function fromUnits(units: bigint, digits: number): string {
  const text = units.toString().padStart(FRACTION_DIGITS + 1, '0')
  const whole = text.slice(0, -FRACTION_DIGITS)
  if (whole.length > WHOLE_DIGITS) throw new RangeError(`An amount has up to ${WHOLE_DIGITS} digits before the point.`)
  const all = text.slice(-FRACTION_DIGITS)
  const fraction = all.slice(0, digits) + all.slice(digits).replace(/0+$/, '')
  return fraction === '' ? whole : `${whole}.${fraction}`
}

/** The sum, with as many digits after the point as the more precise of the two. Throws RangeError past 15 digits. */
export function addDecimal(a: string, b: string): string {
  return fromUnits(toUnits(a) + toUnits(b), Math.max(fractionLength(a), fractionLength(b)))
}

const counted = (count: number | bigint): bigint => {
  if (typeof count === 'bigint' ? count < 0n : !Number.isSafeInteger(count) || count < 0)
    throw new TypeError(`A count is a whole number of units, not ${count}.`)
  return BigInt(count)
}

/** The amount, `count` times. `count` is a whole number. Throws RangeError past 15 digits before the point. */
export function multiplyDecimal(amount: string, count: number | bigint): string {
  return fromUnits(toUnits(amount) * counted(count), fractionLength(amount))
}

/**
 * What `count` units cost at `amount` for a million. `exact` throws RangeError where 10^-12 is too coarse, which can't
 * happen while the amount has up to 6 digits after the point; `up` is for bounds.
 */
export function perMillion(amount: string, count: number | bigint, rounding: 'exact' | 'up' = 'exact'): string {
  const product = toUnits(amount) * counted(count)
  const rest = product % MILLION
  if (rest !== 0n && rounding === 'exact')
    throw new RangeError(`${amount} for a million units can't be told exactly for ${count} of them.`)
  return fromUnits(product / MILLION + (rest === 0n ? 0n : 1n), 0)
}

/** The same amount without zeros at its end. */
export const trimDecimal = (value: string): string => fromUnits(toUnits(value), 0)

const TOTAL_PATTERN = /^-?\d{1,40}(\.\d{1,12})?$/

/** Totals may be longer than an amount, and below zero. */
function totalUnits(value: string): bigint {
  if (!TOTAL_PATTERN.test(value)) throw new TypeError(`A total is a decimal string, not ${JSON.stringify(value)}.`)
  const [whole = '0', fraction = ''] = value.split('.')
  return BigInt(whole + fraction.padEnd(FRACTION_DIGITS, '0'))
}

function totalOf(units: bigint, digits: number): string {
  const text = (units < 0n ? -units : units).toString().padStart(FRACTION_DIGITS + 1, '0')
  const whole = text.slice(0, -FRACTION_DIGITS)
  const fraction = text.slice(-FRACTION_DIGITS).slice(0, digits)
  return `${units < 0n ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`
}

const moreDigits = (a: string, b: string): number => Math.max(fractionLength(a), fractionLength(b))
/** Exact, without a limit; as many digits after the point as the more precise of the two. */
export const addTotals = (a: string, b: string): string => totalOf(totalUnits(a) + totalUnits(b), moreDigits(a, b))
export const subtractTotals = (a: string, b: string): string => totalOf(totalUnits(a) - totalUnits(b), moreDigits(a, b))

export const isZeroDecimal = (value: string): boolean => /^0(\.0{1,12})?$/.test(value)

const fractionLength = (value: string): number => value.split('.')[1]?.length ?? 0
