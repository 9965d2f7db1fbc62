/** How values are written for people. */
import { describe, expect, it } from 'vitest'
import {
  boundText,
  clip,
  clipMiddle,
  durationText,
  safeText,
  tableText,
  withoutEmptyColumns,
} from '../../src/cli/text.js'
import { progressText, usageText } from '../../src/cli/attempt-text.js'
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

it('names are clipped in their middle, so that the end tells them apart', () => {
  expect([clipMiddle('abcdef', 6), clipMiddle('abcdefg', 6)]).toEqual(['abcdef', 'ab…efg'])
  expect(clipMiddle('09a2ca7102187922b19125894bfbb73c.letters.12', 32)).toMatch(/^09a2ca.*…\S*\.letters\.12$/)
})

it('columns in which no row has anything are left out', () => {
  expect(
    withoutEmptyColumns([
      ['a', '', 'b'],
      ['c', '', ''],
    ]),
  ).toEqual([
    ['a', 'b'],
    ['c', ''],
  ])
})

describe('what a call used and how far it is', () => {
  it.each([
    [{ inputTokens: 1240, outputTokens: 310 }, '1,240 tokens in, 310 out'],
    [{ inputTokens: 1240, cachedInputTokens: 1000 }, '1,240 tokens in (1,000 cached)'],
    [{ outputTokens: 5 }, '5 tokens out'],
    [{ pages: 1, seconds: 2.345 }, '1 page, 2.35 s'],
    [{ images: 2 }, '2 images'],
    [{}, ''],
  ])('%j is %s', (usage, text) => expect(usageText(usage)).toBe(text))

  it.each([
    [null, 1240, '1,240 tokens'],
    [0.409, null, '40 %'],
    [0.4, 12, '40 %, 12 tokens'],
    [null, null, ''],
  ])('%j and %j are %s', (fraction, outputTokens, text) =>
    expect(progressText({ at: seconds(1), fraction, outputTokens })).toBe(text),
  )
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

  const running = {
    ...attempt,
    n: 2,
    provider: 'gpt',
    model: 'gpt-5.6',
    outcome: null,
    endedAt: null,
    spend: null,
    spendMax: { amount: '0.20', currency: 'EUR' },
    handle: 'resp_\u001b1',
    progress: { at: seconds(2), outputTokens: 1240, fraction: null },
    possibleDuplicate: false,
    error: null,
  }
  const held = { code: 'provider-down', message: 'The provider gpt does not answer.' }
  const waits = { provider: 'gpt', step: 'extract', readyAt: seconds(90), held }

  it('that runs shows how far its call is, what it may cost, and the provider’s id of it', () => {
    const lines = recordText(liveRecord('r1', { steps: { read: { attempts: [running], result: null } } }), [], {})
    expect(lines).toContain('  read #2  gpt (gpt-5.6)  running, 1,240 tokens  at most 0.20 EUR  id resp_?1')
  })

  it('that waits says for what and until when, and what its chart says', () => {
    const words = [
      { state: 'read.recovering.polling', words: 'The provider is asked.' },
      // The line about what it waits for says more.
      { state: 'all.extract.ready', words: 'Waits for a free slot.' },
    ]
    const lines = recordText(
      liveRecord('r1', { waitingFor: [waits, { ...waits, step: 'read', provider: 'ocr', held: null }] }),
      [],
      {},
      words,
    )
    const at = lines.indexOf('Now')
    expect(lines.slice(at + 1, at + 4)).toEqual([
      '  read.recovering.polling  The provider is asked.',
      '  extract waits for gpt until 2026-01-01 00:01:30 UTC, provider-down: The provider gpt does not answer.',
      '  read waits for a free slot at ocr',
    ])
    expect(recordText(liveRecord('r1', { status: 'completed', waitingFor: [waits] }), [], {}, words)).not.toContain(
      'Now',
    )
  })

  it('in a table has its waits and its progress beside its state', () => {
    const state = { extract: 'ready' }
    expect(tableRow(liveRecord('r1', { state, waitingFor: [waits] }), seconds(1))[3]).toBe(
      'extract.ready (provider-down until 00:01:30)',
    )
    const steps = { read: { attempts: [attempt, running], result: null } }
    expect(tableRow(liveRecord('r1', { steps }), seconds(1))[3]).toBe('read.ready (1,240 tokens)')
    // What has ended is not under way, whatever it told last.
    const ended = { read: { attempts: [{ ...running, outcome: 'failed', endedAt: seconds(3) }], result: null } }
    expect(tableRow(liveRecord('r1', { steps: ended }), seconds(1))[3]).toBe('read.ready')
  })

  it('tells what happens again and again in one line', () => {
    const poll = { event: { type: 'xstate.after.poll of a.record.a.awaiting.polling' }, from: 'p', to: 'p' }
    const way = [wayEntry(1), wayEntry(2, poll), wayEntry(3, poll), wayEntry(4, poll), wayEntry(5), wayEntry(6, poll)]
    const lines = recordText(liveRecord('r1'), way, {})
    const at = lines.indexOf('Way')
    expect(lines.slice(at + 1, at + 5).map((line) => line.trim().split(/ {2,}/).slice(0, 3))).toEqual([
      ['+1.00 s', 'a -> b', 'RECORD_ACCEPTED'],
      ['+2.00 s', 'p', 'after poll of a, 3 times until +4.00 s'],
      ['+5.00 s', 'a -> b', 'RECORD_ACCEPTED'],
      ['+6.00 s', 'p', 'after poll of a'],
    ])
  })

  it('in a table has a state of many regions in the room of one', () => {
    const state = {
      voters: Object.fromEntries(['one', 'two', 'three', 'four'].map((name) => [name, { [`ask-${name}`]: 'ready' }])),
    }
    const shown = tableRow(liveRecord('r1', { state, waitingFor: [waits] }), seconds(1))[3]
    expect(shown).toHaveLength(64)
    expect(shown).toMatch(/^voters\.one\..*….*\(provider-down until 00:01:30\)$/)
  })

  it('shows answers that came too late', () => {
    const late = { attempt: 1, at: seconds(5), bytes: 2048 }
    const steps = { read: { attempts: [], result: null, discarded: [{ ...late, reason: 'late' }], candidate: late } }
    const lines = recordText(liveRecord('r1', { steps }), [], {})
    const at = lines.indexOf('Late answers')
    expect(lines.slice(at + 1, at + 3)).toEqual([
      '  read #1  discarded (late)    2026-01-01 00:00:05 UTC  2 KiB',
      '  read #1  waits for a person  2026-01-01 00:00:05 UTC  2 KiB',
    ])
  })

  it.each([
    ['v.a.x.ready|b.y.ready', 'v.a.x.calling|b.y.ready', 'v.a.x.ready -> v.a.x.calling'],
    ['v.a.done|b.y.calling', 'v.a.done|b.y.backoff', 'b.y.calling -> b.y.backoff'],
    ['v.a.done|b.y.calling', 'count.ready', 'v.a.done|b.y.calling -> count.ready'],
    ['v.a.done|b.y.calling', 'v.a.done', 'v.a.done|b.y.calling -> v.a.done'],
  ])('of parallel regions names those that moved: %s -> %s', (from, to, shown) => {
    expect(wayLine(wayEntry(2, { from, to }), seconds(0))[1]).toBe(shown)
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
