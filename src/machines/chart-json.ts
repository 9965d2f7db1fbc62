/**
 * A machine as XState's JSON: what `createMachine(json)` takes and XState's tools draw. Guards, actions and delays by
 * name, targets by id, nothing that runs. Not a stored form: records hold snapshots, never machines.
 */
import type { AnyStateMachine, AnyStateNode } from 'xstate'

export type JsonTransition = {
  target?: string[]
  guard?: JsonNamed
  actions?: JsonNamed[]
  reenter?: true
}
export type JsonNamed = { type: string; params?: { [name: string]: unknown } }
export type JsonState = {
  id: string
  type?: 'parallel' | 'final'
  initial?: string
  description?: string
  meta?: unknown
  entry?: JsonNamed[]
  exit?: JsonNamed[]
  on?: { [event: string]: JsonTransition[] }
  after?: { [delay: string]: JsonTransition[] }
  always?: JsonTransition[]
  onDone?: JsonTransition[]
  states?: { [name: string]: JsonState }
}

type Transition = AnyStateNode['transitions'] extends Map<string, readonly (infer T)[]> ? T : never

/** XState's own actions (timers) and inline functions have no name to show. */
const named = (value: unknown): JsonNamed | null => {
  if (typeof value === 'string') return { type: value }
  if (value === null || typeof value !== 'object' || !('type' in value) || typeof value.type !== 'string') return null
  const { type, params } = value as JsonNamed
  return params === undefined || typeof params === 'function' ? { type } : { type, params }
}

const namedAll = (values: readonly unknown[]): JsonNamed[] => values.map(named).filter((each) => each !== null)

const transitionOf = ({ target, guard, actions, reenter }: Transition): JsonTransition => {
  const condition = guard === undefined ? null : (named(guard) ?? { type: 'inline' })
  const does = namedAll(actions)
  return {
    ...(target && { target: target.map(({ id }) => `#${id}`) }),
    ...(condition && { guard: condition }),
    ...(does.length > 0 && { actions: does }),
    ...(reenter && { reenter: true as const }),
  }
}

/** Timers of a state by the name of their delay (or its ms), in the order in which they are tried. */
const afterOf = (node: AnyStateNode): { [delay: string]: JsonTransition[] } => {
  const after: { [delay: string]: JsonTransition[] } = {}
  for (const transition of node.after) (after[String(transition.delay)] ??= []).push(transitionOf(transition))
  return after
}

const isEmpty = (value: object): boolean => Object.keys(value).length === 0

const stateOf = (node: AnyStateNode): JsonState => {
  const done = `xstate.done.state.${node.id}`
  const all = [...node.transitions].map(([event, each]) => [event, each.map(transitionOf)] as const)
  const on = Object.fromEntries(all.filter(([event]) => event !== done && !event.startsWith('xstate.')))
  const onDone = all.find(([event]) => event === done)?.[1]
  const after = afterOf(node)
  const entry = namedAll(node.entry)
  const exit = namedAll(node.exit)
  const states = Object.fromEntries(Object.entries(node.states).map(([name, child]) => [name, stateOf(child)]))
  const initial = node.type === 'compound' ? node.initial?.target?.[0]?.key : undefined
  return {
    id: node.id,
    ...((node.type === 'parallel' || node.type === 'final') && { type: node.type }),
    ...(initial !== undefined && { initial }),
    ...(node.description !== undefined && { description: node.description }),
    ...(node.meta !== undefined && { meta: node.meta as unknown }),
    ...(entry.length > 0 && { entry }),
    ...(exit.length > 0 && { exit }),
    ...(!isEmpty(on) && { on }),
    ...(!isEmpty(after) && { after }),
    ...(node.always && node.always.length > 0 && { always: node.always.map(transitionOf) }),
    ...(onDone && { onDone }),
    ...(!isEmpty(states) && { states }),
  }
}

/** Plain JSON; the machine's context is left out, because it is made by a function. */
export const chartJson = (machine: AnyStateMachine): JsonState =>
  JSON.parse(JSON.stringify(stateOf(machine.root))) as JsonState
