/**
 * Questions about calls, and wishes to end jobs: what the machine asks for besides calls. They start nothing at the
 * provider and need no intent; one that is lost with its process is asked again by the state's own timer.
 *
 * E1 A question is never in the way: those of one provider share places of their own, apart from the slots of calls, and
 *    one that finds none is left out (P8).
 * E2 What a provider tells is judged as its answer to the call would have been, and applied to what is there then.
 * E3 A question never makes a call more doubtful than it was.
 */
import type { CompiledPipeline } from '../machines/compiled.js'
import { ASK_DEADLINE_MS } from '../machines/delays.js'
import type { Errand } from '../machines/draft.js'
import type { CallEvent } from '../machines/events.js'
import type { Attempt, RecordDocument } from '../machines/record.js'
import type { BlobStore } from '../persistence/contract.js'
import { judge, performAsk } from '../providers/call.js'
import type { AskAnswer, Provider, Question } from '../providers/contract.js'
import type { Gate } from '../providers/gate.js'
import { asEvent, judgingOf, reportOf } from './call-runner.js'
import type { Clock } from './contract.js'

export type ErrandRunner = (
  errand: Errand,
  doc: RecordDocument,
  compiled: CompiledPipeline,
  signal: AbortSignal,
) => Promise<CallEvent | null>

export type ErrandDeps = {
  providers: ReadonlyMap<string, Provider>
  blobs: BlobStore
  clock: Clock
  gate: Pick<Gate, 'report'>
  random(): number
  storageRetryMs: number
}

/** Questions at one provider at once, in this process. */
const ASKING_MAX = 16
/** How much further a job must have come to be worth a save. */
const FRACTION_STEP = 0.1

/** Answers the event that followed, if any. Never rejects. */
export const createErrandRunner = (deps: ErrandDeps): ErrandRunner => {
  const asking = new Map<string, number>()
  const underWay = new Set<string>()

  return async (errand, doc, compiled, signal) => {
    const { step } = errand
    const attempt = doc.steps[step]?.attempts.find(({ n }) => n === errand.attempt)
    const provider = attempt && deps.providers.get(attempt.provider)
    if (!attempt || !provider) return null
    const { name } = provider.terms
    const key = `${errand.kind} ${doc._id} ${step} ${attempt.n}`
    const now = asking.get(name) ?? 0
    if (underWay.has(key) || now >= ASKING_MAX) return null // E1
    asking.set(name, now + 1)
    underWay.add(key)
    try {
      const question = questionOf(doc, step, attempt)
      if (errand.kind === 'cancel') return await cancel(deps, provider, question, signal)
      const askedMs = deps.clock.monotonicMs()
      const answer = await performAsk(provider, question, { clock: deps.clock, signal })
      if (answer.kind !== 'missing' && answer.kind !== 'accepted')
        deps.gate.report(reportOf(doc, name, answer, deps.clock.monotonicMs() - askedMs))
      return await eventOf(deps, { doc, compiled, step, attempt, provider, signal }, answer)
    } finally {
      asking.set(name, asking.get(name)! - 1)
      underWay.delete(key)
    }
  }
}

export const questionOf = (doc: RecordDocument, step: string, attempt: Attempt): Question => ({
  record: doc._id,
  step,
  attempt: attempt.n,
  generation: attempt.generation,
  requestKey: attempt.requestKey,
  handle: attempt.handle ?? null,
  startedAt: attempt.startedAt,
  sendBy: attempt.sendBy,
  deadlineMs: ASK_DEADLINE_MS,
})

const cancel = async (deps: ErrandDeps, provider: Provider, question: Question, signal: AbortSignal): Promise<null> => {
  const enough = new AbortController()
  const end = () => enough.abort('ended by the worker')
  signal.addEventListener('abort', end, { once: true })
  // Advisory: whatever comes of it, the record does not wait for it.
  const wished = provider.cancel?.(question, enough.signal).catch(() => undefined)
  await Promise.race([wished, deps.clock.sleep(question.deadlineMs, enough.signal)])
  signal.removeEventListener('abort', end)
  end()
  return null
}

export type Asked = {
  doc: RecordDocument
  compiled: CompiledPipeline
  step: string
  attempt: Attempt
  provider: Pick<Provider, 'terms'>
  signal: AbortSignal
}

/** E2. Null when there is nothing to tell. */
export const eventOf = async (
  deps: Pick<ErrandDeps, 'blobs' | 'clock' | 'random' | 'storageRetryMs'>,
  { doc, compiled, step, attempt, provider, signal }: Asked,
  answer: AskAnswer,
): Promise<CallEvent | null> => {
  const call = { step, attempt: attempt.n, generation: attempt.generation }
  if (answer.kind === 'missing') return { type: 'CALL_MISSED', ...call, evidence: answer.evidence ?? null }
  // The question got no answer; the call is where it was.
  if (answer.kind === 'unknown') return null
  if (answer.kind === 'accepted' && attempt.handle !== undefined) {
    const { fraction } = answer
    const known = attempt.progress?.fraction ?? 0
    if (fraction === undefined || !(fraction <= 1) || fraction - known < FRACTION_STEP) return null
    return { type: 'CALL_PROGRESSED', ...call, handle: null, progress: { fraction } }
  }
  const judging = judgingOf(compiled, doc, { ...call, provider: attempt.provider }, deps.random)
  const event = await asEvent(deps, call, judge(provider.terms, answer, { ...judging, durationMs: null }), signal)
  // E3: an answer that could not be kept is told again to whoever asks next.
  return event.type === 'CALL_UNCERTAIN' ? null : event
}
