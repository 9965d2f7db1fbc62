/**
 * The way on which a record may take as long as `verify` says: state by state, with the timer that bounds the stay and
 * what ends it. It explains the worst case; it proves nothing itself.
 *
 * L1 The sum of the parts' `ms` is the worst case, because each part is the timer that `verify` counted for its state and
 *    goes on from the worst place where that timer can end.
 * L2 It ends: a part with a timer lasts more than 0 ms, so each is strictly nearer to the end; one without only walks
 *    into one of several regions, which has fewer.
 */
import type { Edge, Node } from './explore.js'

/** One stay on the way: from entering `state` until what `timer` bounds is over. */
export type PathPart = {
  state: string
  /** The timer's event type; null where a region of a parallel state is entered, which takes no time. */
  timer: string | null
  /** The timer's declared maximum, and how late it may be delivered. */
  ms: number
  /** Where the record may be by then, under the same timer. */
  until: string
  /** What happens there: the timer itself, an answer, another timer. */
  by: string
  to: string
}

type Leaving = { to: number; from: number; by: string }

/** Where a record can be when this timer no longer runs, starting from `from`: each place once, with one way there. */
export const leaving = (nodes: readonly Node[], from: number, timer: string): Leaving[] => {
  const inside = new Set([from])
  const exits = new Map<number, Leaving>()
  const queue = [from]
  for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
    for (const { event, to, restarts } of nodes[id]!.edges) {
      const runsOn = event !== timer && !restarts.has(timer) && nodes[to]!.timers.has(timer)
      // The timer's own end is the plainest way to say how a place is reached.
      if (!runsOn && (!exits.has(to) || event === timer)) exits.set(to, { to, from: id, by: event })
      if (!runsOn || inside.has(to)) continue
      inside.add(to)
      queue.push(to)
    }
  }
  return [...exits.values()]
}

type Candidate = { timer: string | null; ms: number; exit: Leaving | null; bound: number }

const worstOf = (exits: readonly Leaving[], worst: readonly number[]): Leaving | null =>
  exits.reduce<Leaving | null>((most, exit) => (most === null || worst[exit.to]! > worst[most.to]! ? exit : most), null)

const candidate = (
  timer: string | null,
  ms: number,
  exits: readonly Leaving[],
  worst: readonly number[],
): Candidate => {
  const exit = worstOf(exits, worst)
  return { timer, ms, exit, bound: ms + (exit ? worst[exit.to]! : 0) }
}

const candidatesAt = (
  nodes: readonly Node[],
  node: Node,
  worst: readonly number[],
  limitMs: (timer: string) => number,
): Candidate[] => {
  const straight = ({ event, to }: Edge): Leaving => ({ to, from: node.id, by: event })
  if (node.apart) return [candidate(null, 0, node.edges.map(straight), worst)]
  return [...node.timers].map((timer) => candidate(timer, limitMs(timer), leaving(nodes, node.id, timer), worst))
}

/** `worst`: the worst case of each node in ms, all finite. `limitMs`: what `verify` counts for one timer. */
export const longestPath = (
  nodes: readonly Node[],
  worst: readonly number[],
  limitMs: (timer: string) => number,
): PathPart[] => {
  const parts: PathPart[] = []
  for (let node = nodes[0]; node && !node.settled;) {
    const found: Candidate | undefined = candidatesAt(nodes, node, worst, limitMs).find(
      ({ bound }) => bound === worst[node!.id],
    )
    if (!found?.exit) break
    const { timer, ms, exit } = found
    const to = nodes[exit.to]!
    parts.push({ state: node.label, timer, ms, until: nodes[exit.from]!.label, by: exit.by, to: to.label })
    node = to
  }
  return parts
}
