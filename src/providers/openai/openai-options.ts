/**
 * What `openai({ … })` may be told, checked when the config is loaded: a mistake is named with its setting, and no
 * secret is read here.
 *
 * How a call can be recovered follows from `api`, `background`, `store` and `compatible`:
 *
 * | options | mode | recovery |
 * | --- | --- | --- |
 * | api responses, background | job | `job`, by the response's id |
 * | api responses | stream | `retrievable`, by the id in the stream's first event |
 * | api chat | chat | `retrievable`, by our key in the metadata |
 * | store: false | stream or chat | `blind` |
 * | compatible | chat | `blind` |
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
import { priceTableSchema, type PriceTable } from '../price-table.js'
import { type Secret } from '../secret.js'

export type OpenAiOptions = {
  model: string
  /** Default `responses`; with `compatible` it is always `chat`. */
  api?: 'responses' | 'chat'
  /** With `responses`: the call is a job, which holds no worker and no connection. */
  background?: boolean
  /** Default true. False where data may not be kept at OpenAI: then nothing can be looked up, and a call is blind. */
  store?: boolean
  /** With `chat`: read the answer as a stream. Default false. `responses` in the foreground always streams. */
  stream?: boolean
  /** A server that speaks the chat API without OpenAI's store: vLLM, Ollama, llama.cpp, LM Studio. Needs `baseUrl`. */
  compatible?: boolean
  /** With `compatible` only, default `free`: a server of your own. `paid` for a hosted one. */
  cost?: 'paid' | 'free'
  /** Up to and with the version. Default `https://api.openai.com/v1`. */
  baseUrl?: string
  /** Needed unless `compatible`, or a header brings it (`api-key` at Azure). */
  apiKey?: Secret
  /** For example `{ 'OpenAI-Organization': '…' }`. */
  headers?: { [name: string]: string | Secret }
  /** For requests that bring none. */
  instructions?: string
  maxOutputTokens?: number
  temperature?: number
  /** More fields of the request's body, for example `{ reasoning: { effort: 'low' } }`. */
  extra?: { [field: string]: unknown }
  /** `json` (default): the output is the parsed text. `text`: the text itself. */
  output?: 'json' | 'text'
  /** Default true: the model is told the step's output schema. */
  schema?: boolean
  /** What the account pays: gives each call's spend, and its bound. */
  prices?: PriceTable
  /** No request holds more tokens than the model's context: bounds what a call may cost. Default 1,050,000. */
  contextTokensMax?: number
  /** The most that one call may cost; booked where nobody knows what it did cost and `prices` can't bound it. */
  spendMax?: { amount: string; currency: string }
  /** Calls at once per worker process. Default 8. */
  slots?: number
  limits?: { requestsPerMinute?: number; tokensPerMinute?: number }
  /** How long a run may go on after we gave up on it. Default 10m with `background`, else 5m. */
  longestRun?: Duration
  /** How long an ended call may be missing from a look-up. Default 10s. */
  lookupLag?: Duration
  /** With `background`: verifies deliveries of the project's webhook. */
  webhookSecret?: Secret
  /** Default 10s. */
  connectTimeout?: Duration
  /** Default 16 MiB. A stream's events count in full. */
  responseBytesMax?: number
}

export type OpenAiMode = 'job' | 'stream' | 'chat'

export type OpenAiSettings = {
  mode: OpenAiMode
  model: string
  compatible: boolean
  store: boolean
  /** The answer comes as server-sent events. */
  streams: boolean
  baseUrl: URL
  apiKey: Secret | undefined
  headers: { [name: string]: string | Secret }
  defaults: { instructions?: string; maxOutputTokens?: number; temperature?: number }
  extra: { [field: string]: unknown }
  output: 'json' | 'text'
  schema: boolean
  price: PriceTable | null
  contextTokensMax: number
  terms: Omit<ProviderTerms, 'name'>
  slots: number
  limits: { requestsPerMinute?: number; tokensPerMinute?: number } | undefined
  webhookSecret: Secret | undefined
  connectTimeoutMs: number
  responseBytesMax: number
}

/** These decide what a call is and how it is found again: they have options of their own. */
const OWN_FIELDS = [
  'model',
  'input',
  'messages',
  'instructions',
  'background',
  'store',
  'stream',
  'stream_options',
  'metadata',
  'text',
  'response_format',
  'max_output_tokens',
  'max_completion_tokens',
  'max_tokens',
  'temperature',
  'n',
] as const

const Options = z.strictObject({
  model: z.string().min(1).max(200),
  api: z.enum(['responses', 'chat']).optional(),
  background: z.boolean().default(false),
  store: z.boolean().optional(),
  stream: z.boolean().optional(),
  compatible: z.boolean().default(false),
  cost: z.enum(['paid', 'free']).optional(),
  baseUrl: z.string().optional(),
  apiKey: secretOption.optional(),
  headers: headersOption,
  instructions: z.string().min(1).optional(),
  maxOutputTokens: z.int().min(1).optional(),
  temperature: z.number().min(0).max(2).optional(),
  extra: extraOption(OWN_FIELDS),
  output: z.enum(['json', 'text']).default('json'),
  schema: z.boolean().default(true),
  prices: priceTableSchema.optional(),
  contextTokensMax: z.int().min(1).default(1_050_000),
  spendMax: spendMaxOption.optional(),
  slots: slotsOption.default(8),
  limits: limitsOption.optional(),
  longestRun: z.unknown().optional(),
  lookupLag: z.unknown().optional(),
  webhookSecret: secretOption.optional(),
  connectTimeout: z.unknown().optional(),
  responseBytesMax: responseBytesOption,
})

type Parsed = z.infer<typeof Options>

/** Throws TypeError naming the setting and what is wrong with it. */
export function readOpenAiOptions(given: OpenAiOptions): OpenAiSettings {
  const parsed = Options.safeParse({ ...given, headers: given.headers ?? {}, extra: given.extra ?? {} })
  if (!parsed.success) {
    throw new TypeError(`The openai provider's options are not valid: ${wrongWith(parsed.error, Options)}.`)
  }
  const options = parsed.data
  const conflict = conflictOf(options)
  if (conflict !== null) throw new TypeError(`The openai provider's options are not valid: ${conflict}.`)

  const { compatible } = options
  const mode = modeOf(options)
  const store = compatible ? false : (options.store ?? true)
  const { instructions, maxOutputTokens, temperature } = options
  return {
    mode,
    model: options.model,
    compatible,
    store,
    streams: mode === 'stream' || (mode === 'chat' && options.stream === true),
    baseUrl: readBaseUrl(options.baseUrl ?? 'https://api.openai.com/v1'),
    apiKey: options.apiKey,
    headers: options.headers,
    defaults: {
      ...(instructions !== undefined && { instructions }),
      ...(maxOutputTokens !== undefined && { maxOutputTokens }),
      ...(temperature !== undefined && { temperature }),
    },
    extra: options.extra,
    output: options.output,
    schema: options.schema,
    price: options.prices ?? null,
    contextTokensMax: options.contextTokensMax,
    terms: readTerms(options, given, mode, store),
    slots: options.slots,
    limits: given.limits,
    webhookSecret: options.webhookSecret,
    connectTimeoutMs: parseDuration(given.connectTimeout ?? '10s', "An openai provider's connectTimeout"),
    responseBytesMax: options.responseBytesMax,
  }
}

function modeOf({ api, background, compatible }: Parsed): OpenAiMode {
  if (compatible || api === 'chat') return 'chat'
  return background ? 'job' : 'stream'
}

function conflictOf(options: Parsed): string | null {
  const { api, background, store, compatible, webhookSecret } = options
  const chat = compatible || api === 'chat'
  if (compatible && api === 'responses')
    return 'compatible: such servers are spoken to by the chat API, leave api out or write "chat"'
  if (compatible && options.baseUrl === undefined)
    return 'baseUrl: a compatible server needs one, for example "http://127.0.0.1:11434/v1"'
  if (compatible && store !== undefined) return 'store: a compatible server keeps nothing that could be looked up'
  const bringsKey = Object.keys(options.headers).some((name) => /^(authorization|api-key)$/i.test(name))
  if (!compatible && options.apiKey === undefined && !bringsKey)
    return "apiKey: is missing, write env('OPENAI_API_KEY')"
  if (!compatible && options.cost !== undefined) return 'cost: OpenAI is paid; only a compatible server may be free'
  if (background && chat) return 'background: only the responses API has background jobs'
  if (background && store === false) return 'store: a background job is always stored, because it is fetched by its id'
  if (options.stream !== undefined && !chat)
    return 'stream: is for the chat API; responses are streamed in the foreground, and never with background'
  if (webhookSecret !== undefined && !background) return 'webhookSecret: only background jobs send webhooks'
  return null
}

function readTerms(options: Parsed, given: OpenAiOptions, mode: OpenAiMode, store: boolean): OpenAiSettings['terms'] {
  const cost = options.compatible ? (options.cost ?? 'free') : 'paid'
  const recovery = mode === 'job' ? 'job' : store ? 'retrievable' : 'blind'
  return {
    recovery,
    cost,
    longestRunMs: parseDuration(given.longestRun ?? (mode === 'job' ? '10m' : '5m'), "An openai provider's longestRun"),
    keyTtlMs: 0,
    lookupLagMs: recovery === 'blind' ? 0 : parseDuration(given.lookupLag ?? '10s', "An openai provider's lookupLag"),
    // Only stored chat completions can be listed by their metadata.
    findsByToken: mode === 'chat' && store,
    spendMax: cost === 'free' ? null : (options.spendMax ?? null),
    model: options.model,
  }
}

function readBaseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new TypeError(
      "An openai provider's baseUrl is an absolute url that begins with http:// or https://, up to and with the version.",
    )
  }
  if (url.username !== '' || url.password !== '' || url.search !== '') {
    throw new TypeError(
      "An openai provider's baseUrl holds a user, a password or a query: give secrets as apiKey or headers with env('NAME').",
    )
  }
  return url
}
