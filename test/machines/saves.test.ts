/** What one save holds: charges that can't be written twice, and an answer fused with the next step's intent. */
import { describe, expect, it } from 'vitest'
import { mayFuse, nextIntent } from '../../src/machines/decide.js'
import { openDraft } from '../../src/machines/draft.js'
import { call, failed, live, operator, payload, succeeded, uncertain, unstorable } from './life.js'
import { after, compile, noon, pipeline, record, step } from './pipelines.js'

const compiled = compile(
  pipeline([step('read'), step('extract', { use: ['keyed', 'free'] })], {
    price: { fixed: '1.50', currency: 'EUR' },
  }),
)

describe('charges', () => {
  it('are written with each result, and once for the record when it completes', () => {
    const life = live(compiled)
    life.starts()
    life.does(succeeded(call('read', 1)))
    expect(life.doc.charges).toEqual({ read: { amount: '0.40', currency: 'EUR', at: noon, attempt: 1 } })
    life.skips(500).starts()
    life.does(succeeded(call('extract', 1), { charge: { amount: '2', currency: 'EUR' } }))
    expect(life.doc.charges).toEqual({
      read: { amount: '0.40', currency: 'EUR', at: noon, attempt: 1 },
      extract: { amount: '2', currency: 'EUR', at: after(500), attempt: 1 },
      record: { amount: '1.50', currency: 'EUR', at: after(500), attempt: null },
    })
    expect(Object.keys(life.saves.at(-1)!.charges).toSorted()).toEqual(['extract', 'record'])
  })

  it('are none where the answer costs the customer nothing', () => {
    const life = live(compiled)
    life.starts()
    life.does(succeeded(call('read', 1), { charge: null }))
    expect(life.doc.charges).toEqual({})
  })

  it.each([
    ['cancelled', operator('CANCEL')],
    ['rejected', failed(call('read', 1), { rejects: true })],
    ['in investigation', unstorable(call('read', 1))],
  ])('are none for a record that is %s', (_, event) => {
    const life = live(compiled)
    life.starts()
    life.does(event)
    expect(life.doc.charges).toEqual({})
  })

  it('under a key that has one stay as they are', () => {
    const charge = { amount: '9', currency: 'EUR', at: noon, attempt: 7 }
    const life = live(compiled, record(compiled, { charges: { read: charge, record: charge } }))
    life.starts()
    life.does(succeeded(call('read', 1)))
    life.starts()
    life.does(succeeded(call('extract', 1)))
    expect(life.doc.charges).toMatchObject({ read: charge, record: charge, extract: { amount: '0.40' } })
    expect(life.saves.map(({ charges }) => Object.keys(charges))).toEqual([[], [], [], ['extract']])
  })

  it('of a simulated record are marked', () => {
    const life = live(compiled, record(compiled, { simulated: true }))
    life.starts()
    life.does(succeeded(call('read', 1)))
    expect(life.doc.charges['read']).toMatchObject({ simulated: true })
  })

  it('and the end of the record are facts, numbered in order', () => {
    const life = live(compiled)
    life.starts()
    life.does(succeeded(call('read', 1)))
    life.starts()
    life.does(succeeded(call('extract', 1)))
    expect(life.doc.outbox.map(({ type, data }) => [type, data['key'] ?? data['status']])).toEqual([
      ['CHARGE_WRITTEN', 'read'],
      ['CHARGE_WRITTEN', 'extract'],
      ['CHARGE_WRITTEN', 'record'],
      ['RECORD_SETTLED', 'completed'],
    ])
    const numbers = life.doc.outbox.map(({ seq }) => seq)
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
    expect(new Set(numbers).size).toBe(4)
  })
})

describe('an answer and the next intent in one save', () => {
  const fused = () => {
    const life = live(compiled)
    life.starts()
    life.skips(800).fuses(succeeded(call('read', 1)), 'keyed')
    return life
  }

  it('are two history entries of one writer, with versions that follow each other', () => {
    const save = fused().saves.at(-1)!
    expect(save.expectedVersion).toBe(2)
    expect(save.history.map(({ version, event, from, to }) => [version, event.type, from, to])).toEqual([
      [3, 'CALL_SUCCEEDED', 'read.calling', 'extract.ready'],
      [4, 'ATTEMPT_STARTED', 'extract.ready', 'extract.calling'],
    ])
    expect(new Set(save.history.map(({ writer }) => writer))).toEqual(new Set([save.writer]))
  })

  it('hold the result, the charge, the intent, and the call to make', () => {
    const life = fused()
    expect(life.doc).toMatchObject({
      version: 4,
      queue: [],
      steps: {
        read: { result: { attempt: 1 } },
        extract: { attempts: [{ n: 1, outcome: null, startedAt: after(800) }] },
      },
    })
    expect(life.calls).toMatchObject([{ ...call('extract', 1), provider: 'keyed', sendBy: after(5_800) }])
    expect(Object.keys(life.saves.at(-1)!.steps).toSorted()).toEqual(['extract', 'read'])
    expect(life.doc.timers.map(({ id }) => id)).toEqual([
      'xstate.after.deadline.record',
      'xstate.after.lease of extract.record.extract.calling',
    ])
  })

  it('keep content out of the history: the result is named by its hash', () => {
    const life = live(compiled)
    life.starts()
    life.fuses(succeeded(call('read', 1), { result: payload({ name: 'a person' }) }), 'keyed')
    expect(life.doc.steps['read']?.result?.payload).toEqual(payload({ name: 'a person' }))
    expect(JSON.stringify(life.doc.history)).not.toContain('a person"')
    expect(life.doc.history.at(-2)?.event).toMatchObject({ result: { bytes: 19 } })
  })

  it('without a free slot is the answer alone', () => {
    const life = live(compiled)
    life.starts()
    life.fuses(succeeded(call('read', 1)), 'free')
    expect(life.state).toBe('extract.ready')
    expect(life.calls).toEqual([])
  })
})

describe('the next intent', () => {
  const draftOf = (doc = record(compiled)) =>
    openDraft(compiled, doc, { at: noon, by: 'w', writer: 'w1', facts: false })

  it('is for the step that waits at this provider, ready to be applied', () => {
    expect(nextIntent(draftOf(), 'free')).toEqual({
      type: 'ATTEMPT_STARTED',
      ...call('read', 1),
      provider: 'free',
      requestKey: 'r1.read.free.1.0',
      sendBy: after(5_000).toISOString(),
    })
  })

  it('is none where nothing waits, or for a settled record', () => {
    expect(nextIntent(draftOf(), 'keyed')).toBeNull()
    const life = live(compiled)
    life.does(operator('CANCEL'))
    expect(nextIntent(draftOf(life.doc), 'free')).toBeNull()
    expect(nextIntent(draftOf({ ...life.doc, queue: record(compiled).queue }), 'free')).toBeNull()
  })
})

describe('fusing', () => {
  const paid = { use: ['paid'], onUncertain: 'investigate' } as const
  it.each([
    ['a free step', step('read'), 'free', true],
    ['a step whose provider honours keys', step('read', { use: ['keyed'] }), 'keyed', true],
    ['a paid blind step', step('read', paid), 'paid', false],
    ['a paid blind step that asks for it', step('read', { ...paid, fuse: true }), 'paid', true],
    [
      'a step that falls back to a paid blind provider',
      step('read', { ...paid, use: ['free', 'paid'] }),
      'paid',
      false,
    ],
  ])('%s: %s', (_, definition, provider, expected) => {
    expect(mayFuse(compile(pipeline([definition])), 'read', provider)).toBe(expected)
  })

  it('a step that is not there: false', () => {
    expect(mayFuse(compiled, 'nobody', 'free')).toBe(false)
  })
})

describe('the earliest timer', () => {
  it('is wakeAt, after every event', () => {
    const life = live(compiled)
    const earliest = () => Math.min(...life.doc.timers.map(({ dueAt }) => dueAt.getTime()))
    for (const event of [uncertain(call('read', 1)), failed(call('read', 1)), succeeded(call('read', 1))]) {
      const other = life.fork()
      other.starts()
      other.does(event)
      expect(other.doc.wakeAt?.getTime()).toBe(Math.min(...other.doc.timers.map(({ dueAt }) => dueAt.getTime())))
    }
    life.starts()
    expect(life.doc.wakeAt?.getTime()).toBe(earliest())
  })
})
