/**
 * The function of a vote step: reconciles the answers of its voters. A voter without an answer is absent.
 * Which answers agree is decided in src/machines/vote.ts; here is said what came of it, by place and never by value.
 */
import type { z } from 'zod'
import { differingPaths, largestAgreement, PATHS_MAX, type Vote } from '../../machines/vote.js'
import { showPath } from '../output-check.js'
import type { Run } from './compute.js'
import { StepRefused } from './refused.js'

export type VotePlan = {
  /** Step by step, in the order of their weight in a tie; `voter` is the provider's name. */
  voters: readonly { step: string; voter: string }[]
  agree: (a: unknown, b: unknown) => boolean
  quorum: number
  merge: ((answers: readonly unknown[]) => unknown) | null
  /** Tells which keys may be named. */
  schema: z.ZodType
}

export const answersOf = (plan: Pick<VotePlan, 'voters'>, outputs: { [step: string]: unknown }): Vote<unknown>[] =>
  plan.voters
    .filter(({ step }) => Object.hasOwn(outputs, step))
    .map(({ step, voter }) => ({ voter, answer: outputs[step] }))

/** Throws StepRefused `no-agreement` without a quorum. */
export const voteRun =
  (plan: VotePlan): Run =>
  ({ outputs }) => {
    const votes = answersOf(plan, outputs)
    const agreed = largestAgreement(votes, plan.agree)
    if (agreed.length < plan.quorum) throw noAgreement(plan, votes, agreed.length)
    const answers = agreed.map(({ answer }) => answer)
    return plan.merge ? plan.merge(answers) : answers[0]
  }

const noAgreement = (plan: VotePlan, votes: readonly Vote<unknown>[], agreed: number): StepRefused => {
  const paths = votes.length < 2 ? [] : differingPaths(votes.map(({ answer }) => answer))
  const shown = [...new Set(paths.map((path) => showPath(path, plan.schema)))]
  const where =
    shown.length === 0
      ? ''
      : ` They differ at ${shown.join(', ')}${paths.length < PATHS_MAX ? '' : ' and maybe elsewhere'}.`
  const present = votes.map(({ voter }) => voter).join(', ') || 'none'
  return new StepRefused(
    'no-agreement',
    `${votes.length} of ${plan.voters.length} answered (${present}), ${agreed} agree, the quorum is ${plan.quorum}.${where}`,
    {
      voters: plan.voters.length,
      answered: votes.length,
      agreed,
      quorum: plan.quorum,
      ...(shown.length > 0 && { differAt: shown.join(', ') }),
    },
  )
}
