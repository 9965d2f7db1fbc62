/**
 * What all workers know together about providers, in MongoDB. One document per provider holds its buckets, its pause and
 * its breaker (provider-updates.ts); health lies in minutes (provider-health.ts), the day's budgets in counters
 * (budget-counters.ts), what was spent comes from the records (spend-rows.ts).
 */
import type { Db, Document } from 'mongodb'
import { z } from 'zod'
import { countersOf, recountCounter, reserveFrom, settleAt } from './budget-counters.js'
import type { ProviderState, ProviderStates } from './contract.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import { PROVIDERS } from './provider-collections.js'
import { providerCollection, updateNamed, type ProviderIo } from './provider-io.js'
import { addHealth, readHealth, readTotals } from './provider-health.js'
import { leasePipeline, learnPipeline, pausePipeline, recoverPipeline, tripPipeline } from './provider-updates.js'
import { readSpendRows } from './spend-rows.js'

const PROVIDERS_MAX = 1_000

const number = z.number().nullable().default(null)
const date = z.date().nullable().default(null)
const stateDocument = z.object({
  _id: z.string(),
  requestsDueMs: z.number().default(0),
  tokensDueMs: z.number().default(0),
  learned: z
    .object({
      requestsPerMinute: number,
      tokensPerMinute: number,
      requestsRemaining: number,
      tokensRemaining: number,
      at: z.date(),
    })
    .nullable()
    .default(null),
  cut: z.object({ perMinute: z.number(), at: z.date() }).nullable().default(null),
  pausedUntil: date,
  breaker: z
    .object({
      open: z.boolean().default(false),
      since: date,
      until: date,
      openings: z.number().default(0),
      code: z.string().nullable().default(null),
      probes: z.number().default(0),
      probedAt: date,
    })
    .prefault({}),
  ready: z.object({ ready: z.boolean(), detail: z.string(), at: z.date() }).nullable().default(null),
})

const stateOf = (document: unknown): ProviderState => {
  const { _id: provider, ...state } = stateDocument.parse(document)
  return { provider, ...state }
}

const lastGrant = z.object({ last: z.object({ granted: z.number(), at: z.date() }) })

export const createMongoProviderStates = (db: Db, options: { operationTimeoutMs?: number } = {}): ProviderStates => {
  const io: ProviderIo = { db, timeoutMs: options.operationTimeoutMs ?? 5_000 }
  const change = (what: string, provider: string, pipeline: Document[]) =>
    reading(what, () => updateNamed(io, PROVIDERS, provider, pipeline))
  return {
    read: () =>
      reading('Reading the state of providers', async () => {
        const found = await withDeadline('Reading the state of providers', io.timeoutMs, (signal) =>
          providerCollection(io, PROVIDERS)
            .find({}, { projection: { totals: 0 }, limit: PROVIDERS_MAX, signal })
            .maxTimeMS(io.timeoutMs)
            .toArray(),
        )
        return found.map(stateOf)
      }),
    async lease(provider, ask) {
      const updated = await change('Taking permits', provider, leasePipeline(ask))
      const { last } = lastGrant.parse(updated)
      return { ...last, state: stateOf(updated) }
    },
    learn: async (provider, limits) => stateOf(await change('Noting limits', provider, learnPipeline(limits))),
    pause: async (provider, ask) => stateOf(await change('Pausing a provider', provider, pausePipeline(ask))),
    trip: async (provider, ask) => stateOf(await change('Opening a breaker', provider, tripPipeline(ask))),
    recover: async (provider, beganAt) =>
      stateOf(await change('Closing a breaker', provider, recoverPipeline(beganAt))),
    async setReady(provider, { ready, detail }) {
      const told = { ready, detail: { $literal: detail }, at: '$$NOW' }
      await change('Noting readiness', provider, [{ $set: { ready: told } }])
    },
    addHealth: (minutes) => addHealth(io, minutes),
    health: (since) => readHealth(io, since),
    totals: () => readTotals(io),
    reserve: (key, limit, amounts) => reserveFrom(io, key, limit, amounts),
    settle: (key, settlements) => settleAt(io, key, settlements),
    recount: (key, found, minute) => recountCounter(io, key, found, minute),
    counters: (day) => countersOf(io, day),
    spendRows: (span) => readSpendRows(io, span),
  }
}
