/**
 * Where a record stands, in the words of its pipeline's chart: each state says itself what it means, so that a machine
 * written by hand is explained as well as one that was built. Pure.
 */
import type { ChartState } from './shapes.js'

export type StateWords = { state: string; words: string }

/** The active states from the outermost to the innermost, once per region. */
type Line = readonly (readonly [name: string, state: ChartState])[]

const linesOf = (chart: ChartState, value: unknown, above: Line): Line[] => {
  const entries: [string, unknown][] =
    typeof value === 'string' ? [[value, {}]] : value !== null && typeof value === 'object' ? Object.entries(value) : []
  if (entries.length === 0) return [above]
  return entries.flatMap(([name, inner]) => {
    const state = chart.states?.[name]
    return state === undefined ? [] : linesOf(state, inner, [...above, [name, state]])
  })
}

/** Of a step's states all say something: that it is a job, and that it is asked about now. Elsewhere the innermost does. */
const wordsOf = (line: Line): string => {
  const stepAt = line.findIndex(([, { meta }]) => meta?.step !== undefined)
  const said = line.map(([, { description }]) => description)
  const chosen = stepAt < 0 ? said : said.slice(stepAt + 1)
  const words = chosen.filter((text) => text !== undefined && text !== '')
  return (stepAt < 0 ? words.slice(-1) : words).join(' ')
}

/** `value`: the state value, as the API has it. States without words are left out. */
export const chartWords = (chart: ChartState, value: unknown): StateWords[] =>
  linesOf(chart, value, [])
    .map((line) => ({ state: line.map(([name]) => name).join('.'), words: wordsOf(line) }))
    .filter(({ words }) => words !== '')
