/** The relay on the memory store, under time in the hand of the test (R1 to R4, L1, L3). */
import { beforeEach, describe, expect, test } from 'vitest'
import type { ChargeMessage, ChargeSink, SendOutcome } from '../../src/ledger/contract.js'
import { FAILURES_MAX } from '../../src/ledger/patience.js'
import { createRelay } from '../../src/ledger/relay.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import { silent } from '../../src/worker/logger.js'
import { record } from '../contract/record-store-documents.js'
import { createHandClock } from '../worker/hand-clock.js'
import { bodyOf, charged, chargeFact } from './charged.js'

const HOUR = 3_600_000

const scene = (forgetsAfterMs: number | null = null) => {
  const clock = createHandClock()
  const store = createMemoryRecordStore({ sinks: ['sink', 'other'], now: () => clock.now() })
  const tried: ChargeMessage[] = []
  const arrived: string[] = []
  const asked: string[] = []
  const it = {
    answer: (_id: string): SendOutcome | Promise<SendOutcome> => ({ kind: 'sent' }),
    knows: (_id: string): 'has' | 'has-not' | 'unknown' => 'unknown',
    leads: true,
  }
  const sink: ChargeSink = {
    name: 'sink',
    forgets:
      forgetsAfterMs === null
        ? null
        : {
            afterMs: forgetsAfterMs,
            ask: async (id) => {
              asked.push(id)
              return it.knows(id)
            },
          },
    send: async (message) => {
      tried.push(message)
      const outcome = await it.answer(message.id)
      if (outcome.kind === 'sent') arrived.push(message.id)
      return outcome
    },
  }
  const relay = createRelay({ sink, store, isLeader: async () => it.leads, clock, random: () => 0.999, log: silent })
  const left = async () => (await store.unsent('sink', 100)).flatMap(({ id }) => id)
  return Object.assign(it, { clock, store, relay, tried, arrived, asked, left })
}
let s: ReturnType<typeof scene>
beforeEach(() => {
  s = scene()
})
const failing: SendOutcome = { kind: 'failed', code: 'status-503' }

describe('what leaves', () => {
  test('each charge, once, in the order of its record, with its id and the same bytes for life', async () => {
    await s.store.insert([charged('r-1', ['read', 'record'])])
    await s.relay.passOnce()
    expect(s.tried).toEqual([
      { id: 'r-1/read', body: bodyOf('r-1', 'read', 1) },
      { id: 'r-1/record', body: bodyOf('r-1', 'record', 2) },
    ])
    await s.relay.passOnce()
    expect(s.tried).toHaveLength(2)
    const [doc] = await s.store.load(['r-1'])
    expect(doc!.outbox.map(({ sent }) => Object.keys(sent))).toEqual([['sink'], ['sink']])
  })

  test('L3: nothing simulated, and no fact of another type', async () => {
    await s.store.insert([
      charged('r-sim', ['read'], { simulated: true }),
      record('r-mixed', {
        outbox: [chargeFact(1, 'read', 1, { simulated: true }), { ...chargeFact(2, 'x'), type: 'RECORD_SETTLED' }],
      }),
    ])
    await s.relay.passOnce()
    expect(s.tried).toEqual([])
    // They are done with: the queue does not fill with what may not leave.
    expect(await s.left()).toEqual([])
  })

  test('nothing from a process without the lease', async () => {
    s.leads = false
    await s.store.insert([charged('r-1', ['read'])])
    expect(await s.relay.passOnce()).toBe(false)
    expect(s.tried).toEqual([])
  })
})

describe('trouble', () => {
  test('R1: a record’s next charge waits for the one before it; R2: other records don’t', async () => {
    s.answer = (id) => (id === 'r-1/read' ? { kind: 'refused', code: 'status-400' } : { kind: 'sent' })
    await s.store.insert([charged('r-1', ['read', 'record']), charged('r-2', ['read'])])
    await s.relay.passOnce()
    expect(s.arrived).toEqual(['r-2/read'])
    s.answer = () => ({ kind: 'sent' })
    // Its own pause is not over.
    await s.relay.passOnce()
    expect(s.arrived).toEqual(['r-2/read'])
    await s.clock.passes(1_000)
    await s.relay.passOnce()
    expect(s.arrived).toEqual(['r-2/read', 'r-1/read', 'r-1/record'])
  })

  test('R2: more records in trouble than fit a page don’t keep others waiting', async () => {
    s.answer = (id) => (id.startsWith('bad') ? { kind: 'refused', code: 'status-400' } : { kind: 'sent' })
    const bad = Array.from({ length: 450 }, (_, n) => charged(`bad-${String(n).padStart(3, '0')}`, ['read']))
    await s.store.insert([...bad, charged('good', ['read'])])
    for (let pass = 0; pass < 3; pass += 1) await s.relay.passOnce()
    expect(s.arrived).toEqual(['good/read'])
  })

  test('R3: a sink that is down is left alone, tried by one charge after each pause, and gets all when it is back', async () => {
    s.answer = () => failing
    const ids = Array.from({ length: 60 }, (_, n) => `r-${String(n).padStart(2, '0')}`)
    await s.store.insert(ids.map((id) => charged(id, ['read', 'record'])))
    s.relay.start()
    await s.clock.passes(0)
    const first = s.tried.length
    expect(first).toBeGreaterThanOrEqual(FAILURES_MAX)
    expect(first).toBeLessThanOrEqual(2 * FAILURES_MAX)
    await s.clock.passes(10 * 60_000)
    const whileDown = s.tried.length - first
    // At most one a pause, and pauses grow to half a minute.
    expect(whileDown).toBeGreaterThan(10)
    expect(whileDown).toBeLessThan(40)
    s.answer = () => ({ kind: 'sent' })
    await s.clock.passes(31_000)
    expect(await s.left()).toEqual([])
    for (const id of ids)
      expect(s.arrived.filter((one) => one.startsWith(`${id}/`))).toEqual([`${id}/read`, `${id}/record`])
    await s.relay.close()
  })

  test('R3: Retry-After is kept', async () => {
    s.answer = () => ({ kind: 'failed', code: 'status-429', retryAfterMs: 60_000 })
    await s.store.insert([charged('r-1', ['read'])])
    await s.relay.passOnce()
    s.answer = () => ({ kind: 'sent' })
    await s.clock.passes(59_000)
    await s.relay.passOnce()
    expect(s.arrived).toEqual([])
    await s.clock.passes(2_000)
    await s.relay.passOnce()
    expect(s.arrived).toEqual(['r-1/read'])
  })
})

describe('storage away', () => {
  test('R1: what could not be marked is sent again under its id, and nothing overtakes it', async () => {
    await s.store.insert([charged('r-1', ['read', 'record']), charged('r-2', ['read'])])
    const markSent = s.store.markSent.bind(s.store)
    s.store.markSent = () => Promise.reject(new Error('away'))
    s.relay.start()
    await s.clock.passes(2_500)
    s.store.markSent = markSent
    await s.clock.passes(1_000)
    await s.relay.close()
    expect(await s.left()).toEqual([])
    const of = s.arrived.filter((id) => id.startsWith('r-1/'))
    expect(of.length).toBeGreaterThan(2)
    // Whole repeats, each in order.
    of.forEach((id, n) => expect(id).toBe(n % 2 === 0 ? 'r-1/read' : 'r-1/record'))
    expect(new Set(s.tried.filter(({ id }) => id === 'r-1/read').map(({ body }) => body)).size).toBe(1)
  })

  test('a lane that fails leaves no other running beside the next pass', async () => {
    await s.store.insert([charged('r-1', ['read']), charged('r-2', ['read'])])
    let release = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    s.answer = async (id) => {
      if (id === 'r-2/read') await held
      return { kind: 'sent' }
    }
    s.store.markSent = () => Promise.reject(new Error('away'))
    let ended = false
    const pass = s.relay.passOnce().finally(() => (ended = true))
    await s.clock.passes(0)
    expect(ended).toBe(false)
    release()
    await expect(pass).rejects.toThrow('away')
  })

  test('facts are sent by their number, whatever their place', async () => {
    await s.store.insert([record('r-1', { outbox: [chargeFact(7, 'late'), chargeFact(3, 'early')] })])
    await s.relay.passOnce()
    expect(s.arrived).toEqual(['r-1/early', 'r-1/late'])
  })
})

describe('R4: a sink that forgets', () => {
  beforeEach(async () => {
    s = scene(24 * HOUR)
    await s.store.insert([charged('r-1', ['read'])])
  })
  const doubt = async () => (await s.store.load(['r-1']))[0]!.outbox[0]!.sending?.['sink']
  /** The send began, and nobody knows whether it arrived. */
  const sendInDoubt = async () => {
    s.answer = () => failing
    await s.relay.passOnce()
    s.answer = () => ({ kind: 'sent' })
  }

  test('is told under a durable mark, made before the send', async () => {
    let marked: unknown
    s.answer = async () => {
      marked = await doubt()
      return { kind: 'sent' }
    }
    await s.relay.passOnce()
    expect(marked).toEqual({ first: s.clock.now(), last: s.clock.now() })
  })

  test('within its memory a repeat needs no question', async () => {
    await sendInDoubt()
    await s.clock.passes(HOUR)
    await s.relay.passOnce()
    expect([s.asked, s.arrived]).toEqual([[], ['r-1/read']])
  })

  test('past it, it is asked, and what it has is not sent again', async () => {
    await sendInDoubt()
    await s.clock.passes(24 * HOUR)
    s.knows = () => 'has'
    await s.relay.passOnce()
    expect([s.asked, s.tried.length, await s.left()]).toEqual([['r-1/read'], 1, []])
  })

  test('without an answer nothing is sent', async () => {
    await sendInDoubt()
    for (let day = 1; day <= 3; day += 1) {
      await s.clock.passes(24 * HOUR)
      await s.relay.passOnce()
    }
    expect([s.asked.length, s.tried.length, await s.left()]).toEqual([3, 1, ['r-1']])
  })

  test('what it has not is sent under a new mark, so that its memory counts from there', async () => {
    await sendInDoubt()
    await s.clock.passes(24 * HOUR)
    s.knows = () => 'has-not'
    const begun = s.clock.now()
    s.answer = () => failing
    await s.relay.passOnce()
    expect([s.tried.length, await doubt()]).toEqual([2, { first: begun, last: begun }])
    await s.clock.passes(HOUR)
    s.answer = () => ({ kind: 'sent' })
    await s.relay.passOnce()
    expect([s.asked.length, s.arrived]).toEqual([1, ['r-1/read']])
  })

  test('it is not asked while an earlier send may still arrive', async () => {
    await sendInDoubt()
    await s.clock.passes(23 * HOUR)
    await sendInDoubt()
    await s.clock.passes(59.5 * 60_000)
    // The first is past its memory, the last is a second ago.
    await s.store.markSending('sink', [{ id: 'r-1', seq: 1 }])
    await s.relay.passOnce()
    expect([s.asked, s.arrived]).toEqual([[], []])
    await s.clock.passes(60_000)
    s.knows = () => 'has'
    await s.relay.passOnce()
    expect(s.asked).toEqual(['r-1/read'])
  })
})
