/**
 * The parts of the API's answers that live views show, parsed. Unknown fields are let through, so that an older client
 * works against a newer service. No imports of the platform: the console uses this too.
 */
import { z } from 'zod'

const time = z.iso.datetime()

export const STATUSES = ['processing', 'completed', 'rejected', 'cancelled', 'investigation'] as const
export type LiveStatus = (typeof STATUSES)[number]

const LiveError = z.object({ code: z.string(), message: z.string() })
const Spend = z.object({ amount: z.string(), currency: z.string(), basis: z.string() })
const Progress = z.object({ at: time, outputTokens: z.int().nullable(), fraction: z.number().nullable() })
export type LiveProgress = z.infer<typeof Progress>

export const LiveAttempt = z.object({
  n: z.int(),
  generation: z.int(),
  provider: z.string(),
  model: z.string().nullish(),
  /** Null while it runs. */
  outcome: z.enum(['succeeded', 'failed', 'uncertain']).nullable(),
  startedAt: time,
  endedAt: time.nullable(),
  spend: Spend.nullable(),
  /** What it may cost at most, where that is known before its end. */
  spendMax: z.object({ amount: z.string(), currency: z.string() }).nullish(),
  /** The provider's own id of the call. */
  handle: z.string().nullish(),
  usage: z.record(z.string(), z.number()).nullish(),
  /** How far it has come, as last told. */
  progress: Progress.nullish(),
  possibleDuplicate: z.boolean(),
  error: LiveError.nullable(),
})
export type LiveAttempt = z.infer<typeof LiveAttempt>

export const LiveStep = z.object({
  attempts: z.array(LiveAttempt),
  result: z
    .object({
      attempt: z.int(),
      at: time,
      bytes: z.int(),
      output: z.unknown().optional(),
      link: z.string().optional(),
    })
    .nullable(),
  /** Answers that came too late to become the result. */
  discarded: z.array(z.object({ attempt: z.int(), at: time, reason: z.string(), bytes: z.int() })).optional(),
  /** One that came in investigation. */
  candidate: z.object({ attempt: z.int(), at: time, bytes: z.int() }).nullish(),
})
export type LiveStep = z.infer<typeof LiveStep>

export const LiveCharge = z.object({ amount: z.string(), currency: z.string(), at: time })
export type LiveCharge = z.infer<typeof LiveCharge>

const stateName = (value: unknown): string =>
  typeof value === 'string'
    ? value
    : Object.entries(value as { [region: string]: unknown })
        .map(([region, inner]) => (isLeaf(inner) ? region : `${region}.${stateName(inner)}`))
        .join(' + ')
const isLeaf = (value: unknown): boolean =>
  typeof value !== 'string' && (value === null || typeof value !== 'object' || Object.keys(value).length === 0)

export const LiveRecord = z.object({
  id: z.string(),
  version: z.int(),
  status: z.enum(STATUSES),
  /** As a path: `read.calling`; parallel regions joined by ` + `. */
  state: z.union([z.string(), z.record(z.string(), z.unknown())]).transform(stateName),
  pipeline: z.string(),
  pipelineVersion: z.string(),
  source: z.string(),
  key: z.string().nullable(),
  acceptedAt: time,
  settlesBy: time,
  settledAt: time.nullable(),
  generation: z.int(),
  simulated: z.boolean(),
  reason: LiveError.nullable(),
  /** What a person may do to it now; null when nobody knows, absent from an older service. */
  can: z.object({ cancel: z.boolean(), retry: z.boolean(), writeOff: z.boolean() }).nullish(),
  input: z.object({ mediaType: z.string(), fileName: z.string().nullable(), bytes: z.int() }),
  steps: z.record(z.string(), LiveStep),
  /** Steps that wait for a slot at a provider; `held`: why not before `readyAt`. Absent from an older service. */
  waitingFor: z
    .array(z.object({ provider: z.string(), step: z.string(), readyAt: time, held: LiveError.nullable() }))
    .optional(),
  charges: z.record(z.string(), LiveCharge),
})
export type LiveRecord = z.infer<typeof LiveRecord>

/** One entry of a record's way; of its event only what a person follows, never content. */
export const WayEntry = z
  .object({
    version: z.int(),
    at: time,
    event: z.looseObject({
      type: z.string(),
      step: z.string().optional(),
      attempt: z.int().optional(),
      provider: z.string().optional(),
      error: z.looseObject({ code: z.string() }).optional(),
    }),
    from: z.string(),
    to: z.string(),
    by: z.string(),
    reused: z.array(z.string()).optional(),
  })
  .transform(({ version, at, event, from, to, by, reused }) => ({
    version,
    at,
    type: event.type,
    step: event.step ?? null,
    attempt: event.attempt ?? null,
    provider: event.provider ?? null,
    errorCode: event.error?.code ?? null,
    /** Steps whose result was there already: nothing was called. */
    ...(reused && { reused }),
    from,
    to,
    by,
  }))
export type WayEntry = z.infer<typeof WayEntry>

/** A state of a pipeline's chart, of which a person reads the description; see chart-words.ts. */
export type ChartState = {
  description?: string | undefined
  meta?: { step?: string | undefined } | undefined
  states?: { [name: string]: ChartState } | undefined
}
const ChartState: z.ZodType<ChartState> = z.lazy(() =>
  z.object({
    description: z.string().optional(),
    meta: z.object({ step: z.string().optional() }).optional().catch(undefined),
    states: z.record(z.string(), ChartState).optional(),
  }),
)
export const Machine = z.object({ version: z.string(), xstate: ChartState })

export const RecordPage = z.object({ items: z.array(LiveRecord), next: z.string().nullable() })
export const WayPage = z.object({ items: z.array(WayEntry), next: z.string().nullable() })
