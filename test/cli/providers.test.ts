/** `endstate providers` against the API. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.js'
import { runCli } from '../../src/cli/program.js'
import { freeBlindTerms } from '../../src/machines/pipeline.js'
import { LATENCY_BOUNDS_MS, type SpendRow } from '../../src/persistence/contract.js'
import { createMemoryProviderStates } from '../../src/persistence/memory-provider-states.js'
import { createProviderReports } from '../../src/providers/gate/reports.js'
import { paidTerms } from '../providers/gate/gates.js'
import { startApi, type Api } from '../server/api-fixture.js'
import { memoryIo } from './cli-io.js'

const clock = { now: () => new Date(), monotonicMs: () => performance.now() }
const spent: SpendRow = {
  provider: 'gpt',
  source: 'local',
  currency: 'EUR',
  spent: '1.25',
  open: '0',
  openUnbounded: 0,
  possibleDuplicate: '0.10',
}
const states = createMemoryProviderStates({ clock, spends: () => [spent] })
let api: Api

beforeAll(async () => {
  const providers = {
    gpt: { terms: paidTerms('gpt'), slots: 8, limits: { requestsPerMinute: 60 } },
    ocr: { terms: freeBlindTerms('ocr', 1_000), slots: 2 },
  }
  api = await startApi({ providers: createProviderReports({ providers, states, clock }) })
  await states.addHealth([
    {
      provider: 'gpt',
      minute: new Date(),
      calls: 10,
      outcomes: { succeeded: 7, failed: 2, uncertain: 1 },
      kinds: { unknown: 1, 'not-executed': 2 },
      errors: { 'connection-refused': 2, 'deadline-exceeded': 1 },
      latency: LATENCY_BOUNDS_MS.map((_, index) => (index === 4 ? 10 : 0)).concat(0),
      durationMs: 1_000,
      inputTokens: 0,
      outputTokens: 0,
    },
  ])
  const asked = { code: 'connection-refused', seenUntil: null, cooldownMs: 3_600_000, cooldownMsMax: 3_600_000 }
  await states.trip('gpt', { ...asked, forgetMs: 1, jitter: 1 })
})
afterAll(() => api.close())

const run = async (...args: string[]) => {
  const io = memoryIo({ ENDSTATE_URL: api.url })
  return { exitCode: await runCli(args, io), lines: io.stdout }
}

it('shows each provider in a line', async () => {
  const { exitCode, lines } = await run('providers')
  expect(exitCode).toBe(EXIT.ok)
  expect(lines).toHaveLength(3)
  expect(lines[0]).toMatch(
    /^provider +state +calls +failed +uncertain +p50 +p95 +limit +spent today +in doubt +most errors$/,
  )
  expect(lines[1]).toMatch(
    /^gpt +down \(connection-refused\), tried again in (1 h|59 min \d+ s) +10 +2 +1 +0\.2 s +0\.2 s +60\/min +1\.25 EUR +0\.10 EUR +connection-refused 2$/,
  )
  expect(lines[2]).toMatch(/^ocr +up +0 +0 +0$/)
})

it('gives the answer as it came with --json', async () => {
  const { exitCode, lines } = await run('providers', '--json')
  expect(exitCode).toBe(EXIT.ok)
  expect(JSON.parse(lines[0]!)).toMatchObject({ items: [{ name: 'gpt', breaker: { state: 'open' } }, { name: 'ocr' }] })
})
