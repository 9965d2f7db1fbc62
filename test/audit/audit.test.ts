/** `endstate audit` on a real database: each invariant is broken by hand in what is stored, and named with its record. */
import { Readable } from 'node:stream'
import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { INVARIANT_NAMES } from '../../src/audit/contract.js'
import { EXIT } from '../../src/cli/exit-codes.js'
import { runCli } from '../../src/cli/program.js'
import type { RecordDocument } from '../../src/machines/record.js'
import type { RecordStore } from '../../src/persistence/contract.js'
import { recordsOf } from '../../src/persistence/collections.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMongoBlobStore } from '../../src/persistence/mongo-blob-store.js'
import { createMongoHeartbeats } from '../../src/persistence/mongo-heartbeats.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { memoryIo } from '../cli/cli-io.js'
import { waitFor } from '../support/processes.js'
import { freshDb, type FreshDb } from '../support/servers.js'
import { completed, CONFIG, doubted, simulated, waiting } from './audited-records.js'
import { CORRUPTIONS } from './corruptions.js'

let fresh: FreshDb
let store: RecordStore

beforeAll(async () => {
  fresh = await freshDb('audit')
  store = createMongoRecordStore(fresh.db)
  await ensureIndexes(fresh.db)
})
afterAll(() => fresh.dispose())
beforeEach(async () => {
  await recordsOf(fresh.db).deleteMany({})
  await beat()
})

/** A worker is alive: time counts. */
const beat = () => {
  const member = { id: 'worker', roles: ['worker'], slots: {}, pipelines: [], waiting: [] }
  return createMongoHeartbeats(fresh.db).beat(member, { gapMs: 3_600_000, keepMs: 3_600_000 })
}

type Line = { type: string; [name: string]: unknown }
const run = async (...args: string[]) => {
  const io = memoryIo({ ENDSTATE_CONFIG: CONFIG, ENDSTATE_MONGODB_URL: fresh.url })
  const exitCode = await runCli(['audit', ...args], io)
  return { exitCode, lines: io.stdout, notes: io.stderr.join('\n') }
}
const json = async (...args: string[]) => {
  const { exitCode, lines, notes } = await run('--json', ...args)
  const all = lines.map((line) => JSON.parse(line) as Line)
  return { exitCode, notes, findings: all.filter(({ type }) => type === 'finding'), end: all.at(-1)! }
}

/** The same record, of now: what is unsettled has its time before it. */
const today = (doc: RecordDocument): RecordDocument => {
  const shiftMs = Date.now() - doc.acceptedAt.getTime()
  const moved = (value: unknown): unknown => {
    if (value instanceof Date) return new Date(value.getTime() + shiftMs)
    if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value))
      return new Date(Date.parse(value) + shiftMs).toISOString()
    if (Array.isArray(value)) return value.map(moved)
    if (value === null || typeof value !== 'object') return value
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, moved(part)]))
  }
  return moved(doc) as RecordDocument
}

const WHOLE = [completed, doubted, waiting, simulated]

describe('a database in which every promise was kept', () => {
  it('passes, for people', async () => {
    await store.insert(WHOLE.map((make) => today(make())))
    const { exitCode, lines } = await run()
    expect(lines[0]).toMatch(/^4 record\(s\) in [\d.]+ s, 3 of them not settled; 0 blob\(s\) looked for\.$/)
    expect(lines.slice(1)).toEqual(['Every invariant holds.'])
    expect(exitCode).toBe(EXIT.ok)
  })

  it('passes, for machines', async () => {
    await store.insert(WHOLE.map((make) => today(make())))
    const { exitCode, findings, end } = await json()
    expect([exitCode, findings]).toEqual([EXIT.ok, []])
    expect(end).toEqual({
      type: 'end',
      ok: true,
      records: 4,
      unsettled: 3,
      replayed: 4,
      notReplayed: { unknownVersion: 0, tooLarge: 0 },
      blobs: 0,
      findings: 0,
      broken: {},
      ms: expect.any(Number) as number,
    })
  })

  it('passes when it is empty', async () => {
    expect((await json()).exitCode).toBe(EXIT.ok)
  })

  it('is left as it was', async () => {
    await store.insert(WHOLE.map((make) => today(make())))
    const dump = async () => {
      const names = (await fresh.db.listCollections().toArray()).map(({ name }) => name).toSorted()
      return Promise.all(names.map(async (name) => [name, await fresh.db.collection(name).find().toArray()]))
    }
    const before = await dump()
    await run('--blobs')
    expect(await dump()).toEqual(before)
  })
})

describe('each invariant, broken in the database', () => {
  it.each(CORRUPTIONS)('$invariant: $what', async ({ invariant, of, corrupt, step, attempt }) => {
    const broken = today(of('broken'))
    const shiftMs = broken.acceptedAt.getTime() - of('broken').acceptedAt.getTime()
    corrupt(broken)
    // What the corruption sets is of the tests' own noon: its end has passed there.
    if (invariant === 'settles-in-time') broken.settlesBy = new Date(broken.settlesBy.getTime() + shiftMs)
    await store.insert([...WHOLE.map((make) => today(make())), broken])
    const { exitCode, findings, end } = await json()
    expect(findings).toContainEqual({
      type: 'finding',
      invariant,
      record: 'broken',
      ...(step !== undefined && { step }),
      ...(attempt !== undefined && { attempt }),
      expected: expect.any(String) as string,
      found: expect.any(String) as string,
    })
    expect(new Set(findings.map(({ record }) => record))).toEqual(new Set(['broken']))
    expect(end).toMatchObject({ ok: false, records: 5, findings: findings.length })
    expect(exitCode).toBe(EXIT.failed)
  })

  it.each([
    ['no JSON where JSON should be', { snapshot: '{' }],
    ['no number as its version', { version: 'seven' }],
    ['a field that no record has', { extra: 1 }],
    ['a timer without a time', { timers: [{ id: 't', event: 'e', guards: 'wait' }] }],
  ])('document-parses: %s', async (_what, $set) => {
    await store.insert([today(completed()), today(completed('broken'))])
    await recordsOf(fresh.db).updateOne({ _id: 'broken' }, { $set: $set as never })
    const { exitCode, findings } = await json()
    expect(findings).toMatchObject([{ invariant: 'document-parses', record: 'broken' }])
    expect(exitCode).toBe(EXIT.failed)
  })

  it('blobs-exist: looked for in all records with --blobs, in a sample without', async () => {
    const blobs = createMongoBlobStore(fresh.db)
    const kept = await blobs.put(Readable.from([Buffer.from('{}')]), { bytesMax: 10 })
    const withInput = (id: string, blob: string, shard: number) => {
      const doc = today(waiting(id))
      return {
        ...doc,
        shard,
        input: { ...doc.input, encoding: 'blob' as const, payload: { blob, sha256: 'x', bytes: 2 } },
      }
    }
    const gone = new ObjectId().toHexString()
    await store.insert([withInput('whole', kept.id, 16), withInput('unseen', gone, 1), withInput('broken', gone, 16)])
    const sampled = await json()
    expect(sampled.findings).toMatchObject([
      { invariant: 'blobs-exist', record: 'broken', expected: `the blob ${gone}` },
    ])
    expect(sampled.end).toMatchObject({ blobs: 2, broken: { 'blobs-exist': 1 } })
    const { findings } = await json('--blobs')
    expect(findings.map(({ record }) => record)).toEqual(['broken', 'unseen'])
  })

  it.each(['result', 'discarded.0'])('results-are-whole: what was answered is altered in %s', async (place) => {
    await store.insert([today(completed()), today(completed('broken'))])
    const $set = { [`steps.read.${place}.payload.inline`]: '{"from":99}' }
    await recordsOf(fresh.db).updateOne({ _id: 'broken' }, { $set: $set as never })
    const { exitCode, findings } = await json()
    const attempt = place === 'result' ? 2 : 1
    expect(findings).toMatchObject([{ invariant: 'results-are-whole', record: 'broken', step: 'read', attempt }])
    expect(exitCode).toBe(EXIT.failed)
  })

  it('is in this file', () => {
    const here = new Set<string>([
      ...CORRUPTIONS.map(({ invariant }) => invariant),
      'document-parses',
      'blobs-exist',
      'results-are-whole',
    ])
    expect(INVARIANT_NAMES.filter((name) => !here.has(name))).toEqual([])
  })
})

describe('the audit', () => {
  it('shows people what is broken, where, and what it means', async () => {
    const broken = today(completed('broken'))
    delete broken.charges['read']
    await store.insert([broken])
    const { lines } = await run()
    expect(lines[0]).toBe('charges-are-exact: record broken step read attempt 2: expected 0.40 EUR, found no charge')
    expect(lines.at(-1)).toMatch(/^ {2}charges-are-exact +1 +Each result has the charge/)
  })

  it('looks at one source alone', async () => {
    const of = (id: string, source: string) => ({ ...today(waiting(id)), source, timers: [], wakeAt: null })
    await store.insert([of('a', 'clinic-a'), of('b', 'clinic-b'), of('c', 'clinic-b')])
    const { findings, end } = await json('--source', 'clinic-b')
    expect(new Set(findings.map(({ record }) => record))).toEqual(new Set(['b', 'c']))
    expect(end).toMatchObject({ records: 2 })
  })

  it('does not count time in which no worker was up, and that goes on', async () => {
    const late = today(waiting('late'))
    late.settlesBy = new Date(Date.now() - 60_000)
    late.outagesUntil = new Date(Date.now() - 3_600_000)
    await store.insert([late])
    expect((await json()).findings).toMatchObject([{ invariant: 'settles-in-time', record: 'late' }])
    const $set = { lastBeat: new Date(Date.now() - 120_000) }
    await fresh.db.collection('deployment').updateOne({ _id: 'deployment' as never }, { $set })
    expect((await json()).findings).toEqual([])
  })

  it('says how many histories it could not play again', async () => {
    await store.insert([{ ...today(completed('elsewhere')), pipelineVersion: 'unknown' }])
    const { exitCode, lines } = await run()
    expect(lines[1]).toMatch(/^1 history\(s\) not replayed: of pipeline versions/)
    expect(exitCode).toBe(EXIT.ok)
  })

  it('says what is wrong with an address', async () => {
    const { exitCode, notes } = await run('--mongo', 'http://nowhere')
    expect(exitCode).toBe(EXIT.usage)
    expect(notes).toContain('ENDSTATE_MONGODB_URL')
  })
})

describe('20,000 records', () => {
  it('are streamed within bounded memory, with progress', async () => {
    const made = today(completed())
    const text = { inline: JSON.stringify('x'.repeat(4_000)), sha256: 'x', bytes: 4_002 }
    for (let at = 0; at < 20_000; at += 1_000)
      await store.insert(
        Array.from({ length: 1_000 }, (_, n) => ({
          ...made,
          _id: `r-${String(at + n).padStart(5, '0')}`,
          input: { ...made.input, payload: text },
        })),
      )
    globalThis.gc?.()
    const before = process.memoryUsage().rss
    let most = 0
    const timer = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 50)
    const { exitCode, end, notes } = await json()
    clearInterval(timer)
    expect(exitCode).toBe(EXIT.ok)
    expect(end).toMatchObject({ records: 20_000, replayed: 20_000, findings: 0 })
    expect(notes).toMatch(/[\d,]+ of about 20,000 records in [\d.]+ s, 0 finding\(s\)/)
    // All of them at once would be more than 300 MiB.
    expect((most - before) / 1024 / 1024).toBeLessThan(150)
  }, 120_000)
})

describe('audit --watch', () => {
  it('goes on after the first pass, tells what broke and what was mended, and ends at Ctrl-C', async () => {
    await store.insert([today(waiting('record')), today(completed('settled'))])
    const leaves = new AbortController()
    const io = { ...memoryIo({ ENDSTATE_CONFIG: CONFIG }), interruption: () => leaves.signal }
    const ending = runCli(['audit', '--json', '--watch', '--every', '50ms', '--mongo', fresh.url], io)
    const lines = () => io.stdout.map((line) => JSON.parse(line) as Line)
    const told = (type: string, change: object) =>
      waitFor(() => lines().some((line) => line.type === type && isMatch(line, change)), {
        timeoutMs: 10_000,
        what: () => `a line of type ${type} in\n${io.stdout.join('\n')}`,
      })
    await told('pass', { records: 2, unsettled: 1, open: 0 })
    const { wakeAt } = (await store.load(['record']))[0]!
    await recordsOf(fresh.db).updateOne({ _id: 'record' }, { $set: { wakeAt: new Date(0) } })
    await told('finding', { invariant: 'wake-at-is-earliest', record: 'record' })
    await told('pass', { open: 1, broken: { 'wake-at-is-earliest': 1 } })
    // Settled in the meantime, and broken: found because it was unsettled in the pass before.
    const $set = { wakeAt: wakeAt!, status: 'completed' as const, settledAt: new Date(), timers: [] }
    await recordsOf(fresh.db).updateOne({ _id: 'record' }, { $set })
    await told('mended', { invariant: 'wake-at-is-earliest', record: 'record' })
    await told('finding', { invariant: 'settled-is-quiet', record: 'record' })
    leaves.abort()
    expect(await ending).toBe(EXIT.failed)
  })
})

const isMatch = (line: Line, change: object): boolean =>
  Object.entries(change).every(([name, value]) => JSON.stringify(line[name]) === JSON.stringify(value))
