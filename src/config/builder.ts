/**
 * How a pipeline is written: a chained builder, because an object literal cannot type a step from its siblings.
 * Every step's `request` sees the outputs of the steps before it, with the types their schemas give; a misspelt step
 * or provider name does not compile. Only what would be lost is checked here (durations, options that there are not);
 * `compilePipeline` reports all other problems.
 */
import type { z } from 'zod'
import type { ChargeSinks } from '../ledger/contract.js'
import { parseCharges, type ChargesOptions } from '../ledger/settings.js'
import type { OnUncertain, PipelineDefinition, StepDefinition } from '../machines/pipeline.js'
import type { Usage } from '../machines/record.js'
import type { OwnChart } from '../machines/record-machine.js'
import { stepState } from '../machines/step-state.js'
import type { ProviderFactory } from '../providers/contract.js'
import type { Budget } from '../providers/gate.js'
import type { Duration } from '../providers/durations.js'
import { parseDuration } from '../providers/durations.js'
import { defineBudgets, type BudgetOptions } from './budgets.js'
import { builtInProviders, NOTHING_BUILT, RESERVED_PREFIX, type Built, type BuiltIns } from './built.js'
import type { Chain, NoOutputs, Outputs } from './chain-types.js'
import { chainOn } from './chain.js'
import { defineStep } from './define-step.js'
import { chartOf, stepsOf } from './forms.js'
import { MACHINE_OPTIONS, PIPELINE_OPTIONS, refuseUnknown } from './known-options.js'

export type PipelineOptions = {
  /** Raise it when a function (`request`, a guard, a price rule) changes its meaning. */
  revision: number
  description?: string
  /** Media types; `image/*` allowed. */
  accepts: readonly string[]
  /** Bounds all queueing; the steps' own limits come on top. Default 1 h. */
  maxWait?: Duration
  inputBytesMax?: number
  /** Charged once when the record completes. */
  price?: { fixed: string; currency: string }
  /** Parts of each lease: how long an intent may wait to be sent (5 s), what a database failover may take (10 s). */
  lease?: { sendWithin?: Duration; failover?: Duration }
}

/** One of the forms, and none of the others' names. */
type PriceForm<F, All = F> = F extends unknown
  ? F & { [name in Exclude<All extends unknown ? keyof All : never, keyof F>]?: never }
  : never

/**
 * What the customer owes for a step's result, as decimal strings: a fixed amount, one for each page or for a million
 * tokens of the usage that the provider told, or a function of usage and output. Without that usage nothing is charged,
 * and the attempt's evidence says so.
 */
export type StepPrice<Output> = PriceForm<
  | { fixed: string }
  | { perPage: string }
  | { perMillionTokens: { input?: string; output?: string } }
  /** Answers a decimal string. Raise the pipeline's `revision` when it changes. */
  | { amount: (facts: { output: Output; usage: Usage }) => string }
> & {
  currency: string
  /** Outputs that cost the customer nothing, such as a blank page. */
  unless?: (output: Output) => boolean
}

export type StepOptions<P extends string, O, S extends z.ZodType> = {
  description?: string
  /** Providers in fallback order. */
  use: readonly [P, ...P[]]
  /** Builds the provider's request from earlier outputs. Must be deterministic: a repeat sends the same bytes. */
  request?: (outputs: O) => unknown
  output: S
  deadline: Duration
  /** Per provider and generation. Default 3. */
  attempts?: number
  backoff?: { initial?: Duration; max?: Duration }
  /** A paid provider that can't be asked needs it stated. */
  onUncertain?: OnUncertain
  price?: StepPrice<z.output<S>>
  /** For paid blind providers: may the intent be saved together with the previous result? Default no. */
  fuse?: boolean
  /** The request can't be built again from the record (it names the time, say): keep its bytes. Default no. */
  keepRequest?: boolean
}

/** A pipeline as a config lists it. `builtIns`: of the forms that bring a provider of their own. */
export type PipelineSource = { definition: PipelineDefinition; own?: OwnChart; builtIns?: BuiltIns }

/** The steps of a hand-written machine. */
export type StepChain<P extends string, O extends Outputs> = {
  step<N extends string, S extends z.ZodType>(
    name: N extends keyof O ? never : N,
    options: StepOptions<P, O, S>,
  ): StepChain<P, O & { [name in N]: z.output<S> }>
  readonly steps: readonly StepDefinition[]
}

export interface PipelineBuilder<P extends string, O extends Outputs> extends PipelineSource, Chain<P, O, 'pipeline'> {}

const definePipeline = (
  name: string,
  options: PipelineOptions,
  steps: readonly StepDefinition[],
): PipelineDefinition => ({
  name,
  revision: options.revision,
  description: options.description ?? `The pipeline ${name}.`,
  accepts: options.accepts,
  maxWaitMs: parseDuration(options.maxWait ?? '1h', `The maxWait of pipeline "${name}"`),
  lease: {
    sendWithinMs: parseDuration(options.lease?.sendWithin ?? '5s', `The lease.sendWithin of pipeline "${name}"`),
    failoverMs: parseDuration(options.lease?.failover ?? '10s', `The lease.failover of pipeline "${name}"`),
  },
  inputBytesMax: options.inputBytesMax ?? 64 * 1024 * 1024,
  steps,
  price: options.price ?? null,
})

const pipelineOf = <P extends string, O extends Outputs>(
  name: string,
  options: PipelineOptions,
  built: Built,
): PipelineBuilder<P, O> => {
  const own = chartOf(name, built.forms)
  const source: PipelineSource = {
    definition: definePipeline(name, options, stepsOf(built.forms)),
    builtIns: built.builtIns,
    ...(own && { own }),
  }
  const chain = chainOn(built, (more) => pipelineOf(name, options, more))
  return { ...source, ...chain } as unknown as PipelineBuilder<P, O>
}

const chainOf = <P extends string, O extends Outputs>(steps: readonly StepDefinition[]): StepChain<P, O> => ({
  steps,
  step: (name, options) => chainOf([...steps, defineStep(name, options as never)]),
})

/** Guards of a hand-written machine see the outputs known so far and, for custom events, their data. */
export type OwnGuard<O> = (outputs: Partial<O>, data: unknown) => boolean

export type Branch<G extends string> = string | { guard: G; target: string } | { target: string }

export type MachineAuthor<O extends Outputs> = {
  /** The state of one step: goes to `done` with its result, to `exhausted` (default investigation) without. */
  step(
    name: keyof O & string,
    targets: { done: Branch<string> | readonly Branch<string>[]; exhausted?: string },
  ): unknown
  /** The four ends, to be spread into `states`. */
  readonly settled: { completed: object; rejected: object; cancelled: object; investigation: object }
  setup<G extends string = never, D extends string = never>(parts: {
    guards?: { [name in G]: OwnGuard<O> }
    delays?: { [name in D]: Duration }
  }): { createMachine(chart: { initial: string; states: { [name: string]: unknown } }): PipelineSource }
}

const settledNames = { completed: {}, rejected: {}, cancelled: {}, investigation: {} }

const authorOf = <O extends Outputs>(definition: PipelineDefinition): MachineAuthor<O> => ({
  step: (name, { done, exhausted }) => {
    const step = definition.steps.find((candidate) => candidate.name === name)
    if (!step) throw new TypeError(`Machine "${definition.name}" has no step "${name}".`)
    return stepState(name, {
      description: step.description,
      done: done as never,
      exhausted: exhausted ?? 'investigation',
    })
  },
  settled: settledNames,
  setup: ({ guards, delays }) => ({
    createMachine: ({ initial, states }) => {
      const delaysMs = Object.entries(delays ?? {}).map(
        ([name, value]) => [name, parseDuration(value, `The delay "${name}" of machine "${definition.name}"`)] as const,
      )
      const own = {
        initial,
        states,
        guards: (guards ?? {}) as OwnChart['guards'],
        delaysMs: Object.fromEntries(delaysMs),
      }
      return { definition, own }
    },
  }),
})

export type MachineOptions<P extends string, O extends Outputs> = PipelineOptions & {
  /** `(s) => s.step('read', …).step('sort', …)`: a chain, so that each request is typed by the steps before it. */
  steps: (chain: StepChain<P, NoOutputs>) => StepChain<P, O>
}

export type EndstateConfig = {
  providers: { [name: string]: ProviderFactory }
  pipelines: readonly PipelineSource[]
  /** Sources that may publish to their own ingest stream over NATS. Default: `local`. */
  sources: readonly string[]
  /** Who is told of each charge; absent: nobody, and GET /v1/charges tells all. */
  charges?: ChargeSinks
  budgets?: readonly Budget[]
}

export type Endstate<P extends string> = {
  pipeline(name: string, options: PipelineOptions): PipelineBuilder<P, NoOutputs>
  machine<O extends Outputs>(name: string, options: MachineOptions<P, O>): MachineAuthor<O>
  config(parts: {
    pipelines: readonly PipelineSource[]
    sources?: readonly string[]
    charges?: ChargesOptions
    /** Ceilings on what providers may cost. */
    budgets?: readonly BudgetOptions[]
  }): EndstateConfig
}

/**
 * Starts a config: names the providers, then `pipeline`, `machine` and `config` are typed by them.
 *
 * Throws TypeError or RangeError for a duration that is none, an option that there is not and a name that clashes.
 */
export const endstate = <P extends string>(parts: { providers: { [name in P]: ProviderFactory } }): Endstate<P> => {
  const reserved = Object.keys(parts.providers).find((name) => name.startsWith(RESERVED_PREFIX))
  if (reserved !== undefined)
    throw new TypeError(
      `The provider "${reserved}" needs another name: "${RESERVED_PREFIX}…" are those of Endstate itself.`,
    )
  return {
    pipeline(name, options) {
      refuseUnknown(options, PIPELINE_OPTIONS, `Pipeline "${name}"`)
      return pipelineOf(name, options, NOTHING_BUILT)
    },
    machine(name, options) {
      refuseUnknown(options, MACHINE_OPTIONS, `Machine "${name}"`)
      return authorOf(definePipeline(name, options, options.steps(chainOf([])).steps))
    },
    config(given) {
      refuseUnknown(given, { pipelines: true, sources: true, charges: true, budgets: true }, 'The config')
      const { pipelines, sources, charges, budgets } = given
      const providers = { ...parts.providers, ...builtInProviders(pipelines) }
      return {
        providers,
        pipelines,
        sources: sources ?? ['local'],
        ...(charges !== undefined && { charges: parseCharges(charges) }),
        ...(budgets !== undefined && { budgets: defineBudgets(budgets) }),
      }
    },
  }
}
