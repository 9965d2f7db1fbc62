/**
 * The durations of a step's timers, in ms, and their declared maxima. A lease covers everything that can
 * happen between saving an intent and knowing the answer; a quarantine starts where the lease ends.
 */
import type { PipelineDefinition, ProviderTerms, StepDefinition } from './pipeline.js'
import { isAsked } from './policy.js'

export const leaseMs = (pipeline: PipelineDefinition, step: StepDefinition): number =>
  pipeline.lease.sendWithinMs + step.deadlineMs + pipeline.lease.failoverMs

/**
 * How long to wait before a call may follow an uncertain one: a late answer may still land meanwhile (P6). While an
 * `in-flight` call runs its repeat is told apart, so the first repeat comes early.
 */
export const quarantineMs = (step: StepDefinition, terms: ProviderTerms, doubts: number): number => {
  const early = terms.recovery === 'in-flight' && doubts === 0
  const inDoubt = terms.recovery !== 'idempotent' && terms.cost === 'paid'
  return inDoubt && !early ? terms.longestRunMs : step.backoff.initialMs
}

type Terms = { [provider: string]: ProviderTerms }

const most = (step: StepDefinition, terms: Terms, of: (provider: ProviderTerms) => number): number =>
  Math.max(...step.use.map((name) => of(terms[name]!)))

export const quarantineMaxMs = (step: StepDefinition, terms: Terms): number =>
  most(step, terms, (provider) => quarantineMs(step, provider, 1))

/** An uncertain call is looked up until it can't arrive any more; it counts from where the lease ends. */
export const lookupWindowMs = ({ lookupLagMs, longestRunMs }: ProviderTerms): number => lookupLagMs + longestRunMs
export const lookupWindowMaxMs = (step: StepDefinition, terms: Terms): number => most(step, terms, lookupWindowMs)

/** How long a job may run before it counts as uncertain. */
export const runMs = ({ longestRunMs }: ProviderTerms): number => longestRunMs
export const runMaxMs = (step: StepDefinition, terms: Terms): number => most(step, terms, runMs)

/** One question's limit. */
export const ASK_DEADLINE_MS = 10_000
/** From the last question until its answer is saved, or the provider has not told. */
export const lastLookMs = (pipeline: PipelineDefinition): number => ASK_DEADLINE_MS + pipeline.lease.failoverMs

const POLL_FIRST_MS = 1_000
const POLL_GROWTH = 1.3
/** Not more than about this many polls at the slowest pace. */
const POLLS_AT_PACE = 60

/** Polls come more and more slowly, so that a long job costs few, and a short one is seen soon after its end. */
export const pollMs = (windowMs: number, asks: number): number =>
  Math.min(pollMaxMs(windowMs), Math.round(POLL_FIRST_MS * POLL_GROWTH ** Math.min(asks, 100)))
export const pollMaxMs = (windowMs: number): number => Math.max(10_000, Math.ceil(windowMs / POLLS_AT_PACE))

/** How many polls a window can hold: each is an entry of the history. */
export const pollsMax = (windowMs: number): number => {
  let polls = 0
  for (let atMs = 0; atMs < windowMs; atMs += pollMs(windowMs, polls)) polls += 1
  return polls
}

/** The longest a step can work, waiting for slots not counted. */
export const stepLimitMs = (pipeline: PipelineDefinition, step: StepDefinition, terms: Terms): number =>
  step.use.length *
  step.attempts *
  (leaseMs(pipeline, step) +
    Math.max(quarantineMaxMs(step, terms), askingMaxMs(pipeline, step, terms)) +
    step.backoff.maxMs)

/** A lost submission that is found, whose job then runs as long as it may. */
const askingMaxMs = (pipeline: PipelineDefinition, step: StepDefinition, terms: Terms): number =>
  most(step, terms, (provider) =>
    isAsked(provider) ? lookupWindowMs(provider) + runMs(provider) + lastLookMs(pipeline) : 0,
  )

/** The record's one deadline: it bounds all queueing and never resets within a generation. */
export const deadlineMs = (pipeline: PipelineDefinition, terms: { [provider: string]: ProviderTerms }): number =>
  pipeline.maxWaitMs + pipeline.steps.reduce((sum, step) => sum + stepLimitMs(pipeline, step, terms), 0)
