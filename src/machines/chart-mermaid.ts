/**
 * A machine as a Mermaid `stateDiagram-v2`: nested states, guards, and timers with the longest they can take.
 *
 * What Mermaid can't draw is drawn as what it means: an edge from a state into itself starts at its children, an edge
 * to a state around it ends at that state's initial one, and what is true in every state becomes a note.
 */
import type { AnyStateMachine, AnyStateNode } from 'xstate'

type Edge = { from: AnyStateNode; to: AnyStateNode; label: string }

/** `1 h 2 min`, `25 s`, `200 ms`: at most the two largest units that are not zero. */
export const durationText = (ms: number): string => {
  const units: [string, number][] = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
    ['s', 1_000],
    ['ms', 1],
  ]
  const parts: string[] = []
  let rest = Math.round(ms)
  for (const [unit, size] of units) {
    const count = Math.floor(rest / size)
    if (count > 0) parts.push(`${count} ${unit}`)
    rest -= count * size
  }
  return parts.slice(0, 2).join(' ') || '0 ms'
}

/** Mermaid reads entity codes before it parses; everything that could end or structure a line becomes one. */
const escapeText = (text: string): string =>
  text
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/[^\p{L}\p{N} _.,()[\]/+*'!?=-]/gu, (char) => `#${char.codePointAt(0)};`)

const nameOf = (value: unknown): string =>
  typeof value === 'string' ? value : ((value as { type?: string } | null)?.type ?? 'inline')

const isWithin = (node: AnyStateNode, ancestor: AnyStateNode): boolean => {
  for (let at: AnyStateNode | undefined = node; at; at = at.parent) if (at === ancestor) return true
  return false
}

/** Where a record is when it enters this state. */
const landing = (node: AnyStateNode): AnyStateNode => {
  if (node.type === 'parallel') return landing(Object.values(node.states)[0]!)
  const first = node.type === 'compound' ? node.initial?.target?.[0] : undefined
  return first ? landing(first) : node
}

/** Edges that Mermaid can draw: never between a state and one around it. */
const drawable = (edge: Edge): Edge[] => {
  const { from, to } = edge
  if (from === to && from.type === 'atomic') return [edge]
  if (isWithin(from, to)) {
    const target = landing(to)
    return isWithin(target, from) && target !== from ? drawable({ ...edge, to: target }) : [{ ...edge, to: target }]
  }
  if (!isWithin(to, from)) return [edge]
  return Object.values(from.states)
    .filter((child) => child.type !== 'final' && child !== to)
    .flatMap((child) => drawable({ ...edge, from: child }))
}

type Transition = AnyStateNode['transitions'] extends Map<string, readonly (infer T)[]> ? T : never

const conditioned = (text: string, { guard }: Transition): string => {
  const guarded = guard === undefined ? [] : [`[${nameOf(guard)}]`]
  return [text, ...guarded].filter(Boolean).join(' ')
}

const labelled = (node: AnyStateNode, maximaMs: ReadonlyMap<string, number>): { label: string; step: Transition }[] => {
  const timers = node.after.map((step) => {
    const ms = maximaMs.get(step.eventType)
    const name = typeof step.delay === 'string' ? ` (${step.delay})` : ''
    return { label: conditioned(`after ${ms === undefined ? '?' : durationText(ms)}${name}`, step), step }
  })
  const events = [...node.transitions]
    .filter(([event]) => !event.startsWith('xstate.after.'))
    .flatMap(([event, steps]) =>
      steps.map((step) => ({ label: conditioned(event.startsWith('xstate.done.') ? 'done' : event, step), step })),
    )
  const always = (node.always ?? []).map((step) => ({ label: conditioned('at once', step), step }))
  return [...always, ...events, ...timers]
}

const all = (node: AnyStateNode): AnyStateNode[] => [node, ...Object.values(node.states).flatMap(all)]

const edgesOf = (root: AnyStateNode, maximaMs: ReadonlyMap<string, number>): Edge[] =>
  all(root)
    .filter((node) => node !== root)
    .flatMap((from) =>
      labelled(from, maximaMs).flatMap(({ label, step }) => {
        const actions = step.actions.map(nameOf).join(', ')
        if (!step.target) return [{ from, to: landing(from), label: `${label} / ${actions}` }]
        return step.target.map((to) => ({ from, to, label }))
      }),
    )
    .flatMap(drawable)

/** What holds in every state, by the state it is noted at: the root's own transitions. */
const notesOf = (root: AnyStateNode, maximaMs: ReadonlyMap<string, number>): Map<AnyStateNode, string[]> => {
  const notes = new Map<AnyStateNode, string[]>()
  // A note at a state inside of another would draw that state twice.
  const plain = Object.values(root.states).findLast(({ type }) => type === 'atomic' || type === 'final')
  for (const { label, step } of labelled(root, maximaMs)) {
    const target = step.target?.[0]
    const at = target ?? plain
    if (!at) continue
    const text = target
      ? `From every state: ${label}`
      : `In every state: ${label} / ${step.actions.map(nameOf).join(', ')}`
    notes.set(at, [...(notes.get(at) ?? []), text])
  }
  return notes
}

/** Names of its own: Mermaid's have no dash, and a state may be called `end` or `note`. */
const makeNames = (root: AnyStateNode): ((node: AnyStateNode) => string) => {
  const names = new Map<AnyStateNode, string>()
  const taken = new Set<string>()
  for (const node of all(root)) {
    const plain = `s_${node.path.join('_').replace(/[^A-Za-z0-9_]/g, '_')}`
    let name = plain
    for (let n = 2; taken.has(name); n += 1) name = `${plain}_${n}`
    taken.add(name)
    names.set(node, name)
  }
  return (node) => names.get(node)!
}

/** `maximaMs`: the longest each timer can take, by its event type. */
export const chartMermaid = (machine: AnyStateMachine, maximaMs: ReadonlyMap<string, number>): string => {
  const { root } = machine
  const name = makeNames(root)
  const edges = edgesOf(root, maximaMs)
  const drawn = new Set<Edge>()
  const arrow = ({ from, to, label }: Edge) => `${name(from)} --> ${name(to)} : ${escapeText(label)}`

  const inside = (node: AnyStateNode): string[] => {
    const children = Object.values(node.states)
    const blocks = children.map((child) => {
      const head = `state "${escapeText(child.key)}" as ${name(child)}`
      return Object.keys(child.states).length === 0
        ? [head]
        : [`${head} {`, ...inside(child).map((line) => `  ${line}`), '}']
    })
    const regions = node.type === 'parallel'
    const first = node.type === 'compound' ? node.initial?.target?.[0] : undefined
    const own = edges.filter((edge) => !drawn.has(edge) && isWithin(edge.from, node) && isWithin(edge.to, node))
    for (const edge of own) drawn.add(edge)
    return [
      ...(first ? [`[*] --> ${name(first)}`] : []),
      ...blocks.flatMap((lines, index) => (regions && index > 0 ? ['--', ...lines] : lines)),
      ...own.map(arrow),
      ...children.filter(({ type }) => type === 'final').map((child) => `${name(child)} --> [*]`),
    ]
  }
  const notes = [...notesOf(root, maximaMs)].flatMap(([at, texts]) => [
    `note right of ${name(at)}`,
    ...texts.map((text) => `  ${escapeText(text)}`),
    'end note',
  ])
  return ['stateDiagram-v2', ...[...inside(root), ...notes].map((line) => `  ${line}`), ''].join('\n')
}
