/** Time that does not count, and records that no machine can advance. */
import { describe, expect, it } from 'vitest'
import { applyEvent, forceSettle, observeOutages } from '../../src/machines/decide.js'
import { closeDraft, openDraft } from '../../src/machines/draft.js'
import type { RecordError } from '../../src/machines/record.js'
import { call, failed, freeze, live, operator, succeeded } from './life.js'
import { after, compile, noon, pipeline, record, step } from './pipelines.js'

const HOUR_MS = 3_600_000
const compiled = compile(pipeline([step('read'), step('extract')]))
const outage = (fromMs: number, toMs: number) => ({ from: after(fromMs), to: after(toMs) })

describe('an outage', () => {
  it('moves waiting timers and settlesBy, and is in the history', () => {
    const life = live(compiled)
    life.starts()
    life.does(failed(call('read', 1), { backoffMs: 5_000 }))
    const before = life.doc
    life.skips(2 * HOUR_MS)
    expect(life.observes(outage(1_000, HOUR_MS))).toBe(true)
    const movedMs = HOUR_MS - 1_000
    expect(life.doc.timers.map(({ dueAt }) => dueAt.getTime())).toEqual(
      before.timers.map(({ dueAt }) => dueAt.getTime() + movedMs),
    )
    expect(life.doc.settlesBy.getTime()).toBe(before.settlesBy.getTime() + movedMs)
    expect(life.doc.wakeAt).toEqual(after(5_000 + movedMs))
    expect(life.doc.outagesUntil).toEqual(after(HOUR_MS))
    expect(life.doc.history.at(-1)).toMatchObject({
      version: before.version + 1,
      event: { type: 'OUTAGE_OBSERVED', shiftMs: movedMs, from: after(1_000).toISOString() },
      from: 'read.backoff',
      to: 'read.backoff',
    })
    expect(life.doc.snapshot).toEqual(before.snapshot)
  })

  it('does not move a call’s lease: the provider’s clock went on', () => {
    const life = live(compiled)
    life.starts()
    life.skips(2 * HOUR_MS).observes(outage(1_000, HOUR_MS))
    const [deadline, lease] = life.doc.timers
    expect(deadline).toMatchObject({ guards: 'wait', dueAt: after(compiled.deadlineMs + HOUR_MS - 1_000) })
    expect(lease).toMatchObject({ guards: 'call', dueAt: after(25_000) })
    expect(life.doc.wakeAt).toEqual(after(25_000))
    expect(life.passes(0).state).toBe('read.uncertain')
  })

  it('counts only from where outages have been counted to', () => {
    const life = live(compiled, record(compiled, { outagesUntil: after(400) }))
    const { settlesBy } = life.doc
    life.observes(outage(-5_000, 1_000))
    expect(life.doc.settlesBy.getTime() - settlesBy.getTime()).toBe(600)
  })

  it.each([
    ['seen twice', [outage(0, 1_000), outage(0, 1_000)], 1_000],
    ['that overlaps another', [outage(0, 1_000), outage(500, 2_000)], 2_000],
    ['within another', [outage(0, 2_000), outage(500, 1_000)], 2_000],
    ['told out of order', [outage(5_000, 6_000), outage(0, 1_000)], 2_000],
    ['before the record was accepted', [outage(-2_000, -1_000)], 0],
  ])('%s counts once', (_, outages, expectedMs) => {
    const life = live(compiled)
    const { settlesBy } = life.doc
    expect(life.observes(...outages)).toBe(expectedMs > 0)
    expect(life.doc.settlesBy.getTime() - settlesBy.getTime()).toBe(expectedMs)
    expect(life.observes(...outages)).toBe(false)
  })

  it('is nothing to a settled record', () => {
    const life = live(compiled)
    life.does(operator('CANCEL'))
    expect(life.skips(HOUR_MS).observes(outage(1_000, HOUR_MS))).toBe(false)
  })

  it('longer than settlesBy sends nobody to investigation', () => {
    const life = live(compiled)
    const longMs = 3 * compiled.worstCaseMs
    life.skips(longMs + 2_000).observes(outage(1_000, longMs + 1_000))
    life.passes(0)
    expect(life.state).toBe('read.ready')
    life.starts()
    life.does(succeeded(call('read', 1)))
    life.starts()
    life.does(succeeded(call('extract', 1)))
    expect(life.doc.status).toBe('completed')
    expect(life.doc.settledAt! < life.doc.settlesBy).toBe(true)
  })

  it('and an event share one save', () => {
    const { doc } = live(compiled)
    const draft = openDraft(compiled, freeze(doc), { at: after(2_000), by: 'w', writer: 'w1', facts: false })
    observeOutages(draft, [outage(0, 1_000)])
    applyEvent(draft, operator('CANCEL'))
    const { save } = closeDraft(draft)!
    expect(save.expectedVersion).toBe(1)
    expect(save.history.map(({ version, event }) => [version, event.type])).toEqual([
      [2, 'OUTAGE_OBSERVED'],
      [3, 'CANCEL'],
    ])
  })
})

describe('settled by force', () => {
  const error: RecordError = { code: 'machine-failed', message: 'A guard threw.', kind: 'unknown' }
  const decider = { at: after(9_000), by: 'worker:test', writer: 'w9', facts: true }

  it('is in investigation with the reason, its raw snapshot kept, nothing waiting', () => {
    const life = live(compiled)
    life.starts()
    const base = life.doc
    const { save, next } = forceSettle(base, error, decider)
    expect(next).toMatchObject({
      version: base.version + 1,
      status: 'investigation',
      reason: error,
      timers: [],
      queue: [],
      wakeAt: null,
      settledAt: after(9_000),
      settlesBy: base.settlesBy,
    })
    expect(save).toMatchObject({ id: 'r1', expectedVersion: base.version, writer: 'w9', charges: {} })
    expect(save.history).toEqual([
      {
        version: base.version + 1,
        writer: 'w9',
        at: after(9_000),
        event: { type: 'SETTLED_BY_FORCE', error, snapshot: base.snapshot },
        from: 'read.calling',
        to: 'investigation',
        by: 'worker:test',
      },
    ])
    expect(save.outbox).toEqual([
      {
        seq: base.version * 16 + 1,
        type: 'RECORD_SETTLED',
        at: after(9_000),
        data: { status: 'investigation' },
        sent: {},
      },
    ])
  })

  it('leaves no attempt open', () => {
    const life = live(compiled)
    life.starts()
    const { next, save } = forceSettle(life.doc, error, decider)
    expect(next.steps['read']?.attempts).toMatchObject([
      { outcome: 'uncertain', endedAt: after(9_000), error: { code: 'machine-failed', attempt: 1 } },
    ])
    expect(Object.keys(save.steps)).toEqual(['read'])
    expect(life.attempt('read', 1).outcome).toBeNull()
  })

  it.each([
    ['null', null],
    ['of another shape', { value: { gone: 'state' }, context: { odd: true } }],
    ['a text', 'garbage'],
  ])('works on a snapshot that is %s', (_, snapshot) => {
    const { next } = forceSettle(record(compiled, { snapshot }), error, decider)
    const after = { value: 'investigation', status: 'active', context: expect.objectContaining({ settled: true }) }
    expect(next).toMatchObject({ status: 'investigation', snapshot: after })
    expect(Object.keys(next.snapshot as object).toSorted()).toEqual(['context', 'status', 'value'])
  })

  it('takes late answers and an operator’s retry where the snapshot was sound', () => {
    const before = live(compiled)
    before.starts()
    const life = live(compiled, forceSettle(before.doc, error, decider).next, after(10_000))
    life.does(succeeded(call('read', 1)))
    expect(life.doc.steps['read']?.candidate?.attempt).toBe(1)
    life.does(operator('RETRY'))
    expect(life.starts()).toEqual(call('read', 2, 2))
  })
})

describe('a machine that fails', () => {
  const own = {
    initial: 'read',
    states: {
      read: { on: { GO: { guard: 'isFine', target: '#completed' } }, after: { patience: '#investigation' } },
    },
    guards: {
      isFine: () => {
        throw new Error('No such field.')
      },
    },
    delaysMs: { patience: 1_000 },
  }

  it('by a guard that throws makes the decision throw, and the document stays', () => {
    const odd = compile(pipeline([step('extract')]), own)
    const doc = freeze(record(odd))
    const draft = openDraft(odd, doc, { at: noon, by: 'w', writer: 'w1', facts: false })
    expect(() => applyEvent(draft, { type: 'CUSTOM', name: 'GO', data: null })).toThrow(/isFine|No such field/)
  })

  it.each([
    ['a state that is not in the machine', { value: 'gone', status: 'active', context: {} }],
    ['a context of another shape', { value: { read: 'ready' }, status: 'active', context: { generation: 1 } }],
    ['no snapshot', null],
  ])('by %s makes opening throw', (_, snapshot) => {
    const doc = record(compiled, { snapshot })
    expect(() => openDraft(compiled, doc, { at: noon, by: 'w', writer: 'w1', facts: false })).toThrow()
  })
})
