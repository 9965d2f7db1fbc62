/**
 * The durations of a step's timers, in ms, and their declared maxima. A lease covers everything that can
 * happen between saving an intent and knowing the answer; a quarantine starts where the lease ends.
 */
import type { PipelineDefinition, ProviderTerms, StepDefinition } from './pipeline.js'

export const leaseMs = (pipeline: PipelineDefinition, step: StepDefinition): number =>
  pipeline.lease.sendWithinMs + step.deadlineMs + pipeline.lease.failoverMs

/** How long to wait before a call may follow an uncertain one: a late answer may still land meanwhile (P6). */
export const quarantineMs = (step: StepDefinition, terms: ProviderTerms): number =>
  terms.recovery === 'blind' && terms.cost === 'paid' ? terms.longestRunMs : step.backoff.initialMs

export const quarantineMaxMs = (step: StepDefinition, terms: { [provider: string]: ProviderTerms }): number =>
  Math.max(...step.use.map((name) => quarantineMs(step, terms[name]!)))

/** The longest a step can work, waiting for slots not counted. */
export const stepLimitMs = (
  pipeline: PipelineDefinition,
  step: StepDefinition,
  terms: { [provider: string]: ProviderTerms },
): number =>
  step.use.length * step.attempts * (leaseMs(pipeline, step) + quarantineMaxMs(step, terms) + step.backoff.maxMs)

/** The record's one deadline: it bounds all queueing and never resets within a generation. */
export const deadlineMs = (pipeline: PipelineDefinition, terms: { [provider: string]: ProviderTerms }): number =>
  pipeline.maxWaitMs + pipeline.steps.reduce((sum, step) => sum + stepLimitMs(pipeline, step, terms), 0)
