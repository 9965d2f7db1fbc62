/** The API's shapes of providers: how each does, in the whole deployment. Closed objects, as all answers. */
import { z } from 'zod'
import { RECOVERIES } from '../machines/pipeline.js'

const time = z.iso.datetime().meta({ description: 'ISO 8601, UTC' })
const amount = z.string().meta({ description: 'Decimal string, never a float', example: '0.40' })
const counts = z.record(z.string(), z.int())
const limit = z.number().nullable()

export const providerSchema = z
  .strictObject({
    name: z.string(),
    recovery: z
      .enum(RECOVERIES)
      .meta({ description: 'What may be done about a call of which nobody knows whether it ran' }),
    cost: z.enum(['paid', 'free']),
    model: z.string().nullable(),
    slots: z.int().meta({ description: 'Calls at once in each worker process' }),
    breaker: z
      .strictObject({
        state: z.enum(['closed', 'open', 'half-open']),
        since: time.nullable(),
        until: time.nullable().meta({ description: 'Nothing is tried before' }),
        openings: z.int().meta({ description: 'In a row; each pauses longer' }),
        code: z.string().nullable().meta({ description: 'Of the failure that opened it' }),
      })
      .meta({ description: '`open`: the provider is taken for down, its records wait or fall back' }),
    pausedUntil: time.nullable().meta({ description: 'It refused calls: nothing is sent before' }),
    ready: z
      .strictObject({ ready: z.boolean(), detail: z.string(), at: time })
      .nullable()
      .meta({ description: 'By its own word; null where it was never asked' }),
    limits: z.strictObject({
      requestsPerMinute: limit,
      tokensPerMinute: limit,
      requestsRemaining: limit.meta({ description: 'As its last answers told' }),
      tokensRemaining: limit,
      permits: limit.meta({ description: 'Calls that may start now; null where nothing limits them' }),
      lowered: z.boolean().meta({ description: 'A refusal made us go slower' }),
    }),
    recent: z.strictObject({
      minutes: z.int(),
      calls: z.int(),
      perMinute: z.number(),
      outcomes: counts.meta({ description: 'succeeded, accepted, failed, uncertain' }),
      kinds: counts.meta({ description: 'Certainty of failures: not-executed, executed, partial, unknown' }),
      errors: counts.meta({ description: 'By code' }),
      p50Ms: limit,
      p95Ms: limit,
      inputTokens: z.int(),
      outputTokens: z.int(),
    }),
    today: z
      .array(
        z.strictObject({
          currency: z.string(),
          spent: amount,
          open: amount.meta({ description: 'What calls under way may cost at most' }),
          possibleDuplicate: amount.meta({
            description: 'Of `spent`: calls that may have been executed besides another',
          }),
        }),
      )
      .nullable()
      .meta({ description: 'Since the UTC day began; null while it can not be added up' }),
  })
  .meta({ id: 'Provider' })

export const providerListSchema = z
  .strictObject({ items: z.array(providerSchema), next: z.string().nullable() })
  .meta({ id: 'ProviderList' })

export type ProviderJson = z.input<typeof providerSchema>
