/**
 * Walks every state a record machine can reach when providers, people and clocks are an adversary: every answer in
 * every state, every pending timer at any moment, both ways of every guard that the pipeline's author wrote.
 *
 * The machine itself is run, not a model of it; only the context is projected to what its guards read.
 *
 * W1 Regions of a parallel state are walked apart, because their product explodes and they share nothing but the
 *    deadline. A node with several unfinished regions has no time of its own: it leads at once to one node for each
 *    of them, in which the others are finished. Whatever the record does, one region finishes last (or settles the
 *    record), and its walk takes at least as long; so the worst of these nodes bounds the whole.
 */
import type { AnyMachineSnapshot, AnyStateMachine, AnyStateNode } from 'xstate'
import { activeNodes, advance, contextOf, stateLabel, start } from './advance.js'
import type { Advance } from './advance.js'
import type { RecordContext, StepBudget } from './budgets.js'
import { budgetOf } from './budgets.js'
import { isOwnEventType } from './events.js'
import type { DeliveredEvent } from './record-machine.js'
import { finishedValue, isInside, unfinished, withValueAt } from './regions.js'
import { stepsAhead } from './reach.js'
import { stepOfNode } from './step-state.js'

export const NODES_MAX = 20_000

export type Edge = { event: string; to: number; restarts: ReadonlySet<string> }
export type Node = {
  id: number
  label: string
  settled: boolean
  overdue: boolean
  /** Event types of the timers that run in this node. */
  timers: ReadonlySet<string>
  /** W1: no time passes here; the edges lead to its regions, each by itself. */
  apart: boolean
  edges: Edge[]
}

type Place = { snapshot: AnyMachineSnapshot; timers: ReadonlySet<string>; regions: readonly AnyStateNode[] }
type Oracle = { machine: AnyStateMachine; each(run: () => void): void }

/** Replaces the author's guards by every combination of answers, one run each. */
const makeOracle = (machine: AnyStateMachine, ownGuards: readonly string[]): Oracle => {
  let answers: boolean[] = []
  let asked = 0
  const ask = () => {
    if (asked === answers.length) answers.push(false)
    return answers[asked++]!
  }
  const provided = machine.provide({ guards: Object.fromEntries(ownGuards.map((name) => [name, ask])) as never })
  const each = (run: () => void) => {
    answers = []
    do {
      asked = 0
      run()
      answers.length = asked
      while (answers.at(-1) === true) answers.pop()
      if (answers.length > 0) answers[answers.length - 1] = true
    } while (answers.length > 0)
  }
  return { machine: provided as AnyStateMachine, each }
}

const finished: StepBudget = {
  attempt: 1,
  tries: 0,
  provider: 0,
  failures: 0,
  doubts: 0,
  result: 1,
  handle: false,
  asks: 0,
}

/**
 * What guards read: a finished step's way to its result does not matter any more, nor does a step that is behind; failures
 * only name keys.
 */
const project = (context: RecordContext, ahead: ReadonlySet<string>): RecordContext => ({
  ...context,
  steps: Object.fromEntries(
    Object.entries(context.steps).map(([name, budget]) => [
      name,
      budget.result > 0 || !ahead.has(name) ? finished : { ...budget, failures: 0, asks: 0 },
    ]),
  ),
})

const failure = { code: 'x', message: 'x', kind: 'executed' } as const

const HELD = ['wait', 'fall-back', 'give-up'] as const

/** All that can be said about one step's current or previous attempt. */
const answersFor = (context: RecordContext, step: string, provider: string): DeliveredEvent[] => {
  const { attempt } = context.steps[step]!
  const call = { step, attempt, generation: context.generation }
  const failed = { ...call, type: 'CALL_FAILED', error: failure, backoffMs: 0, spend: null, evidence: null } as const
  const result = { sha256: '', bytes: 0 }
  const success = { type: 'CALL_SUCCEEDED', result, charge: null, spend: null, evidence: null } as const
  return [
    { type: 'ATTEMPT_STARTED', ...call, attempt: attempt + 1, provider, requestKey: 'x', sendBy: '' },
    { ...call, ...success },
    { ...call, ...success, attempt: attempt - 1 },
    { ...failed, retryable: true, rejects: false },
    { ...failed, retryable: false, rejects: false },
    { ...failed, retryable: false, rejects: false, error: { ...failure, kind: 'not-executed' } },
    { ...failed, retryable: false, rejects: true },
    { ...call, type: 'CALL_UNCERTAIN', error: failure, spend: null, evidence: null },
    { ...call, type: 'CALL_NOT_SENT' },
    { ...call, type: 'CALL_ACCEPTED', handle: 'x', evidence: null },
    { ...call, type: 'CALL_PROGRESSED', handle: 'x', progress: null },
    { ...call, type: 'CALL_MISSED', evidence: null },
    { ...call, type: 'CALL_NUDGED' },
    ...HELD.map((course) => ({
      type: 'STEP_HELD' as const,
      step,
      provider,
      code: 'x',
      message: 'x',
      until: '',
      course,
    })),
    { ...call, type: 'RESULT_UNSTORABLE', result: null, error: failure, spend: null },
  ]
}

const timersAfter = (before: ReadonlySet<string>, fired: string | null, result: Advance) => {
  const timers = new Set(before)
  const restarts = new Set<string>()
  if (fired) timers.delete(fired)
  for (const action of result.actions) {
    if (action.kind === 'cancel-timer') timers.delete(action.id)
    if (action.kind === 'set-timer') {
      timers.add(action.event)
      restarts.add(action.event)
    }
  }
  return { timers, restarts }
}

export type ExploreOptions = {
  ownGuards: readonly string[]
  /** Providers of each step, in fallback order. */
  use: ReadonlyMap<string, readonly string[]>
}

/** Throws when there are more than NODES_MAX nodes. */
export const explore = (original: AnyStateMachine, options: ExploreOptions): Node[] => {
  const { machine, each } = makeOracle(original, options.ownGuards)
  const nodes: Node[] = []
  const places: Place[] = []
  const known = new Map<string, number>()
  const timerOwner = timerOwners(machine.root)
  const ahead = stepsAhead()

  const enter = (snapshot: AnyMachineSnapshot, timers: ReadonlySet<string>): number => {
    const context = project(contextOf(snapshot), ahead(activeNodes(snapshot)))
    const running = context.settled ? new Set<string>() : timers
    const key = JSON.stringify([snapshot.value, context, [...running].sort()])
    const found = known.get(key)
    if (found !== undefined) return found
    if (nodes.length >= NODES_MAX)
      throw new Error(`The machine has more than ${NODES_MAX} distinct states; split the pipeline.`)
    const id = nodes.length
    const resolved = machine.resolveState({ value: snapshot.value, context, status: snapshot.status } as never)
    known.set(key, id)
    const regions = context.settled ? [] : unfinished(activeNodes(resolved as AnyMachineSnapshot))
    nodes.push({
      id,
      label: stateLabel(snapshot.value),
      settled: context.settled,
      overdue: context.overdue,
      timers: running,
      apart: regions.length > 0,
      edges: [],
    })
    places.push({ snapshot: resolved as AnyMachineSnapshot, timers: running, regions })
    return id
  }

  /** W1 */
  const walkApart = (from: number) => {
    const { snapshot, timers, regions } = places[from]!
    for (const region of regions) {
      const others = regions.filter((other) => other !== region)
      const value = others.reduce<unknown>(
        (all, other) => withValueAt(all, other.path, finishedValue(other)),
        snapshot.value,
      )
      const alone = machine.resolveState({ value, context: contextOf(snapshot), status: snapshot.status } as never)
      const stopped = (timer: string) => others.some((other) => isInside(timerOwner.get(timer), other))
      const to = enter(alone as AnyMachineSnapshot, new Set([...timers].filter((timer) => !stopped(timer))))
      nodes[from]!.edges.push({ event: 'apart', to, restarts: new Set() })
    }
  }

  const follow = (from: number, event: DeliveredEvent, fired: string | null) => {
    const { snapshot, timers } = places[from]!
    each(() => {
      const result = advance(machine, snapshot, event)
      if (!result.changed && fired === null) return
      const after = timersAfter(timers, fired, result)
      const to = enter(result.snapshot, after.timers)
      if (to === from && fired === null && after.restarts.size === 0) return
      nodes[from]!.edges.push({ event: event.type, to, restarts: after.restarts })
    })
  }

  each(() => {
    const first = start(machine)
    enter(first.snapshot, timersAfter(new Set(), null, first).timers)
  })
  for (let id = 0; id < nodes.length; id += 1) {
    if (nodes[id]!.settled) continue
    if (nodes[id]!.apart) {
      walkApart(id)
      continue
    }
    const { snapshot, timers } = places[id]!
    for (const timer of timers) follow(id, { type: timer } as DeliveredEvent, timer)
    for (const event of eventsIn(activeNodes(snapshot), contextOf(snapshot), options)) follow(id, event, null)
  }
  return nodes
}

const eventsIn = (
  active: readonly AnyStateNode[],
  context: RecordContext,
  options: ExploreOptions,
): DeliveredEvent[] => {
  const events: DeliveredEvent[] = []
  for (const node of active) {
    const step = stepOfNode(node)
    const use = step === null ? undefined : options.use.get(step)
    if (step !== null && use) events.push(...answersFor(context, step, use[budgetOf(context, step).provider] ?? ''))
    for (const type of node.ownEvents) if (isOwnEventType(type)) events.push({ type } as never)
  }
  return events
}

const timerOwners = (root: AnyStateNode): Map<string, AnyStateNode> => {
  const owners = new Map<string, AnyStateNode>()
  const visit = (node: AnyStateNode) => {
    for (const { eventType } of node.after) owners.set(eventType, node)
    for (const child of Object.values(node.states)) visit(child)
  }
  visit(root)
  return owners
}
