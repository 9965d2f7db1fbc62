/** The audit of a service: as a stream over HTTP, asked by the CLI, one at a time; and in the background, as metrics. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { AuditLine } from '../../src/audit/contract.js'
import { createBackgroundAudit } from '../../src/audit/background.js'
import { auditLines } from '../../src/audit/pass.js'
import type { AuditDeps } from '../../src/audit/pass.js'
import { EXIT } from '../../src/cli/exit-codes.js'
import { runCli } from '../../src/cli/program.js'
import { createMongoAuditReports } from '../../src/persistence/audit-reports.js'
import { recordsOf } from '../../src/persistence/collections.js'
import { createMongoRecordAudit } from '../../src/persistence/mongo-record-audit.js'
import type { ServerDeps } from '../../src/server/contract.js'
import { auditMetrics } from '../../src/server/audit-metrics.js'
import { memoryIo } from '../cli/cli-io.js'
import { startApi, type Api } from '../server/api-fixture.js'
import { waitFor } from '../support/processes.js'
import { compiledOfTests, completed, waiting } from './audited-records.js'

let api: Api
let sees: 'all' | 'own' = 'all'
/** Held back by a test that needs an audit to be under way. */
let gate: Promise<void> = Promise.resolve()

const depsOf = (): AuditDeps => ({
  reader: createMongoRecordAudit(api.db),
  blobs: api.blobs,
  pipelines: (version) => (version === compiledOfTests.version ? compiledOfTests : undefined),
  nowMs: () => performance.now(),
})
const audit: ServerDeps['audit'] = ({ source, ...how }) => {
  const scope = { kind: 'all' as const, ...(source !== undefined && { source }) }
  return auditLines(depsOf(), { ...how, scope, pause: () => gate })
}

beforeAll(async () => {
  api = await startApi({ audit, identify: () => ({ source: 'local', sees }) })
})
beforeEach(async () => {
  await recordsOf(api.db).deleteMany({})
  sees = 'all'
  gate = Promise.resolve()
})
afterAll(() => api.close())

const cli = async (...args: string[]) => {
  const io = memoryIo({ ENDSTATE_URL: api.url })
  const exitCode = await runCli(['audit', ...args], io)
  return { exitCode, lines: io.stdout, notes: io.stderr.join('\n') }
}
const broken = (id: string) => ({ ...completed(id), charges: {} })

describe('an audit over HTTP', () => {
  it('is a line for each finding, and the sums', async () => {
    await api.store.insert([completed('whole'), broken('broken')])
    const response = await fetch(`${api.url}/v1/reports/audit`)
    expect(response.headers.get('content-type')).toBe('application/x-ndjson')
    const lines = (await response.text()).trimEnd().split('\n')
    const parsed = lines.map((line) => JSON.parse(line) as AuditLine)
    expect(parsed.map(({ type }) => type)).toEqual(['finding', 'finding', 'finding', 'end'])
    expect(parsed[0]).toMatchObject({ invariant: 'charges-are-exact', record: 'broken' })
    expect(parsed.at(-1)).toMatchObject({ ok: false, records: 2, broken: { 'charges-are-exact': 3 } })
  })

  it('is what the CLI shows, with its exit code', async () => {
    await api.store.insert([completed('whole')])
    expect(await cli()).toMatchObject({ exitCode: EXIT.ok })
    await api.store.insert([broken('broken')])
    const { exitCode, lines } = await cli('--json')
    expect(exitCode).toBe(EXIT.failed)
    expect(lines.map((line) => (JSON.parse(line) as AuditLine).type)).toEqual(['finding', 'finding', 'finding', 'end'])
  })

  it('takes a source', async () => {
    await api.store.insert([completed('mine'), { ...broken('theirs'), source: 'clinic-b' }])
    expect(await cli('--source', 'local')).toMatchObject({ exitCode: EXIT.ok })
    expect(await cli('--source', 'clinic-b')).toMatchObject({ exitCode: EXIT.failed })
  })

  it('is refused to who sees one source alone', async () => {
    sees = 'own'
    const response = await fetch(`${api.url}/v1/reports/audit`)
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([403, 'foreign-source'])
  })

  it('runs once at a time, and again when the one before was broken off', async () => {
    await api.store.insert([completed('whole')])
    let open = () => {}
    gate = new Promise((resolve) => (open = resolve))
    const leaves = new AbortController()
    const first = fetch(`${api.url}/v1/reports/audit`, { signal: leaves.signal }).catch(() => null)
    await waitFor(async () => (await fetch(`${api.url}/v1/reports/audit`)).status === 409, {
      timeoutMs: 5_000,
      what: () => 'the second audit to be refused',
    })
    expect(await cli()).toMatchObject({
      exitCode: EXIT.failed,
      notes: expect.stringContaining('Another audit runs') as string,
    })
    leaves.abort()
    await first
    open()
    await waitFor(async () => (await cli()).exitCode === EXIT.ok, {
      timeoutMs: 5_000,
      what: () => 'an audit to be allowed again',
    })
  })
})

describe('the audit in the background', () => {
  let running: { close(): Promise<void> } | null = null
  afterEach(() => running?.close())

  it('keeps what it found for monitors, logs what broke and what was mended, and reads what changes', async () => {
    const reports = createMongoAuditReports(api.db)
    const logged: { facts: object; message: string }[] = []
    const note = (facts: object, message: string) => void logged.push({ facts, message })
    const sleep = (ms: number, signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true })
      })
    const now = new Date()
    const fresh = waiting('record')
    const record = { ...fresh, acceptedAt: now, settlesBy: new Date(now.getTime() + 3_600_000) }
    await api.store.insert([record])
    const background = createBackgroundAudit({
      audit: depsOf(),
      recordsPerSecond: 1_000,
      leads: () => Promise.resolve(true),
      report: (found) => reports.put(found),
      clock: { sleep, monotonicMs: () => performance.now() },
      log: { error: note, warn: note, info: note },
      everyMs: 20,
    })
    running = background
    background.start()
    const openIs = (open: number) =>
      waitFor(async () => (await reports.last())?.open === open, {
        timeoutMs: 5_000,
        what: () => `${open} open finding(s)`,
      })
    await openIs(0)
    expect((await reports.last())?.unsettled).toBe(1)
    await recordsOf(api.db).updateOne({ _id: 'record' }, { $set: { wakeAt: now } })
    await openIs(1)
    const text = await auditMetrics((await reports.last())!).metrics()
    expect(text).toContain('endstate_audit_findings{invariant="wake-at-is-earliest"} 1')
    expect(text).toContain('endstate_audit_findings{invariant="history-replays"} 0')
    expect(text).toContain('endstate_audit_unsettled_records 1')
    await recordsOf(api.db).updateOne({ _id: 'record' }, { $set: { wakeAt: record.wakeAt! } })
    await openIs(0)
    expect(logged.map(({ message }) => message)).toEqual([
      'The audit found a broken invariant.',
      'What the audit had found is mended.',
    ])
    expect(logged[0]?.facts).toMatchObject({ invariant: 'wake-at-is-earliest', record: 'record' })
  })

  it('reads nothing while another process leads', async () => {
    let asked = 0
    const unread = {
      ...depsOf(),
      reader: {
        read: () => {
          throw new Error('It was read.')
        },
      } as never,
    }
    const background = createBackgroundAudit({
      audit: unread,
      recordsPerSecond: 1_000,
      leads: () => Promise.resolve(++asked < 0),
      report: () => Promise.reject(new Error('It was reported.')),
      clock: { sleep: async () => void (await new Promise((resolve) => setImmediate(resolve))), monotonicMs: () => 0 },
      log: { error: fail, warn: fail, info: fail },
    })
    running = background
    background.start()
    await waitFor(() => asked > 2, { timeoutMs: 5_000, what: () => 'the lease to be asked for' })
  })
})

const fail = (_facts: object, message: string) => {
  throw new Error(message)
}
