/** GET /v1/providers and /metrics: what all workers know, and what records spent today, on a real MongoDB. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Attempt } from '../../src/machines/record.js'
import { freeBlindTerms } from '../../src/machines/pipeline.js'
import { LATENCY_BOUNDS_MS, type HealthMinute, type ProviderStates } from '../../src/persistence/contract.js'
import { createMongoProviderStates } from '../../src/persistence/provider-states.js'
import { createProviderReports, quantileMs } from '../../src/providers/gate/reports.js'
import type { ProviderReports } from '../../src/providers/gate.js'
import { record as recordDocument } from '../contract/record-store-documents.js'
import { paidTerms } from '../providers/gate/gates.js'
import { startApi, type Api } from './api-fixture.js'

const now = new Date()
const clock = { now: () => now, monotonicMs: () => performance.now() }
let api: Api
let states: ProviderStates
let reports: ProviderReports

beforeAll(async () => {
  const late: ProviderReports = { list: (source) => reports.list(source), totals: () => reports.totals() }
  api = await startApi({
    providers: late,
    identify: (ctx) => ({ source: 'local', sees: ctx.get('x-sees') === 'own' ? 'own' : 'all' }),
  })
  states = createMongoProviderStates(api.db)
  const providers = {
    gpt: { terms: { ...paidTerms('gpt', '0.10'), model: 'large' }, slots: 8, limits: { requestsPerMinute: 120 } },
    ocr: { terms: freeBlindTerms('ocr', 1_000), slots: 2 },
  }
  reports = createProviderReports({ providers, states, clock })
})
afterAll(() => api.close())

const attempt = (n: number, changes: Partial<Attempt>): Attempt => ({
  n,
  generation: 1,
  provider: 'gpt',
  requestKey: `k${n}`,
  outcome: 'succeeded',
  startedAt: now,
  sendBy: now,
  endedAt: now,
  spend: null,
  error: null,
  evidence: null,
  ...changes,
})
const eur = (amount: string) => ({ amount, currency: 'EUR', basis: 'reported' as const })
const step = (attempts: Attempt[]) => ({ attempts, result: null, discarded: [], candidate: null })

const minute: HealthMinute = {
  provider: 'gpt',
  minute: new Date(Math.floor(now.getTime() / 60_000) * 60_000),
  calls: 10,
  outcomes: { succeeded: 8, uncertain: 2 },
  kinds: { unknown: 2 },
  errors: { 'deadline-exceeded': 2 },
  latency: LATENCY_BOUNDS_MS.map((_, index) => (index === 4 ? 8 : index === 10 ? 2 : 0)).concat(0),
  durationMs: 41_000,
  inputTokens: 100,
  outputTokens: 50,
}

it('before anything is known every provider is up and unlimited but by its config', async () => {
  const { status, json } = await api.request('/v1/providers')
  expect(status).toBe(200)
  expect(json).toMatchObject({
    items: [
      {
        name: 'gpt',
        model: 'large',
        breaker: { state: 'closed' },
        limits: { requestsPerMinute: 120, permits: 2, lowered: false },
        recent: { calls: 0, p50Ms: null },
        today: [],
      },
      { name: 'ocr', cost: 'free', limits: { requestsPerMinute: null, permits: null } },
    ],
    next: null,
  })
})

it('health, limits, breaker and readiness are of the whole deployment', async () => {
  await states.addHealth([minute])
  await states.learn('gpt', { requestsPerMinute: 60, requestsRemaining: 7 })
  await states.setReady('gpt', { ready: false, detail: 'loading' })
  const asked = {
    code: 'dns-failed',
    seenUntil: null,
    cooldownMs: 60_000,
    cooldownMsMax: 60_000,
    forgetMs: 1,
    jitter: 1,
  }
  await states.trip('gpt', asked)
  const { json } = await api.request('/v1/providers/gpt')
  expect(json).toMatchObject({
    breaker: { state: 'open', code: 'dns-failed', openings: 1 },
    ready: { ready: false, detail: 'loading' },
    limits: { requestsPerMinute: 60, requestsRemaining: 7 },
    recent: { calls: 10, outcomes: { succeeded: 8, uncertain: 2 }, errors: { 'deadline-exceeded': 2 }, p50Ms: 194 },
  })
})

it('what records spent today is told by provider, to a source its own alone', async () => {
  const docs = [
    recordDocument('spend-1', {
      source: 'local',
      acceptedAt: now,
      steps: {
        read: step([
          attempt(1, {
            outcome: 'uncertain',
            spend: { ...eur('0.10'), basis: 'upper-bound' },
            possibleDuplicate: true,
          }),
          attempt(2, { spend: eur('0.03') }),
          attempt(3, { provider: 'ocr' }),
        ]),
        sort: step([attempt(1, { startedAt: new Date(now.getTime() - 3 * 24 * 3_600_000), spend: eur('7') })]),
      },
    }),
    recordDocument('spend-2', {
      source: 'north',
      acceptedAt: now,
      steps: {
        read: step([
          attempt(1, { outcome: null, endedAt: null, spendMax: { amount: '0.20', currency: 'EUR' } }),
          attempt(2, { outcome: null, endedAt: null }),
          attempt(3, { spend: { ...eur('1'), currency: 'USD' } }),
        ]),
      },
    }),
  ]
  expect((await api.store.insert(docs)).map(({ kind }) => kind)).toEqual(['inserted', 'inserted'])
  // What was added up before the records were there is kept for a while.
  reports = createProviderReports({
    providers: {
      gpt: { terms: paidTerms('gpt', '0.10'), slots: 8 },
      ocr: { terms: freeBlindTerms('ocr', 1), slots: 2 },
    },
    states,
    clock,
  })
  const todayFor = async (headers: { [name: string]: string }) =>
    ((await api.request('/v1/providers', { headers })).json as { items: { name: string; today: unknown }[] }).items
  expect(await todayFor({})).toMatchObject([
    {
      name: 'gpt',
      today: [
        { currency: 'EUR', spent: '0.13', open: '0.30', possibleDuplicate: '0.10' },
        { currency: 'USD', spent: '1', open: '0', possibleDuplicate: '0' },
      ],
    },
    { name: 'ocr', today: [] },
  ])
  expect(await todayFor({ 'x-sees': 'own' })).toMatchObject([
    { today: [{ currency: 'EUR', spent: '0.13', open: '0', possibleDuplicate: '0.10' }] },
    {},
  ])
})

it('metrics are text for Prometheus, of the deployment and of the process, without anything of a record', async () => {
  const { status, headers, text } = await api.request('/metrics')
  expect(status).toBe(200)
  expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const lines = text.split('\n')
  for (const line of [
    'endstate_provider_calls_total{provider="gpt",outcome="succeeded"} 8',
    'endstate_provider_calls_total{provider="gpt",outcome="uncertain"} 2',
    'endstate_provider_failures_total{provider="gpt",kind="unknown"} 2',
    'endstate_provider_call_duration_seconds_bucket{le="0.25",provider="gpt"} 8',
    'endstate_provider_call_duration_seconds_bucket{le="+Inf",provider="gpt"} 10',
    'endstate_provider_call_duration_seconds_sum{provider="gpt"} 41',
    'endstate_provider_call_duration_seconds_count{provider="gpt"} 10',
    'endstate_provider_breaker_state{provider="gpt",state="open"} 1',
    'endstate_provider_breaker_state{provider="ocr",state="closed"} 1',
    'endstate_provider_limit_per_minute{provider="gpt",unit="requests"} 60',
    'endstate_provider_spend_today{provider="gpt",currency="EUR"} 0.13',
    'endstate_provider_possible_duplicate_spend_today{provider="gpt",currency="EUR"} 0.1',
    'endstate_provider_ready{provider="gpt"} 0',
  ])
    expect(lines).toContain(line)
  expect(text).toMatch(/^process_cpu_user_seconds_total /m)
  expect(text).not.toMatch(/spend-1|north/)
  for (const line of lines) expect(line).toMatch(/^(#.*|[a-z_0-9]+(\{[^}]*\})? [-+\d.einfNa]+)?$/i)
})

it('each metric is described once, also when it is asked again', async () => {
  const { text } = await api.request('/metrics')
  const names = text.split('\n').flatMap((line) => (line.startsWith('# TYPE ') ? [line.split(' ')[2]] : []))
  expect(new Set(names).size).toBe(names.length)
})

it('refuses what there is not, and metrics to who sees one source', async () => {
  const unknown = await api.request('/v1/providers/nobody')
  expect(unknown.status).toBe(404)
  expect(unknown.json).toMatchObject({ code: 'unknown-provider', known: ['gpt', 'ocr'] })
  expect((await api.request('/metrics', { headers: { 'x-sees': 'own' } })).status).toBe(403)
})

it('a quantile lies within its class', () => {
  expect(quantileMs([], 0.5)).toBeNull()
  expect(quantileMs([4], 0.5)).toBe(5)
  expect(quantileMs([0, 0, 1, 1], 0.95)).toBe(95)
  expect(quantileMs(LATENCY_BOUNDS_MS.map(() => 0).concat(3), 0.95)).toBe(600_000)
})
