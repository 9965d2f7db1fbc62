/**
 * From a definition to a pipeline that may run: checks what it declares, builds its machine, proves that it always
 * settles, and gives it a version. The hash function comes in, because this room imports nothing of the platform.
 */
import { z } from 'zod'
import type { AnyStateMachine } from 'xstate'
import type { CompiledPipeline } from './compiled.js'
import { deadlineMs, leaseMs, lookupWindowMs, pollsMax } from './delays.js'
import type { PipelineDefinition, StepDefinition } from './pipeline.js'
import type { OwnChart, Terms } from './record-machine.js'
import { buildMachine } from './record-machine.js'
import { isAsked, mayStayInDoubt } from './policy.js'
import { describePrice, priceProblems } from './price.js'
import { DOCUMENT_BYTES_MAX, INLINE_BYTES_MAX } from './record.js'
import { timerMaxima, verify } from './verify.js'
import type { Verification } from './verify.js'

export const NAME_PATTERN = /^[a-z0-9-]{1,40}$/
const RESERVED = new Set(['completed', 'rejected', 'cancelled', 'investigation', 'record', 'timers'])
const ACCEPTED = /^(\*\/\*|[a-z0-9!#$&^_.+-]+\/(\*|[a-z0-9!#$&^_.+-]+))$/i

/** Lists every problem found, so that one run shows them all. */
export class PipelineRefused extends Error {
  readonly code = 'pipeline-refused'
  readonly pipeline: string
  readonly problems: readonly string[]
  constructor(pipeline: string, problems: readonly string[]) {
    super(`Pipeline "${pipeline}" is refused:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`)
    this.pipeline = pipeline
    this.problems = problems
  }
}

const isBudget = (value: unknown): boolean => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 10

const checkStep = (pipeline: PipelineDefinition, step: StepDefinition, terms: Terms): string[] => {
  const problems: string[] = []
  const say = (text: string) => problems.push(`Step "${step.name}" ${text}`)
  if (!NAME_PATTERN.test(step.name)) say('needs a name of a-z, 0-9 and "-", 1 to 40 long.')
  if (RESERVED.has(step.name)) say('has a name that the record machine uses itself; choose another.')
  if (step.use.length === 0 || step.use.length > 8) say(`names ${step.use.length} providers; it needs 1 to 8.`)
  if (new Set(step.use).size < step.use.length) say('names a provider twice; use "attempts" to try one again.')
  if (!Number.isInteger(step.attempts) || step.attempts < 1 || step.attempts > 10)
    say(`allows ${step.attempts} attempts; it needs a whole number from 1 to 10.`)
  if (!(step.deadlineMs > 0 && step.deadlineMs <= 24 * 3_600_000)) say('needs a deadline between 1 ms and 24 h.')
  if (step.price) for (const problem of priceProblems(step.price)) say(problem)
  if (typeof (step.output as Partial<z.ZodType> | undefined)?.safeParse !== 'function')
    say('has no zod schema as its output; every output is checked by one.')
  const { onUncertain } = step
  if (typeof onUncertain === 'object' && onUncertain !== null && !isBudget(onUncertain.retry?.duplicateBudget))
    say('has a duplicateBudget that is no whole number from 0 to 10.')
  if (typeof onUncertain === 'string' && !['fallback', 'investigate'].includes(onUncertain))
    say(`has the onUncertain "${String(onUncertain)}"; write { retry: … }, "fallback" or "investigate".`)
  for (const name of step.use) {
    const provider = terms[name]
    if (!provider) {
      say(
        `uses the provider "${name}", which the config does not define. Known: ${Object.keys(terms).join(', ') || 'none'}.`,
      )
      continue
    }
    if (provider.cost === 'paid' && mayStayInDoubt(provider) && step.onUncertain === null)
      say(
        `uses "${name}", which is paid and cannot always be asked whether a lost call was done; state what then: ` +
          'onUncertain: { retry: { duplicateBudget: 1 } }, "fallback" or "investigate".',
      )
    if (provider.recovery === 'idempotent' && provider.keyTtlMs < deadlineMs(pipeline, terms) + leaseMs(pipeline, step))
      say(
        `uses "${name}", which forgets a request key after ${provider.keyTtlMs} ms, before the record's deadline of ` +
          `${deadlineMs(pipeline, terms)} ms; shorten maxWait or declare it blind.`,
      )
  }
  return problems
}

/** Upper bound of a document's bytes in one generation: inline payloads, attempts, history, timers. */
export const documentBytesMax = (pipeline: PipelineDefinition, terms: Terms): number => {
  const attempts = pipeline.steps.reduce((sum, step) => sum + step.attempts * step.use.length, 0)
  const perAttempt = 2_048 + 6 * 1_536 // the attempt itself, and up to six history entries about it
  const polls = pipeline.steps
    .flatMap((step) => step.use.map((name) => ({ step, provider: terms[name] })))
    .reduce(
      (sum, { step, provider }) => sum + (provider && isAsked(provider) ? step.attempts * pollsOf(provider) : 0),
      0,
    )
  const payloads = (1 + 2 * pipeline.steps.length) * Math.ceil((INLINE_BYTES_MAX * 4) / 3)
  return 64 * 1_024 + payloads + attempts * perAttempt + polls * POLL_BYTES_MAX
}

/** A poll is one entry of the history, about a timer. */
const POLL_BYTES_MAX = 512
const pollsOf = (provider: Terms[string]): number => 2 * pollsMax(lookupWindowMs(provider)) + 4

export const checkDefinition = (pipeline: PipelineDefinition, terms: Terms): string[] => {
  const problems: string[] = []
  if (!NAME_PATTERN.test(pipeline.name))
    problems.push(`The name "${pipeline.name}" must be of a-z, 0-9 and "-", 1 to 40 long.`)
  if (!Number.isInteger(pipeline.revision) || pipeline.revision < 1)
    problems.push('The revision must be a whole number from 1.')
  if (pipeline.steps.length === 0) problems.push('It has no steps; add at least one.')
  const names = pipeline.steps.map(({ name }) => name)
  for (const name of new Set(names.filter((candidate, index) => names.indexOf(candidate) !== index)))
    problems.push(`Step "${name}" is defined twice.`)
  if (pipeline.price) for (const problem of priceProblems(pipeline.price)) problems.push(`The record ${problem}`)
  if (pipeline.accepts.length === 0) problems.push('It accepts nothing; name media types, such as "image/*".')
  for (const type of pipeline.accepts)
    if (!ACCEPTED.test(type))
      problems.push(`It accepts "${type}", which is no media type; write "image/png" or "image/*".`)
  if (!Number.isInteger(pipeline.inputBytesMax) || pipeline.inputBytesMax < 1)
    problems.push(`Its inputBytesMax is ${pipeline.inputBytesMax}; it needs a whole number from 1.`)
  for (const step of pipeline.steps) problems.push(...checkStep(pipeline, step, terms))
  const bytes = documentBytesMax(pipeline, terms)
  if (bytes > DOCUMENT_BYTES_MAX)
    problems.push(
      `A record could grow to ${bytes} bytes, over the limit of ${DOCUMENT_BYTES_MAX}; use fewer steps or attempts.`,
    )
  return problems
}

/** A function inside a chart has no name: no version would tell it apart, and `verify` could not choose its answer. */
const inlineFunctions = (value: unknown, path: string): string[] => {
  if (typeof value === 'function')
    return [`The chart holds a function at "${path}"; give it a name in setup() and write the name here.`]
  if (value === null || typeof value !== 'object') return []
  return Object.entries(value).flatMap(([name, inner]) =>
    // A step's own output mapping is the record machine's.
    name === 'output' && path.endsWith('.succeeded') ? [] : inlineFunctions(inner, `${path}.${name}`),
  )
}

const jsonSchema = (schema: z.ZodType): unknown => {
  try {
    return z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' })
  } catch {
    return {}
  }
}

/** Raised when the record machine itself changes: a stored state means another thing then. */
const MACHINE_EDITION = 2

/** The declarative parts, in a fixed order: what the version is the hash of. Functions are covered by `revision`. */
export const describePipeline = (pipeline: PipelineDefinition, terms: Terms, own?: OwnChart): unknown => ({
  machine: MACHINE_EDITION,
  name: pipeline.name,
  revision: pipeline.revision,
  accepts: pipeline.accepts,
  maxWaitMs: pipeline.maxWaitMs,
  inputBytesMax: pipeline.inputBytesMax,
  lease: pipeline.lease,
  price: pipeline.price,
  steps: pipeline.steps.map((step) => ({
    name: step.name,
    use: step.use.map((name) => terms[name]),
    deadlineMs: step.deadlineMs,
    attempts: step.attempts,
    backoff: step.backoff,
    onUncertain: step.onUncertain,
    fuse: step.fuse,
    price: describePrice(step.price),
    ...(step.keepRequest && { keepRequest: true }),
    output: jsonSchema(step.output),
  })),
  chart: own
    ? { initial: own.initial, states: own.states, guards: Object.keys(own.guards), delaysMs: own.delaysMs }
    : null,
})

export type CompileOptions = { sha256: (text: string) => string; own?: OwnChart | undefined }

export type Compiled = CompiledPipeline & { verification: Extract<Verification, { ok: true }> }

/** Throws PipelineRefused with all problems found. */
export const compilePipeline = (pipeline: PipelineDefinition, terms: Terms, options: CompileOptions): Compiled => {
  const refuse = (problems: readonly string[]): never => {
    throw new PipelineRefused(pipeline.name, problems)
  }
  const problems = [...checkDefinition(pipeline, terms), ...inlineFunctions(options.own?.states ?? {}, 'states')]
  if (problems.length > 0) refuse(problems)
  const built = build(pipeline, terms, options.own, refuse)
  const use = new Map(pipeline.steps.map((step) => [step.name, step.use]))
  const verification = verify(built.machine, built.delayMaximaMs, { ownGuards: built.ownGuards, use })
  if (!verification.ok) return refuse(verification.problems)
  const used = Object.fromEntries(pipeline.steps.flatMap((step) => step.use).map((name) => [name, terms[name]!]))
  const text = JSON.stringify(describePipeline(pipeline, terms, options.own))
  return {
    definition: pipeline,
    version: options.sha256(text).slice(0, 16),
    machine: built.machine,
    terms: used,
    worstCaseMs: verification.worstCaseMs,
    deadlineMs: deadlineMs(pipeline, terms),
    timerMaxMs: timerMaxima(built.machine, built.delayMaximaMs).byEvent,
    callTimers: callTimers(built.machine, built.callDelays),
    needsOutputs: built.ownGuards.length > 0,
    verification,
  }
}

const build = (
  pipeline: PipelineDefinition,
  terms: Terms,
  own: OwnChart | undefined,
  refuse: (problems: string[]) => never,
) => {
  try {
    return buildMachine(pipeline, terms, own)
  } catch (error) {
    return refuse([`Its machine can't be built: ${error instanceof Error ? error.message : String(error)}`])
  }
}

const callTimers = (machine: AnyStateMachine, callDelays: ReadonlySet<string>): Set<string> => {
  const events = new Set<string>()
  const visit = (node: AnyStateMachine['root']) => {
    for (const { delay, eventType } of node.after)
      if (typeof delay === 'string' && callDelays.has(delay)) events.add(eventType)
    for (const child of Object.values(node.states)) visit(child)
  }
  visit(machine.root)
  return events
}
