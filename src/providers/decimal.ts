/**
 * Amounts of money as decimal strings, exactly: no floats, no rounding. Never negative.
 * Up to 15 digits before the point and 12 after it: a millionth of a cent still has room.
 */

export const DECIMAL_PATTERN = /^(0|[1-9]\d{0,14})(\.\d{1,12})?$/
const FRACTION_DIGITS = 12

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

/** The sum, with as many digits after the point as the more precise of the two. */
export function addDecimal(a: string, b: string): string {
  const digits = Math.max(fractionLength(a), fractionLength(b))
  const text = (toUnits(a) + toUnits(b)).toString().padStart(FRACTION_DIGITS + 1, '0')
  const whole = text.slice(0, -FRACTION_DIGITS)
  const fraction = text.slice(-FRACTION_DIGITS).slice(0, digits)
  return digits === 0 ? whole : `${whole}.${fraction}`
}

export const isZeroDecimal = (value: string): boolean => /^0(\.0{1,12})?$/.test(value)

const fractionLength = (value: string): number => value.split('.')[1]?.length ?? 0
