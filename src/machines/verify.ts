/**
 * Proves P2 on the machine itself: from every reachable state, timers alone lead to a settled state, and no cycle
 * escapes a timer that does not restart. Computes the worst case in ms over all that an adversary could answer.
 *
 * How: for a node and one of its running timers, at most the timer's declared maximum passes until the timer fires, is
 * cancelled or restarts; what then remains is the worst of the nodes where that can happen. The worst case of a node is
 * the least such bound over its timers. Starting from "infinite" and repeating until nothing changes yields only bounds
 * that are well founded; a node that stays infinite is one where an adversary can keep a record for ever.
 */
import type { AnyStateMachine, AnyStateNode } from 'xstate'
import type { Node } from './explore.js'
import { explore } from './explore.js'
import type { ExploreOptions } from './explore.js'
import { isOwnEventType } from './events.js'
import { leaving, longestPath } from './longest-path.js'
import type { PathPart } from './longest-path.js'
import { SETTLED_IDS, stepAround, stepOfNode } from './step-state.js'

/** How late a due timer may be delivered while a majority and one worker are up: sweep, hint, load, save. */
export const TIMER_SLACK_MS = 5_000

export type StateReport = { state: string; description: string | null; worstCaseMs: number }
export type Verification =
  | { ok: true; worstCaseMs: number; nodes: number; states: StateReport[]; path: PathPart[] }
  | { ok: false; nodes: number; problems: string[] }

const settledIds: ReadonlySet<string> = new Set(Object.values(SETTLED_IDS).map((id) => id.slice(1)))

type Region = { limitMs: number; exits: number[] }

const regionOf = (nodes: readonly Node[], from: number, timer: string, limitMs: number): Region => ({
  limitMs,
  exits: leaving(nodes, from, timer).map(({ to }) => to),
})

const limitOf = (maximaMs: ReadonlyMap<string, number>) => (timer: string) =>
  (maximaMs.get(timer) ?? Infinity) + TIMER_SLACK_MS

const solve = (nodes: readonly Node[], maximaMs: ReadonlyMap<string, number>): number[] => {
  const worst = nodes.map(({ settled }) => (settled ? 0 : Infinity))
  const regions = nodes.map((node) =>
    node.apart
      ? [{ limitMs: 0, exits: node.edges.map(({ to }) => to) }]
      : node.settled
        ? []
        : [...node.timers].map((timer) => regionOf(nodes, node.id, timer, limitOf(maximaMs)(timer))),
  )
  for (let changed = true; changed;) {
    changed = false
    for (const [id, candidates] of regions.entries()) {
      for (const { limitMs, exits } of candidates) {
        const bound = limitMs + exits.reduce((most, exit) => Math.max(most, worst[exit]!), 0)
        if (bound < worst[id]!) {
          worst[id] = bound
          changed = true
        }
      }
    }
  }
  return worst
}

/** Declared maxima by the event type of each timer; a timer without one is named. */
export const timerMaxima = (machine: AnyStateMachine, delayMaximaMs: ReadonlyMap<string, number>) => {
  const byEvent = new Map<string, number>()
  const undeclared: string[] = []
  const visit = (node: AnyStateNode) => {
    for (const { delay, eventType } of node.after) {
      const max = typeof delay === 'number' ? delay : typeof delay === 'string' ? delayMaximaMs.get(delay) : undefined
      if (max === undefined || !Number.isFinite(max) || max < 0) undeclared.push(eventType)
      else byEvent.set(eventType, max)
    }
    for (const child of Object.values(node.states)) visit(child)
  }
  visit(machine.root)
  return { byEvent, undeclared }
}

const isBuiltIn = (node: AnyStateNode): boolean =>
  node.parent === undefined || settledIds.has(node.id) || stepAround(node) !== null

/** What an author's state must leave to the record machine. */
const ownProblems = (node: AnyStateNode): string[] => {
  if (isBuiltIn(node)) return []
  const events = node.ownEvents.filter((type) => !type.startsWith('xstate.') && !isOwnEventType(type))
  const steps = [...node.transitions.values(), node.always ?? []].flat()
  const actions = [...node.entry, ...node.exit, ...steps.flatMap((each) => each.actions)]
    .map((action) => (typeof action === 'string' ? action : typeof action === 'object' ? action.type : null))
    .filter((name) => name !== null)
  return [
    ...events.map(
      (type) => `State "${node.id}" handles "${type}", whose meaning is fixed; give your event another name.`,
    ),
    ...actions.map(
      (name) => `State "${node.id}" has the action "${name}", which nobody would carry out; use a step instead.`,
    ),
  ]
}

const forbidden = (machine: AnyStateMachine): string[] => {
  const problems: string[] = []
  const places = new Map<string, string>()
  const visit = (node: AnyStateNode) => {
    const step = stepOfNode(node)
    const other = step === null ? undefined : places.get(step)
    if (other !== undefined)
      problems.push(
        `Step "${step}" is the state "${other}" and the state "${node.id}"; a step has one place, go back to it instead.`,
      )
    if (step !== null) places.set(step, node.id)
    if (node.invoke.length > 0)
      problems.push(
        `State "${node.id}" uses invoke, which would call again when a record is loaded; use a step instead.`,
      )
    problems.push(...ownProblems(node))
    if (node.type === 'history')
      problems.push(`State "${node.id}" is a history state, which does not survive storage; name its target instead.`)
    for (const child of Object.values(node.states)) visit(child)
  }
  visit(machine.root)
  return problems
}

/** Names where an adversary can keep a record: states without a timer first, else a cycle whose timers restart. */
const explain = (nodes: readonly Node[], worst: readonly number[]): string[] => {
  const endless = nodes.filter(({ id }) => worst[id] === Infinity)
  const idle = new Set(endless.filter(({ timers }) => timers.size === 0).map(({ label }) => label))
  if (idle.size > 0)
    return [...idle].map(
      (label) =>
        `State "${label}" has no timer once the record's deadline has passed: nothing but an answer would ever move it. ` +
        `Give it "after: { <delay>: <target> }" on a way to a settled state.`,
    )
  const cycle = [...new Set(endless.map(({ label }) => label))].sort()
  return [
    `The states ${cycle.map((label) => `"${label}"`).join(', ')} form a cycle whose timers restart each time round, so it need never end. ` +
      `Let one of their timers lead to a settled state, or put the cycle under a parent state with an "after" of its own.`,
  ]
}

const describe = (machine: AnyStateMachine, label: string): string | null => {
  const path = label.split('|')[0]!.split('.')
  let node: AnyStateNode | undefined = machine.root
  for (const key of path) node = node?.states[key]
  return node?.description ?? null
}

const walk = (machine: AnyStateMachine, options: ExploreOptions): Node[] | string => {
  try {
    return explore(machine, options)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

export const verify = (
  machine: AnyStateMachine,
  delayMaximaMs: ReadonlyMap<string, number>,
  options: ExploreOptions,
): Verification => {
  const { byEvent, undeclared } = timerMaxima(machine, delayMaximaMs)
  const problems = [
    ...forbidden(machine),
    ...undeclared.map((event) => `Timer "${event}" has no declared maximum; give its delay as a named duration.`),
  ]
  if (problems.length > 0) return { ok: false, nodes: 0, problems }
  const walked = walk(machine, options)
  if (typeof walked === 'string') return { ok: false, nodes: 0, problems: [walked] }
  const nodes = walked
  const worst = solve(nodes, byEvent)
  if (worst.some((ms) => ms === Infinity)) return { ok: false, nodes: nodes.length, problems: explain(nodes, worst) }
  const states = new Map<string, number>()
  for (const { id, label } of nodes) states.set(label, Math.max(states.get(label) ?? 0, worst[id]!))
  const report = [...states].map(([state, worstCaseMs]) => ({
    state,
    worstCaseMs,
    description: describe(machine, state),
  }))
  const path = longestPath(nodes, worst, limitOf(byEvent))
  return { ok: true, worstCaseMs: worst[0]!, nodes: nodes.length, states: report, path }
}
