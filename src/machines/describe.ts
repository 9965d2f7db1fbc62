/**
 * A pipeline's machine for people and tools: XState JSON, a Mermaid diagram, and its states with their descriptions and
 * timers. Everything is read from the machine that runs; nothing is listed by hand.
 */
import type { AnyStateNode } from 'xstate'
import { chartJson } from './chart-json.js'
import { chartMermaid } from './chart-mermaid.js'
import type { Compiled } from './compile.js'
import type { CompiledPipeline } from './compiled.js'
import { stepAround } from './step-state.js'

export type StateDescription = {
  id: string
  /** As records show it: `read.calling`. */
  state: string
  description: string | null
  type: AnyStateNode['type']
  /** The step whose state this is, or is inside of. */
  step: string | null
  /** `call` timers guard work that may be running outside; an outage never shifts them. */
  timers: { event: string; maxMs: number; guards: 'call' | 'wait' }[]
  /** Worst case from here to settled, where verify saw this state by itself; null inside parallel regions. */
  worstCaseMs: number | null
}

export type MachineDescription = { xstate: unknown; mermaid: string; states: StateDescription[] }

type Described = CompiledPipeline & Partial<Pick<Compiled, 'verification'>>

const worstCase = ({ verification }: Described, state: string): number | null => {
  const seen = (verification?.states ?? []).filter((each) => each.state === state || each.state.startsWith(`${state}.`))
  return seen.reduce<number | null>((worst, { worstCaseMs }) => Math.max(worst ?? 0, worstCaseMs), null)
}

const describeState = (compiled: Described, node: AnyStateNode): StateDescription => {
  const state = node.path.join('.')
  const events = [...new Set(node.after.map(({ eventType }) => eventType))]
  return {
    id: node.id,
    state,
    description: node.description ?? null,
    type: node.type,
    step: stepAround(node),
    timers: events.map((event) => ({
      event,
      maxMs: compiled.timerMaxMs.get(event)!,
      guards: compiled.callTimers.has(event) ? 'call' : 'wait',
    })),
    worstCaseMs: worstCase(compiled, state),
  }
}

export const describeMachine = (compiled: Described): MachineDescription => {
  const nodes = (node: AnyStateNode): AnyStateNode[] =>
    Object.values(node.states).flatMap((child) => [child, ...nodes(child)])
  return {
    xstate: chartJson(compiled.machine),
    mermaid: chartMermaid(compiled.machine, compiled.timerMaxMs),
    states: nodes(compiled.machine.root).map((node) => describeState(compiled, node)),
  }
}
