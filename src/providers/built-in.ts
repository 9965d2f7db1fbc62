/**
 * The providers that a config gets by the forms of its pipelines: functions in this process, and child records. All that
 * the builder may know of this room's adapters.
 */
export { compute, computeProvider, type Run } from './compute/compute.js'
export { StepRefused } from './compute/refused.js'
export { answersOf, voteRun, type VotePlan } from './compute/vote.js'
export { recordsProvider, type MapPlan } from './records/records.js'
