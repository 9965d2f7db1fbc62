/**
 * The day's counters of ceilings, in MongoDB, exactly (Decimal128 has 34 digits; an amount has 27).
 *
 * B1 A reservation is granted only in the update that counts it: however many ask at once, what is reserved and spent
 *    never passes the limit.
 * B2 `base` is what the records say up to a minute (`spent` of it by calls that have ended); `minutes` is what was reserved since, so that a recount replaces the
 *    one and drops what it has seen of the other. Whatever a crash left reserved is gone with the next recount.
 */
import { Decimal128, type Document } from 'mongodb'
import { z } from 'zod'
import type { CounterKey, Reserved, Settlement } from './contract.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { BUDGETS } from './provider-collections.js'
import { providerCollection, updateNamed, type ProviderIo } from './provider-io.js'

const COUNTERS_MAX = 10_000
const MINUTE_MS = 60_000

const decimal = (amount: string) => Decimal128.fromString(amount)
const ZERO = decimal('0')
/** Without an exponent, as amounts are written here. */
export const amountOf = (value: Decimal128): string => {
  const text = value.toString()
  const parts = /^(\d+)(?:\.(\d+))?E([+-]\d+)$/.exec(text)
  if (!parts) return text
  const [, whole = '', fraction = '', exponent = '0'] = parts
  const shift = Number(exponent) - fraction.length
  const digits = whole + fraction
  if (shift >= 0) return (digits + '0'.repeat(shift)).replace(/^0+(?=\d)/, '')
  const padded = digits.padStart(1 - shift, '0')
  return `${padded.slice(0, shift)}.${padded.slice(shift)}`
}

export const idOfCounter = ({ per, name, currency, day }: CounterKey): string =>
  `${day.toISOString().slice(0, 10)}|${per}|${name}|${currency}`

const orZero = (path: string) => ({ $ifNull: [path, ZERO] })
const minutes = { $ifNull: ['$minutes', []] }
const sumOfMinutes = (each: unknown) => ({
  $reduce: { input: minutes, initialValue: ZERO, in: { $add: ['$$value', each] } },
})
const reservedSince = sumOfMinutes('$$this.total')
const endedSince = sumOfMinutes({ $subtract: ['$$this.total', '$$this.open'] })
const MINUTE = { $floor: { $divide: [{ $toLong: '$$NOW' }, MINUTE_MS] } }

const facts = (key: CounterKey): Document => ({
  per: key.per,
  name: { $literal: key.name },
  currency: key.currency,
  day: key.day,
})

/** B1. Amounts are looked at in turn; one that does not fit does not keep a smaller one behind it from fitting. */
const reservePipeline = (key: CounterKey, limit: string, amounts: readonly string[]): Document[] => {
  const fits = { $lte: [{ $add: ['$$value.used', '$$this'] }, decimal(limit)] }
  const taken = {
    $reduce: {
      input: amounts.map(decimal),
      initialValue: { used: '$used', added: ZERO, granted: [] },
      in: {
        used: { $cond: [fits, { $add: ['$$value.used', '$$this'] }, '$$value.used'] },
        added: { $cond: [fits, { $add: ['$$value.added', '$$this'] }, '$$value.added'] },
        granted: { $concatArrays: ['$$value.granted', [fits]] },
      },
    },
  }
  const isNow = { $eq: ['$$this.m', '$last.minute'] }
  const more = {
    m: '$$this.m',
    total: { $add: ['$$this.total', '$last.added'] },
    open: { $add: ['$$this.open', '$last.added'] },
  }
  const merged = {
    $cond: [
      { $in: ['$last.minute', '$minutes.m'] },
      { $map: { input: '$minutes', as: 'this', in: { $cond: [isNow, more, '$$this'] } } },
      { $concatArrays: ['$minutes', [{ m: '$last.minute', total: '$last.added', open: '$last.added' }]] },
    ],
  }
  return [
    {
      $set: {
        ...facts(key),
        base: orZero('$base'),
        spent: orZero('$spent'),
        minutes,
        ended: { $add: [orZero('$spent'), endedSince] },
        used: { $add: [orZero('$base'), reservedSince] },
      },
    },
    { $set: { last: taken } },
    { $set: { 'last.minute': MINUTE, 'last.ended': '$ended' } },
    { $set: { minutes: { $cond: [{ $gt: ['$last.added', ZERO] }, merged, '$minutes'] } } },
    { $unset: ['used', 'ended'] },
  ]
}

const reservedDocument = z.object({
  last: z.object({ granted: z.array(z.boolean()), minute: z.number(), ended: z.instanceof(Decimal128) }),
})

export const reserveFrom = (
  io: ProviderIo,
  key: CounterKey,
  limit: string,
  amounts: readonly string[],
): Promise<Reserved> =>
  reading('Reserving money', async () => {
    const updated = await updateNamed(io, BUDGETS, idOfCounter(key), reservePipeline(key, limit, amounts))
    const { granted, minute, ended } = reservedDocument.parse(updated).last
    return { granted, minute, spent: amountOf(ended) }
  })

export const settleAt = (io: ProviderIo, key: CounterKey, settlements: readonly Settlement[]): Promise<void> =>
  reading('Settling reservations', async () => {
    const list = settlements.map((each) => ({
      m: each.minute,
      reserved: decimal(each.reserved),
      actual: decimal(each.actual),
    }))
    const ofMinute = { $filter: { input: list, as: 'one', cond: { $eq: ['$$one.m', '$$minute.m'] } } }
    const sum = (field: string) => ({
      $reduce: { input: ofMinute, initialValue: ZERO, in: { $add: ['$$value', `$$this.${field}`] } },
    })
    const settled = {
      m: '$$minute.m',
      total: { $add: ['$$minute.total', { $subtract: [sum('actual'), sum('reserved')] }] },
      open: { $subtract: ['$$minute.open', sum('reserved')] },
    }
    const update = [{ $set: { minutes: { $map: { input: minutes, as: 'minute', in: settled } } } }]
    await updateNamed(io, BUDGETS, idOfCounter(key), [{ $set: facts(key) }, ...update])
  })

/** B2 */
export const recountCounter = (
  io: ProviderIo,
  key: CounterKey,
  found: { spent: string; open: string },
  minute: number,
): Promise<void> =>
  reading('Recounting a budget', async () => {
    const base = { $add: [decimal(found.spent), decimal(found.open)] }
    const kept = { $filter: { input: minutes, as: 'each', cond: { $gte: ['$$each.m', minute] } } }
    const set = { ...facts(key), base, spent: decimal(found.spent), minutes: kept }
    await updateNamed(io, BUDGETS, idOfCounter(key), [{ $set: set }])
  })

const counterDocument = z.object({
  per: z.enum(['source', 'provider', 'deployment']),
  name: z.string(),
  currency: z.string(),
  day: z.date(),
  used: z.instanceof(Decimal128),
})

export const countersOf = (io: ProviderIo, day: Date): Promise<(CounterKey & { used: string })[]> =>
  reading('Reading budgets', () =>
    withDeadline('Reading budgets', io.timeoutMs, async (signal) => {
      const pipeline = [
        { $match: { day } },
        { $sort: { _id: 1 } },
        { $limit: COUNTERS_MAX },
        { $set: { used: { $add: [orZero('$base'), reservedSince] } } },
      ]
      const found = await providerCollection(io, BUDGETS)
        .aggregate(pipeline, { maxTimeMS: io.timeoutMs, signal })
        .toArray()
      return found.map((document) => {
        const { used, ...key } = counterDocument.parse(document)
        return { ...key, used: amountOf(used) }
      })
    }),
  )
