/** The reconciliation's rows (E1 to E3). */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createReport, partsOf, DIMENSIONS } from '../../src/ledger/report.js'
import type { Difference, ReportRow } from '../../src/ledger/report.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import type { LedgerGroup } from '../../src/persistence/contract.js'
import { addTotals } from '../../src/providers/decimal.js'
import { anyRecord } from '../contract/ledger-records.js'
import { at } from '../contract/record-store-documents.js'

const group = (changes: Partial<LedgerGroup>): LedgerGroup => ({
  source: 'clinic-a',
  pipeline: 'referral',
  provider: 'gpt',
  currency: 'EUR',
  entry: 'result',
  basis: 'reported',
  doubt: null,
  unpriced: false,
  count: 1,
  amount: '0',
  ...changes,
})
const sum = (amounts: string[]): string => amounts.reduce(addTotals, '0')

describe('a row', () => {
  test('sets charges against spend, bounds apart, and may show a loss', () => {
    const report = createReport([])
    report.add('2026-03-01', [
      group({ entry: 'charge', basis: null, amount: '0.40' }),
      group({ amount: '0.10' }),
      group({ basis: 'estimated', amount: '0.05', entry: 'superseded' }),
      group({ basis: 'upper-bound', amount: '2', entry: 'unknown', doubt: 'possible-duplicate' }),
    ])
    expect(report.rows()).toMatchObject([
      {
        currency: 'EUR',
        charges: { count: 1, amount: '0.40' },
        spend: { reported: '0.10', estimated: '0.05', upperBound: '2' },
        margin: '0.25',
        marginAtLeast: '-1.75',
        attempts: 3,
        wasted: '0.05',
        duplicates: { prevented: 0, possible: { attempts: 1, upperBound: '2' }, certain: { attempts: 0, spend: '0' } },
        unexplained: { attempts: 1, spend: '2' },
      },
    ])
  })

  test('E3: currencies are never added', () => {
    const report = createReport(['provider'])
    report.add('2026-03-01', [
      group({ entry: 'charge', basis: null, amount: '1' }),
      group({ currency: 'USD', amount: '1' }),
      group({ currency: null, entry: 'free-failure', basis: null }),
    ])
    expect(report.rows().map(({ currency, margin }) => [currency, margin])).toEqual([
      ['EUR', '1'],
      ['USD', '-1'],
      [null, '0'],
    ])
  })

  test('E1: whatever the records hold, the parts are the whole', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(...Array.from({ length: 8 }, (_, n) => anyRecord(`r-${n}`))),
        fc.subarray([...DIMENSIONS]),
        async (docs, groupBy) => {
          const store = createMemoryRecordStore({ sinks: [] })
          await store.insert(docs)
          const report = createReport(groupBy)
          for (const { day, from, to } of partsOf(at(-1), at(300_000)))
            report.add(day, await store.ledger({ from, to, free: ['ocr'] }))
          const { items } = await store.ledgerAttempts(
            { from: at(-1), to: at(300_000), free: ['ocr'] },
            {},
            { limit: 1_000, token: null },
          )
          const rows = report.rows()
          const real = docs.filter(({ simulated }) => !simulated)
          for (const currency of ['EUR', 'USD']) {
            const of = rows.filter((row) => row.currency === currency)
            const charged = real
              .flatMap(({ charges }) => Object.values(charges))
              .filter((one) => one.currency === currency)
            expect(
              compare(
                of.map((row) => row.charges.amount),
                charged.map(({ amount }) => amount),
              ),
            ).toBe(true)
            const spent = items.flatMap(({ spend }) => (spend?.currency === currency ? [spend.amount] : []))
            const bases = of.flatMap(({ spend }) => Object.values(spend))
            expect(compare(bases, spent)).toBe(true)
            const whole = items.filter(({ spend }) => spend?.currency === currency)
            const explained = [...of.flatMap((row) => Object.values(row.differences)), ...ends(whole)]
            expect(
              compare(
                explained.map(({ spend }) => spend),
                spent,
              ),
            ).toBe(true)
          }
          const parts = rows.flatMap((row) => Object.values(row.differences))
          const results = items.filter(({ explanation }) => explanation === 'result' || explanation === 'running')
          expect(parts.reduce((count, { attempts }) => count + attempts, results.length)).toBe(items.length)
          expect(rows.reduce((count, { attempts }) => count + attempts, 0)).toBe(items.length)
        },
      ),
      { numRuns: 60 },
    )
  })
})

/** Equal sums, however many zeros they end with. */
const compare = (a: string[], b: string[]): boolean => {
  const places = (text: string) => text.padEnd(text.length + (text.includes('.') ? 0 : 1), '.').concat('0'.repeat(12))
  const cut = (text: string) => places(text).slice(0, places(text).indexOf('.') + 13)
  return cut(sum(a)) === cut(sum(b))
}
const ends = (items: { explanation: string; spend: { amount: string } | null }[]): Difference[] =>
  items
    .filter(({ explanation }) => explanation === 'result' || explanation === 'running')
    .map(({ spend }) => ({ attempts: 1, spend: spend?.amount ?? '0' }))

describe('rows', () => {
  test('hold the dimensions that were asked for, in order', () => {
    const of = (groupBy: Parameters<typeof createReport>[0]): Partial<ReportRow>[] => {
      const report = createReport(groupBy)
      report.add('2026-03-02', [group({ provider: null }), group({ source: 'clinic-b' })])
      report.add('2026-03-01', [group({})])
      return report.rows().map(({ day, source, provider, attempts }) => ({
        ...(day !== undefined && { day }),
        ...(source !== undefined && { source }),
        ...(provider !== undefined && { provider }),
        attempts,
      }))
    }
    expect(of(['day'])).toEqual([
      { day: '2026-03-01', attempts: 1 },
      { day: '2026-03-02', attempts: 2 },
    ])
    expect(of(['source', 'provider'])).toEqual([
      { source: 'clinic-a', provider: 'gpt', attempts: 1 },
      { source: 'clinic-a', provider: null, attempts: 1 },
      { source: 'clinic-b', provider: 'gpt', attempts: 1 },
    ])
    expect(of([])).toEqual([{ attempts: 3 }])
  })
})

describe('parts', () => {
  const START = Date.parse('2026-02-27T22:30:00Z')
  test('are of one UTC day each, of six hours at most, without gap or overlap', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 9 }), fc.integer({ min: 1, max: 10 ** 9 }), (offsetMs, lengthMs) => {
        const from = new Date(START + offsetMs)
        const to = new Date(from.getTime() + lengthMs)
        let end = from
        for (const part of partsOf(from, to)) {
          expect(part.from).toEqual(end)
          const lastMs = part.to.getTime() - 1
          expect(lastMs - part.from.getTime()).toBeLessThan(6 * 3_600_000)
          for (const ms of [part.from.getTime(), lastMs]) expect(new Date(ms).toISOString().slice(0, 10)).toBe(part.day)
          end = part.to
        }
        expect(end).toEqual(to)
      }),
    )
  })

  test('of no time are none', () => expect([...partsOf(at(5), at(5))]).toEqual([]))
})
