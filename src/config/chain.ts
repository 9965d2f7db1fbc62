/**
 * Carries out the forms of chain-types.ts: each method answers what there was and one form more. Untyped inside, because
 * the types are the author's: what he is shown is checked by test/types.
 */
import { z } from 'zod'
import type { Run } from '../providers/built-in.js'
import { parseDuration } from '../providers/durations.js'
import type { StepOptions } from './builder.js'
import { COMPUTE_PROVIDER, NOTHING_BUILT, recordsProviderName, type Built, type BuiltIns } from './built.js'
import type { Branch, Chain, ComputeOptions, Kind, MapOptions, OptionalBranch, VoteOptions } from './chain-types.js'
import { defineFunctionStep, defineStep } from './define-step.js'
import type { Form, Region } from './forms.js'
import { checkName, COMPUTE_OPTIONS, MAP_OPTIONS, refuseUnknown } from './known-options.js'
import { voteForms } from './vote-form.js'

type AnyStep = StepOptions<string, never, z.ZodType>
type AnyVote = VoteOptions<string, never, z.ZodType>
type AnyBranch = Branch<string, never>
type Outputs = { [step: string]: unknown }

const adding = (built: Built, forms: readonly Form[], builtIns: BuiltIns = {}): Built => ({
  forms: [...built.forms, ...forms],
  builtIns: { ...built.builtIns, ...builtIns },
})

const stepForm = (name: string, options: AnyStep): Form => ({ kind: 'step', step: defineStep(name, options) })

const addCompute = (built: Built, name: string, options: ComputeOptions<z.ZodType>, run: Function): Built => {
  refuseUnknown(options, COMPUTE_OPTIONS, `Step "${name}"`)
  const step = defineFunctionStep(name, {
    description: options.description ?? `Computes ${name}.`,
    use: COMPUTE_PROVIDER,
    output: options.output,
    ...(options.price !== undefined && { price: options.price }),
  })
  const asRun: Run = ({ outputs, input }) => run(outputs, input) as unknown
  return adding(built, [{ kind: 'step', step }], { [name]: { provider: COMPUTE_PROVIDER, run: asRun } })
}

type Regions = { [region: string]: AnyBranch | OptionalBranch<never> }

const addParallel = (built: Built, name: string, branches: Regions): Built => {
  checkName(name, 'The parallel')
  const entries = Object.entries(branches)
  if (entries.length < 2)
    throw new TypeError(`The parallel "${name}" has ${entries.length} regions; it needs 2 or more.`)
  const regions = entries.map(([region, branch]): Region => {
    checkName(region, `Parallel "${name}": the region`)
    if (branch.built.forms.length === 0) throw new TypeError(`Parallel "${name}": the region "${region}" has no step.`)
    return { name: region, optional: branch.optional === true, forms: branch.built.forms }
  })
  const description = `${entries.map(([region]) => region).join(', ')} at once.`
  const builtIns = Object.assign({}, ...entries.map(([, branch]) => branch.built.builtIns)) as Built['builtIns']
  return adding(built, [{ kind: 'parallel', name, description, regions }], builtIns)
}

type WayBuilt = { name: string; guard: (outputs: never) => boolean; built: Built }
const OTHERWISE = 'otherwise'

const choiceOf = (ways: readonly WayBuilt[]) => ({
  when: (name: string, guard: (outputs: never) => boolean, then: (branch: unknown) => AnyBranch) =>
    choiceOf([...ways, { name, guard, built: then(branchOf(NOTHING_BUILT)).built }]),
  otherwise: (then?: (branch: unknown) => AnyBranch) => ({
    ways: [
      ...ways,
      { name: OTHERWISE, guard: () => true, built: then ? then(branchOf(NOTHING_BUILT)).built : NOTHING_BUILT },
    ],
  }),
})

const addChoice = (built: Built, name: string, ways: readonly WayBuilt[]): Built => {
  const names = ways.map((way) => way.name)
  for (const way of names) checkName(way, `Choice "${name}": the way`)
  const twice = names.find((way, index) => names.indexOf(way) !== index)
  if (twice !== undefined) throw new TypeError(`Choice "${name}" has the way "${twice}" twice; rename one of them.`)
  const step = defineFunctionStep(name, {
    description: `Chooses one of ${names.join(', ')}.`,
    use: COMPUTE_PROVIDER,
    output: z.enum(names),
  })
  const run: Run = ({ outputs }) => ways.find(({ guard }) => guard(outputs as never))?.name
  const builtIns = Object.assign({}, ...ways.map((way) => way.built.builtIns)) as Built['builtIns']
  const form: Form = { kind: 'choice', step, ways: ways.map((way) => ({ name: way.name, forms: way.built.forms })) }
  return adding(built, [form], { ...builtIns, [name]: { provider: COMPUTE_PROVIDER, run } })
}

const addMap = (built: Built, name: string, options: MapOptions<never, Outputs, string, boolean>): Built => {
  refuseUnknown(options, MAP_OPTIONS, `Map "${name}"`)
  const { over, pipeline, max, take = null, partial = false } = options
  if (!Number.isInteger(max) || max < 1 || max > ITEMS_MAX)
    throw new TypeError(`Map "${name}" has a max of ${max}; it needs a whole number from 1 to ${ITEMS_MAX}.`)
  const waitMs = parseDuration(options.wait, `The wait of map "${name}"`)
  const provider = recordsProviderName(waitMs)
  const child = pipeline.definition.name
  const step = defineStep(name, {
    description: options.description ?? `A record of pipeline ${child} for each item.`,
    use: [provider],
    request: over,
    output: z.array(z.unknown()).max(max),
    // Of the submissions; the children's own time is the provider's `longestRunMs`.
    deadline: '10s',
    attempts: 2,
  })
  return adding(built, [{ kind: 'step', step }], {
    [name]: { provider, plan: { pipeline: child, max, take, partial }, waitMs },
  })
}
const ITEMS_MAX = 500

/** `wrap` makes of what was built what the author gets. */
export const chainOn = (built: Built, wrap: (built: Built) => unknown): Chain<string, never, Kind> => {
  const methods = {
    step: (name: string, options: AnyStep) => wrap(adding(built, [stepForm(name, options)])),
    compute: (name: string, options: ComputeOptions<z.ZodType>, run: Function) =>
      wrap(addCompute(built, name, options, run)),
    parallel: (name: string, regions: (branch: unknown) => Regions) =>
      wrap(addParallel(built, name, regions(branchOf(NOTHING_BUILT)))),
    choose: (name: string, ways: (choice: unknown) => { ways: readonly WayBuilt[] }) =>
      wrap(addChoice(built, name, ways(choiceOf([])).ways)),
    vote: (name: string, options: AnyVote) => {
      const { forms, builtIns } = voteForms(name, options)
      return wrap(adding(built, forms, builtIns))
    },
    map: (name: string, options: MapOptions<never, Outputs, string, boolean>) => wrap(addMap(built, name, options)),
  }
  return methods as unknown as Chain<string, never, Kind>
}

const branchOf = (built: Built): AnyBranch =>
  ({ ...chainOn(built, branchOf), built, optional: () => ({ optional: true, built }) }) as unknown as AnyBranch
