/** Providers whose terms are enough for a config that is never run. */
import type { ProviderTerms } from '../../src/machines/pipeline.js'
import type { ProviderFactory } from '../../src/providers/contract.js'

export const factory = (change: Partial<ProviderTerms> = {}): ProviderFactory => ({
  terms: (name) => ({
    name,
    recovery: 'blind',
    cost: 'free',
    longestRunMs: 60_000,
    keyTtlMs: 30 * 24 * 3_600_000,
    lookupLagMs: 0,
    findsByToken: false,
    spendMax: null,
    ...change,
  }),
  slots: 1,
  create: (name) => {
    throw new Error(`Provider "${name}" is never made here.`)
  },
})
