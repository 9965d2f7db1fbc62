/** Where a record stands, in the words of the chart that runs. */
import { describe, expect, it } from 'vitest'
import { chartWords } from '../../src/live/chart-words.js'
import { Machine } from '../../src/live/shapes.js'
import { chartJson } from '../../src/machines/chart-json.js'
import { compile, pipeline, step } from '../machines/pipelines.js'

const { machine } = compile(pipeline([step('read'), step('extract')]))
const { xstate: chart } = Machine.parse({ version: 'v', xstate: chartJson(machine) })

const own = {
  states: {
    waiting: { description: 'Not urgent.' },
    both: {
      description: 'Two at once.',
      states: {
        left: {
          states: {
            read: { description: 'Reads.', meta: { step: 'read' }, states: { ready: { description: 'Waits.' } } },
          },
        },
        right: { states: { finished: {} } },
      },
    },
  },
}

describe('the words of a chart', () => {
  it.each([
    ['uncertain', /^No answer came: the provider may or may not have done the work/],
    [
      { recovering: 'polling' },
      /^No answer came: the provider is asked whether .* The provider is asked what became of/,
    ],
    [{ awaiting: 'waiting' }, /^The provider took it as a job: .* It has just been taken; too early to ask\.$/],
    ['lastLook', /^The call can no longer arrive or has run too long: the provider is asked once more\.$/],
  ])('say what a step does in %j', (state, words) => {
    const [only, ...others] = chartWords(chart, { read: state })
    expect(others).toEqual([])
    expect(only?.state).toMatch(/^read\./)
    expect(only?.words).toMatch(words)
  })

  it('are those of a state that somebody wrote by hand', () => {
    expect(chartWords(own, 'waiting')).toEqual([{ state: 'waiting', words: 'Not urgent.' }])
  })

  it('are said for each region', () => {
    expect(chartWords(own, { both: { left: { read: 'ready' }, right: 'finished' } })).toEqual([
      { state: 'both.left.read.ready', words: 'Waits.' },
      { state: 'both.right.finished', words: 'Two at once.' },
    ])
  })

  it('are none for a state that the chart does not have, or no state at all', () => {
    expect(chartWords(own, 'elsewhere')).toEqual([])
    expect(chartWords(own, { waiting: 'elsewhere' })).toEqual([])
    expect(chartWords(own, null)).toEqual([])
  })
})
