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
import type { CallResult } from '../providers/call.js'
import { performCall } from '../providers/call.js'
import type { CallRequest, Provider } from '../providers/contract.js'
import type { Clock } from './contract.js'
import { inputOf, readOutputs, storeJson, Unstorable } from './payloads.js'

export type CallRunner = (job: CallJob) => Promise<CallEvent>

export type CallJob = {
  intent: CallIntent
  doc: RecordDocument
  compiled: CompiledPipeline
  /** Monotonic ms at which the save of the intent began. */
  savedFromMs: number
  signal: AbortSignal
}

export type CallRunnerDeps = {
  providers: ReadonlyMap<string, Provider>
  blobs: BlobStore
  clock: Clock
  random(): number
  /** Waits between tries to store an answer while storage is away. */
  storageRetryMs: number
}

export const createCallRunner = (deps: CallRunnerDeps): CallRunner => {
  return async (job) => {
    const { intent, compiled, signal } = job
    const { step, attempt, generation } = intent
    const call = { step, attempt, generation }
    const provider = deps.providers.get(intent.provider)
    const prepared = provider && (await prepare(deps, job).catch(() => null))
    if (!provider || !prepared) return notPrepared(call)
    // R1
    if (deps.clock.monotonicMs() - job.savedFromMs > compiled.definition.lease.sendWithinMs)
      return { type: 'CALL_NOT_SENT', ...call }
    const definition = stepByName(compiled.definition, step)
    const triesBefore = job.doc.steps[step]!.attempts.filter(
      (each) => each.provider === intent.provider && each.generation === generation && each.n < attempt,
    ).length
    const result = await performCall(provider, prepared, {
      schema: definition.output,
      price: definition.price,
      retry: { ...definition.backoff, tryIndex: triesBefore },
      random: deps.random,
      clock: deps.clock,
      signal,
    })
    return asEvent(deps, call, result, signal)
  }
}

type Call = { step: string; attempt: number; generation: number }

const notPrepared = (call: Call): CallEvent => ({
  type: 'CALL_FAILED',
  ...call,
  error: {
    code: 'request-not-built',
    message: 'The request could not be built, so nothing was sent.',
    kind: 'not-executed',
  },
  retryable: true,
  rejects: false,
  backoffMs: 1_000,
  spend: null,
  evidence: null,
})

const prepare = async (deps: CallRunnerDeps, { intent, doc, compiled }: CallJob): Promise<CallRequest> => {
  const definition = stepByName(compiled.definition, intent.step)
  const outputs = definition.request ? await readOutputs(deps.blobs, doc) : {}
  return {
    record: doc._id,
    pipeline: doc.pipeline,
    step: intent.step,
    attempt: intent.attempt,
    requestKey: intent.requestKey,
    deadlineMs: definition.deadlineMs,
    input: inputOf(deps.blobs, doc.input),
    request: definition.request?.(outputs as never),
    outputs,
  }
}

const asEvent = async (
  deps: CallRunnerDeps,
  call: Call,
  result: CallResult,
  signal: AbortSignal,
): Promise<CallEvent> => {
  const { spend, evidence } = result
  if (result.kind === 'failed') {
    const { error, retryable, rejects, backoffMs } = result
    return { type: 'CALL_FAILED', ...call, error, retryable, rejects, backoffMs, spend, evidence }
  }
  if (result.kind === 'uncertain') return { type: 'CALL_UNCERTAIN', ...call, error: result.error, spend, evidence }
  for (;;) {
    try {
      const payload = await storeJson(deps.blobs, result.output)
      return { type: 'CALL_SUCCEEDED', ...call, result: payload, charge: result.charge, spend, evidence }
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
