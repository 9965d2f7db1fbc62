/**
 * A pipeline ready to run: its definition, its machine, what `verify` proved about it, and its version.
 */
import type { AnyStateMachine } from 'xstate'
import type { PipelineDefinition, ProviderTerms } from './pipeline.js'

export type CompiledPipeline = {
  definition: PipelineDefinition
  /** Hash of the declarative parts and the declared revision. */
  version: string
  machine: AnyStateMachine
  /** The providers its steps use, by name. */
  terms: { [provider: string]: ProviderTerms }
  /** Upper bound from acceptance to settled, in ms, over all that an adversary could answer. */
  worstCaseMs: number
  /** The record's deadline, in ms from acceptance or an operator's retry. */
  deadlineMs: number
  /** Declared maximum of each timer, in ms, by its event type. */
  timerMaxMs: ReadonlyMap<string, number>
  /** Event types of timers that guard a call: outages don't shift them. */
  callTimers: ReadonlySet<string>
  /** Guards or requests need the outputs of earlier steps with each event. */
  needsOutputs: boolean
}

/** The pipelines of this process: the current one by name, and by version (an older one may still be loaded). */
export interface PipelineSet {
  byName(name: string): CompiledPipeline | undefined
  byVersion(version: string): CompiledPipeline | undefined
  all(): CompiledPipeline[]
}
