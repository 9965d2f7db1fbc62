/**
 * The API's shapes, once: requests are parsed with them, answers are typed by them, and OpenAPI is generated from
 * them. All objects are closed, so that an answer with an undocumented field fails the tests.
 */
import { z } from 'zod'
import { RECORD_STATUSES } from '../machines/record.js'

export const LIST_LIMIT_MAX = 200
const LIST_LIMIT = 50

export const time = z.iso.datetime().meta({ description: 'ISO 8601, UTC' })
export const amount = z.string().meta({ description: 'Decimal string, never a float', example: '0.40' })
export const name = z.string().regex(/^[a-z0-9-]{1,40}$/, 'must be 1 to 40 of a-z, 0-9 and "-"')
const status = z.enum(RECORD_STATUSES)
export const outcome = z.enum(['succeeded', 'failed', 'uncertain'])
/** Any JSON. Not `z.json()`: its recursion has no place in a generated document. */
const json = z.unknown().meta({ description: 'Any JSON value' })

export const recordId = z.string().regex(/^[A-Za-z0-9-]{1,64}$/, 'is no record id')
export const idParams = z.strictObject({ id: recordId })
export const stepParams = z.strictObject({ id: recordId, step: name })
export const nameParams = z.strictObject({ name })

const metadata = z.record(z.string(), z.string()).meta({
  description: 'Up to 32 entries: names of A-Z, a-z, 0-9, "_", "-" (64), values up to 200 characters',
})

export const submitBody = z
  .strictObject({ pipeline: name, input: json, metadata: metadata.optional() })
  // The generator takes `unknown` for optional; it is not.
  .meta({ id: 'SubmitRequest', required: ['pipeline', 'input'] })

export const submitQuery = z.strictObject({
  pipeline: name.optional().meta({ description: 'When given, the body is the input itself, of any media type' }),
})

export const uploadQuery = z.strictObject({
  pipeline: name.optional().meta({ description: 'The pipeline, where no field names it' }),
})

export const submitHeaders = z.object({
  'Idempotency-Key': z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'must be 1 to 255 visible ASCII characters')
    .optional()
    .meta({ description: 'The same key from the same source is the same record' }),
  'Endstate-Source': name
    .optional()
    .meta({ description: 'The source, where the server runs on loopback without keys' }),
  Prefer: z
    .string()
    .optional()
    .meta({ description: '`wait=N` waits up to N seconds (60 at most) for the record to settle' }),
})

export const uploadBody = z
  .object({
    pipeline: name.optional(),
    key: z.string().optional(),
    metadata: z.string().optional().meta({ description: 'A JSON object of strings' }),
    file: z.string().meta({ format: 'binary', description: 'One part per file; fields must come before it' }),
  })
  .meta({ id: 'UploadRequest' })

export const receiptSchema = z
  .strictObject({ id: recordId, version: z.int(), status, settlesBy: time, duplicate: z.boolean() })
  .meta({ id: 'Receipt' })

const errorSchema = z
  .strictObject({
    code: z.string(),
    message: z.string(),
    kind: z.enum(['not-executed', 'executed', 'partial', 'unknown']),
    attempt: z.int().optional(),
  })
  .meta({ id: 'RecordError' })

export const spendSchema = z
  .strictObject({ amount, currency: z.string(), basis: z.enum(['reported', 'estimated', 'upper-bound']) })
  .meta({ id: 'Spend' })

const attemptSchema = z
  .strictObject({
    n: z.int(),
    generation: z.int(),
    provider: z.string(),
    model: z.string().nullable(),
    requestKey: z.string(),
    outcome: outcome.nullable().meta({ description: 'null while the attempt is open' }),
    startedAt: time,
    sendBy: time,
    endedAt: time.nullable(),
    spend: spendSchema.nullable(),
    spendMax: z
      .strictObject({ amount, currency: z.string() })
      .nullable()
      .meta({ description: 'What this call may cost at most, where it is known better than by its provider' }),
    request: z
      .strictObject({ sha256: z.string(), blob: z.string().optional() })
      .nullable()
      .meta({ description: 'The bytes that were frozen for this attempt' }),
    handle: z.string().nullable().meta({ description: "The provider's own id of the call, known before its end" }),
    usage: z.record(z.string(), z.number()).nullable(),
    progress: z
      .strictObject({ at: time, outputTokens: z.int().nullable(), fraction: z.number().nullable() })
      .nullable(),
    possibleDuplicate: z.boolean(),
    error: errorSchema.nullable(),
    evidence: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).nullable(),
  })
  .meta({ id: 'Attempt' })

const resultSchema = z
  .strictObject({
    attempt: z.int(),
    at: time,
    output: json
      .optional()
      .meta({ description: 'Present when the result is small enough to be inline; never in lists' }),
    link: z.string().optional().meta({ description: 'Where the output is, when it is not inline' }),
    bytes: z.int(),
    sha256: z.string(),
  })
  .meta({ id: 'StepResult' })

const discardedSchema = z
  .strictObject({
    attempt: z.int(),
    generation: z.int(),
    at: time,
    reason: z.string(),
    output: json.optional(),
    bytes: z.int(),
    sha256: z.string(),
  })
  .meta({ id: 'DiscardedResult' })

const stepSchema = z
  .strictObject({
    attempts: z.array(attemptSchema),
    result: resultSchema.nullable(),
    discarded: z.array(discardedSchema),
    candidate: resultSchema.nullable(),
  })
  .meta({ id: 'Step' })

const chargeSchema = z
  .strictObject({ amount, currency: z.string(), at: time, attempt: z.int().nullable(), simulated: z.boolean() })
  .meta({ id: 'Charge' })

export const canSchema = z
  .strictObject({ cancel: z.boolean(), retry: z.boolean(), writeOff: z.boolean() })
  .nullable()
  .meta({
    description:
      "What a person may do to it in its state, as its machine says; null when its pipeline's version is not known here",
  })

export const recordSchema = z
  .strictObject({
    id: recordId,
    version: z.int(),
    status,
    state: z.union([z.string(), z.record(z.string(), z.unknown())]).meta({ description: "The machine's state value" }),
    pipeline: name,
    pipelineVersion: z.string(),
    source: name,
    key: z.string().nullable(),
    metadata: z.record(z.string(), z.string()),
    acceptedAt: time,
    settlesBy: time,
    settledAt: time.nullable(),
    wakeAt: time.nullable(),
    generation: z.int(),
    simulated: z.boolean(),
    reason: errorSchema.nullable().meta({ description: 'Why it was rejected, cancelled or needs a person' }),
    can: canSchema,
    input: z.strictObject({
      mediaType: z.string(),
      fileName: z.string().nullable(),
      bytes: z.int(),
      sha256: z.string(),
      link: z.string(),
    }),
    steps: z.record(z.string(), stepSchema),
    waitingFor: z
      .array(
        z.strictObject({
          provider: z.string(),
          step: name,
          readyAt: time,
          held: z.strictObject({ code: z.string(), message: z.string() }).nullable(),
        }),
      )
      .meta({ description: 'Steps that wait for a slot at a provider; `held`: why not before `readyAt`' }),
    charges: z.record(z.string(), chargeSchema),
  })
  .meta({ id: 'Record' })

export const historyEntrySchema = z
  .strictObject({
    version: z.int(),
    at: time,
    event: z.looseObject({ type: z.string() }),
    from: z.string(),
    to: z.string(),
    by: z.string(),
    reused: z
      .array(z.string())
      .optional()
      .meta({ description: 'Steps that had their result already: it was returned, nothing was called' }),
  })
  .meta({ id: 'HistoryEntry' })

export const chargeRowSchema = z
  .strictObject({
    record: recordId,
    key: z.string(),
    source: name,
    pipeline: name,
    amount,
    currency: z.string(),
    at: time,
    attempt: z.int().nullable(),
    simulated: z.boolean(),
  })
  .meta({ id: 'ChargeRow' })

const priceSchema = z
  .strictObject({
    amount: amount.nullable().meta({ description: 'null where it follows from the call' }),
    currency: z.string(),
    form: z.enum(['fixed', 'perPage', 'perMillionTokens', 'amount']).meta({ description: '`amount`: a function' }),
    perPage: amount.optional(),
    perMillionTokens: z.strictObject({ input: amount.optional(), output: amount.optional() }).optional(),
  })
  .meta({ id: 'Price' })

export const pipelineSchema = z
  .strictObject({
    name,
    version: z.string(),
    revision: z.int(),
    description: z.string(),
    accepts: z.array(z.string()),
    inputBytesMax: z.int(),
    worstCaseMs: z.number(),
    price: priceSchema.nullable(),
    steps: z.array(
      z.strictObject({
        name,
        description: z.string(),
        use: z.array(z.string()),
        deadlineMs: z.number(),
        attempts: z.int(),
        price: priceSchema.nullable(),
      }),
    ),
  })
  .meta({ id: 'Pipeline' })

export const machineSchema = z
  .strictObject({
    pipeline: name,
    version: z.string(),
    xstate: json,
    mermaid: z.string(),
    path: z
      .array(
        z.strictObject({
          state: z.string(),
          timer: z.string().nullable().meta({ description: 'null where a region of a parallel state is entered' }),
          ms: z.number(),
          until: z.string().meta({ description: 'Where the record may be by then, under the same timer' }),
          by: z.string(),
          to: z.string(),
        }),
      )
      .optional()
      .meta({ description: 'The longest way to an end; the sum of its parts is the worst case' }),
  })
  .meta({ id: 'Machine' })

export const liveSchema = z.strictObject({ status: z.literal('ok') }).meta({ id: 'Live' })
export const readySchema = z
  .strictObject({ status: z.enum(['ok', 'unavailable']), degraded: z.array(z.string()) })
  .meta({ id: 'Ready' })

export const problemSchema = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string(),
    detail: z.string(),
    requestId: z.string(),
  })
  .meta({ id: 'Problem' })

export const next = z.string().nullable().meta({ description: 'Token of the next page; null at the end' })
export const receiptListSchema = z.strictObject({ items: z.array(receiptSchema), next }).meta({ id: 'ReceiptList' })
export const recordListSchema = z.strictObject({ items: z.array(recordSchema), next }).meta({ id: 'RecordList' })
export const historyListSchema = z
  .strictObject({ items: z.array(historyEntrySchema), next })
  .meta({ id: 'HistoryList' })
export const chargeListSchema = z.strictObject({ items: z.array(chargeRowSchema), next }).meta({ id: 'ChargeList' })
export const pipelineListSchema = z.strictObject({ items: z.array(pipelineSchema), next }).meta({ id: 'PipelineList' })

export const page = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(LIST_LIMIT_MAX)
    .default(LIST_LIMIT)
    .meta({ description: `1 to ${LIST_LIMIT_MAX}` }),
  page: z.string().max(2048).optional().meta({ description: 'A page token: `next` of the page before' }),
}

export const listQuery = z.strictObject({
  source: name.optional(),
  pipeline: name.optional(),
  status: status.optional(),
  ...page,
})
/** For answers that are tables. */
export const format = z
  .enum(['json', 'csv'])
  .optional()
  .meta({ description: 'Instead of the header Accept; a CSV holds all pages' })
export const csvText = z.string().meta({ description: 'RFC 4180, with a header line' })
export const historyQuery = z.strictObject({ ...page })
export const chargesQuery = z.strictObject({
  source: name.optional(),
  pipeline: name.optional(),
  from: z.iso.datetime({ offset: true }).optional().meta({ description: 'Charged at this time or later' }),
  to: z.iso.datetime({ offset: true }).optional().meta({ description: 'Charged before this time' }),
  key: name.optional().meta({ description: "A step's name, or `record`" }),
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/, 'must be a code such as "EUR"')
    .optional(),
  simulated: z
    .enum(['true', 'false'])
    .optional()
    .transform((text) => (text === undefined ? undefined : text === 'true')),
  format,
  ...page,
})
export const machineQuery = z.strictObject({ format: z.enum(['json', 'mermaid']).optional() })
export const anyObject = z.looseObject({})
export const noQuery = z.strictObject({})

export type RecordJson = z.input<typeof recordSchema>
export type HistoryEntryJson = z.input<typeof historyEntrySchema>
export type ChargeRowJson = z.input<typeof chargeRowSchema>
export type PipelineJson = z.input<typeof pipelineSchema>
