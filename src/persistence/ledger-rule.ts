/**
 * How an attempt is explained, in plain code; ledger-stages.ts says the same to MongoDB.
 *
 * X1 Every attempt has exactly one explanation, so that the sums over the explanations are the sums over the attempts.
 * X2 What cost nothing for certain: at a free provider, certainly not executed, or told to cost 0.
 */
import type { Attempt, Spend, StepRecord } from '../machines/record.js'
import type { Doubt, Explanation } from './ledger-contract.js'

export type Explained = { explanation: Explanation; doubt: Doubt | null; unpriced: boolean }

const isZero = (spend: Spend | null): boolean => spend !== null && /^0(\.0+)?$/.test(spend.amount)

const doubtOf = (attempt: Attempt): Doubt | null => {
  const isOpen = attempt.outcome === null || attempt.outcome === 'uncertain'
  if (attempt.possibleDuplicate === true) return isOpen ? 'possible-duplicate' : 'duplicate'
  if (attempt.outcome === 'uncertain') return isSameRun(attempt) ? 'prevented' : null
  const found = attempt.evidence?.['wasUncertain'] === true && attempt.error?.kind !== 'not-executed'
  return found && !isOpen ? 'prevented' : null
}

const isSameRun = ({ evidence }: Attempt): boolean => (evidence?.['sameRunAs'] ?? null) !== null

const explanationOf = (step: StepRecord, attempt: Attempt, costless: boolean, free: boolean): Explanation => {
  const { n, outcome, spend } = attempt
  if (outcome === null) return 'running'
  if (step.result?.attempt === n) return 'result'
  if (outcome === 'uncertain') return free ? 'free-failure' : isSameRun(attempt) ? 'same-run' : 'unknown'
  if (spend === null && !costless) return 'unknown'
  if (step.result === null) return costless ? 'free-failure' : 'orphan'
  return costless && outcome === 'failed' ? 'free-failure' : 'superseded'
}

export const explain = (step: StepRecord, attempt: Attempt, free: boolean): Explained => {
  // X2
  const costless = free || attempt.error?.kind === 'not-executed' || isZero(attempt.spend)
  const explanation = explanationOf(step, attempt, costless, free)
  const ran = explanation !== 'running' && explanation !== 'same-run'
  return {
    explanation,
    doubt: free ? null : doubtOf(attempt),
    unpriced: ran && !costless && attempt.spend === null,
  }
}
