/** The small parts of the shell: alarms, waiters, direct hints, payloads, held documents. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { RecordDocument } from '../../src/machines/record.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { createAlarms } from '../../src/worker/alarms.js'
import type { Delivery } from '../../src/worker/contract.js'
import { AWAY_MS, createDirectHints, isAway } from '../../src/worker/direct-hints.js'
import { createIds } from '../../src/worker/ids.js'
import { asUnstorable, inputOf, readBytes, readOutputs, storeJson } from '../../src/worker/payloads.js'
import { createRecentRecords } from '../../src/worker/recent-records.js'
import { createSettledWaiters } from '../../src/worker/settled-waiters.js'
import { after, compile, noon, pipeline, record, step } from '../machines/pipelines.js'
import { call, failed, succeeded } from '../machines/life.js'
import { createHandClock } from './hand-clock.js'

const one = compile(pipeline([step('read')]))
const waking = (id: string, ms: number | null): RecordDocument =>
  record(one, { _id: id, wakeAt: ms === null ? null : after(ms) })

describe('alarms', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
  afterEach(() => void vi.useRealTimers())

  const ringing = () => {
    const rung: string[] = []
    return { rung, alarms: createAlarms(({ _id }) => void rung.push(_id)) }
  }

  it('ring when a short wait is over, once, and for the newest wait of a record', () => {
    const { rung, alarms } = ringing()
    alarms.set(waking('a', 200), noon)
    alarms.set(waking('b', 100), noon)
    alarms.set(waking('b', 300), noon)
    alarms.set(waking('c', 100), noon)
    alarms.set(waking('c', null), noon)
    alarms.set(waking('late', -5_000), noon)
    vi.advanceTimersByTime(1)
    expect(rung).toEqual(['late'])
    vi.advanceTimersByTime(200)
    expect(rung).toEqual(['late', 'a'])
    vi.advanceTimersByTime(100)
    expect(rung).toEqual(['late', 'a', 'b'])
    vi.advanceTimersByTime(60_000)
    expect([rung.length, alarms.size()]).toEqual([3, 0])
  })

  it('leave long waits to the sweeper', () => {
    const { alarms } = ringing()
    alarms.set(waking('a', 5_001), noon)
    expect(alarms.size()).toBe(0)
    alarms.set(waking('a', 5_000), noon)
    expect(alarms.size()).toBe(1)
    alarms.close()
  })

  it('are bounded: beyond 10,000 there are no more', () => {
    const { alarms } = ringing()
    const doc = waking('', 1_000)
    for (let n = 0; n < 10_100; n += 1) alarms.set({ ...doc, _id: `r${n}` }, noon)
    expect(alarms.size()).toBe(10_000)
    alarms.close()
  })

  it('that are closed are gone, and take no new ones from a worker that drains', () => {
    const { rung, alarms } = ringing()
    alarms.set(waking('a', 100), noon)
    alarms.close()
    alarms.set(waking('b', 100), noon)
    expect([alarms.size(), vi.getTimerCount()]).toEqual([0, 0])
    vi.advanceTimersByTime(10_000)
    expect(rung).toEqual([])
  })
})

describe('settled waiters', () => {
  const settled = record(one, { status: 'completed' })
  const waitersOf = (load: (id: string) => Promise<RecordDocument | null>) => {
    const clock = createHandClock()
    let loads = 0
    const waiters = createSettledWaiters({
      clock,
      load: (id) => {
        loads += 1
        return load(id)
      },
    })
    const begin = (timeoutMs: number) => {
      const gone = new AbortController()
      let ended = false
      const done = waiters.wait('r1', { signal: gone.signal, timeoutMs }).then(() => (ended = true))
      return { done, gone, hasEnded: () => ended }
    }
    return { clock, waiters, begin, loads: () => loads }
  }

  it('are told at once when this process settles the record, and not by a step on its way', async () => {
    const { clock, waiters, begin, loads } = waitersOf(async () => record(one))
    const waits = [begin(60_000), begin(60_000)]
    waiters.tell(record(one))
    waiters.tell({ ...settled, _id: 'other' })
    await clock.passes(50)
    expect(waits.map(({ hasEnded }) => hasEnded())).toEqual([false, false])
    waiters.tell(settled)
    await clock.passes(0)
    expect([waits.map(({ hasEnded }) => hasEnded()), loads()]).toEqual([[true, true], 0])
    expect(clock.sleeping()).toBe(0)
  })

  it('find out by looking when another process settles it', async () => {
    let doc: RecordDocument = record(one)
    const { clock, begin } = waitersOf(async () => doc)
    const wait = begin(60_000)
    await clock.passes(5_000)
    doc = settled
    await clock.passes(1_000)
    expect(wait.hasEnded()).toBe(true)
  })

  it('end when their time is over, also while the storage does not answer, and look no more', async () => {
    const { clock, begin, loads } = waitersOf(() => Promise.reject(new Error('Away.')))
    const wait = begin(2_000)
    await clock.passes(1_999)
    expect(wait.hasEnded()).toBe(false)
    await clock.passes(1)
    expect(wait.hasEnded()).toBe(true)
    const looks = loads()
    await clock.passes(60_000)
    expect([loads(), clock.sleeping()]).toEqual([looks, 0])
  })

  it('end when the client goes away', async () => {
    const { clock, begin } = waitersOf(async () => record(one))
    const wait = begin(60_000)
    await clock.passes(0)
    wait.gone.abort()
    await clock.passes(0)
    expect([wait.hasEnded(), clock.sleeping()]).toEqual([true, 0])
  })
})

describe('direct hints', () => {
  it('begin after 15 s of absence, not before', async () => {
    const clock = createHandClock()
    expect(isAway(null, clock)).toBe(false)
    await clock.passes(1_000)
    expect(isAway(1_000, clock)).toBe(false)
    await clock.passes(AWAY_MS - 1)
    expect(isAway(1_000, clock)).toBe(false)
    await clock.passes(1)
    expect([isAway(1_000, clock), AWAY_MS]).toEqual([true, 15_000])
  })

  it('go to the handlers while there is room, and are refused otherwise', async () => {
    const given: [string, Delivery][] = []
    const room = { provider: 1, timers: 1 }
    const direct = createDirectHints({
      onProviderHint: (provider, delivery) => void given.push([provider, delivery]),
      onTimerHint: (delivery) => void given.push(['timers', delivery]),
      providerFree: () => room.provider,
      timersFree: () => room.timers,
    })
    const hint = { type: 'STEP_READY', record: 'r1', version: 1 } as const
    await direct.publishTo('free', hint)
    await direct.publishTimer({ ...hint, type: 'TIMER_DUE' })
    expect(given.map(([to, { hint: given1 }]) => [to, given1.type])).toEqual([
      ['free', 'STEP_READY'],
      ['timers', 'TIMER_DUE'],
    ])
    expect(direct.pending()).toBe(2)
    given[0]![1].ack()
    given[0]![1].ack()
    given[1]![1].nak(1_000)
    expect(direct.pending()).toBe(0)
    Object.assign(room, { provider: 0, timers: 0 })
    await expect(direct.publishTo('free', hint)).rejects.toThrow('No free slot here.')
    await expect(direct.publishTimer(hint)).rejects.toThrow('Too many timers run here.')
    expect(given).toHaveLength(2)
  })
})

describe('payloads', () => {
  it('are read back as they were, inline or as a blob, text or bytes', async () => {
    const blobs = createMemoryBlobStore()
    for (const value of [null, { a: [1, 'ü'] }, 'x'.repeat(100_000)]) {
      const payload = await storeJson(blobs, value)
      const doc = record(one)
      doc.steps['read']!.result = { attempt: 1, at: noon, payload }
      expect(await readOutputs(blobs, doc)).toEqual({ read: value })
      expect('blob' in payload).toBe(payload.bytes > 65_536)
    }
    const bytes = Buffer.from([0, 255, 128])
    const inline = { inline: bytes.toString('base64'), sha256: 'x', bytes: 3 }
    expect(await readBytes(blobs, inline, 'base64')).toEqual(bytes)
    const input = inputOf(blobs, { mediaType: 'image/png', fileName: null, payload: inline, encoding: 'base64' })
    expect(Buffer.from(await input.bytes())).toEqual(bytes)
  })

  it('are cut at the limit of inline results exactly', async () => {
    const blobs = createMemoryBlobStore()
    expect(await storeJson(blobs, 'x'.repeat(65_534))).toHaveProperty('inline')
    expect(await storeJson(blobs, 'x'.repeat(65_535))).toHaveProperty('blob')
  })

  it('that can’t be stored are kept as a blob where that is possible, and named in any case', async () => {
    const blobs = createMemoryBlobStore()
    const answer = succeeded(call('read', 1))
    const kept = await asUnstorable(blobs, answer, 'too-large')
    expect(kept).toMatchObject({
      type: 'RESULT_UNSTORABLE',
      result: { blob: expect.any(String) },
      spend: answer.spend,
      error: { code: 'result-unstorable', message: expect.stringContaining('too-large') },
    })
    const away = { ...blobs, put: () => Promise.reject(new Error('Away.')) }
    const lost = await asUnstorable(away, answer, 'too-large')
    expect(lost.result).toEqual({ sha256: expect.any(String), bytes: expect.any(Number) })
    expect(await asUnstorable(blobs, failed(call('read', 1)), 'too-deep')).toMatchObject({ result: null })
  })
})

describe('documents that are held', () => {
  it('are given once, bounded in number and size, and none that is settled', () => {
    const recent = createRecentRecords(2)
    for (const id of ['a', 'b', 'c']) recent.put(record(one, { _id: id }))
    expect([recent.take('a'), recent.take('b')?._id, recent.take('b')]).toEqual([undefined, 'b', undefined])
    recent.put(record(one, { _id: 'd', status: 'completed' }))
    expect(recent.take('d')).toBeUndefined()
    const large = record(one, { _id: 'e' })
    large.input = { ...large.input, payload: { inline: '', sha256: 'x', bytes: 20_000 } }
    recent.put(large)
    expect(recent.take('e')).toBeUndefined()
  })
})

describe('ids', () => {
  it('never repeat a writer token, also not between processes', () => {
    const [first, second] = [createIds(), createIds()]
    const tokens = Array.from({ length: 1_000 }, () => [first.writer(), second.writer()]).flat()
    expect(new Set(tokens).size).toBe(2_000)
  })
})
