/** The history played again gives the stored snapshot, and says where it does not. */
import { describe, expect, it } from 'vitest'
import { carryOver } from '../../src/machines/carry-over.js'
import type { Compiled } from '../../src/machines/compile.js'
import { forceSettle } from '../../src/machines/decide.js'
import type { OwnChart } from '../../src/machines/record-machine.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { replay } from '../../src/machines/replay.js'
import { stepState } from '../../src/machines/step-state.js'
import { call, failed, live, operator, payload, succeeded, uncertain } from './life.js'
import { after, compile, pipeline, step } from './pipelines.js'

const compiled = compile(pipeline([step('read', { use: ['keyed', 'free'] }), step('extract')]))
const known =
  (...pipelines: Compiled[]) =>
  (version: string) =>
    pipelines.find((each) => each.version === version)

/** Through an outage, a doubt, a fallback, investigation and a retry, to the end. */
const eventful = (): RecordDocument => {
  const life = live(compiled)
  life.starts()
  life.does(uncertain(call('read', 1)))
  life.passes(200).starts()
  life.does(failed(call('read', 2), { retryable: false }))
  life.skips(10_000).observes({ from: after(1_000), to: after(9_000) })
  life.starts()
  life.fuses(succeeded(call('read', 3)), 'free')
  life.passes(25_000)
  life.does(failed(call('extract', 1), { retryable: false }))
  expect(life.doc.status).toBe('investigation')
  life.does(operator('RETRY'))
  life.starts()
  life.does(succeeded(call('extract', 2, 2)))
  expect(life.doc.status).toBe('completed')
  return life.doc
}

/** As it comes back from a store. */
const stored = (doc: RecordDocument): RecordDocument => ({
  ...(JSON.parse(JSON.stringify(doc)) as RecordDocument),
  history: doc.history,
})

describe('a replay', () => {
  it('gives the stored snapshot, whatever happened', () => {
    const doc = eventful()
    expect(replay(stored(doc), known(compiled))).toEqual({ snapshot: doc.snapshot, divergences: [] })
  })

  it('of the history up to any version gives the snapshot of that time', () => {
    const doc = eventful()
    for (const { version, to } of doc.history) {
      const until = { ...doc, version, history: doc.history.slice(0, version) }
      const { snapshot } = replay(until, known(compiled))
      expect(replay({ ...until, snapshot }, known(compiled)).divergences).toEqual([])
      expect(doc.history[version]?.from ?? to).toBe(to)
    }
  })

  it('goes on after a forced settlement', () => {
    const life = live(compiled)
    life.starts()
    const error = { code: 'machine-failed', message: 'A guard threw.', kind: 'unknown' } as const
    const forced = forceSettle(life.doc, error, { at: life.at, by: 'worker:x', writer: 'f', facts: false })
    const again = live(compiled, forced.next)
    again.does(operator('RETRY'))
    again.starts()
    expect(replay(again.doc, known(compiled))).toEqual({ snapshot: again.doc.snapshot, divergences: [] })
  })

  it('goes on after the pipeline changed', () => {
    const life = live(compiled)
    life.starts()
    life.does(succeeded(call('read', 1)))
    const to = compile(pipeline([step('read'), step('extract', { use: ['keyed'], attempts: 1 }), step('check')]))
    const carried = carryOver(life.doc, to, { at: life.at, by: 'worker:x', writer: 'c', facts: false })
    if ('impossible' in carried) throw new Error(carried.impossible)
    const moved = live(to, carried.next, life.at)
    moved.starts()
    moved.does(succeeded(call('extract', 1)))
    expect(moved.state).toBe('check.ready')
    expect(replay(moved.doc, known(compiled, to))).toEqual({ snapshot: moved.doc.snapshot, divergences: [] })
    expect(replay(moved.doc, known(to))).toEqual({
      snapshot: null,
      divergences: [{ version: 1, what: 'pipeline', expected: compiled.version, found: 'unknown' }],
    })
  })
})

describe('guards over outputs', () => {
  const own: OwnChart = {
    initial: 'read',
    states: {
      read: stepState('read', {
        description: 'Reads.',
        done: [{ guard: 'isLong', target: 'extract' }, '#completed'],
        exhausted: 'investigation',
      }),
      extract: stepState('extract', { description: 'Extracts.', done: '#completed', exhausted: 'investigation' }),
    },
    guards: { isLong: ({ read }) => typeof read === 'string' && read.length > 3 },
    delaysMs: {},
  }
  const chart = compile(pipeline([step('read'), step('extract')]), own)
  const lived = (result: ReturnType<typeof payload>, output: string) => {
    const life = live(chart)
    life.starts()
    life.doesWith({ outputs: { read: output } }, succeeded(call('read', 1), { result }))
    expect(life.state).toBe('extract.ready')
    return life.doc
  }

  it('are answered from what the document holds inline', () => {
    expect(replay(lived(payload('a long one'), 'a long one'), known(chart)).divergences).toEqual([])
  })

  it('are answered from what the caller loaded, for blobs', () => {
    const doc = lived({ blob: 'b7', sha256: 's', bytes: 70_000 } as never, 'a long one')
    expect(replay(doc, known(chart)).divergences.map(({ what }) => what)).toEqual(['to', 'snapshot'])
    const asked: string[] = []
    const loaded = replay(doc, known(chart), (name, ref) => {
      asked.push(`${name} ${'blob' in ref ? ref.blob : 'inline'}`)
      return 'a long one'
    })
    expect(loaded.divergences).toEqual([])
    expect(asked).toEqual(['read b7'])
  })
})

describe('a divergence is named', () => {
  const doc = eventful()
  const whatOf = (change: Partial<RecordDocument>) =>
    replay({ ...doc, ...change }, known(compiled)).divergences.map(({ what, version }) => `${what} @${version}`)
  const changed = (index: number, change: object) =>
    doc.history.map((entry, at) => (at === index ? { ...entry, ...change } : entry))

  it('for a snapshot that was tampered with', () => {
    const snapshot = { ...(doc.snapshot as object), value: 'cancelled' }
    expect(whatOf({ snapshot })).toEqual([`snapshot @${doc.version}`])
  })

  it('for a budget in it that the history does not give', () => {
    const text = JSON.stringify(doc.snapshot).replace('"failures":1', '"failures":2')
    expect(whatOf({ snapshot: JSON.parse(text) as unknown })).toEqual([`snapshot @${doc.version}`])
  })

  it('for an entry that says another state', () => {
    expect(whatOf({ history: changed(2, { to: 'read.backoff' }) })).toEqual(['to @3'])
    expect(whatOf({ history: changed(2, { from: 'read.backoff' }) })).toEqual(['from @3'])
  })

  it('for a lost entry, and for a lost end', () => {
    expect(whatOf({ history: doc.history.toSpliced(4, 1) })).toContain('version @6')
    expect(whatOf({ history: doc.history.slice(0, -1) })).toEqual([
      `version @${doc.version}`,
      `snapshot @${doc.version}`,
    ])
  })

  it('for a history without its beginning', () => {
    expect(whatOf({ history: doc.history.slice(3) })).toEqual(['start @4'])
    expect(whatOf({ history: [] })).toEqual(['start @0'])
  })

  it('for a version of the pipeline that the history does not lead to', () => {
    const to = compile(pipeline([step('read'), step('extract')]))
    const entry = {
      ...doc.history[3]!,
      event: { type: 'PIPELINE_CHANGED', from: compiled.version, to: to.version } as const,
    }
    const { divergences } = replay({ ...doc, history: doc.history.with(3, entry) }, known(compiled, to))
    expect(divergences.map(({ what }) => what)).toContain('pipeline')
  })

  it('for a forced settlement whose snapshot the history does not give', () => {
    const event = {
      type: 'SETTLED_BY_FORCE',
      error: { code: 'x', message: 'x', kind: 'unknown' },
      snapshot: { ...(doc.snapshot as object), value: { read: 'ready' } },
    } as const
    const entry = { ...doc.history.at(-1)!, version: doc.version + 1, event, from: 'read.ready', to: 'investigation' }
    expect(whatOf({ version: doc.version + 1, history: [...doc.history, entry] })).toContain(
      `forced-snapshot @${doc.version + 1}`,
    )
  })

  it('for an event that the machine fails on', () => {
    const snapshot = { value: 'nowhere', context: {} }
    const event = { type: 'SETTLED_BY_FORCE', error: { code: 'x', message: 'x', kind: 'unknown' }, snapshot } as const
    const history = [...doc.history.slice(0, 3), { ...doc.history[3]!, event }]
    expect(whatOf({ history })).toEqual(['machine @4'])
  })
})
