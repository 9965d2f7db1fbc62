/**
 * A prediction as Replicate and Cog tell it, and what it means for the call.
 *
 * Owns the reading of one prediction object, however it came: answer of the call, look-up or webhook. Does not own the
 * exchange that carried it, nor which call it belongs to.
 *
 * - R1 A prediction's `error` and `logs` may quote the input: neither gets into a message or the evidence. A code such as
 *   E005 does.
 * - R2 A prediction that succeeded and whose output was removed (Replicate removes it after an hour) is a result lost,
 *   never a result `null`.
 *
 * https://replicate.com/docs/reference/http#predictions.get, https://github.com/replicate/cog/blob/main/docs/http.md
 */
import { z } from 'zod'
import type { Evidence, Usage } from '../../machines/record.js'
import type { CallAnswer, LearnedLimits } from '../contract.js'
import { spendOfUsage, type PriceTable } from '../price-table.js'

const PredictionShape = z.object({
  // Goes into paths and into the record. Cog leaves it out of refusals.
  id: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,128}$/)
    .nullish()
    .transform((id) => id ?? null),
  status: z.string().max(40),
  output: z.unknown().optional(),
  input: z.unknown().optional(),
  error: z.unknown().optional(),
  metrics: z
    .object({ predict_time: z.number().min(0).optional().catch(undefined) })
    .nullish()
    .catch(null),
  data_removed: z.boolean().nullish().catch(null),
})

export type Prediction = z.infer<typeof PredictionShape>

/** Null when it is no prediction. */
export function parsePrediction(json: unknown): Prediction | null {
  const parsed = PredictionShape.safeParse(json)
  return parsed.success ? parsed.data : null
}

export type PredictionRules = {
  prices: PriceTable | null
  /** Takes the step's output out of the prediction's. */
  output: ((output: unknown) => unknown) | undefined
}

export type ToldWithPrediction = { evidence: Evidence; limits: LearnedLimits | null }

const RUNNING: ReadonlySet<string> = new Set(['starting', 'processing'])

/** Still waiting or running at the provider. */
export const isRunning = ({ status }: Prediction): boolean => RUNNING.has(status)

/** What an ended prediction means. Null while it runs, and for a status that nobody has documented. */
export function readEnded(prediction: Prediction, told: ToldWithPrediction, rules: PredictionRules): CallAnswer | null {
  const { id } = prediction
  // By it a person finds the run at the provider, also where the answer to the call that began it was lost.
  const evidence: Evidence = { ...told.evidence, ...(id !== null && { predictionId: id }) }
  const seconds = prediction.metrics?.predict_time
  const usage: Usage | null = seconds === undefined ? null : { seconds }
  const spend = usage === null ? null : spendOfUsage(rules.prices, usage)
  const facts = { evidence, limits: told.limits, usage, spend, ...(id !== null && { handle: id }) }
  switch (prediction.status) {
    case 'succeeded':
      return readOutput(prediction, facts, rules)
    case 'failed': {
      const code = errorCodeOf(prediction.error)
      if (code !== null) evidence['errorCode'] = code
      const message = `The model failed${code === null ? '' : ` with ${code}`}. Its own words are in the provider's logs.`
      return { ...facts, kind: 'executed', code: 'prediction-failed', message, retryable: true }
    }
    // Someone ended it on purpose, or a deadline did: to start another one is not ours to decide.
    case 'canceled':
      return { ...facts, kind: 'executed', code: 'prediction-canceled', message: CANCELED, retryable: false }
    case 'aborted':
      return { ...facts, kind: 'executed', code: 'prediction-aborted', message: ABORTED, retryable: true }
    default:
      return null
  }
}

const CANCELED = 'The prediction was cancelled at the provider.'
const ABORTED = 'The prediction was ended before it began to run.'

type Told = ToldWithPrediction & { usage: Usage | null; spend: ReturnType<typeof spendOfUsage>; handle?: string }

function readOutput(prediction: Prediction, told: Told, { output: take }: PredictionRules): CallAnswer {
  if (prediction.data_removed === true) {
    const message = 'It succeeded, and its output has been removed at the provider.'
    return { ...told, kind: 'partial', code: 'output-removed', message, retryable: true }
  }
  const { output = null } = prediction
  if (take === undefined) return { ...told, kind: 'succeeded', output }
  try {
    return { ...told, kind: 'succeeded', output: take(output) }
  } catch {
    const message = "The provider's output function threw on this prediction."
    return { ...told, kind: 'partial', code: 'output-threw', message, retryable: true }
  }
}

/** Replicate's own code, such as E005 for an input or output that was flagged. R1 */
function errorCodeOf(error: unknown): string | null {
  if (typeof error !== 'string') return null
  return /\b(E\d{3,4})\b/.exec(error.slice(0, 2000))?.[1] ?? null
}
