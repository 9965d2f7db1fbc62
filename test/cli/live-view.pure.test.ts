/** What a live view writes where no table can be drawn. */
import { describe, expect, it } from 'vitest'
import { showLive } from '../../src/cli/live-view.js'
import { createRecordsStore } from '../../src/live/records-store.js'
import { liveRecord, seconds, wayEntry } from '../live/live-records.js'
import { memoryIo } from './cli-io.js'

const scene = (ways: boolean) => {
  const io = memoryIo()
  const store = createRecordsStore()
  const view = showLive(io, store, { json: false, ways })
  return { io, store, view }
}

describe('lines', () => {
  it('tell each step of the way, once', () => {
    const { io, store, view } = scene(true)
    store.trigger.recordSeen({ record: liveRecord('r1') })
    store.trigger.historySeen({ id: 'r1', entries: [wayEntry(1)] })
    store.trigger.historySeen({ id: 'r1', entries: [wayEntry(1), wayEntry(2)] })
    view.close()
    expect(io.stderr.map((line) => line.replaceAll(/ {2,}/g, ' | '))).toEqual([
      'r1.png | +1.00 s | a -> b | RECORD_ACCEPTED',
      'r1.png | +2.00 s | a -> b | RECORD_ACCEPTED',
    ])
  })

  it('tell where each record stands, once per version, where no ways are followed', () => {
    const { io, store, view } = scene(false)
    store.trigger.recordSeen({ record: liveRecord('r1') })
    store.trigger.serviceFailed({ trouble: 'away' })
    store.trigger.serviceAnswered()
    const settledAt = seconds(4)
    store.trigger.recordSeen({
      record: liveRecord('r1', { version: 2, status: 'completed', state: 'completed', settledAt }),
    })
    view.close()
    store.trigger.recordSeen({ record: liveRecord('r1', { version: 3 }) })
    expect(io.stderr.map((line) => line.replaceAll(/ {2,}/g, ' | '))).toEqual([
      expect.stringMatching(/^r1\.png \| r1 \| processing \| read\.ready \| 0 \| /),
      'away',
      'The service answers again.',
      'r1.png | r1 | completed | 0 | 4.0 s',
    ])
  })
})
