/** The machine for people and tools: XState JSON that loads, Mermaid that parses, states with their descriptions. */
import { createMachine } from 'xstate'
import type { AnyStateNode } from 'xstate'
import { describe, expect, it } from 'vitest'
import { durationText } from '../../src/machines/chart-mermaid.js'
import { describeMachine } from '../../src/machines/describe.js'
import type { OwnChart } from '../../src/machines/record-machine.js'
import { stepState } from '../../src/machines/step-state.js'
import { decode, readDiagram } from './mermaid-grammar.js'
import { compile, pipeline, step } from './pipelines.js'

const sequence = compile(pipeline([step('read', { use: ['free', 'keyed'] }), step('extract')]))

const nested = (name: string, done: string) => ({
  initial: name,
  states: {
    [name]: stepState(name, { description: name, done, exhausted: 'investigation' }),
    finished: { type: 'final' },
  },
})
const own: OwnChart = {
  initial: 'both',
  states: {
    both: {
      type: 'parallel',
      description: 'Two at once; "quoted": {odd} #1; 100 %% -> sure',
      after: { patience: '#investigation' },
      on: { RESTART: { target: 'both', reenter: true } },
      states: { 'to-read': nested('read', 'finished'), to_read: nested('extract', 'finished') },
      onDone: 'end',
    },
    end: {
      initial: 'inner',
      after: { patience: '#rejected' },
      states: {
        inner: {
          initial: 'note',
          on: { 'SAY: "#1; {x}"': '.state' },
          states: {
            note: { after: { 60000: '#record.end.inner' }, on: { GO: [{ guard: 'isFine', target: '#completed' }] } },
            state: {},
          },
        },
      },
    },
  },
  guards: { isFine: () => true },
  delaysMs: { patience: 3_725_000 },
}
const chart = compile(pipeline([step('read'), step('extract')]), own)

/** Everything that decides where a machine goes. */
const skeleton = (root: AnyStateNode) => {
  const name = (value: unknown) => (typeof value === 'string' ? value : ((value as { type?: string })?.type ?? ''))
  const seen: unknown[] = []
  const visit = (node: AnyStateNode) => {
    const ways = [...node.transitions, ['at once', node.always ?? []] as const]
    for (const [event, steps] of ways)
      for (const each of steps)
        seen.push([node.id, event, name(each.guard), each.target?.map(({ id }) => id) ?? null, each.actions.map(name)])
    seen.push([node.id, node.type, node.initial?.target?.map(({ id }) => id) ?? null, node.description ?? null])
    for (const child of Object.values(node.states)) visit(child)
  }
  visit(root)
  return seen
}

describe.each([
  ['a sequence', sequence],
  ['a hand-written chart', chart],
])('the XState JSON of %s', (_, compiled) => {
  const { xstate } = describeMachine(compiled)

  it('is plain JSON', () => {
    expect(JSON.parse(JSON.stringify(xstate))).toEqual(xstate)
  })

  it('loads with createMachine, with the same states, ways, guards and actions', () => {
    const loaded = createMachine(xstate as never)
    expect(skeleton(loaded.root)).toEqual(skeleton(compiled.machine.root))
  })
})

describe('the Mermaid diagram', () => {
  it('of a sequence follows the grammar and shows every state', () => {
    const diagram = readDiagram(describeMachine(sequence).mermaid)
    expect(diagram.states.get('s_read_calling')).toEqual({ label: 'calling', parent: 's_read' })
    expect(diagram.initial).toContainEqual({ scope: null, to: 's_read' })
    expect(diagram.ends).toEqual(
      expect.arrayContaining(['s_read_succeeded', 's_completed', 's_rejected', 's_cancelled']),
    )
    const ways = diagram.edges.map(({ from, to, label }) => `${from} > ${to}: ${label}`)
    expect(ways).toEqual(
      expect.arrayContaining([
        's_read > s_extract: done',
        's_read_calling > s_read_uncertain: after 25 s (lease of read)',
        's_read_calling > s_read_ready: CALL_FAILED [fallsBack]',
        's_read_ready > s_investigation: at once [isOverdue]',
      ]),
    )
    expect(diagram.notes.get('s_cancelled')).toEqual(['From every state: CANCEL [isUnsettled]'])
  })

  it('of a hand-written chart has its regions, odd names apart, and odd text escaped', () => {
    const diagram = readDiagram(describeMachine(chart).mermaid)
    expect(diagram.regions.get('s_both')).toBe(2)
    expect(diagram.states.get('s_both_to_read')?.label).toBe('to-read')
    expect(diagram.states.get('s_both_to_read_2')?.label).toBe('to_read')
    expect(diagram.edges).toContainEqual({
      from: 's_end_inner_note',
      to: 's_end_inner_state',
      label: 'SAY: "#1; {x}"',
      scope: 's_end_inner',
    })
    expect(diagram.edges).toContainEqual(
      expect.objectContaining({ from: 's_both', to: 's_investigation', label: 'after 1 h 2 min (patience)' }),
    )
  })

  it('draws an edge to a state around it as the way to that state’s initial one', () => {
    const { edges } = readDiagram(describeMachine(chart).mermaid)
    expect(edges).toContainEqual(
      expect.objectContaining({ from: 's_end_inner_note', to: 's_end_inner_note', label: 'after 1 min' }),
    )
  })
})

describe('the grammar itself refuses', () => {
  it.each([
    ['an undeclared name', '  state "a" as s_a\n  s_a --> s_b : go'],
    ['a line that ends early', '  state "a" as s_a\n  s_a --> s_a : go; stop'],
    ['a second colon', '  state "a" as s_a\n  s_a --> s_a : go: on'],
    ['a quote in a label', '  state "a"b" as s_a'],
    ['a state twice', '  state "a" as s_a\n  state "b" as s_a'],
    ['a state that stays open', '  state "a" as s_a {'],
    ['an edge into its own inside', '  state "a" as s_a {\n    state "b" as s_b\n  }\n  s_a --> s_b : go'],
  ])('%s', (_, lines) => {
    expect(() => readDiagram(`stateDiagram-v2\n${lines}\n`)).toThrow()
  })
})

describe('the states', () => {
  const { states } = describeMachine(sequence)

  it('each have a description, their timers and a worst case', () => {
    for (const { description, state } of states) expect(description, state).toBeTruthy()
    const calling = states.find(({ state }) => state === 'read.calling')
    expect(calling).toMatchObject({
      id: 'record.read.calling',
      type: 'atomic',
      step: 'read',
      timers: [{ event: 'xstate.after.lease of read.record.read.calling', maxMs: 25_000, guards: 'call' }],
    })
    const first = states.find(({ state }) => state === 'read')
    expect(first?.worstCaseMs).toBe(sequence.worstCaseMs)
    expect(states.find(({ state }) => state === 'completed')).toMatchObject({
      type: 'final',
      worstCaseMs: 0,
      step: null,
    })
  })
})

describe('a duration', () => {
  it.each([
    [0, '0 ms'],
    [200, '200 ms'],
    [25_000, '25 s'],
    [90_000, '1 min 30 s'],
    [3_725_000, '1 h 2 min'],
    [172_800_000, '2 d'],
  ])('of %d ms reads "%s"', (ms, text) => {
    expect(durationText(ms)).toBe(text)
    expect(decode(text)).toBe(text)
  })
})
