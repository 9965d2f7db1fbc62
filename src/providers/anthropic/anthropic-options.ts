/**
 * What `anthropic({ … })` may be told, checked when the config is loaded: a mistake is named with its setting, and no
 * secret is read here.
 */
import {
  extraOption,
  headersOption,
  limitsOption,
  responseBytesOption,
  secretOption,
  slotsOption,
  spendMaxOption,
  wrongWith,
} from '../option-checks.js'
import { z } from 'zod'
import type { ProviderTerms } from '../../machines/pipeline.js'
import { parseDuration, type Duration } from '../durations.js'
import type { ModelDefaults } from '../model-request.js'
import { priceTableSchema, spendBound, type PriceTable } from '../price-table.js'
import { type Secret } from '../secret.js'

export type AnthropicOptions = {
  /** For example `claude-opus-5-5`. */
  model: string
  /** Sent as `x-api-key`. */
  apiKey: Secret
  /** Where `/v1/messages` is. Default `https://api.anthropic.com`. */
  baseUrl?: string
  /** Sent as `anthropic-version`. Default `2026-10-21`, which knows no temperature any more. */
  apiVersion?: (typeof API_VERSIONS)[number]
  /** For example `{ 'anthropic-beta': '…' }`. */
  headers?: { [name: string]: string | Secret }
  /** For steps whose request has none. */
  instructions?: string
  /** `max_tokens`, for steps whose request has none. Default 4096. */
  maxOutputTokens?: number
  /** 0 to 1, for steps whose request has none. With apiVersion `2023-06-01` and older models only. */
  temperature?: number
  /**
   * How the output is asked for. `schema` (default): as text that the API holds to the step's schema (structured
   * outputs). `tool`: as the input of a tool that the model is made to call; for older models, since those that always
   * think refuse it. `json`: as text that is JSON, by the prompt alone. `text`: as a string.
   */
  output?: AnthropicOutput
  /** More fields of the request's body, for example `{ thinking: { type: 'adaptive' } }`. */
  extra?: { [field: string]: unknown }
  /** What the account pays: gives each call's spend, and its bound. */
  prices?: PriceTable
  /** The model's context window: no request holds more tokens, and a PDF may hold as many. Default 1,000,000. */
  contextTokensMax?: number
  /** The most that one call may cost, where `prices` doesn't tell. */
  spendMax?: { amount: string; currency: string }
  /** Calls at once per worker process. Default 8. */
  slots?: number
  /** Limits that the account is known to have; more are learned from the answers. */
  limits?: { requestsPerMinute?: number; tokensPerMinute?: number }
  /** How long a run may go on after we gave up on it. Default 10m. */
  longestRun?: Duration
  /** Default 10s. */
  connectTimeout?: Duration
  /** Default 16 MiB. */
  responseBytesMax?: number
}

/** https://platform.claude.com/docs/en/api/versioning: streams are the same in both. */
const API_VERSIONS = ['2026-10-21', '2023-06-01'] as const
const OUTPUTS = ['schema', 'tool', 'json', 'text'] as const
export type AnthropicOutput = (typeof OUTPUTS)[number]

export type AnthropicSettings = {
  model: string
  apiKey: Secret
  baseUrl: URL
  apiVersion: (typeof API_VERSIONS)[number]
  headers: { [name: string]: string | Secret }
  defaults: ModelDefaults & { maxOutputTokens: number }
  output: AnthropicOutput
  extra: { [field: string]: unknown }
  prices: PriceTable | null
  contextTokensMax: number
  slots: number
  limits: NonNullable<AnthropicOptions['limits']> | null
  terms: Omit<ProviderTerms, 'name'>
  connectTimeoutMs: number
  responseBytesMax: number
}

/** These decide what a call is and how its answer is read: they have options of their own. */
const OWN_FIELDS = [
  'model',
  'max_tokens',
  'stream',
  'system',
  'temperature',
  'messages',
  'tools',
  'tool_choice',
] as const

const tokens = z.int().min(1).max(10_000_000)

const Options = z.strictObject({
  model: z.string().regex(/^[\w.:@/-]{1,100}$/, 'is no name of a model such as "claude-opus-5-5"'),
  apiKey: secretOption,
  apiVersion: z.enum(API_VERSIONS).default('2026-10-21'),
  baseUrl: z.string().default('https://api.anthropic.com'),
  headers: headersOption,
  instructions: z.string().min(1).optional(),
  maxOutputTokens: tokens.default(4096),
  temperature: z.number().min(0).max(1).optional(),
  output: z.enum(OUTPUTS).default('schema'),
  extra: extraOption(OWN_FIELDS),
  prices: priceTableSchema.optional(),
  contextTokensMax: tokens.default(1_000_000),
  spendMax: spendMaxOption.optional(),
  slots: slotsOption.default(8),
  limits: limitsOption.optional(),
  longestRun: z.unknown().optional(),
  connectTimeout: z.unknown().optional(),
  responseBytesMax: responseBytesOption,
})

/** Throws TypeError naming the setting and what is wrong with it. */
export function readAnthropicOptions(given: AnthropicOptions): AnthropicSettings {
  const parsed = Options.safeParse(given)
  if (!parsed.success) {
    throw new TypeError(`The anthropic provider's options are not valid: ${wrongWith(parsed.error, Options)}.`)
  }
  const options = parsed.data
  // https://platform.claude.com/docs/en/build-with-claude/extended-thinking: not together with a forced tool.
  if (options.output === 'tool' && thinks(options.extra['thinking'])) {
    throw new TypeError(
      'The anthropic provider\'s options are not valid: output: a model that thinks can\'t be made to call a tool, write "schema" or "json".',
    )
  }
  if (options.temperature !== undefined && options.apiVersion !== '2023-06-01') {
    throw new TypeError(
      'The anthropic provider\'s options are not valid: temperature: the API has none since version 2026-10-21; leave it out, or write apiVersion: "2023-06-01" for an older model.',
    )
  }
  const { model, maxOutputTokens, contextTokensMax, instructions, temperature } = options
  const prices = options.prices ?? null
  const dearest = spendBound(prices, { inputTokens: contextTokensMax, outputTokens: maxOutputTokens })
  return {
    model,
    apiKey: options.apiKey,
    baseUrl: readBaseUrl(options.baseUrl),
    apiVersion: options.apiVersion,
    headers: options.headers,
    defaults: {
      maxOutputTokens,
      ...(instructions !== undefined && { instructions }),
      ...(temperature !== undefined && { temperature }),
    },
    output: options.output,
    extra: options.extra,
    prices,
    contextTokensMax,
    slots: options.slots,
    limits: options.limits ?? null,
    terms: {
      recovery: 'blind',
      cost: 'paid',
      longestRunMs: parseDuration(given.longestRun ?? '10m', "An anthropic provider's longestRun"),
      keyTtlMs: 0,
      lookupLagMs: 0,
      findsByToken: false,
      spendMax: options.spendMax ?? dearest ?? null,
      model,
    },
    connectTimeoutMs: parseDuration(given.connectTimeout ?? '10s', "An anthropic provider's connectTimeout"),
    responseBytesMax: options.responseBytesMax,
  }
}

const thinks = (thinking: unknown): boolean =>
  typeof thinking === 'object' && thinking !== null && (thinking as { type?: unknown }).type !== 'disabled'

function readBaseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new TypeError("An anthropic provider's baseUrl must be absolute and begin with https:// or http://.")
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new TypeError(
      "An anthropic provider's baseUrl is a scheme, a host and perhaps a path: no user, password, query or fragment.",
    )
  }
  if (/\/v1\/?$/.test(url.pathname)) {
    throw new TypeError(`An anthropic provider's baseUrl ends before "/v1": the provider adds "/v1/messages" itself.`)
  }
  return url
}
