/**
 * A vote as forms: its voters in regions of their own, then the step that counts; with a tie-breaker, a first count before
 * it whose failure leads there.
 *
 * C1 A voter without a result is absent, never fatal: its region is optional. So is the tie-breaker.
 * C2 The output that later steps read by the vote's name is made by one step, whichever way led to it.
 * C3 Only that step has the price: the customer pays for what was agreed on, not for opinions.
 */
import type { z } from 'zod'
import { VOTERS_MAX } from '../machines/vote.js'
import { answersOf, voteRun, type VotePlan } from '../providers/built-in.js'
import type { StepOptions } from './builder.js'
import { VOTE_PROVIDER, type BuiltIn, type BuiltIns } from './built.js'
import type { VoteOptions } from './chain-types.js'
import { defineFunctionStep, defineStep, takenAgain } from './define-step.js'
import type { Form, Region } from './forms.js'
import { checkName, refuseUnknown, TIE_OPTIONS, VOTE_OPTIONS } from './known-options.js'

type AnyStep = StepOptions<string, never, z.ZodType>
export type AnyVote = VoteOptions<string, never, z.ZodType>
type Voter = VotePlan['voters'][number]
type Outputs = { [step: string]: unknown }

/** Answers the quorum. Throws TypeError. */
const checkVote = (name: string, options: AnyVote): number => {
  refuseUnknown(options, VOTE_OPTIONS, `Vote "${name}"`)
  const { of, quorum, tieBreaker } = options
  if (tieBreaker) refuseUnknown(tieBreaker, TIE_OPTIONS, `The tie-breaker of vote "${name}"`)
  const votersMax = VOTERS_MAX - (tieBreaker ? 1 : 0)
  if (of.length < 2 || of.length > votersMax)
    throw new TypeError(`Vote "${name}" has ${of.length} voters; it needs 2 to ${votersMax}.`)
  if (new Set(of).size < of.length)
    throw new TypeError(`Vote "${name}" names a voter twice: that would be one opinion counted twice.`)
  for (const voter of of) checkName(`${name}-${voter}`, `Vote "${name}": the step of voter "${voter}",`)
  const needed = quorum ?? Math.floor(of.length / 2) + 1
  if (!Number.isInteger(needed) || needed < 2 || needed > of.length)
    throw new TypeError(`Vote "${name}" has a quorum of ${needed}; it needs a whole number from 2 to ${of.length}.`)
  return needed
}

/** What voters and tie-breaker have in common; absent options stay absent. */
const asked = ({ output, deadline, attempts, backoff, onUncertain, fuse, keepRequest }: AnyVote) =>
  Object.fromEntries(
    Object.entries({ output, deadline, attempts, backoff, onUncertain, fuse, keepRequest }).filter(
      ([, value]) => value !== undefined,
    ),
  ) as Pick<AnyStep, 'output' | 'deadline'>

type AsVoter = ((outputs: never, voter: string) => unknown) | undefined

const region = (name: string, options: AnyVote, { step, voter }: Voter): Region => {
  const request = options.request as AsVoter
  const voting: AnyStep = {
    ...asked(options),
    use: [voter],
    description: `What ${voter} says for ${name}.`,
    ...(request && { request: (outputs: never) => request(outputs, voter) }),
  }
  return { name: voter, optional: true, forms: [{ kind: 'step', step: defineStep(step, voting) }] } // C1
}

const tieBreaking = (name: string, options: AnyVote, voters: readonly Voter[]): AnyStep => {
  const { use, request: own, ...rest } = options.tieBreaker!
  const withAnswers = own as ((outputs: never, answers: readonly unknown[]) => unknown) | undefined
  const asVoter = options.request as AsVoter
  const request = withAnswers
    ? (outputs: never) =>
        withAnswers(
          outputs,
          answersOf({ voters }, outputs as Outputs).map(({ answer }) => answer),
        )
    : asVoter && ((outputs: never) => asVoter(outputs, use[0]))
  const description = `Breaks the tie of ${name}.`
  return { ...asked(options), ...rest, use, description, ...(request && { request }) }
}

export const voteForms = (name: string, options: AnyVote): { forms: Form[]; builtIns: BuiltIns } => {
  const quorum = checkVote(name, options)
  const { of, tieBreaker, price, description } = options
  const voters = of.map((voter) => ({ step: `${name}-${voter}`, voter }))
  const counting = (counted: readonly Voter[]): BuiltIn => {
    const plan = { voters: counted, quorum, merge: options.merge ?? null, agree: options.agree, schema: options.output }
    return { provider: VOTE_PROVIDER, run: voteRun(plan as VotePlan) }
  }
  const counts = { use: VOTE_PROVIDER, output: takenAgain(options.output) }
  const regions = voters.map((voter) => region(name, options, voter))
  const forms: Form[] = [
    { kind: 'parallel', name: `${name}-voters`, description: `${of.join(', ')} are asked at once.`, regions },
  ]
  const builtIns: { [step: string]: BuiltIn } = {}
  const counted: Voter[] = [...voters]
  if (tieBreaker) {
    const step = defineFunctionStep(`${name}-vote`, { ...counts, description: 'Do enough voters agree?' })
    const detour = defineStep(`${name}-tie`, tieBreaking(name, options, voters))
    forms.push({ kind: 'detour', step, detour })
    builtIns[step.name] = counting(voters)
    counted.push({ step: detour.name, voter: 'tie-breaker' })
  }
  const final = defineFunctionStep(name, {
    ...counts,
    description: description ?? `What at least ${quorum} of ${of.join(', ')} agree on.`,
    ...(price !== undefined && { price }), // C3
  })
  builtIns[name] = counting(counted) // C2
  return { forms: [...forms, { kind: 'step', step: final }], builtIns }
}
