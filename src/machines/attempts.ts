/**
 * The attempts of a step: how each is closed, and which are in doubt.
 *
 * A1 An attempt's outcome moves from open or uncertain to certain, never back, and is set once per attempt.
 * A4 An attempt that may have been executed has the upper bound of its provider's price as its spend.
 */
import type { CompiledPipeline } from './compiled.js'
import type { Draft } from './draft.js'
import { editStep } from './draft.js'
import type { Attempt, Outcome, RecordError, Spend, Usage } from './record.js'

export const findAttempt = (draft: Draft, step: string, n: number): Attempt | undefined =>
  editStep(draft, step).attempts.find((attempt) => attempt.n === n)

const boundOf = (terms: CompiledPipeline['terms'], { provider, spendMax }: Attempt): Spend | null => {
  const of = terms[provider]
  const max = spendMax ?? of?.spendMax
  return max && of?.cost !== 'free' ? { ...max, basis: 'upper-bound' } : null
}

type Closing = {
  outcome: Outcome
  error: RecordError | null
  spend: Spend | null
  evidence: Attempt['evidence']
  usage?: Usage | undefined
}

/** A1 */
export const closeAttempt = (draft: Draft, step: string, n: number, closing: Closing): void => {
  const attempt = findAttempt(draft, step, n)
  if (!attempt || (attempt.outcome !== null && attempt.outcome !== 'uncertain')) return
  if (attempt.outcome === 'uncertain' && closing.outcome === 'uncertain') return
  // It certainly did not run, so nothing was paid for twice.
  if (closing.error?.kind === 'not-executed') delete attempt.possibleDuplicate
  const wasUncertain = attempt.outcome === 'uncertain'
  attempt.outcome = closing.outcome
  attempt.endedAt = draft.decider.at
  attempt.error = closing.error && { ...closing.error, attempt: n }
  // What was told while it ran stays, where the end tells nothing.
  if (closing.evidence) attempt.evidence = { ...attempt.evidence, ...closing.evidence }
  // A doubt that asking, a webhook or a late answer resolved: a second call that was not made.
  if (wasUncertain) attempt.evidence = { ...attempt.evidence, wasUncertain }
  if (closing.usage) attempt.usage = closing.usage
  attempt.spend = closing.spend ?? (closing.outcome === 'uncertain' ? boundOf(draft.compiled.terms, attempt) : null)
}

/** The request key was answered: where keys are honoured, doubtful calls under it were the same run, and cost nothing more. */
export const resolveSameRun = (draft: Draft, step: string, n: number): void => {
  const answered = findAttempt(draft, step, n)
  if (!answered || draft.compiled.terms[answered.provider]?.recovery !== 'idempotent') return
  for (const other of editStep(draft, step).attempts) {
    const sameRun = other.n !== n && other.requestKey === answered.requestKey && other.outcome === 'uncertain'
    if (!sameRun) continue
    other.spend = null
    other.evidence = { ...other.evidence, sameRunAs: n }
    delete other.possibleDuplicate
  }
}

export const uncertainBecause = (code: string, message: string): Closing => ({
  outcome: 'uncertain',
  error: { code, message, kind: 'unknown' },
  spend: null,
  evidence: null,
})

/** A step that ends leaves no attempt open: what is still running may have been executed. */
export const closeOpenAttempts = (draft: Draft, step: string, code: string, message: string): void => {
  for (const { n, outcome } of draft.doc.steps[step]?.attempts ?? [])
    if (outcome === null) closeAttempt(draft, step, n, uncertainBecause(code, message))
}

const isOpen = ({ outcome }: Attempt): boolean => outcome === null || outcome === 'uncertain'

/** A later call under the same key used it up: where keys are honoured, it was the same run. */
const isAnswered = (attempts: readonly Attempt[], { requestKey }: Attempt): boolean =>
  attempts.some((other) => other.requestKey === requestKey && !isOpen(other) && other.error?.kind !== 'not-executed')

/** `repeatsKey`: what follows asks the provider for the same run again; otherwise both may be run and billed (P6). */
export const markInDoubt = (draft: Draft, step: string, attempt: Attempt, repeatsKey: boolean): void => {
  const terms = draft.compiled.terms[attempt.provider]
  // Of a provider that this version does not use any more nobody knows that it was free.
  if (terms?.cost === 'free' || !isOpen(attempt)) return
  const asked = repeatsKey || isAnswered(editStep(draft, step).attempts, attempt)
  if (!(asked && terms?.recovery === 'idempotent')) attempt.possibleDuplicate = true
}

/** Without a machine: an attempt that is open may have been executed. A4 where the provider is still known. */
export const closeByForce = (
  attempt: Attempt,
  error: RecordError,
  at: Date,
  terms: CompiledPipeline['terms'],
): Attempt =>
  attempt.outcome === null
    ? {
        ...attempt,
        outcome: 'uncertain',
        endedAt: at,
        error: { ...error, kind: 'unknown', attempt: attempt.n },
        spend: boundOf(terms, attempt),
      }
    : attempt
