/** How values are written for people. */
import { describe, expect, it } from 'vitest'
import { boundText, clip, durationText, safeText, tableText } from '../../src/cli/text.js'
import { outputLines, recordText, tableRow, wayLine } from '../../src/cli/record-text.js'
import { liveRecord, seconds, wayEntry } from '../live/live-records.js'

describe('durations', () => {
  it.each([
    [0, '0.0 s'],
    [1_234, '1.2 s'],
    [59_940, '59.9 s'],
    [59_960, '1 min'],
    [61_000, '1 min 1 s'],
    [3_600_000, '1 h'],
    [3_661_000, '1 h 1 min'],
    [90_061_000, '1 d 1 h'],
  ])('of %i ms are %s', (ms, text) => expect(durationText(ms)).toBe(text))

  it.each([
    [1, '0.1 s'],
    [3_661_000, '1 h 2 min'],
    [3_660_000, '1 h 1 min'],
    [61_001, '1 min 2 s'],
  ])('that bound something are rounded up: %i ms are %s', (ms, text) => expect(boundText(ms)).toBe(text))
})

describe('text from outside', () => {
  it('can’t steer the terminal', () => expect(safeText('a\u001b[2Jb\nc\u009b1m')).toBe('a?[2Jb?c?1m'))
  it('is clipped with a sign', () => expect([clip('abcd', 4), clip('abcde', 4)]).toEqual(['abcd', 'abc…']))
})

it('tables have columns as wide as their widest cell, and nothing after the last', () => {
  expect(
    tableText([
      ['a', 'bb', ''],
      ['ccc', 'd'],
    ]),
  ).toEqual(['a    bb', 'ccc  d'])
})

describe('a record', () => {
  const attempt = {
    n: 1,
    generation: 1,
    provider: 'ocr',
    outcome: 'uncertain',
    startedAt: seconds(1),
    endedAt: seconds(3),
    spend: { amount: '0.05', currency: 'EUR', basis: 'upper-bound' },
    possibleDuplicate: true,
    error: { code: 'timed-out', message: 'No answer.' },
  }
  const record = liveRecord('r1', {
    status: 'completed',
    state: 'completed',
    settledAt: seconds(4),
    steps: { read: { attempts: [attempt], result: null } },
    charges: { read: { amount: '0.40', currency: 'EUR', at: seconds(4) } },
  })
  const text = recordText(record, [wayEntry(2, { event: { type: 'CALL_UNCERTAIN', step: 'read', attempt: 1 } })], {
    read: { fields: [{ name: 'patientName', value: 'A B', confidence: 0.97 }] },
  }).join('\n')

  it.each([
    ['how it ended', /^r1 {2}completed$/m],
    ['how long it took', /after 4\.0 s/],
    ['its way', /\+2\.00 s {2}a -> b {2}CALL_UNCERTAIN read #1 {2}worker:1/],
    [
      'its attempts with spend and doubt',
      /read #1 {2}ocr {2}uncertain {2}2\.0 s {2}spend 0\.05 EUR \(upper-bound\) {2}possible duplicate {2}timed-out: No answer\./,
    ],
    ['its results', /patientName {3}97 % {2}A B/],
    ['its charges', /Charges\n {2}read {2}0\.40 EUR/],
  ])('shows %s', (_what, pattern) => expect(text).toMatch(pattern))

  it.each([
    [{ cancel: true, retry: false, writeOff: false }, 'processing', ['endstate cancel r1 --reason TEXT']],
    // Named, so that nobody acts on what has changed since.
    [
      { cancel: false, retry: true, writeOff: true },
      'investigation',
      ['endstate retry r1 --reason TEXT --if-version 9', 'endstate write-off r1 --reason TEXT --if-version 9'],
    ],
    [{ cancel: false, retry: false, writeOff: false }, 'completed', []],
    [null, 'investigation', []],
    [undefined, 'investigation', []],
  ])('shows what a person can do now: %j in %s', (can, status, commands) => {
    const lines = recordText(liveRecord('r1', { status, version: 9, can }), [], {})
    const at = lines.indexOf('What a person can do now')
    expect(at < 0 ? [] : lines.slice(at + 1).map((line) => line.trim())).toEqual(commands)
  })

  it('shows whose result was there already', () => {
    const entry = wayEntry(2, { event: { type: 'RETRY', reason: 'Mended.' }, reused: ['read', 'extract'] })
    expect(wayLine(entry, seconds(0)).at(-1)).toBe('RETRY reused read, extract')
  })

  it.each([
    ['xstate.after.lease of read.record.read.calling', 'after lease of read'],
    ['xstate.after.patience.record.waiting', 'after patience'],
    ['xstate.after.deadline.record', 'after deadline'],
    ['CALL_SUCCEEDED', 'CALL_SUCCEEDED'],
  ])('names the timer of its way, not XState’s event: %s', (type, shown) => {
    expect(wayLine(wayEntry(2, { event: { type } }), seconds(0)).at(-1)).toBe(shown)
  })

  it('without a name of its own has none beside its id', () => {
    const nameless = liveRecord('r2', { input: { mediaType: 'application/json', fileName: null, bytes: 2 } })
    expect(tableRow(nameless, seconds(1)).slice(0, 3)).toEqual(['r2', '', 'processing'])
    expect(tableRow({ ...nameless, key: 'case-17' }, seconds(1))[1]).toBe('case-17')
  })

  it('whose result has no fields says so, and any other result is JSON', () => {
    expect(outputLines({ fields: [] })).toEqual(['no fields'])
    expect(outputLines({ urgency: 'routine' })).toEqual(['{"urgency":"routine"}'])
  })
})
