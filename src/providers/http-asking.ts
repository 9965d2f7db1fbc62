/**
 * Asking the described provider about a call: poll, result, look-up, cancel. Never starts anything: GET, and the one
 * request that cancels.
 *
 * - K1 A question that gets no answer is `unknown`, whatever its status would mean for a call: a 429 here says nothing
 *   about the job.
 * - K2 404 and 410 are `missing`.
 */
import type { AskAnswer, Question } from './contract.js'
import { failed, readFinished, readStatus, type Job, type Told } from './http-answer.js'
import { parseRetryAfter } from './http-certainty.js'
import type { Answer, PathOf } from './http-options.js'
import { codeWord, pathFor, readPlace } from './http-places.js'
import { NO_STATUS_RULES, parseJsonBody, readOutcome, type HttpSession } from './http-session.js'
import type { HttpSettings, JobSettings, LookupSettings } from './http-settings.js'
import { isHandle } from './call.js'

export type Asking = { settings: HttpSettings; session: HttpSession; signal: AbortSignal }

type Got = { ok: true; answer: Answer; told: Told } | { ok: false; answer: AskAnswer; whole: Answer | null; told: Told }

export async function ask(asking: Asking, question: Question): Promise<AskAnswer> {
  const { job, lookup } = asking.settings
  if (job === null) return lookup === null ? UNASKABLE : lookUp(asking, lookup, question)
  if (question.handle !== null) return poll(asking, job, question.handle)
  if (lookup === null) return NO_HANDLE
  const got = await get(asking, lookup.url, 'requestKey', question.requestKey)
  if (!got.ok) return got.answer
  const handle = readPlace(lookup.handle, got.answer)
  if (handle === undefined || handle === null) return { kind: 'missing', ...got.told }
  if (!isHandle(handle)) return { ...BAD_HANDLE, ...got.told }
  return { ...(await poll(asking, job, handle)), handle }
}

const UNASKABLE = { kind: 'unknown', code: 'cannot-be-asked', message: 'This provider cannot be asked.' } as const
const NO_HANDLE = {
  kind: 'unknown',
  code: 'no-handle',
  message: 'The job has no handle, and the description has no lookup by our key.',
} as const
/** What stands where the handle should, in a submission's or a look-up's answer, is none. */
export const BAD_HANDLE = {
  kind: 'unknown',
  code: 'bad-handle',
  message: 'The answer holds no usable handle where the description says.',
} as const
const RESULT_MISSING = {
  kind: 'unknown',
  code: 'result-missing',
  message: 'The job succeeded; its result is not there.',
} as const
/** A handle or location that leads to another host is not followed: our credentials would go with it. */
export const FOREIGN_PATH = {
  kind: 'unknown',
  code: 'foreign-url',
  message: "The answer leads away from the provider's own origin; it was not followed.",
} as const

async function lookUp(asking: Asking, lookup: LookupSettings, question: Question): Promise<AskAnswer> {
  const got = await get(asking, lookup.url, 'requestKey', question.requestKey)
  if (!got.ok) return got.answer
  const { settings } = asking
  const { answer, told } = got
  const finished = () => readFinished(settings, answer.json, answer.json, told)
  const { status, means } = lookup
  const job = { handle: question.handle ?? question.requestKey, pollAfterMs: retryAfter(answer) }
  if (status === undefined || means === undefined)
    return answer.status === 202 ? { kind: 'accepted', handle: job.handle, ...told } : finished()
  return readStatus(settings, { ...lookup, status, means } as never, answer, job, told, finished)
}

async function poll(asking: Asking, job: JobSettings, handle: string): Promise<AskAnswer> {
  const got = await get(asking, job.poll.url, 'handle', handle)
  if (!got.ok) return got.answer
  const { settings } = asking
  const { answer, told } = got
  const at: Job = { handle, pollAfterMs: retryAfter(answer) ?? job.everyMs }
  return readStatus<AskAnswer | Promise<AskAnswer>>(settings, job.poll as never, answer, at, told, () =>
    job.result === undefined
      ? readFinished(settings, answer.json, answer.json, told)
      : fetchResult(asking, job.result, handle, { json: answer.json, told }),
  )
}

/** The job has succeeded; its output stands elsewhere. */
async function fetchResult(
  asking: Asking,
  result: NonNullable<JobSettings['result']>,
  handle: string,
  status: { json: unknown; told: Told },
): Promise<AskAnswer> {
  const { settings } = asking
  const got = await get(asking, result.url, 'handle', handle)
  const told = { ...got.told, evidence: { ...status.told.evidence, ...got.told.evidence } }
  if (got.ok)
    return got.answer.status === 202
      ? { ...RESULT_MISSING, ...told }
      : readFinished(settings, got.answer.json, status.json, told)
  const { whole } = got
  if (whole !== null && whole.status >= 400) {
    const code = codeWord(readPlace(result.error, whole))
    const money = { spend: null, usage: null }
    if (result.failed.includes(whole.status))
      return failed('failed-for-good', code ?? `job-http-${whole.status}`, { ...told, ...money })
    if (code !== null) return failed('failed', code, { ...told, ...money })
  }
  if (got.answer.kind !== 'missing') return got.answer
  // It did succeed, so it is no call without a trace.
  return { ...RESULT_MISSING, ...told }
}

/** Asks to end a job. What comes of it is seen at the next poll. */
export async function cancel({ settings, session, signal }: Asking, question: Question): Promise<void> {
  const described = settings.job?.cancel
  if (described === undefined || question.handle === null) return
  const path = pathFor(settings.url, described.url, 'handle', question.handle)
  if (path !== null) await session.exchange({ method: described.method, path, signal })
}

export async function ready({ settings, session, signal }: Asking): Promise<{ ready: boolean; detail: string }> {
  const path = settings.readyPath
  if (path === null) return { ready: true, detail: 'not asked' }
  const reading = readOutcome(await session.exchange({ method: 'GET', path, signal }), {
    statuses: { ...NO_STATUS_RULES, answers: new Set([202, 204]) },
    cutIsUnknown: true,
  })
  return reading.ok ? { ready: true, detail: 'ready' } : { ready: false, detail: reading.failure.code }
}

const retryAfter = ({ headers }: Answer): number | undefined => parseRetryAfter(headers['retry-after'], headers['date'])

async function get(
  { settings, session, signal }: Asking,
  of: PathOf | undefined,
  name: 'handle' | 'requestKey',
  value: string,
): Promise<Got> {
  const path = pathFor(settings.url, of, name, value)
  if (path === null) return { ok: false, answer: FOREIGN_PATH, whole: null, told: { evidence: {}, limits: null } }
  const outcome = await session.exchange({ method: 'GET', path, signal })
  const reading = readOutcome(outcome, {
    statuses: { ...NO_STATUS_RULES, answers: new Set([202]) },
    requestIdHeaders: settings.requestIdHeaders,
    cutIsUnknown: true,
  })
  const headers = outcome.kind === 'broken' ? {} : flatten(outcome.headers)
  if (reading.ok) {
    const { evidence, limits } = reading
    const json = parseJsonBody(reading.body)
    const answer = { status: Number(evidence['status']), headers, json }
    if (json !== undefined) return { ok: true, answer, told: { evidence, limits } }
    const unread = { kind: 'unknown', code: 'not-json', message: 'The answer to our question is no JSON.' } as const
    return { ok: false, answer: { ...unread, evidence, limits }, whole: null, told: { evidence, limits } }
  }
  return notGot(reading, outcome.kind === 'answered' ? { status: outcome.status, headers } : null)
}

function notGot(
  { failure, body }: Extract<ReturnType<typeof readOutcome>, { ok: false }>,
  head: Omit<Answer, 'json'> | null,
): Got {
  const evidence = failure.evidence ?? {}
  const pauseMs = 'retryAfterMs' in failure ? failure.retryAfterMs : undefined
  const limits = pauseMs === undefined ? (failure.limits ?? null) : { ...failure.limits, pauseMs }
  const told = { evidence, limits }
  const whole = head === null ? null : { ...head, json: body === null ? undefined : parseJsonBody(body) }
  if (whole !== null && (whole.status === 404 || whole.status === 410))
    return { ok: false, answer: { kind: 'missing', ...told }, whole, told }
  const message = `The provider could not be asked (${failure.code}).`
  return { ok: false, answer: { kind: 'unknown', code: `ask-${failure.code}`, message, ...told }, whole, told }
}

/** Repeated headers are joined, as RFC 9110 (5.3) reads them. */
export const flatten = (headers: { [name: string]: string | string[] | undefined }): Answer['headers'] =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  )
