/**
 * Which steps a machine may still enter. Part of the walk of explore.ts: what became of a step that is behind can't matter
 * to any guard any more, and telling such pasts apart would multiply the walk by each of them.
 *
 * H1 Never too few: every transition counts as possible, whatever its guard; entering a state enters its initial state,
 *    all regions of a parallel state, and its ancestors with their transitions.
 * H2 A settled state is an end, because the walk ends there: an operator's retry is another generation.
 */
import type { AnyStateNode } from 'xstate'
import { isInside } from './regions.js'
import { SETTLED_IDS, stepOfNode } from './step-state.js'

const settledIds: ReadonlySet<string> = new Set(Object.values(SETTLED_IDS).map((id) => id.slice(1)))

const targetsOf = (node: AnyStateNode): AnyStateNode[] =>
  [...[...node.transitions.values()].flat(), ...(node.always ?? [])].flatMap(({ target }) => target ?? [])

/** Nodes that are active once `node` is entered, but for those around it. */
const entered = (node: AnyStateNode): AnyStateNode[] => {
  if (node.type === 'parallel') return [node, ...Object.values(node.states).flatMap(entered)]
  if (node.type !== 'compound') return [node]
  return [node, ...(node.initial.target as readonly AnyStateNode[]).flatMap(entered)]
}

/** `target` and what around it is not active already, coming from `source`. A parallel state may be entered anew. */
const enteredFrom = (source: AnyStateNode, target: AnyStateNode): AnyStateNode[] => {
  const nodes = entered(target)
  for (let at = target.parent; at?.parent; at = at.parent) {
    if (at.type !== 'parallel' && isInside(source, at)) break
    nodes.push(...(at.type === 'parallel' ? entered(at) : [at]))
  }
  return nodes
}

const followed = (from: AnyStateNode): ReadonlySet<string> => {
  const steps = new Set<string>()
  const seen = new Set<AnyStateNode>()
  const queue = [from]
  for (let node = queue.pop(); node; node = queue.pop()) {
    if (settledIds.has(node.id)) continue // H2
    const source = node
    for (const next of targetsOf(node).flatMap((target) => enteredFrom(source, target))) {
      if (seen.has(next)) continue
      seen.add(next)
      queue.push(next)
      const step = stepOfNode(next)
      if (step !== null) steps.add(step)
    }
  }
  return steps
}

export type StepsAhead = (active: readonly AnyStateNode[]) => ReadonlySet<string>

/** The steps that are active or may still become so, of the nodes that are active now. */
export const stepsAhead = (): StepsAhead => {
  const known = new Map<string, ReadonlySet<string>>()
  const ahead = (node: AnyStateNode): ReadonlySet<string> => {
    const found = known.get(node.id) ?? followed(node)
    known.set(node.id, found)
    return found
  }
  return (active) => {
    const steps = new Set(active.map(stepOfNode).filter((step) => step !== null))
    for (const node of active) for (const step of ahead(node)) steps.add(step)
    return steps
  }
}
