/**
 * A stored snapshot under another version of its pipeline. Pure, and a function of the history alone, so that a replay
 * takes the same way.
 *
 * V1 Every active state exists in the new machine, and none is active there that the record has not entered: entering
 *    has actions, and they would be missing.
 * V2 Nothing is forgotten: the budgets of known steps are kept, of removed steps too, because a later version may bring
 *    the step back and its result must still count (P3). New steps begin.
 * V3 A call that may be running keeps its provider: only the provider's own terms say what may follow it (P6).
 */
import type { AnyMachineSnapshot } from 'xstate'
import { activeNodes, contextOf, stateLabel } from './advance.js'
import { initialContext, recordContextSchema } from './budgets.js'
import type { RecordContext, StepBudget } from './budgets.js'
import type { CompiledPipeline } from './compiled.js'
import type { StepDefinition } from './pipeline.js'
import { SETTLED_IDS, stepOfNode } from './step-state.js'

export type CarriedSnapshot = { snapshot: AnyMachineSnapshot } | { impossible: string }

/** Provider of a step's last attempt in this generation; undefined when there was none. */
export type LastProvider = (step: string) => string | undefined

const settledIds: ReadonlySet<string> = new Set(Object.values(SETTLED_IDS).map((id) => id.slice(1)))

/** The inner state of each active step. */
export const activeSteps = (snapshot: AnyMachineSnapshot): Map<string, string> => {
  const active = activeNodes(snapshot)
  const steps = new Map<string, string>()
  for (const node of active) {
    const step = stepOfNode(node)
    const inner = active.find(({ parent }) => parent === node)
    if (step !== null && inner) steps.set(step, inner.key)
  }
  return steps
}

const RUNNING: ReadonlySet<string | undefined> = new Set(['calling', 'uncertain', 'recovering', 'awaiting', 'lastLook'])
const mayBeRunning = (inner: string | undefined): boolean => RUNNING.has(inner)

/** The provider is found again by its name; where it is gone, the one at its place begins its tries. */
const carryBudget = (budget: StepBudget, step: StepDefinition, last: string | undefined, running: boolean) => {
  const tries = Math.min(budget.tries, running ? step.attempts : step.attempts - 1)
  const place = Math.min(budget.provider, step.use.length - 1)
  if (budget.tries === 0 || last === undefined) return { ...budget, provider: place, tries }
  const named = step.use.indexOf(last)
  return named >= 0 ? { ...budget, provider: named, tries } : { ...budget, provider: place, tries: 0 }
}

const resolve = (stored: object, context: RecordContext, to: CompiledPipeline): CarriedSnapshot => {
  const label = stateLabel((stored as { value?: unknown }).value)
  const gone = { impossible: `State "${label}" does not exist in version ${to.version}.` }
  let snapshot: AnyMachineSnapshot
  try {
    snapshot = to.machine.resolveState({ ...stored, context } as never) as AnyMachineSnapshot
  } catch {
    return gone
  }
  const found = stateLabel(snapshot.value)
  // V1
  if (found !== label)
    return { impossible: `State "${label}" is "${found}" in version ${to.version}, which the record has not entered.` }
  const settled = activeNodes(snapshot).some(({ id }) => settledIds.has(id))
  return settled === context.settled ? { snapshot } : gone
}

export const carrySnapshot = (stored: unknown, to: CompiledPipeline, lastProvider: LastProvider): CarriedSnapshot => {
  const parsed = recordContextSchema.safeParse((stored as { context?: unknown } | null)?.context)
  if (!parsed.success) {
    const at = parsed.error.issues.map(({ path }) => path.join('.') || 'context').join(', ')
    return { impossible: `Its context does not parse (${at}).` }
  }
  const steps = to.definition.steps
  const all = {
    ...parsed.data,
    steps: { ...initialContext(steps.map(({ name }) => name)).steps, ...parsed.data.steps },
  }
  const placed = resolve(stored as object, all, to)
  if ('impossible' in placed) return placed
  const active = activeSteps(placed.snapshot)
  const budgets = { ...all.steps }
  for (const step of steps) {
    const running = mayBeRunning(active.get(step.name))
    const last = lastProvider(step.name)
    if (running && (last === undefined || !step.use.includes(last)))
      return {
        impossible: `Step "${step.name}" has a call at provider "${last ?? 'unknown'}", which version ${to.version} does not use for it.`,
      } // V3
    budgets[step.name] = carryBudget(all.steps[step.name]!, step, last, running)
  }
  return resolve(stored as object, { ...contextOf(placed.snapshot), steps: budgets }, to)
}
