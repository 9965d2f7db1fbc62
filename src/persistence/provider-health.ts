/**
 * How providers did, counted in minutes and in all. Numbers to look at, not a ledger: a flush whose answer was lost may
 * count twice. Bounded: a document per provider and minute, which MongoDB drops after two days, and at most
 * ERROR_CODES_MAX codes in each flush.
 */
import type { AnyBulkWriteOperation, Document } from 'mongodb'
import { z } from 'zod'
import { durably } from './collections.js'
import { LATENCY_BOUNDS_MS, type HealthCounts, type HealthMinute } from './contract.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { PROVIDER_HEALTH, PROVIDERS } from './provider-collections.js'
import { providerCollection, type ProviderIo } from './provider-io.js'

export const ERROR_CODES_MAX = 20
export const OTHER_ERRORS = 'other'
/** A day of two dozen providers. */
const MINUTES_READ_MAX = 40_000
const CODE = /^[a-z0-9-]{1,60}$/

const counts = z.record(z.string(), z.number()).default({})
const countsDocument = z.object({
  calls: z.number().default(0),
  outcomes: counts,
  kinds: counts,
  errors: counts,
  latency: counts,
  durationMs: z.number().default(0),
  inputTokens: z.number().default(0),
  outputTokens: z.number().default(0),
})
const minuteDocument = countsDocument.extend({ provider: z.string(), at: z.date() })
const totalsDocument = z.object({ _id: z.string(), totals: countsDocument })

/** What has no place in a document's field names is counted as other. */
export const boundedErrors = (errors: { [code: string]: number }): { [code: string]: number } => {
  const kept: { [code: string]: number } = {}
  const sorted = Object.entries(errors).sort(([, a], [, b]) => b - a)
  for (const [index, [code, count]] of sorted.entries()) {
    const name = CODE.test(code) && index < ERROR_CODES_MAX ? code : OTHER_ERRORS
    kept[name] = (kept[name] ?? 0) + count
  }
  return kept
}

/** As increments: `{ 'outcomes.succeeded': 3, … }`. */
const increments = (minute: HealthCounts, path: string): { [field: string]: number } => {
  const fields: { [field: string]: number } = {}
  const put = (name: string, value: number) => {
    if (value > 0) fields[path + name] = value
  }
  put('calls', minute.calls)
  put('durationMs', minute.durationMs)
  put('inputTokens', minute.inputTokens)
  put('outputTokens', minute.outputTokens)
  for (const [name, value] of Object.entries(minute.outcomes)) put(`outcomes.${name}`, value)
  for (const [name, value] of Object.entries(minute.kinds)) put(`kinds.${name}`, value)
  for (const [name, value] of Object.entries(boundedErrors(minute.errors))) put(`errors.${name}`, value)
  minute.latency.forEach((value, index) => put(`latency.${index}`, value))
  return fields
}

export const addHealth = async (io: ProviderIo, minutes: readonly HealthMinute[]): Promise<void> => {
  if (minutes.length === 0) return
  const inMinutes: AnyBulkWriteOperation<{ _id: string } & Document>[] = []
  const inAll: AnyBulkWriteOperation<{ _id: string } & Document>[] = []
  for (const minute of minutes) {
    const _id = `${minute.provider}|${minute.minute.toISOString()}`
    const onInsert = { provider: minute.provider, at: minute.minute }
    const update = { $inc: increments(minute, ''), $setOnInsert: onInsert }
    inMinutes.push({ updateOne: { filter: { _id }, update, upsert: true } })
    const total = { $inc: increments(minute, 'totals.') }
    inAll.push({ updateOne: { filter: { _id: minute.provider }, update: total, upsert: true } })
  }
  const what = 'Counting calls'
  await reading(what, () =>
    withDeadline(what, io.timeoutMs, async (signal) => {
      const options = { ordered: false, writeConcern: durably(Math.ceil(io.timeoutMs * 0.8)), signal }
      await providerCollection(io, PROVIDER_HEALTH).bulkWrite(inMinutes, options)
      await providerCollection(io, PROVIDERS).bulkWrite(inAll, options)
    }),
  )
}

const countsOf = ({ latency, ...rest }: z.infer<typeof countsDocument>): HealthCounts => ({
  ...rest,
  latency: Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, (_, index) => latency[String(index)] ?? 0),
})

export const readHealth = (io: ProviderIo, since: Date): Promise<HealthMinute[]> => {
  const what = 'Reading the health of providers'
  return reading(what, () =>
    withDeadline(what, io.timeoutMs, async (signal) => {
      const found = await providerCollection(io, PROVIDER_HEALTH)
        .find({ at: { $gte: since } }, { sort: { at: -1 }, limit: MINUTES_READ_MAX, signal })
        .maxTimeMS(io.timeoutMs)
        .toArray()
      const minutes = found.map((document) => {
        const { provider, at: minute, ...rest } = minuteDocument.parse(document)
        return { provider, minute, ...countsOf(rest) }
      })
      return minutes.sort((a, b) => byText(a.provider, b.provider) || a.minute.getTime() - b.minute.getTime())
    }),
  )
}

export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

export const readTotals = (io: ProviderIo): Promise<(HealthCounts & { provider: string })[]> => {
  const what = 'Reading the counts of providers'
  return reading(what, () =>
    withDeadline(what, io.timeoutMs, async (signal) => {
      const found = await providerCollection(io, PROVIDERS)
        .find({ totals: { $exists: true } }, { projection: { totals: 1 }, sort: { _id: 1 }, limit: 1_000, signal })
        .maxTimeMS(io.timeoutMs)
        .toArray()
      return found.map((document) => {
        const { _id: provider, totals } = totalsDocument.parse(document)
        return { provider, ...countsOf(totals) }
      })
    }),
  )
}
