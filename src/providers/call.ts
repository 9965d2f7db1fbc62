/**
 * The call layer: one call to one provider, and what it means for the record.
 *
 * Owns the deadline, the classification of what came back and the pause before the next try. Charge and spend are
 * decided in call-money.ts, the schema in output-check.ts. Does not own the wire (adapters), the slot, nor what
 * happens next (the machine).
 *
 * - C1 It settles within `deadlineMs` + SETTLE_GRACE_MS whatever the adapter does, and never rejects.
 * - C2 "No answer" is `uncertain`, never `failed`: only an adapter that says so, or a call that never began, is certain.
 * - C3 Nothing of an output, and no text that an adapter was thrown, gets into an error or the evidence.
 */
import type { z } from 'zod'
import type { Charge, Evidence, FailureKind, RecordError, Spend, Usage } from '../machines/record.js'
import type { Price, ProviderTerms } from '../machines/pipeline.js'
import type { Clock } from '../worker/contract.js'
import type { AskAnswer, CallAnswer, CallInput, CallRequest, Provider, Question } from './contract.js'
import { decideCharge, spendOf, upperBound } from './call-money.js'
import { checkOutput } from './output-check.js'

/** How long an adapter may take after the abort to say what it knows (for example: never connected). */
export const SETTLE_GRACE_MS = 250
/** A reason of our own, because the default one is a DOMException with a stack: a tenth of a call's CPU. */
const ENDED = 'ended by the call layer'
const MESSAGE_LENGTH_MAX = 300
const EVIDENCE_ENTRIES_MAX = 16
const EVIDENCE_LENGTH_MAX = 200

export type CallOptions = {
  schema: z.ZodType
  price: Price | null
  /** `tryIndex`: 0 for the first try at this provider in this generation. */
  retry: { initialMs: number; maxMs: number; tryIndex: number }
  /** 0 up to 1. */
  random(): number
  clock: Clock
  /** What this attempt may cost at most, where that is known better than by the terms. */
  spendMax?: { amount: string; currency: string } | undefined
  /** Told of the adapter's answer as it came, and how long it took, in ms. */
  told?(answer: CallAnswer, durationMs: number): void
  /** Ends the call early, for example because the worker stops. */
  signal?: AbortSignal
}

export type CallResult =
  | {
      kind: 'succeeded'
      output: unknown
      charge: Pick<Charge, 'amount' | 'currency'> | null
      spend: Spend | null
      evidence: Evidence
      usage: Usage | null
    }
  /** Taken as a job: its result is fetched later, by the handle. */
  | { kind: 'accepted'; handle: string; pollAfterMs: number | null; evidence: Evidence }
  | {
      kind: 'failed'
      error: RecordError
      retryable: boolean
      rejects: boolean
      backoffMs: number
      spend: Spend | null
      evidence: Evidence
      usage: Usage | null
    }
  | { kind: 'uncertain'; error: RecordError; spend: Spend | null; evidence: Evidence; usage: Usage | null }

/** Makes the call and waits for its end. The caller has saved the intent and checked `sendBy` (P5). */
export async function performCall(provider: Provider, request: CallRequest, options: CallOptions): Promise<CallResult> {
  const startedMs = options.clock.monotonicMs()
  const answer = await askInTime((signal) => ask(provider, request, signal), request.deadlineMs, options)
  const durationMs = Math.round(options.clock.monotonicMs() - startedMs)
  options.told?.(answer, durationMs)
  return judge(provider.terms, answer, { ...options, attempt: request.attempt, durationMs })
}

export type JudgeOptions = Pick<CallOptions, 'schema' | 'price' | 'retry' | 'random' | 'spendMax'> & {
  attempt: number
  /** Null where the answer came some other way than by the call. */
  durationMs: number | null
}

/** What an answer means for the record, whichever way it came: by the call, a look-up or a webhook. */
export function judge(terms: ProviderTerms, answer: CallAnswer, options: JudgeOptions): CallResult {
  const evidence = boundEvidence(answer.evidence)
  if (options.durationMs !== null) evidence['durationMs'] = options.durationMs
  if (answer.kind === 'accepted') {
    if (isHandle(answer.handle))
      return { kind: 'accepted', handle: answer.handle, pollAfterMs: answer.pollAfterMs ?? null, evidence }
    const error = errorOf('unknown', 'bad-handle', 'The adapter gave a job without a usable handle.', options.attempt)
    return { kind: 'uncertain', error, spend: upperBound(terms, options.spendMax), evidence, usage: null }
  }
  if (answer.kind === 'succeeded') return succeed(terms, options, answer, evidence)
  const error = errorOf(answer.kind, answer.code, answer.message, options.attempt)
  if (answer.kind !== 'unknown') return fail(terms, options, answer, error, evidence)
  const usage = boundUsage(answer.usage)
  return { kind: 'uncertain', error, spend: upperBound(terms, options.spendMax), evidence, usage }
}

const HANDLE = /^[\x21-\x7e]{1,512}$/
/** What is kept as the provider's own id of a call: visible ASCII, bounded. */
export const isHandle = (handle: unknown): handle is string => typeof handle === 'string' && HANDLE.test(handle)

type Succeeded = Extract<CallAnswer, { kind: 'succeeded' }>
type Certain = Exclude<CallAnswer, { kind: 'succeeded' | 'unknown' | 'accepted' }>

function succeed(terms: ProviderTerms, options: JudgeOptions, answer: Succeeded, evidence: Evidence): CallResult {
  const check = checkOutput(options.schema, answer.output)
  if (!check.ok) {
    const { code, message } = check
    const error = errorOf('partial', code, message, options.attempt)
    // Another try may fit: models answer differently each time. A schema that throws will throw again.
    const retryable = code === 'output-schema'
    const { spend, usage } = answer
    return fail(
      terms,
      options,
      { kind: 'partial', code, message, retryable, spend, usage: usage ?? null },
      error,
      evidence,
    )
  }
  const usage = boundUsage(answer.usage)
  const decided = decideCharge(options.price, { output: check.output, usage: usage ?? {} })
  if (decided.trouble !== null) evidence['priceRule'] = decided.trouble
  return {
    kind: 'succeeded',
    output: check.output,
    charge: decided.charge,
    spend: spendOf(terms, options.spendMax, answer.spend, evidence),
    evidence,
    usage,
  }
}

function fail(
  terms: ProviderTerms,
  options: JudgeOptions,
  answer: Certain,
  error: RecordError,
  evidence: Evidence,
): CallResult {
  const rejects = answer.rejects === true
  const retryable = answer.retryable === true && !rejects
  return {
    kind: 'failed',
    error,
    retryable,
    rejects,
    backoffMs: retryable ? drawBackoffMs(options, answer.retryAfterMs) : 0,
    spend: answer.kind === 'not-executed' ? null : spendOf(terms, options.spendMax, answer.spend, evidence),
    evidence,
    usage: boundUsage(answer.usage),
  }
}

/** The adapter's answer, or `unknown` when it has none in time. Never rejects, where `work` doesn't. */
async function askInTime<A extends CallAnswer | { kind: 'missing' }>(
  work: (signal: AbortSignal) => Promise<A>,
  deadlineMs: number,
  options: Pick<CallOptions, 'clock' | 'signal'>,
): Promise<A | CallAnswer> {
  const { clock, signal } = options
  if (signal?.aborted) {
    return {
      kind: 'not-executed',
      code: 'call-stopped',
      message: 'The worker stopped before the call.',
      retryable: true,
    }
  }
  // One signal ends the adapter and the wait for it. It is aborted after an answer too, to end the wait; an adapter must
  // bear that anyway, because its answer and the deadline may cross.
  const abort = new AbortController()
  const end = () => abort.abort(ENDED)
  const answered = work(abort.signal)
  signal?.addEventListener('abort', end, { once: true })
  const inTime = await Promise.race([answered, clock.sleep(deadlineMs, abort.signal)])
  signal?.removeEventListener('abort', end)
  const stopped = abort.signal.aborted
  end()
  if (inTime !== undefined && !stopped) return inTime

  const grace = new AbortController()
  const late = await Promise.race([answered, clock.sleep(SETTLE_GRACE_MS, grace.signal)])
  grace.abort(ENDED)
  // What the adapter knows goes first; that it was ended is known better here.
  if (late !== undefined && (late.kind !== 'unknown' || !ONLY_ENDED.has(late.code))) return late
  const noAnswer = signal?.aborted
    ? { code: 'call-stopped', message: 'The worker stopped while the call ran.' }
    : { code: 'deadline-exceeded', message: `No answer within ${deadlineMs} ms.` }
  const evidence = late !== undefined && 'evidence' in late ? late.evidence : undefined
  return { kind: 'unknown', ...noAnswer, ...(evidence && { evidence }) }
}

/** An adapter's codes for "I know only that you ended it". */
const ONLY_ENDED: ReadonlySet<string> = new Set(['no-answer', 'adapter-threw'])

const ANSWER_KINDS: ReadonlySet<unknown> = new Set<CallAnswer['kind']>([
  'succeeded',
  'accepted',
  'not-executed',
  'executed',
  'partial',
  'unknown',
])

async function ask(provider: Provider, request: CallRequest, signal: AbortSignal): Promise<CallAnswer> {
  const input = watchInput(request.input)
  try {
    const answer: CallAnswer | null | undefined = await provider.call({ ...request, input: input.watched }, signal)
    if (ANSWER_KINDS.has(answer?.kind)) return answer
    return {
      kind: 'unknown',
      code: 'bad-answer',
      message: 'The provider adapter answered with none of the known kinds.',
    }
  } catch (error) {
    if (input.failedWith(error)) {
      const message = 'The input could not be read, so nothing was sent.'
      return { kind: 'not-executed', code: 'input-unavailable', message, retryable: true }
    }
    return { kind: 'unknown', code: 'adapter-threw', message: `The provider adapter threw ${nameOf(error)}.` }
  }
}

/** An adapter that passes on the input's own failure has sent nothing: the only throw that is certain. */
function watchInput(input: CallInput): { watched: CallInput; failedWith(error: unknown): boolean } {
  const failures = new Set<unknown>()
  const watch = async <T>(read: () => Promise<T>): Promise<T> => {
    try {
      return await read()
    } catch (error) {
      failures.add(error)
      throw error
    }
  }
  const { mediaType, fileName, bytesTotal, sha256 } = input
  return {
    watched: {
      mediaType,
      fileName,
      bytesTotal,
      sha256,
      bytes: () => watch(() => input.bytes()),
      json: () => watch(() => input.json()),
    },
    failedWith: (error) => failures.has(error),
  }
}

/** Full jitter; after Retry-After it is added, so that all who were told the same second do not return in it. */
function drawBackoffMs(
  { retry, random }: Pick<CallOptions, 'retry' | 'random'>,
  retryAfterMs: number | undefined,
): number {
  const windowMs = Math.min(retry.maxMs, retry.initialMs * 2 ** Math.min(retry.tryIndex, 30))
  const toldMs = retryAfterMs !== undefined && retryAfterMs > 0 ? retryAfterMs : 0
  return Math.min(retry.maxMs, Math.round(toldMs + random() * windowMs))
}

function errorOf(kind: FailureKind, code: unknown, message: unknown, attempt: number): RecordError {
  return {
    code: typeof code === 'string' && /^[a-z0-9-]{1,60}$/.test(code) ? code : 'unnamed',
    message: typeof message === 'string' ? message.slice(0, MESSAGE_LENGTH_MAX) : '',
    kind,
    attempt,
  }
}

/** Bounded, because it is kept with every attempt and in the history. */
function boundEvidence(evidence: Evidence | null | undefined): Evidence {
  const bounded: Evidence = {}
  for (const [name, value] of Object.entries(evidence ?? {}).slice(0, EVIDENCE_ENTRIES_MAX)) {
    if (!/^[a-zA-Z][a-zA-Z0-9]{0,39}$/.test(name)) continue
    if (typeof value === 'string') bounded[name] = value.slice(0, EVIDENCE_LENGTH_MAX)
    else if (value === null || typeof value === 'boolean' || Number.isFinite(value)) bounded[name] = value
  }
  return bounded
}

const UNITS_MAX = 16

/** Numbers only, bounded as the evidence is. Null when nothing was told. */
function boundUsage(usage: Usage | null | undefined): Usage | null {
  const bounded: Usage = {}
  for (const [unit, amount] of Object.entries(usage ?? {}).slice(0, UNITS_MAX))
    if (
      /^[a-zA-Z][a-zA-Z0-9]{0,39}$/.test(unit) &&
      typeof amount === 'number' &&
      Number.isFinite(amount) &&
      amount >= 0
    )
      bounded[unit] = amount
  return Object.keys(bounded).length === 0 ? null : bounded
}

const UNASKABLE = { kind: 'unknown', code: 'cannot-be-asked', message: 'This provider cannot be asked.' } as const

/**
 * Asks the provider about a call, starting nothing. Same limits as a call: it settles within `deadlineMs` +
 * SETTLE_GRACE_MS and never rejects; no answer is `unknown`.
 */
export async function performAsk(
  provider: Provider,
  question: Question,
  options: Pick<CallOptions, 'clock' | 'signal'>,
): Promise<AskAnswer> {
  const askIt = async (signal: AbortSignal): Promise<AskAnswer> => {
    try {
      const answer = (await provider.ask?.(question, signal)) ?? UNASKABLE
      if (answer.kind === 'missing' || ANSWER_KINDS.has(answer.kind)) return answer
      return { kind: 'unknown', code: 'bad-answer', message: 'The adapter answered with none of the known kinds.' }
    } catch (error) {
      return { kind: 'unknown', code: 'adapter-threw', message: `The provider adapter threw ${nameOf(error)}.` }
    }
  }
  return askInTime(askIt, question.deadlineMs, options)
}

/** An error's class, never its message: that may quote the content. */
const nameOf = (error: unknown): string =>
  error instanceof Error && /^[A-Za-z]{1,40}$/.test(error.name) ? error.name : 'something that is no Error'
