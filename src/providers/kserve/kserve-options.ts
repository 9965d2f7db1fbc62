/**
 * What `kserve({ … })` may be told, checked when the config is loaded: a mistake is named with its setting, and no
 * secret is read here.
 */
import { z } from 'zod'
import type { ProviderTerms } from '../../machines/pipeline.js'
import { parseDuration, type Duration } from '../durations.js'
import {
  functionOption,
  headersOption,
  readBaseUrl,
  responseBytesOption,
  secretOption,
  slotsOption,
  spendMaxOption,
  wrongWith,
} from '../option-checks.js'
import type { Secret } from '../secret.js'
import type { KserveAnswer } from './inference.js'

export type KserveOptions = {
  /** What stands before `/v2`, for example http://localhost:8000 */
  url: string
  model: string
  /** Default: which one is used is the server's choice. */
  version?: string
  headers?: { [name: string]: string | Secret }
  /** Sent as `Authorization: Bearer …`. */
  apiKey?: Secret
  /** Takes the step's output out of the answer. Default: the whole answer, see `KserveAnswer`. */
  output?: (answer: KserveAnswer) => unknown
  /** Statuses that mean that the input can never be processed: the record is rejected. Default none. */
  rejects?: readonly number[]
  /** Default free: the machine is yours. */
  cost?: 'paid' | 'free'
  /** The most that one call may cost, with `cost: 'paid'`. */
  spendMax?: { amount: string; currency: string }
  /** Calls at once per worker process. Default 8. */
  slots?: number
  /** How long a run may go on after we gave up on it. Default 5m. */
  longestRun?: Duration
  /** Default 10s. */
  connectTimeout?: Duration
  /** Default 16 MiB. */
  responseBytesMax?: number
}

export type KserveSettings = {
  baseUrl: URL
  model: string
  version: string | null
  headers: { [name: string]: string | Secret }
  apiKey: Secret | undefined
  output: KserveOptions['output']
  rejects: ReadonlySet<number>
  slots: number
  terms: Omit<ProviderTerms, 'name'>
  connectTimeoutMs: number
  responseBytesMax: number
}

/** Durations keep their own type, checked by parseDuration. */
const Options = z.strictObject({
  url: z.string(),
  model: z.string().min(1).max(200),
  version: z.string().min(1).max(100).optional(),
  headers: headersOption,
  apiKey: secretOption.optional(),
  output: functionOption.optional(),
  rejects: z.array(z.int().min(400).max(499)).default([]),
  cost: z.enum(['paid', 'free']).default('free'),
  spendMax: spendMaxOption.optional(),
  slots: slotsOption.default(8),
  longestRun: z.unknown().optional(),
  connectTimeout: z.unknown().optional(),
  responseBytesMax: responseBytesOption,
})

/** Throws TypeError naming the setting and what is wrong with it. */
export function readKserveOptions(given: KserveOptions): KserveSettings {
  const parsed = Options.safeParse(given)
  if (!parsed.success)
    throw new TypeError(`The kserve provider's options are not valid: ${wrongWith(parsed.error, Options)}.`)
  const options = parsed.data
  if (options.cost === 'free' && options.spendMax !== undefined)
    throw new TypeError("A kserve provider has spendMax and is free: write cost: 'paid', or leave it out.")
  return {
    baseUrl: readBaseUrl(options.url, 'A kserve provider'),
    model: options.model,
    version: options.version ?? null,
    headers: options.headers,
    apiKey: options.apiKey,
    output: given.output,
    rejects: new Set(options.rejects),
    slots: options.slots,
    terms: {
      recovery: 'blind',
      cost: options.cost,
      longestRunMs: parseDuration(given.longestRun ?? '5m', "A kserve provider's longestRun"),
      keyTtlMs: 0,
      lookupLagMs: 0,
      findsByToken: false,
      spendMax: options.spendMax ?? null,
      model: options.model,
    },
    connectTimeoutMs: parseDuration(given.connectTimeout ?? '10s', "A kserve provider's connectTimeout"),
    responseBytesMax: options.responseBytesMax,
  }
}
