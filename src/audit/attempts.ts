/** Invariants about attempts and what they gave (P4, P5, P6). Pure. */
import type { AttemptStarted, CallSucceeded, CallUncertain } from '../machines/events.js'
import type { Attempt, RecordDocument } from '../machines/record.js'
import { isSettled } from '../machines/record.js'
import type { AuditView, Fault } from './contract.js'
import { eventsOf, versionsOf } from './history.js'

const stepsOf = ({ steps }: RecordDocument) => Object.entries(steps)
const outcomeOf = (attempt: Attempt | undefined): string => (attempt ? (attempt.outcome ?? 'open') : 'no such attempt')

export const resultHasSuccess = (doc: RecordDocument): Fault[] =>
  stepsOf(doc).flatMap(([step, { attempts, result }]): Fault[] => {
    if (!result) return []
    const of = { step, attempt: result.attempt }
    const attempt = attempts.find(({ n }) => n === result.attempt)
    if (attempt?.outcome !== 'succeeded')
      return [{ ...of, expected: 'an attempt that succeeded', found: outcomeOf(attempt) }]
    const answer = answerOf(doc, step, result.attempt)
    if (!answer) return [{ ...of, expected: 'its answer in the history', found: 'none' }]
    return answer.result.sha256 === result.payload.sha256
      ? []
      : [{ ...of, expected: `the answer ${answer.result.sha256}`, found: `the result ${result.payload.sha256}` }]
  })

/** The answer that an attempt gave. */
export const answerOf = (doc: RecordDocument, step: string, attempt: number): CallSucceeded | undefined =>
  eventsOf(doc, 'CALL_SUCCEEDED').find((event) => event.step === step && event.attempt === attempt)

export const discardedHasSuccess = (doc: RecordDocument): Fault[] =>
  stepsOf(doc).flatMap(([step, { attempts, result, candidate, discarded }]) => {
    const kept = [...discarded, ...(candidate ? [candidate] : [])]
    return kept.flatMap(({ attempt: n }): Fault[] => {
      const of = { step, attempt: n }
      const attempt = attempts.find((one) => one.n === n)
      if (attempt?.outcome !== 'succeeded')
        return [{ ...of, expected: 'an attempt that succeeded', found: outcomeOf(attempt) }]
      return result?.attempt === n
        ? [{ ...of, expected: 'an attempt other than that of the result', found: 'the same' }]
        : []
    })
  })

export const settledAttemptsClosed = (doc: RecordDocument): Fault[] =>
  isSettled(doc.status)
    ? stepsOf(doc).flatMap(([step, { attempts }]) =>
        attempts
          .filter(({ outcome }) => outcome === null)
          .map(({ n }) => ({ step, attempt: n, expected: 'an outcome', found: 'open' })),
      )
    : []

export const attemptsInOrder = (doc: RecordDocument): Fault[] =>
  stepsOf(doc).flatMap(([step, { attempts }]) => {
    const faults: Fault[] = []
    for (const [index, { n, outcome, endedAt, generation }] of attempts.entries()) {
      const of = { step, attempt: n }
      if (n !== index + 1) faults.push({ ...of, expected: `number ${index + 1}`, found: `number ${n}` })
      if ((outcome === null) !== (endedAt === null))
        faults.push({
          ...of,
          expected: outcome === null ? 'no end while it is open' : 'the time of its end',
          found: endedAt?.toISOString() ?? 'none',
        })
      const before = attempts[index - 1]
      if (before && before.generation > generation)
        faults.push({ ...of, expected: `generation ${before.generation} or later`, found: String(generation) })
    }
    const open = attempts.filter(({ outcome }) => outcome === null)
    if (open.length > 1) faults.push({ step, expected: 'at most one open attempt', found: `${open.length} open` })
    return faults
  })

/** P5: what was asked of a provider was first written down. */
export const attemptHasIntent = (doc: RecordDocument): Fault[] => {
  const intents = eventsOf(doc, 'ATTEMPT_STARTED')
  const faults: Fault[] = []
  for (const [step, { attempts }] of stepsOf(doc)) {
    for (const attempt of attempts) {
      const of = { step, attempt: attempt.n }
      const intent = intents.find((event) => event.step === step && event.attempt === attempt.n)
      if (!intent) faults.push({ ...of, expected: 'ATTEMPT_STARTED in the history', found: 'none' })
      else for (const fault of differences(attempt, intent)) faults.push({ ...of, ...fault })
    }
    for (const { attempt } of intents.filter((event) => event.step === step))
      if (!attempts.some(({ n }) => n === attempt))
        faults.push({ step, attempt, expected: 'the attempt of this intent', found: 'none' })
  }
  return faults
}

const differences = (attempt: Attempt, intent: AttemptStarted): Fault[] => {
  const pairs: [what: string, expected: string | number | undefined, found: string | number | undefined][] = [
    ['provider', intent.provider, attempt.provider],
    ['generation', intent.generation, attempt.generation],
    ['requestKey', intent.requestKey, attempt.requestKey],
    ['request', intent.request?.sha256, attempt.request?.sha256],
    ['sendBy', intent.sendBy, attempt.sendBy.toISOString()],
  ]
  return pairs.flatMap(([what, expected, found]) =>
    expected === found ? [] : [{ expected: `${what} ${expected ?? 'none'}`, found: `${what} ${found ?? 'none'}` }],
  )
}

/**
 * P6, A4. Judged only where all versions of the record's life are known and each says that this provider is paid and what a
 * call may cost: elsewhere nobody knows a bound.
 */
export const doubtHasBound = (doc: RecordDocument, { pipelines }: AuditView): Fault[] => {
  const versions = [...new Set(versionsOf(doc))].map((version) => pipelines(version))
  const forcedAt = new Set(
    doc.history.filter(({ event }) => event.type === 'SETTLED_BY_FORCE').map(({ at }) => at.getTime()),
  )
  const isBounded = ({ provider, spendMax }: Attempt) =>
    versions.every((version) => {
      const terms = version?.terms[provider]
      return terms?.cost === 'paid' && (spendMax ?? terms.spendMax) !== null
    })
  return stepsOf(doc).flatMap(([step, { attempts }]) =>
    attempts.flatMap((attempt): Fault[] => {
      const { n, outcome, spend, evidence, endedAt } = attempt
      if (outcome !== 'uncertain' || evidence?.['sameRunAs'] !== undefined || !isBounded(attempt)) return []
      // Whoever settles by force may not know the provider any more.
      if (spend === null && endedAt !== null && forcedAt.has(endedAt.getTime())) return []
      if (spend?.basis === 'upper-bound' || (spend !== null && wasTold(doc, step, n))) return []
      return [{ step, attempt: n, expected: 'an upper bound as its spend', found: spend?.basis ?? 'no spend' }]
    }),
  )
}

/** The doubt itself came with its spend. */
const wasTold = (doc: RecordDocument, step: string, n: number): boolean =>
  eventsOf(doc, 'CALL_UNCERTAIN').some(
    (event: CallUncertain) => event.step === step && event.attempt === n && event.spend !== null,
  )
