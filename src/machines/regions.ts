/**
 * Regions of parallel states: which are unfinished, and what a state looks like with some of them finished. Part of the
 * walk of explore.ts (W1).
 */
import type { AnyStateNode } from 'xstate'

export const isInside = (node: AnyStateNode | undefined, ancestor: AnyStateNode): boolean => {
  for (let at = node?.parent; at; at = at.parent) if (at === ancestor) return true
  return false
}

const isDone = (region: AnyStateNode, active: readonly AnyStateNode[]): boolean => {
  if (region.type === 'final') return true
  const children = active.filter((node) => node.parent === region)
  if (region.type === 'parallel') return children.length > 0 && children.every((child) => isDone(child, active))
  return children.some((child) => child.type === 'final')
}

/** The unfinished regions of the outermost parallel state that has more than one. */
export const unfinished = (active: readonly AnyStateNode[]): AnyStateNode[] => {
  for (const parallel of active
    .filter(({ type }) => type === 'parallel')
    .sort((a, b) => a.path.length - b.path.length)) {
    const regions = active.filter((node) => node.parent === parallel && !isDone(node, active))
    if (regions.length > 1) return regions
  }
  return []
}

/** The state value of a region that is finished. */
export const finishedValue = (region: AnyStateNode): unknown => {
  const children = Object.values(region.states)
  if (region.type === 'parallel')
    return Object.fromEntries(children.map((child) => [child.key, finishedValue(child)] as const))
  const last = children.find(({ type }) => type === 'final')
  if (last) return last.key
  throw new Error(
    `Region "${region.id}" of a parallel state has no final state, so the parallel state is never done; ` +
      `give the region one (type: "final").`,
  )
}

export const withValueAt = (value: unknown, path: readonly string[], inner: unknown): unknown => {
  const [first, ...rest] = path
  if (first === undefined) return inner
  const values = typeof value === 'string' ? { [value]: {} } : (value as { [name: string]: unknown })
  return { ...values, [first]: withValueAt(values[first], rest, inner) }
}
