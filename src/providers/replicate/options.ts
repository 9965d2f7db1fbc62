/**
 * What `replicate({ … })` may be told, checked when the config is loaded: a mistake is named with its setting, and no
 * secret is read here.
 */
import { z } from 'zod'
import type { ProviderTerms } from '../../machines/pipeline.js'
import { parseDuration, type Duration } from '../durations.js'
import { priceTableSchema, spendBound, type PriceTable } from '../price-table.js'
import type { Secret } from '../secret.js'
import type { InputRules } from '../predictions/model-input.js'
import {
  fieldOption,
  functionOption,
  readBaseUrl,
  responseBytesOption,
  secretOption,
  slotsOption,
  spendMaxOption,
  wrongWith,
} from '../option-checks.js'
import type { PredictionRules } from '../predictions/prediction.js'

export type ReplicateOptions = {
  /** An official model, `owner/name`. Exactly one of model, version and deployment is given. */
  model?: string
  /** A version's id (64 hex digits), or `owner/name:id`. */
  version?: string
  /** A deployment of your own, `owner/name`. */
  deployment?: string
  apiKey: Secret
  /**
   * The signing secret of the account's webhooks, `whsec_…`, from GET /v1/webhooks/default/secret. Without it no webhook
   * is asked for, and jobs are polled.
   */
  webhookSecret?: Secret
  /** The model's field for the record's file. Default: `image` for images, else `file`. `false`: it is not sent. */
  inputField?: string | false
  /**
   * A field of your own model that takes a text and does nothing with it. It gets our request key, by which a prediction
   * whose id was lost is found again. Without it such a call is in doubt until its webhook comes.
   */
  tokenField?: string
  /** Takes the step's output out of the prediction's `output`. Default: all of it. */
  output?: (output: unknown) => unknown
  /** What Replicate bills: `{ currency: 'USD', perSecond: '0.000225' }` or `{ …, perRequest }`. */
  prices?: PriceTable
  /** The most that one call may cost. Default: by the prices, for longestRun. */
  spendMax?: { amount: string; currency: string }
  /** Calls at once per worker process; a running job holds none. Default 8. */
  slots?: number
  /** Of the account. Default 600, as documented. */
  requestsPerMinute?: number
  /**
   * How long a job may take, waiting for a machine included. Default 1h: predictions are ended after 30 minutes of
   * running, and outputs are removed after an hour.
   */
  longestRun?: Duration
  /** Default https://api.replicate.com/v1 */
  baseUrl?: string
  /** Default 10s. */
  connectTimeout?: Duration
  /** Default 16 MiB. */
  responseBytesMax?: number
}

export type ReplicateSettings = {
  baseUrl: URL
  /** After the base URL, with "/" before it. */
  createPath: string
  /** A GET that says whether what is asked for is there. */
  readyPath: string
  version: string | null
  apiKey: Secret
  webhookSecret: Secret | null
  input: InputRules
  prediction: PredictionRules
  slots: number
  requestsPerMinute: number
  terms: Omit<ProviderTerms, 'name'>
  connectTimeoutMs: number
  responseBytesMax: number
}

const LONGEST_RUN = '1h'
const REQUESTS_PER_MINUTE = 600
/** Nothing is documented about how soon a prediction can be read; this is far above what a page needs. */
const LOOKUP_LAG_MS = 60_000

const ownerAndName = z.string().regex(/^\w[\w.-]{0,99}\/\w[\w.-]{0,99}$/, 'is not written as "owner/name"')
/** Durations keep their own type, checked by parseDuration. */
const Options = z.strictObject({
  model: ownerAndName.optional(),
  version: z
    .string()
    .regex(/^(\w[\w.-]{0,99}\/\w[\w.-]{0,99}:)?[0-9a-f]{64}$/, 'is no version id of 64 hex digits, nor "owner/name:id"')
    .optional(),
  deployment: ownerAndName.optional(),
  apiKey: secretOption,
  webhookSecret: secretOption.optional(),
  inputField: z.union([fieldOption, z.literal(false)]).optional(),
  tokenField: fieldOption.optional(),
  output: functionOption.optional(),
  prices: priceTableSchema.optional(),
  spendMax: spendMaxOption.optional(),
  slots: slotsOption.default(8),
  requestsPerMinute: z.int().min(1).max(1_000_000).default(REQUESTS_PER_MINUTE),
  longestRun: z.unknown().optional(),
  baseUrl: z.string().default('https://api.replicate.com/v1'),
  connectTimeout: z.unknown().optional(),
  responseBytesMax: responseBytesOption,
})

/** Throws TypeError naming the setting and what is wrong with it. */
export function readReplicateOptions(given: ReplicateOptions): ReplicateSettings {
  const parsed = Options.safeParse(given)
  if (!parsed.success)
    throw new TypeError(`The replicate provider's options are not valid: ${wrongWith(parsed.error, Options)}.`)
  const options = parsed.data
  const target = readTarget(options)
  const longestRunMs = parseDuration(given.longestRun ?? LONGEST_RUN, "A replicate provider's longestRun")
  const prices = given.prices ?? null
  return {
    ...target.paths,
    baseUrl: readBaseUrl(options.baseUrl, 'A replicate provider'),
    version: options.version ?? null,
    apiKey: options.apiKey,
    webhookSecret: options.webhookSecret ?? null,
    input: { inputField: options.inputField ?? null, tokenField: options.tokenField ?? null },
    prediction: { prices, output: given.output },
    slots: options.slots,
    requestsPerMinute: options.requestsPerMinute,
    terms: {
      recovery: 'job',
      cost: 'paid',
      longestRunMs,
      keyTtlMs: 0,
      lookupLagMs: LOOKUP_LAG_MS,
      findsByToken: options.tokenField !== undefined,
      spendMax: options.spendMax ?? spendBound(prices, { seconds: longestRunMs / 1000 }) ?? null,
      model: target.name,
    },
    connectTimeoutMs: parseDuration(given.connectTimeout ?? '10s', "A replicate provider's connectTimeout"),
    responseBytesMax: options.responseBytesMax,
  }
}

type Named = { model?: string | undefined; version?: string | undefined; deployment?: string | undefined }

function readTarget({ model, version, deployment }: Named) {
  const named = [model, version, deployment].filter((name) => name !== undefined)
  const [name] = named
  if (name === undefined || named.length > 1) {
    throw new TypeError(
      `A replicate provider needs exactly one of model, version and deployment; it names ${named.length || 'none'}.`,
    )
  }
  if (model !== undefined)
    return { name, paths: { createPath: `/models/${model}/predictions`, readyPath: `/models/${model}` } }
  if (deployment !== undefined)
    return {
      name,
      paths: { createPath: `/deployments/${deployment}/predictions`, readyPath: `/deployments/${deployment}` },
    }
  return { name, paths: { createPath: '/predictions', readyPath: '/account' } }
}
