/**
 * The provider of steps that are only a function: votes, choices, checks. Free, blind, without a wire: running it again
 * gives the same. It is a step all the same, with intent, attempt and result, so that what it decided stays decided.
 *
 * 1. A function that throws has certainly no result and would throw again: it is not repeated.
 * 2. What it threw never gets into the record, but for a StepRefused, which is written to be read.
 */
import { freeBlindTerms } from '../../machines/pipeline.js'
import type { CallAnswer, CallInput, CallRequest, Provider, ProviderFactory } from '../contract.js'
import { StepRefused } from './refused.js'

export type ComputeFacts = {
  /** What the step's `request` built; undefined without one. */
  request: unknown
  /** Outputs of the steps that have a result, by step name; only for steps with a `request` function. */
  outputs: { [step: string]: unknown }
  input: CallInput
}

/** Pure: the same facts, the same answer. It shares the worker's thread, so it is quick. */
export type Run = (facts: ComputeFacts) => unknown

const SLOTS = 8
const LONGEST_RUN_MS = 5_000

/** One provider for many functions, found by the names of pipeline and step. */
export const computeProvider = (
  find: (pipeline: string, step: string) => Run | undefined,
  slots = SLOTS,
): ProviderFactory => {
  const terms: ProviderFactory['terms'] = (name) => freeBlindTerms(name, LONGEST_RUN_MS)
  const create = (name: string): Provider => ({
    terms: terms(name),
    slots,
    call: (request) => call(find(request.pipeline, request.step), request),
    close: () => Promise.resolve(),
  })
  return { terms, slots, create }
}

/** A provider that runs one function of the config: `compute({ run: ({ request }) => … })`. */
export const compute = (options: { run: Run; slots?: number }): ProviderFactory =>
  computeProvider(() => options.run, options.slots)

async function call(run: Run | undefined, { request, outputs, input }: CallRequest): Promise<CallAnswer> {
  if (!run) {
    const message = 'This process has no function for the step.'
    return { kind: 'not-executed', code: 'no-function', message, retryable: true }
  }
  try {
    return { kind: 'succeeded', output: await run({ request, outputs, input }), spend: null }
  } catch (error) {
    const certain = { kind: 'executed', retryable: false, spend: null } as const
    if (error instanceof StepRefused)
      return { ...certain, code: error.code, message: error.message, evidence: error.evidence }
    const what =
      error instanceof Error && /^[A-Za-z]{1,40}$/.test(error.name) ? error.name : 'something that is no Error'
    return { ...certain, code: 'function-threw', message: `The step's function threw ${what}.` }
  }
}
