/** What a person may do is what the machine takes: in every state that a life reaches, and under another version. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OPERATOR_EVENTS, recordCan, standingOf } from '../../src/machines/actions.js'
import type { RecordCan } from '../../src/machines/actions.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { pipelineSet } from '../ingest/accept-fixture.js'
import { failed, live, operator, succeeded } from './life.js'
import type { Life } from './life.js'
import { compile, pipeline, record, step } from './pipelines.js'
import { compilePlan, deeds, doDeed, plan, SHAPES } from './random-lives.js'

const compiled = compile(pipeline([step('read', { attempts: 1 }), step('extract', { attempts: 1 })]))
const newer = compile(pipeline([step('read'), step('extract')], { revision: 2 }))
const here = pipelineSet([compiled])
const elsewhere = pipelineSet([newer])

const investigated = (): Life => {
  const life = live(compiled)
  life.does(failed(life.starts()))
  expect(life.doc.status).toBe('investigation')
  return life
}
const completed = (): Life => {
  const life = live(compiled)
  life.does(succeeded(life.starts()))
  life.does(succeeded(life.starts()))
  expect(life.doc.status).toBe('completed')
  return life
}

describe('a person', () => {
  it('may cancel what runs, do all three to what is investigated, and nothing to what has ended', () => {
    expect(recordCan(record(compiled), here)).toEqual({ cancel: true, retry: false, writeOff: false })
    expect(recordCan(investigated().doc, here)).toEqual({ cancel: true, retry: true, writeOff: true })
    expect(recordCan(completed().doc, here)).toEqual({ cancel: false, retry: false, writeOff: false })
  })

  const RUNS = 25
  it.each(SHAPES)('may do exactly what would change the record, in any state (%s)', (shape) => {
    const actions = Object.keys(OPERATOR_EVENTS) as (keyof RecordCan)[]
    fc.assert(
      fc.property(plan(shape, 1, 4), deeds(false), (of, all) => {
        const machine = compilePlan(of)
        const set = pipelineSet([machine])
        const life = live(machine)
        for (const deed of all) {
          doDeed(life, deed)
          const can = recordCan(life.doc, set)!
          for (const action of actions) {
            const takes = life.fork().doesWith({ outputs: {} }, operator(OPERATOR_EVENTS[action]))
            expect(can[action], `${action} in ${life.state}`).toBe(takes)
          }
        }
      }),
      { numRuns: RUNS },
    )
  })

  it('may do the same to a settled record of a version that is gone, since it moves to the one at hand', () => {
    expect(recordCan(investigated().doc, elsewhere)).toEqual({ cancel: true, retry: true, writeOff: true })
    expect(recordCan(completed().doc, elsewhere)).toEqual({ cancel: false, retry: false, writeOff: false })
  })

  const broken = (doc: RecordDocument): RecordDocument => ({
    ...doc,
    snapshot: { value: 'investigation', context: {} },
  })
  it.each<[string, RecordDocument, typeof here]>([
    ['runs under a version that is not known here', record(compiled), elsewhere],
    ['is of a pipeline that is gone', investigated().doc, pipelineSet([])],
    ['has a context that no machine takes', broken(investigated().doc), here],
    ['has one, and its version is gone', broken(investigated().doc), elsewhere],
  ])('is told nothing of a record that %s', (_, doc, set) => {
    expect(recordCan(doc, set)).toBeNull()
    expect(standingOf(doc, set)).toBe(doc.status)
  })
})

describe('where a record stands', () => {
  it('is said with what the chart says of its state', () => {
    expect(standingOf(completed().doc, here)).toBe('completed: Every step has its result and every charge is written.')
    expect(standingOf(record(compiled), here)).toBe('processing (read.ready): Waits for a free slot at the provider.')
  })
})
