/** Amounts against BigInt, and spend from a price table (T1 to T3). */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addTotals, isDecimal, multiplyDecimal, perMillion, subtractTotals } from '../../src/providers/decimal.js'
import { priceTableSchema, spendBound, spendOfUsage } from '../../src/providers/price-table.js'
import type { PriceTable } from '../../src/providers/price-table.js'

/** In units of 10^-12, worked out apart from the code under test. */
const units = (text: string): bigint => {
  const point = text.indexOf('.')
  const digits = point < 0 ? 0 : text.length - point - 1
  return BigInt(text.replace('.', '')) * 10n ** BigInt(12 - digits)
}
const written = (whole: number, fraction: string): string => (fraction === '' ? `${whole}` : `${whole}.${fraction}`)
const digits = (max: number) =>
  fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: max }).map((list) => list.join(''))
const amountOf = (maxWhole: number, places: number) =>
  fc.tuple(fc.integer({ min: 0, max: maxWhole }), digits(places)).map(([whole, fraction]) => written(whole, fraction))
const rate = amountOf(999_999_999, 6)
const count = fc.integer({ min: 0, max: 1e12 })

describe('products', () => {
  test('a multiple is exact', () => {
    fc.assert(
      fc.property(amountOf(99_999, 12), fc.integer({ min: 0, max: 1e9 }), (amount, n) => {
        const product = multiplyDecimal(amount, n)
        expect(isDecimal(product)).toBe(true)
        expect(units(product)).toBe(units(amount) * BigInt(n))
      }),
    )
  })

  test('a rate of up to 6 digits for a million units is exact for any count', () => {
    fc.assert(
      fc.property(rate, count, (amount, n) => {
        expect(units(perMillion(amount, n)) * 1_000_000n).toBe(units(amount) * BigInt(n))
      }),
    )
  })

  test('a bound is rounded up by less than 10^-12, and never down', () => {
    fc.assert(
      fc.property(amountOf(999, 12), count, (amount, n) => {
        const exact = units(amount) * BigInt(n)
        const bound = units(perMillion(amount, n, 'up')) * 1_000_000n
        expect(bound >= exact && bound - exact < 1_000_000n).toBe(true)
      }),
    )
  })

  test('what cannot be told exactly is an error, unless a bound is meant', () => {
    expect(() => perMillion('0.0000001', 1)).toThrow(RangeError)
    expect(perMillion('0.0000001', 1, 'up')).toBe('0.000000000001')
  })

  test.each([1.5, -1, Number.NaN, 2 ** 53, -1n])('%s is no count', (n) =>
    expect(() => multiplyDecimal('1', n)).toThrow('A count is a whole number of units'),
  )

  test('an amount past 15 digits is an error, never a wrong one', () =>
    expect(() => multiplyDecimal('999999999999999', 2)).toThrow(RangeError))

  test('the digits of the amount are kept, zeros that follow from the division are not', () => {
    expect(multiplyDecimal('0.40', 3)).toBe('1.20')
    expect(perMillion('2.50', 1_000)).toBe('0.0025')
  })
})

describe('totals', () => {
  const total = fc
    .tuple(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), digits(12))
    .map(([whole, fraction]) => (fraction === '' ? `${whole}` : `${whole}.${fraction}`))

  test('sums and differences are exact, below zero and beyond any amount', () => {
    fc.assert(
      fc.property(total, total, (a, b) => {
        expect(units(addTotals(a, b))).toBe(units(a) + units(b))
        expect(units(subtractTotals(a, b))).toBe(units(a) - units(b))
      }),
    )
  })

  test('a difference below one keeps its sign and its zero', () => {
    expect(subtractTotals('0.10', '0.3')).toBe('-0.20')
    expect(subtractTotals('0.3', '0.30')).toBe('0.00')
  })
})

const usd = (table: Omit<PriceTable, 'currency'>): PriceTable => ({ currency: 'USD', ...table })
const tokens = usd({ inputPerMillion: '2.50', cachedInputPerMillion: '1.25', outputPerMillion: '10' })

describe('spend of a usage', () => {
  test('input, cached input and output each at their own rate, to the last unit', () => {
    fc.assert(
      fc.property(rate, rate, rate, count, count, count, (a, b, c, fresh, cached, outputTokens) => {
        const table = usd({ inputPerMillion: a, cachedInputPerMillion: b, outputPerMillion: c })
        const usage = { inputTokens: fresh + cached, cachedInputTokens: cached, outputTokens }
        const exact = units(a) * BigInt(fresh) + units(b) * BigInt(cached) + units(c) * BigInt(outputTokens)
        const spend = spendOfUsage(table, usage)
        if (exact / 1_000_000n >= 10n ** 27n) expect(spend).toBeNull()
        else expect(units(spend!.amount) * 1_000_000n).toBe(exact)
      }),
    )
  })

  test('cached input without a rate of its own costs what input costs', () =>
    expect(
      spendOfUsage(usd({ inputPerMillion: '2' }), { inputTokens: 1_000_000, cachedInputTokens: 900_000 })?.amount,
    ).toBe('2'))

  test.each<[string, PriceTable, { [unit: string]: number }, string]>([
    ['pages', usd({ perPage: '0.0015' }), { pages: 12 }, '0.018'],
    [
      'seconds, which count to the microsecond',
      usd({ perSecond: '0.000225' }),
      { seconds: 4.862513 },
      '0.001094065425',
    ],
    ['requests', usd({ perRequest: '0.01' }), {}, '0.01'],
    ['a sum of several', usd({ perRequest: '0.01', perPage: '0.10' }), { pages: 2 }, '0.21'],
  ])('%s', (_what, table, usage, amount) =>
    expect(spendOfUsage(table, usage)).toEqual({ amount, currency: 'USD', basis: 'reported' }),
  )

  test.each<[string, PriceTable, { [unit: string]: number } | null]>([
    ['no usage where a rate needs it', tokens, null],
    ['one count missing', tokens, { inputTokens: 5 }],
    ['more cached input than input', tokens, { inputTokens: 5, cachedInputTokens: 6, outputTokens: 1 }],
    ['a part of a token', tokens, { inputTokens: 5.5, outputTokens: 1 }],
    ['a negative count', tokens, { inputTokens: -5, outputTokens: 1 }],
    ['more than any bill', usd({ perPage: '999999999' }), { pages: Number.MAX_SAFE_INTEGER }],
  ])('%s is an unknown spend, never a smaller one', (_what, table, usage) =>
    expect(spendOfUsage(table, usage)).toBeNull(),
  )

  test('without a table nothing is known', () => expect(spendOfUsage(null, { inputTokens: 1 })).toBeNull())
})

describe('the bound of a call', () => {
  test('no usage within the limits costs more', () => {
    fc.assert(
      fc.property(rate, rate, rate, count, count, count, (a, b, c, most, cached, out) => {
        const table = usd({ inputPerMillion: a, cachedInputPerMillion: b, outputPerMillion: c })
        const bound = spendBound(table, { inputTokens: most, outputTokens: out })
        const usage = { inputTokens: most, cachedInputTokens: Math.min(cached, most), outputTokens: out }
        const spend = spendOfUsage(table, usage)
        if (bound && spend) expect(units(bound.amount) >= units(spend.amount)).toBe(true)
      }),
    )
  })

  test('parts of a unit count as one', () =>
    expect(spendBound(usd({ perPage: '2', perSecond: '1' }), { pages: 1.2, seconds: 0.5 })?.amount).toBe('4.500001'))

  test('a limit that is not known is no bound', () => {
    expect(spendBound(tokens, { inputTokens: 5 })).toBeUndefined()
    expect(spendBound(null, { inputTokens: 5 })).toBeUndefined()
  })
})

describe('the table in a config', () => {
  test('a full one passes', () => expect(priceTableSchema.parse(tokens)).toEqual(tokens))
  test.each<[string, unknown, string]>([
    ['a number', { currency: 'USD', perPage: 0.1 }, 'decimal string'],
    ['too many digits', { currency: 'USD', perPage: '0.0000001' }, '6 digits'],
    ['a misspelt rate', { currency: 'USD', perPages: '1' }, 'perPages'],
    ['no rate', { currency: 'USD' }, 'at least one rate'],
    ['a currency in small letters', { currency: 'usd', perPage: '1' }, 'USD'],
  ])('%s is refused', (_what, table, message) =>
    expect(priceTableSchema.safeParse(table).error?.message).toContain(message),
  )
})
