/** The auditor's port: one suite over memory and over MongoDB. */
import { Readable } from 'node:stream'
import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { AuditScope, BlobStore, RecordAudit, RecordDocument, RecordStore } from '../../src/persistence/contract.js'
import { recordsOf } from '../../src/persistence/collections.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { createMemoryRecordAudit } from '../../src/persistence/memory-record-audit.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import type { MemoryRecords } from '../../src/persistence/memory-records.js'
import { createMongoBlobStore } from '../../src/persistence/mongo-blob-store.js'
import { createMongoHeartbeats } from '../../src/persistence/mongo-heartbeats.js'
import { createMongoRecordAudit } from '../../src/persistence/mongo-record-audit.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import type { StoredRecord } from '../../src/persistence/stored-form.js'
import { freshDb, type FreshDb } from '../support/servers.js'
import { at, charge, fact, queued, record, stepWith } from './record-store-documents.js'

type Rig = {
  store: RecordStore
  blobs: BlobStore
  audit: RecordAudit
  change(id: string, set: Partial<StoredRecord>): Promise<void>
  clear(): Promise<void>
}

let fresh: FreshDb
beforeAll(async () => {
  fresh = await freshDb('record-audit')
  await ensureIndexes(fresh.db)
})
afterAll(() => fresh.dispose())

const onMongo = (): Rig => ({
  store: createMongoRecordStore(fresh.db),
  blobs: createMongoBlobStore(fresh.db),
  audit: createMongoRecordAudit(fresh.db),
  change: async (id, $set) => void (await recordsOf(fresh.db).updateOne({ _id: id }, { $set })),
  clear: async () => void (await recordsOf(fresh.db).deleteMany({})),
})

const inMemory = (): Rig => {
  const records: MemoryRecords = new Map()
  const blobs = createMemoryBlobStore({ id: () => new ObjectId().toHexString() })
  return {
    store: createMemoryRecordStore({ records }),
    blobs,
    audit: createMemoryRecordAudit(records, { blobs, time: () => ({ now: at(0), outages: [] }) }),
    change: async (id, set) => void records.set(id, { ...records.get(id)!, ...set }),
    clear: async () => records.clear(),
  }
}

const never = new AbortController().signal

describe.each([
  ['MongoDB', onMongo],
  ['memory', inMemory],
])('the records of an audit on %s', (_name, make) => {
  let rig: Rig
  beforeEach(async () => {
    rig = make()
    await rig.clear()
  })
  const read = async (scope: AuditScope, signal = never) => {
    const rows = []
    for await (const batch of rig.audit.read(scope, signal)) rows.push(...batch)
    return rows
  }
  const ids = async (scope: AuditScope) => (await read(scope)).map(({ id }) => id)

  it('are what was stored, but for the content, and name their blobs', async () => {
    const full: RecordDocument = record('full', {
      queue: [queued('gpt', at(1))],
      outbox: [fact(1, at(1), { n: 1 })],
      charges: { read: charge('0.40', at(1)) },
      steps: { read: stepWith('{}') },
      reason: { code: 'x', message: 'y', kind: 'unknown' },
      input: { ...record('full').input, payload: { inline: '{"name":"secret"}', sha256: 'f00', bytes: 17 } },
    })
    const named = record('named', {
      input: { ...full.input, encoding: 'blob', payload: { blob: 'b1', sha256: 'f', bytes: 1 } },
    })
    await rig.store.insert([full, named])
    const [loaded] = await rig.store.load(['full'])
    const rows = await read({ kind: 'all' })
    const input = { ...loaded!.input, payload: { inline: '', sha256: 'f00', bytes: 17 } }
    expect(rows[0]).toEqual({ id: 'full', doc: { ...loaded, input }, faults: [], blobs: [] })
    expect(rows[1]).toMatchObject({ id: 'named', faults: [], blobs: ['b1'] })
  })

  it('come in the order of the scope, and end at its limit', async () => {
    const of = (id: string, seconds: number, changes: Partial<RecordDocument> = {}) =>
      record(id, { acceptedAt: at(seconds), ...changes })
    await rig.store.insert([
      of('c', 1),
      of('a', 2, { status: 'completed', timers: [], wakeAt: null, settledAt: at(9) }),
      of('d', 2, { source: 'clinic-b' }),
      of('b', 3, { source: 'clinic-b' }),
    ])
    expect(await ids({ kind: 'all' })).toEqual(['a', 'b', 'c', 'd'])
    expect(await ids({ kind: 'all', source: 'clinic-b' })).toEqual(['b', 'd'])
    expect(await ids({ kind: 'unsettled', limit: 10 })).toEqual(['b', 'd', 'c'])
    expect(await ids({ kind: 'unsettled', limit: 2 })).toEqual(['b', 'd'])
    expect(await ids({ kind: 'unsettled', source: 'clinic-a', limit: 9 })).toEqual(['c'])
    expect(await ids({ kind: 'accepted-since', since: at(2), limit: 9 })).toEqual(['b', 'd', 'a'])
    expect(await ids({ kind: 'accepted-since', since: at(2), source: 'clinic-b', limit: 1 })).toEqual(['b'])
    expect(await ids({ kind: 'ids', ids: ['d', 'nobody', 'a'] })).toEqual(['a', 'd'])
    expect(await ids({ kind: 'ids', ids: [] })).toEqual([])
    expect(await rig.audit.count({ kind: 'all' })).toBe(4)
    expect(await rig.audit.count({ kind: 'all', source: 'clinic-b' })).toBe(2)
  })

  it('are all there, once each, where one cursor is not enough and many came at once', async () => {
    const many = Array.from({ length: 4_500 }, (_, n) =>
      record(`r-${String(n).padStart(4, '0')}`, { acceptedAt: at(n % 3) }),
    )
    for (let from = 0; from < many.length; from += 900) await rig.store.insert(many.slice(from, from + 900))
    const sorted = many.map(({ _id }) => _id)
    expect(await ids({ kind: 'all' })).toEqual(sorted)
    const newest = await ids({ kind: 'unsettled', limit: 10_000 })
    expect([newest.length, new Set(newest)]).toEqual([4_500, new Set(sorted)])
    expect(new Set(await ids({ kind: 'all', source: 'clinic-a' }))).toEqual(new Set(sorted))
    expect(await ids({ kind: 'unsettled', limit: 3_000 })).toEqual(newest.slice(0, 3_000))
  })

  it('that can not be read are rows with their faults, and hide no other', async () => {
    await rig.store.insert([record('a'), record('b'), record('c')])
    await rig.change('a', { snapshot: '{' })
    await rig.change('b', { via: 7 as never })
    const rows = await read({ kind: 'all' })
    expect(rows.map(({ id, faults }) => [id, faults])).toEqual([
      ['a', ["it can't be decoded: record-unreadable"]],
      ['b', ['via: invalid_type']],
      ['c', []],
    ])
  })

  it('end when nobody wants more', async () => {
    await rig.store.insert(Array.from({ length: 500 }, (_, n) => record(`r-${n}`)))
    const enough = new AbortController()
    let batches = 0
    for await (const batch of rig.audit.read({ kind: 'all' }, enough.signal)) {
      expect(batch.length).toBeLessThanOrEqual(200)
      batches += 1
      enough.abort()
    }
    expect(batches).toBe(1)
  })

  it('name blobs of which the missing ones are told', async () => {
    const { id } = await rig.blobs.put(Readable.from([Buffer.from('x')]), { bytesMax: 1 })
    const gone = new ObjectId().toHexString()
    expect(await rig.audit.missingBlobs([id, gone, 'no id'])).toEqual(new Set([gone, 'no id']))
  })
})

describe('the time of an audit', () => {
  it('is that of the server, with the outages that were recorded, and the one that goes on', async () => {
    const audit = createMongoRecordAudit(fresh.db)
    const never = await audit.time(5_000)
    expect(never.outages).toEqual([{ from: new Date(0), to: never.now }])
    const member = { id: 'w', roles: ['worker'], slots: {}, pipelines: [], waiting: [] }
    const { now } = await createMongoHeartbeats(fresh.db).beat(member, { gapMs: 5_000, keepMs: 60_000 })
    const alive = await audit.time(5_000)
    expect(alive.outages).toEqual([])
    expect(Math.abs(alive.now.getTime() - now.getTime())).toBeLessThan(5_000)
    const past = { from: at(0), to: at(9) }
    const lastBeat = new Date(now.getTime() - 60_000)
    await fresh.db
      .collection('deployment')
      .updateOne({ _id: 'deployment' as never }, { $set: { lastBeat, outages: [past] } })
    const stopped = await audit.time(5_000)
    expect(stopped.outages).toEqual([past, { from: lastBeat, to: stopped.now }])
  })
})

describe('an audit on MongoDB', () => {
  it('sends reads alone, of what a majority has, each with a limit, and goes through an index', async () => {
    const watched = await freshDb('record-audit-commands', { monitorCommands: true })
    try {
      await ensureIndexes(watched.db)
      await createMongoRecordStore(watched.db).insert([
        record('a', { acceptedAt: at(1) }),
        record('b', { acceptedAt: at(2) }),
      ])
      const commands: { name: string; command: { [part: string]: unknown } }[] = []
      watched.client.on('commandStarted', ({ commandName, command }) => {
        commands.push({ name: commandName, command: command as { [part: string]: unknown } })
      })
      const audit = createMongoRecordAudit(watched.db)
      const scopes: AuditScope[] = [
        { kind: 'all' },
        { kind: 'all', source: 'clinic-a' },
        { kind: 'unsettled', limit: 5 },
        { kind: 'accepted-since', since: at(0), limit: 5 },
        { kind: 'ids', ids: ['a'] },
      ]
      for (const scope of scopes) {
        await audit.count(scope)
        for await (const batch of audit.read(scope, never)) expect(batch.length).toBeGreaterThan(0)
      }
      await audit.time(5_000)
      await audit.missingBlobs([new ObjectId().toHexString()])
      const names = new Set(commands.map(({ name }) => name))
      expect(names).toEqual(new Set(['aggregate', 'count', 'find', 'hello']))
      for (const { name, command } of commands) {
        if (name === 'aggregate' || name === 'find')
          expect(command['readConcern'] ?? name).toEqual({ level: 'majority' })
        if (name !== 'hello') expect(command['maxTimeMS'] ?? name).toEqual(expect.any(Number))
      }
      const hints = commands.filter(({ name, command }) => name === 'aggregate' && command['cursor'] !== undefined)
      expect(hints.length).toBeGreaterThan(scopes.length)
      for (const { command } of hints) expect(command['hint']).toEqual(expect.any(String))
    } finally {
      await watched.dispose()
    }
  })
})
