/** `endstate report` against a real service: for people, for machines and for spreadsheets. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.js'
import { runCli } from '../../src/cli/program.js'
import { attempt, failure, owed, spend, stepOf } from '../contract/ledger-records.js'
import { record } from '../contract/record-store-documents.js'
import { startApi, type Api } from '../server/api-fixture.js'
import { memoryIo } from './cli-io.js'

let api: Api
beforeAll(async () => {
  api = await startApi()
  const doubtful = attempt(1, {
    outcome: 'uncertain',
    error: failure('unknown', 'lease-expired'),
    spend: spend('0.50', 'upper-bound', 'EUR'),
  })
  await api.store.insert([
    record('r-1', {
      acceptedAt: new Date('2026-03-31T23:00:00Z'),
      steps: { read: stepOf([doubtful, attempt(2, { spend: spend('0.10', 'reported', 'EUR') })], 2) },
      charges: { read: owed('0.40', 2) },
    }),
  ])
})
afterAll(() => api.close())

const report = async (...args: string[]) => {
  const io = memoryIo({ ENDSTATE_URL: api.url })
  const exitCode = await runCli(['report', ...args], io)
  return { exitCode, lines: io.stdout, notes: io.stderr.join('\n') }
}
const MARCH = ['--from', '2026-03-01', '--to', '2026-03-31']

describe('report', () => {
  it('shows a table with totals, and says what is unexplained and how to see it', async () => {
    const { exitCode, lines, notes } = await report(...MARCH, '--group-by', 'day,provider')
    expect(exitCode).toBe(EXIT.ok)
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      [
        'DAY',
        'PROVIDER',
        'CURRENCY',
        'CHARGED',
        'SPEND',
        'IN DOUBT',
        'MARGIN',
        'WASTED',
        'PREVENTED',
        'POSSIBLE',
        'UNEXPLAINED',
      ],
      ['2026-03-31', 'gpt', 'EUR', '0.40', '0.10', '0.50', '0.30', '0', '0', '0', '1'],
      ['total', 'EUR', '0.40', '0.10', '0.50', '0.30', '0', '0', '0', '1'],
    ])
    expect(notes).toContain('1 attempt(s) are unexplained: the same with --explain --explanation unknown')
  })

  it('leaves out rows that say nothing, and says so; --json has them', async () => {
    const free = attempt(1, { provider: 'ocr', spend: spend('0', 'reported', 'EUR') })
    const refused = attempt(1, {
      provider: 'gpt',
      outcome: 'failed',
      spend: null,
      error: failure('not-executed', 'dns-failed'),
    })
    await api.store.insert([
      record('r-2', {
        acceptedAt: new Date('2026-05-01T12:00:00Z'),
        steps: { read: stepOf([refused], null) },
        charges: {},
      }),
      record('r-3', { acceptedAt: new Date('2026-05-01T12:00:00Z'), steps: { read: stepOf([free], 1) }, charges: {} }),
    ])
    const may = ['--from', '2026-05-01', '--to', '2026-05-01', '--group-by', 'provider']
    const { lines, notes } = await report(...may)
    expect(lines.slice(1).map((line) => line.split(/ {2,}/)[0])).toEqual(['ocr', 'total'])
    expect(notes).toContain('1 row(s) without money or doubt are left out')
    const { rows } = JSON.parse((await report(...may, '--json')).lines[0]!) as { rows: { provider: string }[] }
    expect(rows.map(({ provider }) => provider).toSorted()).toEqual(['gpt', 'ocr'])
  })

  it('lists the attempts behind it', async () => {
    const { lines } = await report(...MARCH, '--explain', '--explanation', 'unknown')
    expect(lines).toHaveLength(2)
    expect(lines[1]).toMatch(/^r-1 +read +1 +gpt .* uncertain +<=0\.50 EUR +unknown +- +lease-expired$/)
  })

  it('speaks JSON and CSV', async () => {
    const { lines } = await report(...MARCH, '--json')
    expect(JSON.parse(lines[0]!)).toMatchObject({ to: '2026-04-01T00:00:00.000Z', totals: [{ margin: '0.30' }] })
    const csv = await report(...MARCH, '--csv', '--group-by', 'source')
    expect(csv.lines.join('\n')).toMatch(/^source,currency,charges,charged,.*\r\nclinic-a,EUR,1,0\.40,/)
  })

  it('leaves out what was accepted outside the time', async () => {
    const { exitCode, lines, notes } = await report('--from', '2026-04-01T00:00:00Z', '--to', '2026-04-02')
    expect([exitCode, lines]).toEqual([EXIT.ok, []])
    expect(notes).toContain('No charges and no attempts.')
  })

  it('refuses a time that is none, and shows what the service refuses', async () => {
    const wrong = await report('--from', 'yesterday')
    expect(wrong.exitCode).toBe(EXIT.usage)
    expect(wrong.notes).toContain('--from is "yesterday"')
    const long = await report('--from', '2025-01-01', '--to', '2026-01-01')
    expect(long.exitCode).toBe(EXIT.failed)
    expect(long.notes).toContain('100 days')
    const csv = await report('--from', '2025-01-01', '--to', '2026-01-01', '--csv')
    expect([csv.exitCode, csv.lines]).toEqual([EXIT.failed, []])
  })
})
