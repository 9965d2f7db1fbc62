/**
 * What a whole answer of the described provider says: output, usage and spend of a finished call, or the state of a job.
 *
 * - A1 A status word that the description doesn't name decides nothing: the answer is `unknown`.
 * - A2 Errors and evidence hold statuses, the description's own words and codes of one word; nothing else of an answer.
 */
import type { Evidence, Spend, Usage } from '../machines/record.js'
import type { AskAnswer, CallAnswer, LearnedLimits } from './contract.js'
import type { Answer, JobStatus, StatusReading } from './http-options.js'
import { codeWord, readPlace, readPointer } from './http-places.js'
import type { HttpSettings } from './http-settings.js'
import { spendOfUsage } from './price-table.js'

export type Told = { evidence: Evidence; limits: LearnedLimits | null }

/** The answer that holds the output. `status`: the JSON that told of the end, where that was another answer. */
export function readFinished(settings: HttpSettings, json: unknown, status: unknown, told: Told): CallAnswer {
  const { usage, spend } = readMoney(settings, json, status, told.evidence)
  try {
    const { output } = settings
    const value = output === undefined ? json : typeof output === 'string' ? readPointer(output, json) : output(json)
    if (value !== undefined) return { kind: 'succeeded', output: value, spend, usage, ...told }
    const message = 'The answer holds no output where the description says.'
    return { kind: 'partial', code: 'output-missing', message, retryable: true, spend, usage, ...told }
  } catch {
    const message = "The provider's output function threw on this answer."
    return { kind: 'partial', code: 'output-threw', message, retryable: true, spend, usage, ...told }
  }
}

function readMoney(
  settings: HttpSettings,
  json: unknown,
  status: unknown,
  evidence: Evidence,
): { usage: Usage | null; spend: Spend | null } {
  const usage = guarded(() => settings.usage?.(json, status) ?? null, evidence, 'usageRule')
  const told = guarded(() => settings.spend?.(json, status) ?? null, evidence, 'spendRule')
  return { usage, spend: told ?? spendOfUsage(settings.prices ?? null, usage) }
}

/** A valid output is never thrown away for its price's sake. */
function guarded<T>(read: () => T | null, evidence: Evidence, rule: string): T | null {
  try {
    return read()
  } catch {
    evidence[rule] = 'threw'
    return null
  }
}

export type Job = { handle: string; pollAfterMs: number | undefined }

/** The state of a job. `finished` says what to do with an answer that tells of success. */
export function readStatus<A>(
  settings: HttpSettings,
  reading: StatusReading,
  answer: Answer,
  job: Job,
  told: Told,
  finished: () => A,
): A | AskAnswer {
  const word = readPlace(reading.status, answer)
  const status = typeof word === 'string' && Object.hasOwn(reading.means, word) ? reading.means[word] : undefined
  if (status === undefined) {
    const message = "The answer's status is none of those that the description names."
    return { kind: 'unknown', code: 'unknown-status', message, ...told }
  }
  told.evidence['jobStatus'] = word as string
  if (status === 'succeeded') return finished()
  if (status === 'running') return running(reading, answer, job, told)
  const { usage, spend } = readMoney(settings, answer.json, answer.json, told.evidence)
  return failed(status, codeWord(readPlace(reading.error, answer)), { spend, usage, ...told })
}

function running(reading: StatusReading, answer: Answer, { handle, pollAfterMs }: Job, told: Told): AskAnswer {
  const fraction = readPlace(reading.fraction, answer)
  return {
    kind: 'accepted',
    handle,
    ...(pollAfterMs !== undefined && { pollAfterMs }),
    ...(typeof fraction === 'number' && fraction >= 0 && { fraction: Math.min(fraction, 1) }),
    ...told,
  }
}

/** A job that ended without a usable result. */
export function failed(
  status: Exclude<JobStatus, 'running' | 'succeeded'>,
  code: string | null,
  told: Told & { spend: Spend | null; usage: Usage | null },
): CallAnswer {
  const facts = { code: code ?? 'job-failed', message: 'The provider says that the job failed.' }
  if (status === 'not-executed') {
    const { spend: _, ...rest } = told
    return { kind: 'not-executed', code: code ?? 'job-not-run', message: NEVER_RAN, retryable: true, ...rest }
  }
  return { kind: 'executed', ...facts, retryable: status === 'failed', rejects: status === 'rejected', ...told }
}

const NEVER_RAN = 'The provider says that the job never ran.'
