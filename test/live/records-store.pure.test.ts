/** The store behind live views: versions, order, bounds, and what its selectors show. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createRecordsStore,
  rowOf,
  selectCounts,
  selectRecords,
  selectUnsettled,
  selectWay,
  WAY_ENTRIES_MAX,
} from '../../src/live/records-store.js'
import { LiveRecord } from '../../src/live/shapes.js'
import { liveRecord, seconds, wayEntry } from './live-records.js'

const context = (store: ReturnType<typeof createRecordsStore>) => store.getSnapshot().context

describe('records', () => {
  it('keep the newest version, in whatever order updates come', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 30 }), (versions) => {
        const store = createRecordsStore()
        for (const version of versions) store.trigger.recordSeen({ record: liveRecord('a', { version }) })
        expect(context(store).records['a']?.version).toBe(Math.max(...versions))
      }),
    )
  })

  it('do not wake who watches for a version that is known', () => {
    const store = createRecordsStore()
    store.trigger.recordSeen({ record: liveRecord('a', { version: 3 }) })
    let changes = 0
    const { unsubscribe } = store.select((live) => live).subscribe(() => (changes += 1))
    store.trigger.recordSeen({ record: liveRecord('a', { version: 3 }) })
    store.trigger.recordSeen({ record: liveRecord('a', { version: 2 }) })
    expect(changes).toBe(0)
    store.trigger.recordSeen({ record: liveRecord('a', { version: 4 }) })
    expect(changes).toBe(1)
    unsubscribe()
  })

  it('are let go when there are too many: settled ones first, the oldest of them', () => {
    const store = createRecordsStore({ recordsMax: 3 })
    const see = (id: string, change: { [field: string]: unknown }) =>
      store.trigger.recordSeen({ record: liveRecord(id, change) })
    see('open-old', { acceptedAt: seconds(0) })
    see('done-late', { status: 'completed', acceptedAt: seconds(1), settledAt: seconds(20) })
    see('done-early', { status: 'completed', acceptedAt: seconds(2), settledAt: seconds(10) })
    store.trigger.historySeen({ id: 'done-early', entries: [wayEntry(1)] })
    see('open-new', { acceptedAt: seconds(3) })
    expect(Object.keys(context(store).records).sort()).toEqual(['done-late', 'open-new', 'open-old'])
    expect(selectWay(context(store), 'done-early')).toEqual([])
    see('open-newer', { acceptedAt: seconds(4) })
    see('open-newest', { acceptedAt: seconds(5) })
    expect(selectRecords(context(store)).map(({ id }) => id)).toEqual(['open-newest', 'open-newer', 'open-new'])
  })

  it('that are removed take their way with them', () => {
    const store = createRecordsStore()
    store.trigger.recordSeen({ record: liveRecord('a') })
    store.trigger.historySeen({ id: 'a', entries: [wayEntry(1)] })
    store.trigger.removed({ id: 'a' })
    expect(context(store)).toMatchObject({ records: {}, ways: {} })
  })
})

describe('the way of a record', () => {
  it('is in the order of versions, each once, in whatever pieces it comes', () => {
    const all = Array.from({ length: 8 }, (_, index) => wayEntry(index + 1))
    const pieces = fc.array(fc.shuffledSubarray(all), { maxLength: 10 })
    fc.assert(
      fc.property(pieces, (parts) => {
        const store = createRecordsStore()
        store.trigger.recordSeen({ record: liveRecord('a') })
        for (const entries of parts) store.trigger.historySeen({ id: 'a', entries })
        const seen = new Set(parts.flat().map(({ version }) => version))
        expect(selectWay(context(store), 'a').map(({ version }) => version)).toEqual([...seen].sort((a, b) => a - b))
      }),
    )
  })

  it('keeps its newest entries, and a trimmed one does not come back', () => {
    const store = createRecordsStore()
    store.trigger.recordSeen({ record: liveRecord('a') })
    const entries = Array.from({ length: WAY_ENTRIES_MAX + 5 }, (_, index) => wayEntry(index + 1))
    store.trigger.historySeen({ id: 'a', entries })
    store.trigger.historySeen({ id: 'a', entries: entries.slice(0, 5) })
    const way = selectWay(context(store), 'a')
    expect([way.length, way[0]?.version]).toEqual([WAY_ENTRIES_MAX, 6])
  })

  it('of a record that is not here is not kept', () => {
    const store = createRecordsStore()
    store.trigger.historySeen({ id: 'a', entries: [wayEntry(1)] })
    expect(context(store).ways).toEqual({})
  })

  it('keeps of an event what a person follows, and no content', () => {
    const event = {
      type: 'CALL_FAILED',
      step: 'read',
      attempt: 2,
      error: { code: 'busy', message: 'secret' },
      result: 1,
    }
    const entry = wayEntry(1, { event })
    expect(entry).toMatchObject({ type: 'CALL_FAILED', step: 'read', attempt: 2, errorCode: 'busy' })
    expect(JSON.stringify(entry)).not.toContain('secret')
  })
})

describe('what is shown', () => {
  it('names states as paths, parallel regions side by side', () => {
    expect(liveRecord('a').state).toBe('read.ready')
    expect(liveRecord('a', { state: 'completed' }).state).toBe('completed')
    expect(liveRecord('a', { state: { all: { x: 'ready', y: { z: 'calling' } } } }).state).toBe(
      'all.x.ready + y.z.calling',
    )
    expect(liveRecord('a', { state: { x: {} } }).state).toBe('x')
  })

  it('counts by status and lists what is unsettled', () => {
    const store = createRecordsStore()
    store.trigger.recordSeen({ record: liveRecord('a') })
    store.trigger.recordSeen({ record: liveRecord('b', { status: 'rejected', settledAt: seconds(1) }) })
    expect(selectCounts(context(store))).toMatchObject({ processing: 1, rejected: 1, completed: 0 })
    expect(selectUnsettled(context(store)).map(({ id }) => id)).toEqual(['a'])
  })

  it('has a row per record with attempts and charges', () => {
    const attempt = {
      n: 1,
      generation: 1,
      provider: 'ocr',
      outcome: null,
      startedAt: seconds(1),
      endedAt: null,
      spend: null,
      possibleDuplicate: false,
      error: null,
    }
    const record = liveRecord('a', {
      steps: { read: { attempts: [attempt], result: null } },
      charges: { extract: { amount: '0.40', currency: 'EUR', at: seconds(2), attempt: 1, simulated: false } },
    })
    expect(rowOf(record)).toMatchObject({ name: 'a.png', attempts: 1, charges: ['0.40 EUR'] })
  })

  it('says when the service is away, once', () => {
    const store = createRecordsStore()
    store.trigger.serviceFailed({ trouble: 'away' })
    const before = context(store)
    store.trigger.serviceFailed({ trouble: 'away' })
    expect(context(store)).toBe(before)
    store.trigger.serviceAnswered()
    expect(context(store).trouble).toBeNull()
  })

  it('refuses an answer that is no record', () => {
    expect(LiveRecord.safeParse({ id: 'a' }).success).toBe(false)
  })
})
