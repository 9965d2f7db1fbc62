/** A record as people read it: its row in a table, its way, and all that is known about it. Pure. */
import type { StateWords } from '../live/chart-words.js'
import { rowOf, type LiveRow } from '../live/records-store.js'
import type { LiveRecord, WayEntry } from '../live/shapes.js'
import { attemptLines, lateLines, progressText, waitLines } from './attempt-text.js'
import { between, bytesText, clip, clipMiddle, durationText, safeText, tableText, timeText } from './text.js'

const JSON_CHARACTERS_MAX = 400
/** Of parallel regions there may be many; what comes behind them must stay in sight. */
const STATE_CHARACTERS_MAX = 64

export const TABLE_HEAD = ['record', 'name', 'status', 'state', 'attempts', 'charges', 'took'] as const

/** `read.calling (40 %)`, `read.ready (provider-down until 12:30:00)`. */
const standing = ({ state, progress, held }: LiveRow): string => {
  const notes = [
    ...progress.map(progressText).filter((text) => text !== ''),
    ...held.map(({ code, until }) => `${safeText(code)} until ${timeText(until).slice(11)}`),
  ]
  return notes.length === 0 ? state : `${state} (${notes.join('; ')})`
}

/** `now`: ISO, for records that are not settled yet. */
export const tableRow = (record: LiveRecord, now: string): string[] => {
  const row = rowOf(record)
  return [
    row.id,
    row.name === row.id ? '' : clipMiddle(safeText(row.name), 32),
    row.status,
    row.status === 'processing' ? clipMiddle(standing(row), STATE_CHARACTERS_MAX) : '',
    String(row.attempts),
    row.charges.join(', '),
    durationText(between(row.acceptedAt, row.settledAt ?? now)),
  ]
}

const subject = ({ step, attempt, provider, errorCode, reused }: WayEntry): string =>
  [
    step,
    attempt === null ? null : `#${attempt}`,
    provider === null ? null : `at ${provider}`,
    errorCode,
    reused === undefined ? null : `reused ${reused.join(', ')}`,
  ]
    .filter((part) => part !== null)
    .join(' ')

/** Timers have XState's names, `xstate.after.lease of read.record.read.calling`; of interest is which one it was. */
const eventName = (type: string): string => type.replace(/^xstate\.after\.(.+?)\.record(\..*)?$/, 'after $1')

/** Of parallel regions those that moved; a state that was left and entered again is told once. */
const moveText = ({ from, to }: WayEntry): string => {
  if (from === to || from === '') return to
  const [left, entered] = [from.split('|'), to.split('|')]
  const moved = [left.filter((region) => !entered.includes(region)), entered.filter((region) => !left.includes(region))]
  return moved.every((regions) => regions.length > 0)
    ? moved.map((regions) => regions.join('|')).join(' -> ')
    : `${from} -> ${to}`
}

/** `+1.20 s  read.calling -> extract.ready  CALL_SUCCEEDED read #1`; the start is the record's acceptance. */
export const wayLine = (entry: WayEntry, acceptedAt: string): string[] => [
  `+${(Math.max(0, between(acceptedAt, entry.at)) / 1000).toFixed(2)} s`,
  moveText(entry),
  safeText(`${eventName(entry.type)} ${subject(entry)}`.trim()),
]

/** A result: fields by name where it has some, else its JSON, clipped; --json has all of it. */
export const outputLines = (output: unknown): string[] => {
  const fields = output !== null && typeof output === 'object' && 'fields' in output ? output.fields : null
  if (Array.isArray(fields)) return fields.length === 0 ? ['no fields'] : tableText(fields.map(fieldRow))
  return [clip(safeText(JSON.stringify(output) ?? ''), JSON_CHARACTERS_MAX)]
}

const fieldRow = (field: unknown): string[] => {
  const { name, value, confidence } = (field ?? {}) as { [name: string]: unknown }
  const shown = typeof value === 'string' ? value : partsOf(value).join(' ')
  const sure = typeof confidence === 'number' ? `${Math.round(confidence * 100)} %`.padStart(5) : ''
  return [safeText(String(name)), sure, clip(safeText(shown), 90)]
}

const partsOf = (value: unknown): string[] =>
  value !== null && typeof value === 'object'
    ? Object.values(value)
        .filter((part) => part !== null)
        .map(String)
    : [String(value)]

const facts = (record: LiveRecord): string[][] => [
  ['pipeline', `${record.pipeline} (${record.pipelineVersion.slice(0, 12)})`],
  ['source', `${record.source}${record.key === null ? '' : `, key ${safeText(record.key)}`}`],
  [
    'input',
    safeText([record.input.fileName, record.input.mediaType, bytesText(record.input.bytes)].filter(Boolean).join(', ')),
  ],
  ['accepted', `${timeText(record.acceptedAt)} UTC`],
  record.settledAt === null
    ? ['settles by', `${timeText(record.settlesBy)} UTC, at the latest`]
    : [
        'settled',
        `${timeText(record.settledAt)} UTC, after ${durationText(between(record.acceptedAt, record.settledAt))}`,
      ],
  ...(record.generation > 1 ? [['generation', String(record.generation)]] : []),
  ...(record.simulated ? [['simulated', 'yes']] : []),
  ...(record.reason === null ? [] : [['reason', safeText(`${record.reason.code}: ${record.reason.message}`)]]),
]

/** Commands, as they are written. A version that stands still is named, so that nobody acts on what he has not seen. */
const possible = ({ id, version, status, can }: LiveRecord): string[] => {
  const seen = status === 'processing' ? '' : ` --if-version ${version}`
  return [can?.cancel && 'cancel', can?.retry && 'retry', can?.writeOff && 'write-off'].flatMap((command) =>
    command ? [`endstate ${command} ${id} --reason TEXT${seen}`] : [],
  )
}

const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : ['', title, ...lines.map((line) => `  ${line}`)]

/** Where it stands now, and what it waits for. */
const nowLines = (record: LiveRecord, words: readonly StateWords[]): string[] => {
  if (record.status !== 'processing') return []
  // What a step waits for says more than that it waits.
  const waiting = (record.waitingFor ?? []).map(({ step }) => `${step}.ready`)
  const others = words.filter(({ state }) => !waiting.some((ready) => state === ready || state.endsWith(`.${ready}`)))
  return [...tableText(others.map((each) => [each.state, safeText(each.words)])), ...waitLines(record)]
}

/** A job that is asked about fifty times is one line. */
const wayRows = (way: readonly WayEntry[], acceptedAt: string): string[][] => {
  const rows: { same: string; cells: string[]; last: string; count: number }[] = []
  for (const entry of way) {
    const [at = '', move = '', what = ''] = wayLine(entry, acceptedAt)
    const same = JSON.stringify([move, what, entry.by])
    const before = rows.at(-1)
    if (before?.same === same) Object.assign(before, { last: at, count: before.count + 1 })
    else rows.push({ same, cells: [at, move, what, entry.by], last: at, count: 1 })
  }
  return rows.map(({ cells: [at = '', move = '', what = '', by = ''], last, count }) => [
    at,
    move,
    count === 1 ? what : `${what}, ${count} times until ${last}`,
    by,
  ])
}

/** Everything about one record; `outputs` are the results that could be had, by step, `words` what its chart says. */
export const recordText = (
  record: LiveRecord,
  way: readonly WayEntry[],
  outputs: { readonly [step: string]: unknown },
  words: readonly StateWords[] = [],
): string[] => {
  const charges = Object.entries(record.charges).map(([key, { amount, currency }]) => [key, `${amount} ${currency}`])
  const results = Object.entries(outputs).flatMap(([step, output]) => [
    `${step}:`,
    ...outputLines(output).map((line) => `  ${line}`),
  ])
  return [
    `${record.id}  ${record.status}${record.status === 'processing' ? ` (${record.state})` : ''}`,
    ...tableText(facts(record)).map((line) => `  ${line}`),
    ...section('Now', nowLines(record, words)),
    ...section('Way', tableText(wayRows(way, record.acceptedAt))),
    ...section('Attempts', attemptLines(record)),
    ...section('Results', results),
    ...section('Late answers', lateLines(record)),
    ...section('Charges', charges.length === 0 ? ['none'] : tableText(charges)),
    ...section('What a person can do now', possible(record)),
  ]
}
