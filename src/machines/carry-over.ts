/**
 * A record of a version that no process knows any more moves to the version at hand, where that is sound; otherwise it
 * says why not, and the caller settles the record by force. The states and budgets are carry-snapshot.ts's part; here
 * are the document's: timers, queue, steps, settlesBy.
 *
 * V4 An active state's timer runs on as it was; a missing one is armed at its declared maximum from now (P2).
 * V5 settlesBy never comes earlier, and covers the new version's worst case from now, counted from timers that may
 *    run longer than the new version would have given them.
 */
import { activeNodes, contextOf, stateLabel } from './advance.js'
import { budgetOf } from './budgets.js'
import { activeSteps, carrySnapshot } from './carry-snapshot.js'
import type { CompiledPipeline } from './compiled.js'
import { addHistory } from './decide.js'
import type { Decider, Draft, DraftSave } from './draft.js'
import { closeDraft, editStep, settleDerived } from './draft.js'
import { stepByName } from './machine-parts.js'
import type { QueueEntry, RecordDocument, Timer } from './record.js'
import { isSettled } from './record.js'

export type CarriedOver = { save: DraftSave; next: RecordDocument } | { impossible: string }

/** Throws nothing: what can't be carried over is `impossible`, with the reason. */
export const carryOver = (base: RecordDocument, to: CompiledPipeline, decider: Decider): CarriedOver => {
  const opened = openCarried(base, to, decider)
  return 'impossible' in opened ? opened : closeDraft(opened.draft)!
}

/** The record in its new version, not saved yet: PIPELINE_CHANGED is in its history, and events may follow in one save. */
export const openCarried = (
  base: RecordDocument,
  to: CompiledPipeline,
  decider: Decider,
): { draft: Draft } | { impossible: string } => {
  if (base.pipeline !== to.definition.name)
    return { impossible: `The record belongs to pipeline "${base.pipeline}", not to "${to.definition.name}".` }
  if (base.pipelineVersion === to.version) return { impossible: `The record has version ${to.version} already.` }
  const carried = carrySnapshot(base.snapshot, to, (step) => lastAttempt(base, step)?.provider)
  if ('impossible' in carried) return carried
  const { snapshot } = carried
  const settled = isSettled(base.status)
  if (settled !== contextOf(snapshot).settled)
    return { impossible: `Its status "${base.status}" and its state "${stateLabel(snapshot.value)}" contradict.` }
  const orphan = orphanedCall(base, to, activeSteps(snapshot))
  if (orphan) return { impossible: orphan }

  const draft: Draft = {
    compiled: to,
    decider,
    base,
    doc: { ...base, steps: { ...base.steps }, charges: { ...base.charges }, pipelineVersion: to.version },
    snapshot,
    touchedSteps: new Set(),
    touchedCharges: new Set(),
    history: [],
    outbox: [],
    calls: [],
    errands: [],
    reused: [],
  }
  for (const { name } of to.definition.steps) if (!base.steps[name]) editStep(draft, name)
  if (!settled) {
    draft.doc.timers = timersOf(draft)
    if (draft.doc.timers.length === 0)
      return { impossible: `State "${stateLabel(snapshot.value)}" has no timer in version ${to.version}.` }
    draft.doc.queue = queueOf(draft)
    draft.doc.settlesBy = settlesBy(draft)
  }
  addHistory(
    draft,
    { type: 'PIPELINE_CHANGED', from: base.pipelineVersion, to: to.version },
    stateLabel(snapshot.value),
  )
  settleDerived(draft)
  return { draft }
}

const lastAttempt = ({ steps, generation }: RecordDocument, step: string) =>
  steps[step]?.attempts.findLast((attempt) => attempt.generation === generation)

/** States in which an attempt may be open. */
const HOLDS_CALL: ReadonlySet<string | undefined> = new Set(['calling', 'awaiting', 'lastLook'])

/** An open attempt whose answer the new machine could not place; null when there is none. */
const orphanedCall = (base: RecordDocument, to: CompiledPipeline, active: ReadonlyMap<string, string>) => {
  const known = new Set(to.definition.steps.map(({ name }) => name))
  for (const [name, { attempts }] of Object.entries(base.steps)) {
    const open = attempts.find(({ outcome }) => outcome === null)
    if (open && !known.has(name))
      return `Attempt ${open.n} of step "${name}" is open, and version ${to.version} has no such step.`
    if (open && !HOLDS_CALL.has(active.get(name)))
      return `Attempt ${open.n} of step "${name}" is open, but the step is not calling in version ${to.version}.`
    if (!open && active.get(name) === 'calling') return `Step "${name}" is calling, but has no open attempt.`
  }
  return null
}

/** V4 */
const timersOf = ({ base, compiled, snapshot, decider }: Draft): Timer[] => {
  const { overdue } = contextOf(snapshot)
  const events = activeNodes(snapshot)
    // The deadline has fired once and for all.
    .flatMap((node) => (overdue && node === compiled.machine.root ? [] : node.after))
    .map(({ eventType }) => eventType)
  return events.map((event) => {
    const dueAt = new Date(decider.at.getTime() + compiled.timerMaxMs.get(event)!)
    const guards = compiled.callTimers.has(event) ? ('call' as const) : ('wait' as const)
    const running = base.timers.find((timer) => timer.event === event)
    return running ? { ...running, guards } : { id: event, event, dueAt, guards }
  })
}

/** Each step that waits, at the provider where it waits in the new version; its place in the line stays. */
const queueOf = ({ base, compiled, snapshot, decider }: Draft): QueueEntry[] =>
  [...activeSteps(snapshot)]
    .filter(([, inner]) => inner === 'ready')
    .map(([step]) => ({
      provider: stepByName(compiled.definition, step).use[budgetOf(contextOf(snapshot), step).provider]!,
      step,
      readyAt: base.queue.find((entry) => entry.step === step)?.readyAt ?? decider.at,
    }))

/** V5 */
const settlesBy = ({ base, doc, compiled, decider }: Draft): Date => {
  const at = decider.at.getTime()
  const longer = doc.timers.map(({ event, dueAt }) => dueAt.getTime() - at - compiled.timerMaxMs.get(event)!)
  return new Date(Math.max(base.settlesBy.getTime(), at + Math.max(0, ...longer) + compiled.worstCaseMs))
}
