/** `endstate charges` against the API: for people, for machines and for spreadsheets. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.js'
import { runCli } from '../../src/cli/program.js'
import { attempt, owed, stepOf } from '../contract/ledger-records.js'
import { record } from '../contract/record-store-documents.js'
import { startApi, type Api } from '../server/api-fixture.js'
import { memoryIo } from './cli-io.js'

let api: Api
beforeAll(async () => {
  api = await startApi()
  const charged = (id: string, at: string, change: object = {}) =>
    record(id, {
      steps: { read: stepOf([attempt(1)], 1) },
      charges: { read: { ...owed('0.40', 1), at: new Date(at) } },
      ...change,
    })
  await api.store.insert([
    charged('r-1', '2026-03-31T23:59:59Z'),
    charged('r-2', '2026-04-01T00:00:00Z', { source: 'clinic-b', pipeline: 'letter' }),
  ])
})
afterAll(() => api.close())

const charges = async (...args: string[]) => {
  const io = memoryIo({ ENDSTATE_URL: api.url })
  const exitCode = await runCli(['charges', ...args], io)
  return { exitCode, lines: io.stdout, notes: io.stderr.join('\n') }
}
const recordsOf = (lines: string[]) => lines.slice(1).map((line) => line.split(/ {2,}/)[3])

describe('charges', () => {
  it('lists them, newest first', async () => {
    const { exitCode, lines, notes } = await charges()
    expect({ exitCode, notes }).toEqual({ exitCode: EXIT.ok, notes: '' })
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      ['charged', 'source', 'pipeline', 'record', 'key', 'amount'],
      ['2026-04-01 00:00:00', 'clinic-b', 'letter', 'r-2', 'read', '0.40 EUR'],
      ['2026-03-31 23:59:59', 'clinic-a', expect.any(String), 'r-1', 'read', '0.40 EUR'],
    ])
  })

  it.each([
    [['--from', '2026-04-01'], ['r-2']],
    // The whole of that day, and nothing of the next.
    [['--to', '2026-03-31'], ['r-1']],
    [['--from', '2026-03-31T23:59:59Z', '--to', '2026-04-01T00:00:00Z'], ['r-1']],
    [['--pipeline', 'letter'], ['r-2']],
    [['--source', 'clinic-b'], ['r-2']],
  ])('%j chooses among them', async (args, records) => {
    expect(recordsOf((await charges(...args)).lines)).toEqual(records)
  })

  it('says that there are none, and that there are more', async () => {
    expect(await charges('--from', '2027-01-01')).toEqual({ exitCode: EXIT.ok, lines: [], notes: 'No charges.' })
    const first = await charges('--limit', '1')
    expect(recordsOf(first.lines)).toEqual(['r-2'])
    const [, page] = /--page (\S+), or all of them with --csv/.exec(first.notes) ?? []
    expect(recordsOf((await charges('--limit', '1', '--page', page!)).lines)).toEqual(['r-1'])
  })

  it('speaks JSON, as it came, and CSV, which has all of them', async () => {
    const { lines } = await charges('--json', '--limit', '1')
    expect(JSON.parse(lines[0]!)).toMatchObject({
      items: [{ record: 'r-2', amount: '0.40' }],
      next: expect.any(String),
    })
    const csv = await charges('--csv', '--limit', '1')
    expect(csv.lines.join('\n')).toMatch(/^id,at,source,.*\r\nr-2\/read,.*\r\nr-1\/read,.*$/)
  })

  it('refuses a time that is none, and shows what the service refuses', async () => {
    const wrong = await charges('--to', 'tomorrow')
    expect(wrong.exitCode).toBe(EXIT.usage)
    expect(wrong.notes).toContain('--to is "tomorrow"')
    const refused = await charges('--limit', '0')
    expect([refused.exitCode, refused.lines]).toEqual([EXIT.failed, []])
    expect(refused.notes).toContain('limit')
  })
})
