/**
 * The deep check of a stored record, for the audit and for documents that other hands may have touched. The hot path
 * checks shallowly (stored-form.ts, F3): this costs more than the load itself.
 */
import { z } from 'zod'
import { RECORD_STATUSES } from '../machines/record.js'
import type { RecordDocument } from '../machines/record.js'

const money = z.object({ amount: z.string().regex(/^\d+(\.\d+)?$/), currency: z.string().min(1) })
const payload = z.union([
  z.strictObject({ inline: z.string(), sha256: z.string(), bytes: z.int().min(0) }),
  z.strictObject({ blob: z.string(), sha256: z.string(), bytes: z.int().min(0) }),
])
const payloadRef = z.strictObject({ sha256: z.string(), bytes: z.int().min(0), blob: z.string().optional() })
const recordError = z.object({
  code: z.string(),
  message: z.string(),
  kind: z.enum(['not-executed', 'executed', 'partial', 'unknown']),
  attempt: z.int().optional(),
})
const attempt = z.object({
  n: z.int().min(1),
  generation: z.int().min(1),
  provider: z.string(),
  requestKey: z.string(),
  outcome: z.enum(['succeeded', 'failed', 'uncertain']).nullable(),
  startedAt: z.date(),
  sendBy: z.date(),
  endedAt: z.date().nullable(),
  spend: money.extend({ basis: z.enum(['reported', 'estimated', 'upper-bound']) }).nullable(),
  possibleDuplicate: z.boolean().optional(),
  error: recordError.nullable(),
  evidence: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).nullable(),
})
const stepResult = z.object({ attempt: z.int().min(1), at: z.date(), payload })
const step = z.object({
  attempts: z.array(attempt),
  result: stepResult.nullable(),
  discarded: z.array(
    z.object({
      attempt: z.int(),
      generation: z.int(),
      at: z.date(),
      payload: z.union([payload, payloadRef]),
      reason: z.string(),
    }),
  ),
  candidate: stepResult.nullable(),
})
const historyEntry = z.object({
  version: z.int().min(1),
  writer: z.string().min(1),
  at: z.date(),
  event: z.looseObject({ type: z.string() }),
  from: z.string(),
  to: z.string(),
  by: z.string(),
})

const recordDocument = z.strictObject({
  _id: z.string().min(1),
  source: z.string(),
  key: z.string().nullable(),
  contentHash: z.string(),
  pipeline: z.string(),
  pipelineVersion: z.string(),
  metadata: z.record(z.string(), z.string()),
  simulated: z.boolean(),
  acceptedAt: z.date(),
  via: z.string(),
  version: z.int().min(1),
  status: z.enum(RECORD_STATUSES),
  generation: z.int().min(1),
  snapshot: z.unknown(),
  timers: z.array(z.object({ id: z.string(), event: z.string(), dueAt: z.date(), guards: z.enum(['call', 'wait']) })),
  wakeAt: z.date().nullable(),
  queue: z.array(z.object({ provider: z.string(), step: z.string(), readyAt: z.date() })),
  settlesBy: z.date(),
  settledAt: z.date().nullable(),
  outagesUntil: z.date(),
  reason: recordError.nullable(),
  input: z.object({
    mediaType: z.string(),
    fileName: z.string().nullable(),
    payload,
    encoding: z.enum(['json', 'base64', 'blob']),
  }),
  steps: z.record(z.string(), step),
  charges: z.record(
    z.string(),
    money.extend({ at: z.date(), attempt: z.int().nullable(), simulated: z.boolean().optional() }),
  ),
  history: z.array(historyEntry).min(1),
  outbox: z.array(
    z.object({
      seq: z.int(),
      type: z.string(),
      at: z.date(),
      data: z.record(z.string(), z.unknown()),
      sent: z.record(z.string(), z.date()),
      sending: z.record(z.string(), z.strictObject({ first: z.date(), last: z.date() })).optional(),
    }),
  ),
  shard: z.int().min(0).max(255),
})

const versionsInOrder = (doc: RecordDocument): boolean =>
  doc.history.every(({ version }, n) => version === doc.history[0]!.version + n) &&
  doc.history.at(-1)!.version === doc.version

/** What is wrong with the shape of a loaded record, as paths with reasons and never with values. Empty: nothing. */
export const shapeFaultsOf = (doc: unknown): string[] => {
  const parsed = recordDocument.safeParse(doc)
  return parsed.success ? [] : parsed.error.issues.map(({ path, code }) => `${path.join('.')}: ${code}`)
}

/** The same, and whether its versions hang together. */
export const faultsOf = (doc: RecordDocument): string[] => {
  const faults = shapeFaultsOf(doc)
  if (faults.length > 0) return faults
  return versionsInOrder(doc) ? [] : ['history: its versions do not lead to the version of the record']
}
