/** The ledger over HTTP: charges as CSV, and the reconciliation with the attempts behind it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attempt, failure, owed, spend, stepOf } from '../contract/ledger-records.js'
import { at, record } from '../contract/record-store-documents.js'
import { startApi, type Answer, type Api } from './api-fixture.js'

let api: Api
const uncertain = { outcome: 'uncertain', error: failure('unknown', 'lease-expired') } as const
const bound = spend('0.50', 'upper-bound', 'EUR')

beforeAll(async () => {
  api = await startApi()
  await api.store.insert([
    record('done', {
      acceptedAt: new Date('2026-03-01T23:59:59Z'),
      steps: {
        read: stepOf([attempt(1, { provider: 'ocr' })], 1),
        extract: stepOf(
          [
            attempt(1, { ...uncertain, spend: bound, possibleDuplicate: true }),
            attempt(2, { spend: spend('0.000001', 'reported', 'EUR') }),
          ],
          2,
        ),
      },
      charges: { extract: owed('0.40', 2), record: owed('1', null) },
    }),
    record('orphaned', {
      source: 'clinic-b',
      acceptedAt: new Date('2026-03-02T08:00:00Z'),
      steps: {
        read: stepOf([
          attempt(1, { outcome: 'failed', error: failure('partial'), spend: spend('0.1', 'reported', 'EUR') }),
        ]),
      },
    }),
    record('staged', {
      acceptedAt: new Date('2026-03-01T08:00:00Z'),
      simulated: true,
      charges: { record: { ...owed('9', null), simulated: true } },
    }),
    record('-1+cmd', {
      source: '-eq',
      acceptedAt: new Date('2026-01-05T00:00:00Z'),
      charges: { read: owed('7', null) },
    }),
  ])
})
afterAll(() => api.close())

const MARCH = 'from=2026-03-01T00:00:00Z&to=2026-04-01T00:00:00Z'
const report = (query: string) => api.request(`/v1/reports/reconciliation?${MARCH}&${query}`)
type Row = { [name: string]: unknown }
const rowsOf = (answer: Answer) => (answer.json as { rows: Row[] }).rows

describe('GET /v1/reports/reconciliation', () => {
  it('has a row for each day, source, pipeline, provider and currency', async () => {
    const answer = await report('')
    expect(answer.json).toMatchObject({ groupBy: ['day', 'source', 'pipeline', 'provider'] })
    expect(rowsOf(answer).map(({ day, source, provider, currency }) => [day, source, provider, currency])).toEqual([
      ['2026-03-01', 'clinic-a', 'gpt', 'EUR'],
      ['2026-03-01', 'clinic-a', 'ocr', null],
      ['2026-03-01', 'clinic-a', null, 'EUR'],
      ['2026-03-02', 'clinic-b', 'gpt', 'EUR'],
    ])
    expect(rowsOf(answer)[0]).toMatchObject({
      charges: { count: 1, amount: '0.40' },
      spend: { reported: '0.000001', estimated: '0', upperBound: '0.50' },
      margin: '0.399999',
      marginAtLeast: '-0.100001',
      duplicates: { possible: { attempts: 1, upperBound: '0.50' } },
      unexplained: { attempts: 1, spend: '0.50' },
    })
  })

  it('adds up per currency, in totals and in coarser rows', async () => {
    const answer = await report('groupBy=source')
    expect(rowsOf(answer).map(({ source, currency, margin, wasted }) => [source, currency, margin, wasted])).toEqual([
      ['clinic-a', 'EUR', '1.399999', '0'],
      ['clinic-a', null, '0', '0'],
      ['clinic-b', 'EUR', '-0.1', '0.1'],
    ])
    expect((answer.json as { totals: Row[] }).totals).toMatchObject([
      { currency: 'EUR', margin: '1.299999', attempts: 3 },
      { currency: null, attempts: 1 },
    ])
  })

  it('keeps to source, pipeline and provider', async () => {
    const count = async (query: string) => rowsOf(await report(`groupBy=day&${query}`)).length
    expect(await count('source=clinic-b')).toBe(1)
    expect(await count('pipeline=other')).toBe(0)
    expect(await count('provider=ocr')).toBe(1)
  })

  it('lists the attempts behind it, in pages', async () => {
    const answer = await report('explain=true&explanation=unknown')
    expect(answer.json).toMatchObject({
      items: [
        {
          record: 'done',
          step: 'extract',
          n: 1,
          provider: 'gpt',
          outcome: 'uncertain',
          error: 'lease-expired',
          spend: bound,
          explanation: 'unknown',
          doubt: 'possible-duplicate',
        },
      ],
      next: null,
    })
    const seen: string[] = []
    for (let page = ''; ;) {
      const { items, next } = (await report(`explain=true&limit=1${page}`)).json as {
        items: Row[]
        next: string | null
      }
      seen.push(...items.map(({ record: id, step, n }) => `${String(id)}/${String(step)}/${String(n)}`))
      if (next === null) break
      page = `&page=${next}`
    }
    expect(seen).toEqual(['orphaned/read/1', 'done/extract/1', 'done/extract/2', 'done/read/1'])
  })

  it('comes as CSV, both the report and its attempts', async () => {
    const table = (await report('format=csv&groupBy=source')).text.split('\r\n')
    expect(table[0]).toMatch(/^source,currency,charges,charged,spend_reported,/)
    expect(table[1]).toMatch(/^clinic-a,EUR,2,1\.40,0\.000001,0,0\.50,1\.399999,0\.899999,/)
    expect(table).toHaveLength(5)
    const attempts = await api.request(`/v1/reports/reconciliation?${MARCH}&explain=true`, {
      headers: { accept: 'text/csv' },
    })
    expect(attempts.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present')
    expect(attempts.text.split('\r\n')).toHaveLength(6)
  })

  it('refuses what it can’t answer within bounds, and says so', async () => {
    const refusal = async (query: string) => {
      const { status, json } = await api.request(`/v1/reports/reconciliation?${query}`)
      return [status, (json as { detail: string }).detail]
    }
    expect(await refusal('from=2026-01-01T00:00:00Z&to=2026-12-31T00:00:00Z')).toEqual([
      400,
      expect.stringContaining('100 days'),
    ])
    expect(await refusal('from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z')).toEqual([
      400,
      expect.stringContaining('must be before'),
    ])
    expect(await refusal('groupBy=weekday')).toEqual([400, expect.stringContaining('day,source,pipeline,provider')])
    expect(await refusal(`${MARCH}&explain=true&page=nope`)).toEqual([400, expect.stringContaining('page token')])
  })

  it('by default is about the last 30 days, today included', async () => {
    const { from, to } = (await api.request('/v1/reports/reconciliation')).json as { from: string; to: string }
    const days = (Date.parse(to) - Date.parse(from)) / 86_400_000
    expect(days).toBeGreaterThanOrEqual(29)
    expect(days).toBeLessThan(30)
    expect(from).toMatch(/T00:00:00\.000Z$/)
  })
})

describe('P12: who sees one source', () => {
  it('has a ledger of that source alone', async () => {
    const own = await startApi({ store: api.store, identify: () => ({ source: 'clinic-b', sees: 'own' }) })
    const sources = async (path: string) =>
      new Set(((await own.request(path)).json as { items: { source: string }[] }).items.map(({ source }) => source))
    expect(rowsOf(await own.request(`/v1/reports/reconciliation?${MARCH}`)).map(({ source }) => source)).toEqual([
      'clinic-b',
    ])
    expect(await sources(`/v1/reports/reconciliation?${MARCH}&explain=true`)).toEqual(new Set(['clinic-b']))
    expect((await own.request(`/v1/reports/reconciliation?${MARCH}&source=clinic-a`)).status).toBe(403)
    expect((await own.request('/v1/charges?format=csv')).text).not.toContain('clinic-a')
    await own.close()
  })
})

describe('GET /v1/charges', () => {
  const lines = async (query: string) => (await api.request(`/v1/charges?format=csv&${query}`)).text.split('\r\n')

  it('as CSV has all pages, each charge by the id that sinks get, and no formula', async () => {
    expect((await lines(''))[0]).toBe('id,at,source,pipeline,record,key,amount,currency,attempt,simulated')
    expect(await lines('source=-eq')).toEqual([
      expect.any(String),
      `'-1+cmd/read,${at(9).toISOString()},'-eq,referral,'-1+cmd,read,7,EUR,,false`,
      '',
    ])
  })

  it('streams more than a page', async () => {
    const many = Array.from({ length: 1_200 }, (_, n) =>
      record(`many-${n}`, { source: 'many', charges: { read: { ...owed('1', null), at: at(n) } } }),
    )
    await api.store.insert(many)
    const [, ...rows] = await lines('source=many')
    expect(new Set(rows.filter((row) => row !== '').map((row) => row.split(',')[0])).size).toBe(1_200)
  })

  it('filters by key, currency and simulation', async () => {
    const keys = async (query: string) =>
      (
        (await api.request(`/v1/charges?pipeline=referral&source=clinic-a&${query}`)).json as { items: Row[] }
      ).items.map(({ record: id, key }) => `${String(id)}/${String(key)}`)
    expect(await keys('key=extract')).toEqual(['done/extract'])
    expect(await keys('simulated=true')).toEqual(['staged/record'])
    expect(await keys('simulated=false&key=record')).toEqual(['done/record'])
    expect(await keys('currency=USD')).toEqual([])
  })

  it('`to` is not part of the time: months that follow one another share no charge', async () => {
    const edge = at(9).toISOString()
    const ids = async (query: string) => (await lines(`source=clinic-a&simulated=false&${query}`)).slice(1, -1).length
    expect(await ids(`to=${edge}`)).toBe(0)
    expect(await ids(`from=${edge}`)).toBe(2)
  })
})
