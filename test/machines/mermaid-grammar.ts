/**
 * A strict reading of the part of Mermaid's `stateDiagram-v2` that the project writes. Throws, naming the line, for
 * anything Mermaid would refuse or draw differently from what was meant: unknown statements, text that could end or
 * structure a line, names used before they are declared in scope, edges between a state and one around it.
 */
export type Diagram = {
  states: Map<string, { label: string; parent: string | null }>
  edges: { from: string; to: string; label: string; scope: string | null }[]
  initial: { scope: string | null; to: string }[]
  ends: string[]
  regions: Map<string, number>
  notes: Map<string, string[]>
}

const NAME = '([A-Za-z][A-Za-z0-9_]*)'
/** Entity codes are the only place for `#` and `;`. */
const TEXT = String.raw`((?:[\p{L}\p{N} _.,()[\]/+*'!?=-]|#\d+;)+)`
const FORMS = {
  open: new RegExp(`^state "${TEXT}" as ${NAME} \\{$`, 'u'),
  state: new RegExp(`^state "${TEXT}" as ${NAME}$`, 'u'),
  initial: new RegExp(`^\\[\\*\\] --> ${NAME}$`),
  end: new RegExp(`^${NAME} --> \\[\\*\\]$`),
  edge: new RegExp(`^${NAME} --> ${NAME} : ${TEXT}$`, 'u'),
  note: new RegExp(`^note right of ${NAME}$`),
  text: new RegExp(`^${TEXT}$`, 'u'),
}
const RESERVED = new Set(['state', 'note', 'end', 'as', 'direction', 'class', 'classDef', 'style', 'click', 'default'])

export const decode = (text: string): string =>
  text.replace(/#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))

export const readDiagram = (source: string): Diagram => {
  const lines = source.split('\n')
  if (lines[0] !== 'stateDiagram-v2') throw new Error(`The first line is "${lines[0]}".`)
  if (lines.at(-1) !== '') throw new Error('The last line has no end.')
  const diagram: Diagram = {
    states: new Map(),
    edges: [],
    initial: [],
    ends: [],
    regions: new Map(),
    notes: new Map(),
  }
  const scopes: string[] = []
  let note: string[] | null = null
  const scope = () => scopes.at(-1) ?? null
  const declare = (label: string, name: string) => {
    if (RESERVED.has(name)) throw new Error(`"${name}" is a word of Mermaid's.`)
    if (diagram.states.has(name)) throw new Error(`"${name}" is declared twice.`)
    diagram.states.set(name, { label: decode(label), parent: scope() })
  }
  for (const [index, raw] of lines.slice(1, -1).entries()) {
    const line = raw.trim()
    const fits = (form: keyof typeof FORMS) => FORMS[form].exec(line)
    let found: RegExpExecArray | null
    if (note) {
      if (line === 'end note') note = null
      else if (fits('text')) note.push(decode(line))
      else throw new Error(`Line ${index + 2} is no text of a note: ${line}`)
    } else if ((found = fits('open'))) {
      declare(found[1]!, found[2]!)
      scopes.push(found[2]!)
    } else if (line === '}') {
      if (scopes.pop() === undefined) throw new Error(`Line ${index + 2} closes nothing.`)
    } else if (line === '--' && scope() !== null)
      diagram.regions.set(scope()!, (diagram.regions.get(scope()!) ?? 1) + 1)
    else if ((found = fits('state'))) declare(found[1]!, found[2]!)
    else if ((found = fits('initial'))) diagram.initial.push({ scope: scope(), to: found[1]! })
    else if ((found = fits('end'))) diagram.ends.push(found[1]!)
    else if ((found = fits('edge')))
      diagram.edges.push({ from: found[1]!, to: found[2]!, label: decode(found[3]!), scope: scope() })
    else if ((found = fits('note'))) diagram.notes.set(found[1]!, (note = []))
    else throw new Error(`Line ${index + 2} is no statement: ${line}`)
  }
  if (scopes.length > 0 || note) throw new Error('A state or note is not closed.')
  check(diagram)
  return diagram
}

const ancestors = (diagram: Diagram, name: string): (string | null)[] => {
  const { parent } = diagram.states.get(name)!
  return parent === null ? [null] : [parent, ...ancestors(diagram, parent)]
}

const check = (diagram: Diagram): void => {
  const { states, edges, initial, ends, notes } = diagram
  const named = [
    ...edges.flatMap(({ from, to }) => [from, to]),
    ...initial.map(({ to }) => to),
    ...ends,
    ...notes.keys(),
  ]
  for (const name of named) if (!states.has(name)) throw new Error(`"${name}" is not declared.`)
  for (const { from, to, scope } of edges) {
    const [above, below] = [ancestors(diagram, from), ancestors(diagram, to)]
    if (above.includes(to) || below.includes(from))
      throw new Error(`${from} --> ${to} joins a state and its own inside.`)
    // An edge inside a state that is not around both ends would draw the other end there a second time.
    if (!above.includes(scope) || !below.includes(scope))
      throw new Error(`${from} --> ${to} stands in the wrong state.`)
  }
  for (const { scope, to } of initial)
    if (states.get(to)!.parent !== scope) throw new Error(`"${to}" begins a state that it is not in.`)
  for (const name of notes.keys())
    if (states.get(name)!.parent !== null) throw new Error(`The note at "${name}" would draw it a second time.`)
}
