/** The zod form of http's options: shapes and names. What belongs together is checked in http-settings.ts. */
import {
  headerName,
  headerTrouble,
  headersOption,
  limitsOption,
  responseBytesOption,
  secretOption,
  slotsOption,
  spendMaxOption,
} from './option-checks.js'
import { z } from 'zod'
import type { Place } from './http-options.js'
import { JOB_STATUSES } from './http-options.js'
import { priceTableSchema } from './price-table.js'
import { isSecret, type Secret } from './secret.js'

const isFunction = (value: unknown): boolean => typeof value === 'function'
const aFunction = z.custom<never>(isFunction, 'is no function').optional()
const statuses = z.array(z.int().min(300).max(599))
/** Checked by parseDuration, which names the setting. */
const duration = z.unknown()

const isPointer = (value: unknown): boolean =>
  typeof value === 'string' && value.startsWith('/') && !/~(?![01])/.test(value) && value.length <= 500
const isHeaderPlace = (value: unknown): boolean => z.strictObject({ header: headerName }).safeParse(value).success
const place = z.custom<Place>(
  (value) => isPointer(value) || isFunction(value) || isHeaderPlace(value),
  'is no place in an answer: write a JSON pointer such as "/status", { header: "Operation-Location" } or a function',
)
const isPathOf = (name: string) => (value: unknown) =>
  isFunction(value) || (typeof value === 'string' && value.includes(`{${name}}`))
const pathOf = (name: 'handle' | 'requestKey') =>
  z.custom<string | ((value: string) => string)>(
    isPathOf(name),
    `needs {${name}} in its text, such as "/jobs/{${name}}", or a function of it`,
  )

const means = z
  .record(z.string().min(1).max(60), z.enum(JOB_STATUSES))
  .refine((words) => Object.values(words).includes('succeeded'), 'gives no word the meaning "succeeded"')
const reading = { status: place, means, error: place.optional(), fraction: place.optional() }

const job = z.strictObject({
  handle: place,
  poll: z.strictObject({ url: pathOf('handle').optional(), every: duration.optional(), ...reading }),
  result: z
    .strictObject({
      url: pathOf('handle'),
      error: place.optional(),
      failed: z.array(z.int().min(400).max(599)).default([]),
    })
    .optional(),
  cancel: z
    .strictObject({ method: z.enum(['POST', 'PUT', 'DELETE']).default('PUT'), url: pathOf('handle') })
    .optional(),
})

const lookup = z.strictObject({
  url: pathOf('requestKey'),
  lag: duration,
  handle: place.optional(),
  status: place.optional(),
  means: means.optional(),
  error: place.optional(),
  fraction: place.optional(),
})

const carries = z.union(
  [
    z.strictObject({ header: headerName.refine((name) => headerTrouble(name) === null) }),
    z.strictObject({ query: z.string().regex(/^[A-Za-z0-9_.~-]{1,100}$/) }),
    z.strictObject({ body: z.string().min(1).max(100) }),
  ],
  { error: 'says how the URL is given: { header: … }, { query: … } or { body: … }' },
)
const hmac = z.strictObject({
  header: headerName,
  algorithm: z.enum(['sha256', 'sha512']),
  encoding: z.enum(['hex', 'base64']).default('hex'),
  prefix: z.string().max(40).default(''),
})
const signed = {
  carries,
  secret: z.custom<Secret>(isSecret, "needs env('NAME'): deliveries are verified with it"),
  body: z.enum(['status', 'ignore']).default('ignore'),
}
const webhook = z.union(
  [
    z.strictObject({ carries, verify: z.literal('none') }),
    z.strictObject({ ...signed, verify: z.literal('standard-webhooks') }),
    z.strictObject({ ...signed, verify: z.strictObject({ hmac }) }),
  ],
  {
    error:
      'needs carries, and verify: "none" (without secret), or "standard-webhooks" or { hmac: { header, algorithm } } with secret: env(\'NAME\')',
  },
)

const usage = z.record(z.string().regex(/^[a-zA-Z][a-zA-Z0-9]{0,39}$/), z.number().nonnegative())
const token = z.string().regex(/^[A-Za-z][A-Za-z0-9._-]{0,39}$/, 'is no authorization scheme such as "Key"')

/** Durations and functions keep their own types; zod checks the rest, and that nothing is misspelt. */
export const HttpSchema = z.strictObject({
  url: z.string(),
  method: z.enum(['POST', 'PUT']).default('POST'),
  headers: headersOption,
  keyHeader: headerName.default('Idempotency-Key'),
  apiKey: secretOption.optional(),
  apiKeyScheme: token.optional(),
  slots: slotsOption.default(8),
  recovery: z.enum(['idempotent', 'retrievable', 'job', 'in-flight', 'blind']).default('blind'),
  keyTtl: duration.optional(),
  job: job.optional(),
  lookup: lookup.optional(),
  webhook: webhook.optional(),
  cost: z.enum(['paid', 'free']),
  limits: limitsOption.optional(),
  model: z.string().min(1).max(200).optional(),
  longestRun: duration.optional(),
  spendMax: spendMaxOption.optional(),
  prices: priceTableSchema.optional(),
  usageMax: usage.optional(),
  connectTimeout: duration.optional(),
  responseBytesMax: responseBytesOption,
  notExecuted: statuses.default([]),
  executed: statuses.default([]),
  retryable: statuses.optional(),
  rejects: statuses.default([]),
  body: aFunction,
  output: z
    .custom<never>(
      (value) => isPointer(value) || isFunction(value),
      'is no JSON pointer such as "/output", nor a function',
    )
    .optional(),
  usage: aFunction,
  spend: aFunction,
  requestIdHeader: headerName.optional(),
  ready: z.string().optional(),
})

export type ParsedHttpOptions = z.output<typeof HttpSchema>
