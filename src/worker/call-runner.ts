/**
 * Makes the call of a saved intent and turns its end into an event.
 *
 * R1 Nothing is sent after `sendWithinMs` on this process's own monotonic clock, counted from the start of the save:
 *    a process that was frozen meanwhile must not send (P5).
 * R2 Exactly one call per intent; whatever happens, exactly one event comes out.
 * R3 An answer in hand is never dropped for a reason of storage: what the record can't hold becomes RESULT_UNSTORABLE.
 */
import type { CompiledPipeline } from '../machines/compiled.js'
import type { CallIntent } from '../machines/draft.js'
import type { CallEvent } from '../machines/events.js'
import { stepByName } from '../machines/machine-parts.js'
import type { RecordDocument } from '../machines/record.js'
import type { BlobStore } from '../persistence/contract.js'
import type { CallResult, JudgeOptions } from '../providers/call.js'
import { performCall } from '../providers/call.js'
import type { CallAnswer, CallRequest, Progress, Provider } from '../providers/contract.js'
import type { CallReport, Gate } from '../providers/gate.js'
import type { Clock } from './contract.js'
import { storeJson, Unstorable } from './payloads.js'
import type { Prepared } from './prepare.js'

export type CallRunner = (job: CallJob) => Promise<CallEvent>

export type CallJob = {
  intent: CallIntent
  prepared: Prepared
  doc: RecordDocument
  compiled: CompiledPipeline
  /** Monotonic ms at which the save of the intent began. */
  savedFromMs: number
  signal: AbortSignal
  onProgress(progress: Progress): void
}

export type CallRunnerDeps = {
  providers: ReadonlyMap<string, Provider>
  blobs: BlobStore
  clock: Clock
  gate: Pick<Gate, 'report'>
  random(): number
  /** Waits between tries to store an answer while storage is away. */
  storageRetryMs: number
  /** Where a provider may tell of a job's end; null when nothing can reach us. */
  webhookUrl?(provider: string, call: CallRef & { record: string }): string | null
}

type CallRef = { step: string; attempt: number; generation: number }

export const createCallRunner = (deps: CallRunnerDeps): CallRunner => {
  return async (job) => {
    const { intent, prepared, doc, compiled, signal } = job
    const { step, attempt, generation } = intent
    const call = { step, attempt, generation }
    const provider = deps.providers.get(intent.provider)
    if (!provider || !prepared.ok) return notPrepared(call, prepared)
    // R1
    if (deps.clock.monotonicMs() - job.savedFromMs > compiled.definition.lease.sendWithinMs)
      return { type: 'CALL_NOT_SENT', ...call }
    const request: CallRequest = {
      ...prepared.parts,
      attempt,
      generation,
      built: prepared.built,
      deadlineMs: stepByName(compiled.definition, step).deadlineMs,
      webhookUrl: deps.webhookUrl?.(intent.provider, { record: doc._id, ...call }) ?? null,
      onProgress: job.onProgress,
    }
    const judging = judgingOf(compiled, doc, intent, deps.random)
    const result = await performCall(provider, request, {
      ...judging,
      clock: deps.clock,
      signal,
      told: (answer, durationMs) => deps.gate.report(reportOf(doc, intent.provider, answer, durationMs)),
    })
    return asEvent(deps, call, result, signal)
  }
}

/** How an answer of this attempt is to be judged, whichever way it comes. */
export const judgingOf = (
  compiled: CompiledPipeline,
  doc: RecordDocument,
  { step, attempt: n, generation, provider }: CallRef & { provider: string },
  random: () => number,
): Omit<JudgeOptions, 'durationMs'> => {
  const definition = stepByName(compiled.definition, step)
  const attempts = doc.steps[step]!.attempts
  const tryIndex = attempts.filter(
    (each) => each.provider === provider && each.generation === generation && each.n < n,
  ).length
  return {
    schema: definition.output,
    price: definition.price,
    retry: { ...definition.backoff, tryIndex },
    random,
    attempt: n,
    spendMax: attempts.find((each) => each.n === n)?.spendMax,
  }
}

export const reportOf = (doc: RecordDocument, provider: string, answer: CallAnswer, durationMs: number): CallReport => {
  const failed = answer.kind !== 'succeeded' && answer.kind !== 'accepted'
  return {
    record: doc._id,
    provider,
    source: doc.source,
    pipeline: doc.pipeline,
    outcome: failed ? (answer.kind === 'unknown' ? 'uncertain' : 'failed') : answer.kind,
    code: failed ? answer.code : null,
    kind: failed ? answer.kind : null,
    durationMs,
    usage: answer.usage ?? null,
    limits: limitsOf(answer),
  }
}

/** A refusal's Retry-After is a limit as well. */
const limitsOf = (answer: CallAnswer): CallReport['limits'] => {
  const pauseMs = answer.kind === 'not-executed' ? answer.retryAfterMs : undefined
  return pauseMs === undefined ? (answer.limits ?? null) : { pauseMs, ...answer.limits }
}

const notPrepared = (call: CallRef, prepared: Prepared): CallEvent => {
  const why = prepared.ok
    ? { code: 'no-provider', message: 'This worker has no such provider, so nothing was sent.', retryable: true }
    : prepared
  return {
    type: 'CALL_FAILED',
    ...call,
    error: { code: why.code, message: why.message, kind: 'not-executed' },
    retryable: why.retryable,
    rejects: false,
    backoffMs: 1_000,
    spend: null,
    evidence: null,
  }
}

/** The event of a judged answer; its payload is stored first. */
export const asEvent = async (
  deps: Pick<CallRunnerDeps, 'blobs' | 'clock' | 'storageRetryMs'>,
  call: CallRef,
  result: CallResult,
  signal: AbortSignal,
): Promise<CallEvent> => {
  const { evidence } = result
  if (result.kind === 'accepted') {
    const { handle, pollAfterMs } = result
    return { type: 'CALL_ACCEPTED', ...call, handle, evidence, ...(pollAfterMs !== null && { pollAfterMs }) }
  }
  const { spend } = result
  const usage = result.usage ? { usage: result.usage } : {}
  if (result.kind === 'failed') {
    const { error, retryable, rejects, backoffMs } = result
    return { type: 'CALL_FAILED', ...call, error, retryable, rejects, backoffMs, spend, evidence, ...usage }
  }
  if (result.kind === 'uncertain')
    return { type: 'CALL_UNCERTAIN', ...call, error: result.error, spend, evidence, ...usage }
  for (;;) {
    try {
      const payload = await storeJson(deps.blobs, result.output)
      return { type: 'CALL_SUCCEEDED', ...call, result: payload, charge: result.charge, spend, evidence, ...usage }
    } catch (error) {
      if (error instanceof Unstorable) {
        const { code, message } = error
        return { type: 'RESULT_UNSTORABLE', ...call, result: null, error: { code, message, kind: 'executed' }, spend }
      }
      // R3: storage is away; the answer waits here, in its slot, until it is back or this process ends.
      await deps.clock.sleep(deps.storageRetryMs, signal)
      if (signal.aborted) {
        const why = {
          code: 'stopped-with-answer',
          message: 'The worker stopped before the answer could be stored.',
          kind: 'unknown',
        } as const
        return { type: 'CALL_UNCERTAIN', ...call, error: why, spend, evidence }
      }
    }
  }
}
