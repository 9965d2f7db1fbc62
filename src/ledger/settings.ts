/**
 * The `charges` of a config: who is told of each charge. Checked when the config is loaded; no secret is read here.
 */
import { z } from 'zod'
import type { Duration } from '../providers/durations.js'
import { parseDuration } from '../providers/durations.js'
import type { Secret } from '../providers/secret.js'
import { isSecret } from '../providers/secret.js'
import type { ChargeSinks } from './contract.js'
import { NATS_SINK, WEBHOOK_SINK } from './contract.js'

export type ChargesOptions = {
  /** Publish each charge to `<prefix>.charges` in JetStream. */
  nats?: boolean
  /** POST each charge, signed as standardwebhooks.com says. */
  webhook?: {
    url: string
    /** `env('NAME')`: `whsec_` and 24 to 64 bytes in base64. */
    secret: Secret
    /** How long the receiver keeps ids, when it does not keep them for good. Needs `ask`. */
    remembers?: Duration
    /** Is asked with `?id=<charge id>` before a repeat past that time; answers `{"known": true}` or `{"known": false}`. */
    ask?: string
  }
}

/** A memory shorter than this could end between asking and sending. */
const REMEMBERS_MS_MIN = 10 * 60_000
const REMEMBERS_MS_MAX = 3_650 * 24 * 3_600_000

const address = z.string().superRefine((text, ctx) => {
  const url = URL.canParse(text) ? new URL(text) : null
  const problem =
    url === null || !['http:', 'https:'].includes(url.protocol)
      ? 'must be an http or https URL, such as "https://billing.example/charges"'
      : url.username !== '' || url.password !== ''
        ? 'must hold no user or password: the receiver knows us by the signature'
        : url.hash !== ''
          ? 'must hold no "#" part'
          : null
  if (problem !== null) ctx.addIssue({ code: 'custom', message: problem })
})

const webhook = z
  .strictObject({
    url: address,
    secret: z.custom<Secret>(isSecret, "must name an environment variable: env('CHARGES_SECRET')"),
    remembers: z.union([z.string(), z.number()]).optional(),
    ask: address.optional(),
  })
  .refine(({ remembers, ask }) => (remembers === undefined) === (ask === undefined), {
    error:
      'has only one of "remembers" and "ask". A receiver that forgets must be asked before a repeat: give both, or neither for one that keeps ids for good',
  })

const charges = z
  .strictObject({ nats: z.boolean().optional(), webhook: webhook.optional() })
  .refine((given) => given.nats === true || given.webhook !== undefined, {
    error: 'names no sink; give "nats: true", a "webhook", or leave "charges" out',
  })

const remembersMs = (value: unknown): number => {
  const what = 'The "charges.webhook.remembers" of the config'
  const ms = parseDuration(value, what, REMEMBERS_MS_MAX)
  if (ms < REMEMBERS_MS_MIN)
    throw new RangeError(`${what} is shorter than 10 minutes: too short to send safely again. Let it keep ids longer.`)
  return ms
}

/** Throws TypeError or RangeError, naming the setting and the fix. */
export const parseCharges = (options: unknown): ChargeSinks => {
  const parsed = charges.safeParse(options)
  if (!parsed.success) {
    const said = parsed.error.issues.map(({ path, message }) => `"${['charges', ...path].join('.')}" ${message}`)
    throw new TypeError(`The config's ${said.join('; ')}.`)
  }
  const { nats = false, webhook: given } = parsed.data
  return {
    nats,
    webhook: given
      ? {
          url: given.url,
          secret: given.secret,
          forgets: given.ask === undefined ? null : { afterMs: remembersMs(given.remembers), askUrl: given.ask },
        }
      : null,
  }
}

/** As the store must know them, for indexes and marks. */
export const sinkNames = (sinks: ChargeSinks | undefined): string[] =>
  sinks ? [...(sinks.nats ? [NATS_SINK] : []), ...(sinks.webhook ? [WEBHOOK_SINK] : [])] : []
