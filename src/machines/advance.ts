/**
 * One event through one machine: `(snapshot, event) -> [snapshot, actions]`, with XState's timers told apart from the
 * actions that change the document. Pure; executes nothing.
 *
 * V1 Snapshots are never changed, neither live nor stored: what is worked out for one is remembered by it.
 */
import { createActor } from 'xstate'
import type { AnyActorScope, AnyMachineSnapshot, AnyStateMachine, AnyStateNode } from 'xstate'
import { recordContextSchema } from './budgets.js'
import type { RecordContext } from './budgets.js'
import { documentActions } from './machine-parts.js'
import type { DocumentActionName } from './machine-parts.js'
import type { DeliveredEvent } from './record-machine.js'
import { whileDelivering } from './record-machine.js'

export type MachineAction =
  | { kind: 'set-timer'; id: string; event: string; delayMs: number }
  | { kind: 'cancel-timer'; id: string }
  | { kind: 'document'; name: DocumentActionName; step: string | null; status: string | null }

export type Advance = { snapshot: AnyMachineSnapshot; actions: MachineAction[]; changed: boolean }

type ReturnedAction = { type: string; params?: unknown }

const documentNames: ReadonlySet<string> = new Set(documentActions)

const interpret = ({ type, params }: ReturnedAction): MachineAction | null => {
  if (type === 'xstate.raise') {
    const raise = params as { id?: string; event: { type: string }; delay?: number }
    if (raise.delay === undefined) return null
    return { kind: 'set-timer', id: raise.id ?? raise.event.type, event: raise.event.type, delayMs: raise.delay }
  }
  if (type === 'xstate.cancel') return { kind: 'cancel-timer', id: (params as { sendId: string }).sendId }
  if (!documentNames.has(type)) return null
  const { step = null, status = null } = (params ?? {}) as { step?: string; status?: string }
  return { kind: 'document', name: type as DocumentActionName, step, status }
}

const interpretAll = (actions: readonly ReturnedAction[]): MachineAction[] =>
  actions.map(interpret).filter((action) => action !== null)

const ignore = () => {}

/**
 * What XState's own `transition()` makes anew for each event, at the price of several events: an actor that is never
 * started. One a machine does, because record machines spawn and invoke nothing, so that nothing is left in it.
 */
const scopes = new WeakMap<AnyStateMachine, AnyActorScope>()
const scopeOf = (machine: AnyStateMachine): AnyActorScope => {
  let scope = scopes.get(machine)
  if (!scope) {
    const self = createActor(machine)
    const { system } = self
    const inert = { defer: ignore, stopChild: ignore, emit: ignore, actionExecutor: ignore, logger: ignore }
    scopes.set(machine, (scope = { ...inert, self, system, id: '', sessionId: '' }))
  }
  return scope
}

const withActions = <T>(machine: AnyStateMachine, step: (scope: AnyActorScope) => T): [T, ReturnedAction[]] => {
  const actions: ReturnedAction[] = []
  const actionExecutor = (action: ReturnedAction) => {
    if (actions.push(action) > ACTIONS_MAX)
      throw new Error('The machine goes round and round on one event and never comes to rest.')
  }
  return [step({ ...scopeOf(machine), actionExecutor }), actions]
}

/** Of one event. A chart can lead from a finished step straight back to it, without any event: that has no end. */
const ACTIONS_MAX = 10_000

const starts = new WeakMap<AnyStateMachine, Advance>()

/** The same for every record of a machine. */
export const start = (machine: AnyStateMachine): Advance => {
  let begun = starts.get(machine)
  if (!begun) {
    const [snapshot, actions] = withActions(machine, (scope) => machine.getInitialSnapshot(scope))
    begun = { snapshot: snapshot as AnyMachineSnapshot, actions: interpretAll(actions), changed: true }
    starts.set(machine, begun)
  }
  return begun
}

/** Throws when a guard throws; the caller settles such a record by force. */
export const advance = (machine: AnyStateMachine, snapshot: AnyMachineSnapshot, event: DeliveredEvent): Advance => {
  const [next, returned] = withActions(machine, (scope) =>
    whileDelivering(event, () => machine.transition(snapshot, event as never, scope)),
  )
  const actions = interpretAll(returned)
  const after = next as AnyMachineSnapshot
  if (after.status === 'error') throw new Error(`The machine failed on ${event.type}.`)
  // A no-op is both: the same snapshot and no actions. In a final state XState cancels timers again: also nothing.
  const acts = actions.some((action) => action.kind !== 'cancel-timer')
  return { snapshot: after, actions, changed: after !== snapshot || acts }
}

const stored = new WeakMap<AnyMachineSnapshot, object>()
const live = new WeakMap<object, AnyMachineSnapshot>()

/** What is stored: plain JSON, the same object for the same snapshot (V1). */
export const persist = (machine: AnyStateMachine, snapshot: AnyMachineSnapshot): unknown => {
  let persisted = stored.get(snapshot)
  if (!persisted) {
    const entries = Object.entries(machine.getPersistedSnapshot(snapshot))
    persisted = Object.fromEntries(entries.filter(([, value]) => value !== undefined))
    stored.set(snapshot, persisted)
    live.set(persisted, snapshot)
  }
  return persisted
}

/** Throws when the state does not exist in this machine or the context has another shape. */
export const restore = (machine: AnyStateMachine, persisted: unknown): AnyMachineSnapshot => {
  const known = live.get(persisted as object)
  if (known?.machine === machine) return known
  recordContextSchema.parse((persisted as { context?: unknown }).context)
  return machine.resolveState(persisted as never) as AnyMachineSnapshot
}

export const contextOf = (snapshot: AnyMachineSnapshot): RecordContext => snapshot.context as RecordContext

/** Every active state node, the root and the parents of leaves among them. */
export const activeNodes = (snapshot: AnyMachineSnapshot): readonly AnyStateNode[] =>
  (snapshot as unknown as { _nodes: readonly AnyStateNode[] })._nodes

/** `read.calling`; regions of a parallel state are joined by `|`. */
export const stateLabel = (value: unknown): string => {
  if (typeof value === 'string') return value
  if (value === null || typeof value !== 'object') return String(value)
  return Object.entries(value)
    .map(([name, inner]) => {
      const label = stateLabel(inner)
      return label === '' ? name : `${name}.${label}`
    })
    .sort()
    .join('|')
}
