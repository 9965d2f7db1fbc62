/** The deep check of records, and what the store says of documents that other hands have changed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RecordDocument, RecordStore } from '../../src/persistence/contract.js'
import { recordsOf } from '../../src/persistence/collections.js'
import { faultsOf } from '../../src/persistence/documents.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { freshDb } from '../support/servers.js'
import type { FreshDb } from '../support/servers.js'
import { at, charge, fact, fusedSave, queued, record, save, stepWith } from './record-store-documents.js'

let fresh: FreshDb
let store: RecordStore
beforeAll(async () => {
  fresh = await freshDb('audit')
  store = createMongoRecordStore(fresh.db)
})
afterAll(() => fresh.dispose())

const full = (): RecordDocument =>
  record('full', {
    queue: [queued('gpt', at(1))],
    outbox: [fact(1, at(1), { n: 1 })],
    charges: { read: charge('0.40', at(1)) },
    steps: { read: stepWith('{}') },
    reason: { code: 'x', message: 'y', kind: 'unknown' },
  })

describe('faultsOf', () => {
  it('finds nothing wrong with what the store itself wrote', async () => {
    await store.insert([full()])
    await store.save([fusedSave('full', 1)])
    await store.save([save('full', 3, { steps: { read: stepWith('1') }, charges: { record: charge('1', at(2)) } })])
    const [doc] = await store.load(['full'])
    expect(faultsOf(doc!)).toEqual([])
  })

  it.each([
    ['version: invalid_type', { version: '1' }],
    ['status: invalid_value', { status: 'done' }],
    ['charges.read.amount: invalid_format', { charges: { read: { ...charge('1', at(1)), amount: '1e3' } } }],
    ['queue.0.readyAt: invalid_type', { queue: [{ provider: 'p', step: 's', readyAt: 'now' }] }],
    ['history: its versions do not lead to the version of the record', { version: 7 }],
    ['history: too_small', { history: [] }],
    [': unrecognized_keys', { extra: 1 }],
  ])('names %s', (fault, changes) => {
    expect(faultsOf({ ...full(), ...changes } as RecordDocument)).toEqual([fault])
  })
})

describe('a document that other hands have changed', () => {
  it.each([
    ['version', { version: 'one' }],
    ['status', { status: 'done' }],
    ['snapshot', { snapshot: '{' }],
  ])('in its %s can not be read, and is named', async (field, changes) => {
    await store.insert([record(`broken-${field}`), record(`whole-${field}`)])
    await recordsOf(fresh.db).updateOne({ _id: `broken-${field}` }, { $set: changes as never })
    await expect(store.load([`broken-${field}`])).rejects.toMatchObject({ code: 'record-unreadable' })
    await expect(store.load([`broken-${field}`])).rejects.toThrow(`broken-${field}`)
    const outcomes = await store.save([save(`broken-${field}`, 9), save(`whole-${field}`, 9), save('full', 99)])
    expect(outcomes.map(({ kind }) => kind)).toEqual(['unknown', 'conflict', 'conflict'])
  })
})
