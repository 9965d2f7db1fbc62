/** D3: a fact may come twice, a timer may come late or for another incarnation of its state; nothing happens twice. */
import { describe, expect, it } from 'vitest'
import { applyEvent, dueTimers } from '../../src/machines/decide.js'
import { closeDraft, openDraft } from '../../src/machines/draft.js'
import type { AttemptStarted, RecordEvent } from '../../src/machines/events.js'
import { call, failed, live, notSent, operator, succeeded, timer, uncertain, unstorable } from './life.js'
import type { Life } from './life.js'
import { after, compile, pipeline, step } from './pipelines.js'

const LEASE_MS = 25_000
const compiled = compile(pipeline([step('read', { use: ['free', 'keyed'] }), step('extract')]))

const calling = (): Life => {
  const life = live(compiled)
  life.starts()
  return life
}
const intent = (change: Partial<AttemptStarted> = {}): AttemptStarted => ({
  type: 'ATTEMPT_STARTED',
  ...call('read', 1),
  provider: 'free',
  requestKey: 'k',
  sendBy: after(5_000).toISOString(),
  ...change,
})

describe('the same answer twice', () => {
  it.each<[string, RecordEvent]>([
    ['CALL_SUCCEEDED', succeeded(call('read', 1))],
    ['CALL_FAILED', failed(call('read', 1))],
    ['CALL_UNCERTAIN', uncertain(call('read', 1))],
    ['CALL_NOT_SENT', notSent(call('read', 1))],
    ['RESULT_UNSTORABLE', unstorable(call('read', 1))],
  ])('%s is applied once, in one save or in two', (_, event) => {
    const life = calling()
    const other = life.fork()
    expect(life.does(event)).toBe(true)
    const { doc } = life
    expect(life.does(event)).toBe(false)
    expect(life.doc).toBe(doc)
    other.does(event, event)
    expect(other.doc).toEqual(doc)
  })

  it.each<[string, RecordEvent]>([
    ['of a step that the record does not have', succeeded(call('nobody', 1))],
    ['of a step that has not begun', succeeded(call('extract', 1))],
    ['of an attempt that was never made', succeeded(call('read', 2))],
    ['of attempt 0', succeeded(call('read', 0))],
    ['that fails an attempt of another generation', failed(call('read', 1, 2))],
  ])('an answer %s does nothing', (_, event) => {
    expect(calling().does(event)).toBe(false)
  })
})

describe('the same operator’s event twice', () => {
  it('is applied once', () => {
    const life = calling()
    expect(life.does(operator('CANCEL'))).toBe(true)
    for (const type of ['CANCEL', 'RETRY', 'WRITE_OFF'] as const) expect(life.does(operator(type))).toBe(false)
  })

  it('RETRY and WRITE_OFF do nothing while the record is processing', () => {
    const life = calling()
    for (const type of ['RETRY', 'WRITE_OFF'] as const) expect(life.does(operator(type))).toBe(false)
  })
})

describe('an intent', () => {
  it.each<[string, Partial<AttemptStarted>]>([
    ['at another provider than the one whose turn it is', { provider: 'keyed' }],
    ['with an attempt number that is not the next', { attempt: 2 }],
    ['with attempt number 0', { attempt: 0 }],
    ['in another generation', { generation: 2 }],
    ['of a step that does not wait', { step: 'extract' }],
  ])('%s does nothing', (_, change) => {
    expect(live(compiled).does(intent(change))).toBe(false)
  })

  it('that was right does something, once', () => {
    const life = live(compiled)
    expect(life.does(intent())).toBe(true)
    expect(life.does(intent())).toBe(false)
    expect(life.doc.steps['read']?.attempts).toHaveLength(1)
  })

  it('of an attempt that was made already does nothing, also when the step waits again', () => {
    const life = calling()
    life.does(failed(call('read', 1)))
    life.passes(1_000)
    expect(life.state).toBe('read.ready')
    expect(life.does(intent())).toBe(false)
  })

  it('past the deadline does nothing', () => {
    const life = live(compiled).passes(compiled.deadlineMs)
    expect(life.doc.status).toBe('investigation')
    expect(life.does(intent())).toBe(false)
  })
})

describe('a timer', () => {
  it('that is not due does nothing', () => {
    const life = calling()
    const lease = timer(life.doc, 'lease')
    expect(life.skips(LEASE_MS - 1).does(lease)).toBe(false)
    expect(life.skips(1).does(lease)).toBe(true)
  })

  it('that is not in the document does nothing', () => {
    const life = calling()
    const backoff = { type: 'xstate.after.backoff of read.record.read.backoff' } as const
    expect(life.skips(10 * LEASE_MS).does(backoff)).toBe(false)
  })

  it('that has fired does nothing when it is delivered again', () => {
    const life = calling()
    const lease = timer(life.doc, 'lease')
    expect(life.skips(LEASE_MS).does(lease, lease)).toBe(true)
    expect(life.doc.history).toHaveLength(3)
    expect(life.does(lease)).toBe(false)
  })

  it('of an earlier incarnation does nothing to a later one of the same state', () => {
    const life = calling()
    const lease = timer(life.doc, 'lease')
    life.skips(20_000).does(failed(call('read', 1), { backoffMs: 0 }))
    life.passes(0)
    expect(life.starts()).toEqual(call('read', 2))
    expect(life.skips(6_000).does(lease)).toBe(false)
    expect(life.state).toBe('read.calling')
    expect(life.passes(LEASE_MS - 6_000).state).toBe('read.uncertain')
  })

  it('of a settled record does nothing', () => {
    const life = calling()
    const [lease, deadline] = [timer(life.doc, 'lease'), timer(life.doc, 'deadline')]
    life.does(operator('CANCEL'))
    expect(life.skips(2 * compiled.deadlineMs).does(lease, deadline)).toBe(false)
  })
})

describe('due timers', () => {
  it('are those of the document at hand, earliest first', () => {
    const { doc } = calling()
    expect(dueTimers(doc, after(LEASE_MS - 1))).toEqual([])
    expect(dueTimers(doc, after(LEASE_MS))).toEqual([timer(doc, 'lease')])
    expect(dueTimers(doc, after(2 * compiled.deadlineMs))).toEqual([timer(doc, 'lease'), timer(doc, 'deadline')])
  })

  it('that follow from one another are not delivered in one go: each is due by its own time', () => {
    const { doc } = calling()
    const at = after(2 * compiled.deadlineMs)
    const draft = openDraft(compiled, doc, { at, by: 'sweeper:test', writer: 'w', facts: false })
    for (const event of dueTimers(doc, at)) applyEvent(draft, event)
    const { next } = closeDraft(draft)!
    expect(next.history.map(({ to }) => to)).toEqual(['read.ready', 'read.calling', 'read.uncertain', 'read.uncertain'])
    expect(next.wakeAt).toEqual(new Date(at.getTime() + 200))
  })
})

describe('nothing applied', () => {
  it('is nothing to save', () => {
    const { doc } = calling()
    const draft = openDraft(compiled, doc, { at: after(0), by: 'worker:test', writer: 'w', facts: true })
    expect(closeDraft(draft)).toBeNull()
  })
})
