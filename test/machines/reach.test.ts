/** Which steps a walk still has ahead: too few would prove too much, too many only cost time. */
import { describe, expect, it } from 'vitest'
import { activeNodes } from '../../src/machines/advance.js'
import type { CompiledPipeline } from '../../src/machines/compiled.js'
import { stepsAhead } from '../../src/machines/reach.js'
import type { OwnChart } from '../../src/machines/record-machine.js'
import { stepState } from '../../src/machines/step-state.js'
import type { AnyMachineSnapshot } from 'xstate'
import { compile, pipeline, step } from './pipelines.js'

const at = (name: string, done: string, exhausted = 'investigation') =>
  stepState(name, { description: `Does ${name}.`, done, exhausted })
const aheadIn = ({ machine }: CompiledPipeline, value: unknown) => {
  const { context } = machine.getInitialSnapshot({} as never) as AnyMachineSnapshot
  const snapshot = machine.resolveState({ value, context } as never) as AnyMachineSnapshot
  return [...stepsAhead()(activeNodes(snapshot))].sort()
}

describe('steps ahead', () => {
  it('of a sequence are this one and those after it', () => {
    const compiled = compile(pipeline([step('a'), step('b'), step('c')]))
    expect(aheadIn(compiled, { a: 'calling' })).toEqual(['a', 'b', 'c'])
    expect(aheadIn(compiled, { b: 'ready' })).toEqual(['b', 'c'])
    expect(aheadIn(compiled, 'investigation')).toEqual([])
  })

  it('are those that a way back leads to, an exhausted step’s way among them', () => {
    const own: OwnChart = {
      initial: 'round',
      states: {
        round: {
          initial: 'a',
          after: { patience: '#investigation' },
          states: {
            a: at('a', 'b'),
            b: at('b', '#completed', 'round.rest'),
            rest: { description: 'A pause.', after: { pause: 'a' } },
          },
        },
      },
      guards: {},
      delaysMs: { patience: 60_000, pause: 1_000 },
    }
    const compiled = compile(pipeline([step('a'), step('b')]), own)
    expect(aheadIn(compiled, { round: { b: 'ready' } })).toEqual(['a', 'b'])
  })

  it('are all regions of a parallel state that is entered, also from inside one of them', () => {
    const region = (name: string, exhausted?: string) => ({
      initial: name,
      states: { [name]: at(name, 'finished', exhausted), finished: { type: 'final' } },
    })
    const own: OwnChart = {
      initial: 'first',
      states: {
        first: at('first', 'both'),
        both: { type: 'parallel', states: { l: region('a'), r: region('b') }, onDone: 'last' },
        last: at('last', '#completed'),
      },
      guards: {},
      delaysMs: {},
    }
    const compiled = compile(pipeline(['first', 'a', 'b', 'last'].map((name) => step(name))), own)
    expect(aheadIn(compiled, { first: 'ready' })).toEqual(['a', 'b', 'first', 'last'])
    expect(aheadIn(compiled, { both: { l: 'finished', r: { b: 'ready' } } })).toEqual(['b', 'last'])
  })
})
