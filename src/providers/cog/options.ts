/**
 * What `cog({ … })` may be told, checked when the config is loaded: a mistake is named with its setting, and no secret is
 * read here.
 */
import { z } from 'zod'
import type { ProviderTerms } from '../../machines/pipeline.js'
import { parseDuration, type Duration } from '../durations.js'
import { priceTableSchema, spendBound, type PriceTable } from '../price-table.js'
import type { InputRules } from '../predictions/model-input.js'
import {
  fieldOption,
  functionOption,
  headersOption,
  readBaseUrl,
  responseBytesOption,
  secretOption,
  slotsOption,
  spendMaxOption,
  wrongWith,
} from '../option-checks.js'
import type { PredictionRules } from '../predictions/prediction.js'
import type { Secret } from '../secret.js'

export type CogOptions = {
  /** Of the server, for example http://localhost:5000 */
  url: string
  headers?: { [name: string]: string | Secret }
  /** Sent as `Authorization: Bearer …`, for a gateway in front: Cog itself asks for none. */
  apiKey?: Secret
  /** The model's field for the record's file. Default: `image` for images, else `file`. `false`: it is not sent. */
  inputField?: string | false
  /** Takes the step's output out of the prediction's `output`. Default: all of it. */
  output?: (output: unknown) => unknown
  /** Default free: the machine is yours. */
  cost?: 'paid' | 'free'
  /** What a run costs, with `cost: 'paid'`: `{ currency: 'EUR', perSecond: '0.0002' }`. */
  prices?: PriceTable
  /** The most that one call may cost. Default: by the prices, for longestRun. */
  spendMax?: { amount: string; currency: string }
  /** Calls at once per worker process. Default 1: a Cog server takes one at a time, unless its concurrency says more. */
  slots?: number
  /** How long a run may go on after we gave up on it. Default 5m. */
  longestRun?: Duration
  /** Default 10s. */
  connectTimeout?: Duration
  /** Default 16 MiB. */
  responseBytesMax?: number
}

export type CogSettings = {
  baseUrl: URL
  headers: { [name: string]: string | Secret }
  apiKey: Secret | undefined
  input: InputRules
  prediction: PredictionRules
  slots: number
  terms: Omit<ProviderTerms, 'name'>
  connectTimeoutMs: number
  responseBytesMax: number
}

/** Durations keep their own type, checked by parseDuration. */
const Options = z.strictObject({
  url: z.string(),
  headers: headersOption,
  apiKey: secretOption.optional(),
  inputField: z.union([fieldOption, z.literal(false)]).optional(),
  output: functionOption.optional(),
  cost: z.enum(['paid', 'free']).default('free'),
  prices: priceTableSchema.optional(),
  spendMax: spendMaxOption.optional(),
  slots: slotsOption.default(1),
  longestRun: z.unknown().optional(),
  connectTimeout: z.unknown().optional(),
  responseBytesMax: responseBytesOption,
})

/** Throws TypeError naming the setting and what is wrong with it. */
export function readCogOptions(given: CogOptions): CogSettings {
  const parsed = Options.safeParse(given)
  if (!parsed.success)
    throw new TypeError(`The cog provider's options are not valid: ${wrongWith(parsed.error, Options)}.`)
  const options = parsed.data
  const prices = given.prices ?? null
  if (options.cost === 'free' && (prices !== null || options.spendMax !== undefined)) {
    throw new TypeError("A cog provider has prices or spendMax and is free: write cost: 'paid', or leave them out.")
  }
  const longestRunMs = parseDuration(given.longestRun ?? '5m', "A cog provider's longestRun")
  const bound = options.spendMax ?? spendBound(prices, { seconds: longestRunMs / 1000 }) ?? null
  return {
    baseUrl: readBaseUrl(options.url, 'A cog provider'),
    headers: options.headers,
    apiKey: options.apiKey,
    input: { inputField: options.inputField ?? null, tokenField: null },
    prediction: { prices, output: given.output },
    slots: options.slots,
    terms: {
      recovery: 'in-flight',
      cost: options.cost,
      longestRunMs,
      keyTtlMs: 0,
      lookupLagMs: 0,
      findsByToken: false,
      spendMax: options.cost === 'free' ? null : bound,
    },
    connectTimeoutMs: parseDuration(given.connectTimeout ?? '10s', "A cog provider's connectTimeout"),
    responseBytesMax: options.responseBytesMax,
  }
}
