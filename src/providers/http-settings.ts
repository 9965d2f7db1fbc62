/**
 * http's options as settings, checked when the config is loaded: a mistake is named with its setting, and no secret is
 * read here.
 */
import { wrongWith } from './option-checks.js'
import type { ProviderTerms } from '../machines/pipeline.js'
import { parseDuration, type Duration } from './durations.js'
import type { StatusRules } from './http-certainty.js'
import type { HttpOptions, HttpRecovery } from './http-options.js'
import { ownPath, pathFor } from './http-places.js'
import { HttpSchema, type ParsedHttpOptions } from './http-schema.js'
import type { HttpOptions as Options } from './http-options.js'
import { spendBound } from './price-table.js'

type Described<K extends 'job' | 'lookup' | 'webhook'> = NonNullable<ParsedHttpOptions[K]>

export type JobSettings = Described<'job'> & { everyMs: number | undefined }
export type LookupSettings = Described<'lookup'>
export type WebhookSettings = Described<'webhook'>

export type HttpSettings = Pick<
  ParsedHttpOptions,
  'method' | 'headers' | 'apiKey' | 'apiKeyScheme' | 'keyHeader' | 'slots' | 'limits' | 'model' | 'responseBytesMax'
> &
  Pick<Options, 'body' | 'output' | 'usage' | 'spend' | 'prices'> & {
    url: URL
    terms: Omit<ProviderTerms, 'name'>
    statuses: StatusRules
    connectTimeoutMs: number
    requestIdHeaders: readonly string[]
    job: JobSettings | null
    lookup: LookupSettings | null
    webhook: WebhookSettings | null
    readyPath: string | null
  }

const KEY_TTL_MS_MAX = 366 * 24 * 60 * 60 * 1000
const REQUEST_ID_HEADERS = ['x-request-id', 'request-id', 'x-amzn-requestid', 'apim-request-id'] as const

/** Throws TypeError naming the setting and what is wrong with it. */
export function readHttpOptions(given: HttpOptions): HttpSettings {
  const parsed = HttpSchema.safeParse(given)
  if (!parsed.success) {
    throw new TypeError(`The http provider's options are not valid: ${wrongWith(parsed.error, HttpSchema)}.`)
  }
  const options = parsed.data
  const url = readUrl(options.url)
  checkTogether(options)
  checkPaths(options, url)
  const { job } = options
  return {
    ...options,
    url,
    terms: termsOf(options, given),
    statuses: {
      notExecuted: new Set(options.notExecuted),
      executed: new Set(options.executed),
      retryable: options.retryable === undefined ? null : new Set(options.retryable),
      rejects: new Set(options.rejects),
      ...(job && { answers: new Set([202]) }),
    },
    connectTimeoutMs: parseDuration(given.connectTimeout ?? '10s', "An http provider's connectTimeout"),
    requestIdHeaders:
      options.requestIdHeader === undefined ? REQUEST_ID_HEADERS : [options.requestIdHeader.toLowerCase()],
    job: job
      ? { ...job, everyMs: job.poll.every === undefined ? undefined : ms(job.poll.every, 'job.poll.every') }
      : null,
    lookup: options.lookup ?? null,
    webhook: options.webhook ?? null,
    readyPath: options.ready === undefined ? null : ownPath(url, options.ready),
    body: given.body,
    output: given.output,
    usage: given.usage,
    spend: given.spend,
    prices: given.prices,
  } as HttpSettings
}

const ms = (value: unknown, setting: string): number => parseDuration(value, `An http provider's ${setting}`)

function termsOf(options: ParsedHttpOptions, given: HttpOptions): Omit<ProviderTerms, 'name'> {
  const { recovery, cost, lookup, model } = options
  const keyTtl = (given as { keyTtl?: Duration }).keyTtl
  const bound = options.spendMax ?? spendBound(given.prices ?? null, given.usageMax ?? {})
  return {
    recovery,
    cost,
    longestRunMs: ms(given.longestRun ?? '5m', 'longestRun'),
    keyTtlMs: recovery === 'idempotent' ? parseDuration(keyTtl, "An http provider's keyTtl", KEY_TTL_MS_MAX) : 0,
    lookupLagMs: lookup === undefined ? 0 : ms(lookup.lag, 'lookup.lag'),
    findsByToken: lookup !== undefined,
    spendMax: cost === 'free' ? null : (bound ?? null),
    ...(model !== undefined && { model }),
  }
}

/** What each recovery needs, and what would be without meaning for it. */
const BELONGS: { [R in NonNullable<HttpRecovery['recovery']>]: { needs: Part[]; takes: Part[] } } = {
  blind: { needs: [], takes: [] },
  'in-flight': { needs: [], takes: [] },
  idempotent: { needs: ['keyTtl'], takes: ['keyTtl'] },
  retrievable: { needs: ['lookup'], takes: ['lookup'] },
  job: { needs: ['job'], takes: ['job', 'lookup', 'webhook'] },
}
type Part = 'keyTtl' | 'job' | 'lookup' | 'webhook'
const PARTS: { [P in Part]: string } = {
  keyTtl: 'how long a key is honoured, e.g. "24h"',
  job: 'where the handle stands and how the job is polled',
  lookup: 'the url that finds a call by {requestKey}, and its lag',
  webhook: 'how deliveries are asked for and verified',
}

function checkTogether(options: ParsedHttpOptions): void {
  const { recovery, lookup } = options
  for (const part of Object.keys(PARTS) as Part[]) {
    const { needs, takes } = BELONGS[recovery]
    if (needs.includes(part) && options[part] === undefined)
      throw new TypeError(`An http provider with recovery "${recovery}" needs ${part}: ${PARTS[part]}.`)
    if (!takes.includes(part) && options[part] !== undefined)
      throw new TypeError(`An http provider with recovery "${recovery}" can't use ${part}: remove it.`)
  }
  if (recovery === 'job' && lookup !== undefined && (lookup.handle === undefined || lookup.status !== undefined))
    throw new TypeError(`A job's lookup needs handle, and no status: the job itself is polled by the handle it finds.`)
  if (recovery === 'retrievable' && (lookup?.status === undefined) !== (lookup?.means === undefined))
    throw new TypeError(`A lookup that reads a status needs both status and means.`)
  if (recovery === 'retrievable' && lookup?.handle !== undefined)
    throw new TypeError(`A lookup reads a handle only with recovery "job".`)
  const both = options.executed.find((status) => options.notExecuted.includes(status))
  if (both !== undefined) throw new TypeError(`An http provider names status ${both} in executed and in notExecuted.`)
}

/** Templates are tried with a plain value: one that leads elsewhere is refused before anything runs (O1). */
function checkPaths({ job, lookup, ready }: ParsedHttpOptions, url: URL): void {
  const handles = {
    'job.poll.url': job?.poll.url,
    'job.result.url': job?.result?.url,
    'job.cancel.url': job?.cancel?.url,
  }
  for (const [setting, of] of Object.entries(handles))
    if (typeof of === 'string' && pathFor(url, of, 'handle', 'x') === null) throw elsewhere(setting, url)
  if (typeof lookup?.url === 'string' && pathFor(url, lookup.url, 'requestKey', 'x') === null)
    throw elsewhere('lookup.url', url)
  if (ready !== undefined && ownPath(url, ready) === null) throw elsewhere('ready', url)
}

const elsewhere = (setting: string, url: URL): TypeError =>
  new TypeError(
    `An http provider's ${setting} is no path on ${url.origin}: credentials are sent nowhere but to the provider's own origin.`,
  )

function readUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new TypeError('An http provider needs an absolute url that begins with http:// or https://.')
  }
  if (url.username !== '' || url.password !== '') {
    throw new TypeError(
      "An http provider's url holds a user or password: give them as a header with env('NAME') instead.",
    )
  }
  return url
}
