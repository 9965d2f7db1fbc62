/** The small values that a call is made of: durations, amounts, slots. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addDecimal, compareDecimal, isDecimal, isZeroDecimal } from '../../src/providers/decimal.js'
import { parseDuration } from '../../src/providers/durations.js'
import { createSlotPool } from '../../src/providers/slots.js'

describe('durations', () => {
  test.each<[unknown, number]>([
    ['500ms', 500],
    ['30s', 30_000],
    ['1.5s', 1500],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['2d', 172_800_000],
    [0, 0],
    [1500, 1500],
  ])('%s is %i ms', (value, ms) => expect(parseDuration(value, 'It')).toBe(ms))

  test.each([['30 sec'], ['-1s'], ['s'], [''], [-1], [Number.NaN], [null], [{}], ['1h30m'], ['25d'], [Infinity]])(
    '%s is refused by name',
    (value) =>
      expect(() => parseDuration(value, 'The deadline of step "read"')).toThrow('The deadline of step "read" is'),
  )
})

describe('amounts', () => {
  test.each(['0', '0.40', '123.000000000001', '999999999999999'])('%s is one', (value) =>
    expect(isDecimal(value)).toBe(true),
  )
  test.each(['', '.5', '1.', '01', '-1', '1e3', '1,5', ' 1', '1\n', '0.0000000000001', '1000000000000000', 1, null])(
    '%s is none',
    (value) => {
      expect(isDecimal(value)).toBe(false)
      expect(() => addDecimal(value as string, '1')).toThrow(TypeError)
    },
  )

  test('sums are exact', () => {
    expect(addDecimal('0.1', '0.2')).toBe('0.3')
    expect(addDecimal('0.95', '0.050')).toBe('1.000')
    expect(addDecimal('7', '8')).toBe('15')
    const cents = fc.nat({ max: 2_000_000_000 })
    const text = (value: number): string => `${Math.floor(value / 100)}.${String(value % 100).padStart(2, '0')}`
    fc.assert(
      fc.property(cents, cents, (a, b) => {
        expect(addDecimal(text(a), text(b))).toBe(text(a + b))
        expect(compareDecimal(text(a), text(b))).toBe(Math.sign(a - b))
      }),
    )
    expect(compareDecimal('0.4', '0.40')).toBe(0)
    expect(isZeroDecimal('0.000')).toBe(true)
    expect(isZeroDecimal('0.000000000001')).toBe(false)
  })
})

describe('slots', () => {
  test('never more than there are, each given back once', () => {
    const pool = createSlotPool(2)
    let told = 0
    const stop = pool.onFree(() => (told += 1))
    const first = pool.acquire()
    const second = pool.acquire()
    expect(pool.acquire()).toBeNull()
    expect(pool.free()).toBe(0)

    first?.release()
    first?.release()
    expect(pool.free()).toBe(1)
    expect(told).toBe(1)
    stop()
    second?.release()
    expect(pool.free()).toBe(2)
    expect(told).toBe(1)
  })

  test('a listener may take the slot at once', () => {
    const pool = createSlotPool(1)
    const slot = pool.acquire()
    let taken: unknown = null
    pool.onFree(() => (taken = pool.acquire()))
    slot?.release()
    expect(taken).not.toBeNull()
    expect(pool.free()).toBe(0)
  })

  test('a pool without slots is refused', () => expect(() => createSlotPool(0)).toThrow('not 0'))
})
