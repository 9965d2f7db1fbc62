/**
 * One event through one machine: `(snapshot, event) -> [snapshot, actions]`, with XState's timers told apart from the
 * actions that change the document. Pure; executes nothing.
 */
import { initialTransition, transition } from 'xstate'
import type { AnyMachineSnapshot, AnyStateMachine, AnyStateNode } from 'xstate'
import { recordContextSchema } from './budgets.js'
import type { RecordContext } from './budgets.js'
import { documentActions } from './machine-parts.js'
import type { DocumentActionName } from './machine-parts.js'
import type { DeliveredEvent } from './record-machine.js'

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

export const start = (machine: AnyStateMachine): Advance => {
  const [snapshot, actions] = initialTransition(machine, undefined as never)
  return { snapshot: snapshot as AnyMachineSnapshot, actions: interpretAll(actions), changed: true }
}

/** Throws when a guard throws; the caller settles such a record by force. */
export const advance = (machine: AnyStateMachine, snapshot: AnyMachineSnapshot, event: DeliveredEvent): Advance => {
  const [next, returned] = transition(machine, snapshot, event as never)
  const actions = interpretAll(returned as readonly ReturnedAction[])
  const after = next as AnyMachineSnapshot
  if (after.status === 'error') throw new Error(`The machine failed on ${event.type}.`)
  // A no-op is both: the same snapshot and no actions. In a final state XState cancels timers again: also nothing.
  const acts = actions.some((action) => action.kind !== 'cancel-timer')
  return { snapshot: after, actions, changed: after !== snapshot || acts }
}

/** What is stored: plain JSON. */
export const persist = (machine: AnyStateMachine, snapshot: AnyMachineSnapshot): unknown =>
  JSON.parse(JSON.stringify(machine.getPersistedSnapshot(snapshot)))

/** Throws when the state does not exist in this machine or the context has another shape. */
export const restore = (machine: AnyStateMachine, stored: unknown): AnyMachineSnapshot => {
  const persisted = stored as { context?: unknown }
  recordContextSchema.parse(persisted.context)
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
