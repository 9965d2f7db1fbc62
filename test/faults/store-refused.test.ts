/** One save that can never succeed, among others of its batch: it alone is refused, with a reason that is no content (S4). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Evidence } from '../../src/machines/record.js'
import type { RecordStore, Save } from '../../src/persistence/contract.js'
import { RECORDS } from '../../src/persistence/collections.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { at, record, save, stepWith } from '../contract/record-store-documents.js'
import { freshDb } from '../support/servers.js'
import type { FreshDb } from '../support/servers.js'

const BATCH = 64
const BAD = 40
const MIB = 1024 * 1024

let fresh: FreshDb
let store: RecordStore
beforeEach(async () => {
  fresh = await freshDb('refused')
  await ensureIndexes(fresh.db)
  store = createMongoRecordStore(fresh.db)
})
afterEach(async () => {
  await store.close()
  await fresh.dispose()
})

const deepEvidence = (depth: number): Evidence => {
  let evidence: unknown = 1
  for (let level = 0; level < depth; level += 1) evidence = { down: evidence }
  return evidence as Evidence
}

const withEvidence = (depth: number) => {
  const step = stepWith('{}')
  return { read: { ...step, attempts: [{ ...step.attempts[0]!, evidence: deepEvidence(depth) }] } }
}

/** A batch in which one save is bad. */
const batchWith = async (bad: (id: string) => Save): Promise<string[]> => {
  const docs = Array.from({ length: BATCH }, (_, n) => record(`r${n}`))
  await store.insert(docs)
  const saves = docs.map(({ _id }, n) => (n === BAD ? bad(_id) : save(_id, 1, { set: { generation: 2 } })))
  const outcomes = await store.save(saves)
  const loaded = await store.load(docs.map(({ _id }) => _id))
  expect(loaded.map((doc) => doc?.version)).toEqual(docs.map((_doc, n) => (n === BAD ? 1 : 2)))
  expect(loaded[BAD]).toEqual(docs[BAD])
  return outcomes.map((outcome) => (outcome.kind === 'refused' ? outcome.code : outcome.kind))
}

const allSavedBut = (code: string): string[] => Array.from({ length: BATCH }, (_, n) => (n === BAD ? code : 'saved'))

describe('a batch of 64 saves', () => {
  it('one of 17 MB', async () => {
    expect(await batchWith((id) => save(id, 1, { steps: { read: stepWith('x'.repeat(17 * MIB)) } }))).toEqual(
      allSavedBut('too-large'),
    )
  })

  it('one of just over 16 MiB, which the driver still encodes', async () => {
    expect(await batchWith((id) => save(id, 1, { steps: { read: stepWith('x'.repeat(16 * MIB + 1)) } }))).toEqual(
      allSavedBut('too-large'),
    )
  })

  it.each([300, 2_000])('one nested %i deep where only flat facts belong', async (depth) => {
    expect(await batchWith((id) => save(id, 1, { steps: withEvidence(depth) }))).toEqual(allSavedBut('too-deep'))
  })

  it('one at the limit of depth: saved or refused, and nothing else, at every depth around it', async () => {
    const depths = Array.from({ length: 50 }, (_, n) => 155 + n)
    const docs = depths.map((depth) => record(`d${depth}`))
    await store.insert(docs)
    const outcomes = await store.save(docs.map(({ _id }, n) => save(_id, 1, { steps: withEvidence(depths[n]!) })))
    const kinds = outcomes.map(({ kind }) => kind)
    const limit = kinds.indexOf('refused')
    expect(limit).toBeGreaterThan(0)
    expect(kinds).toEqual(depths.map((_depth, n) => (n < limit ? 'saved' : 'refused')))
    const loaded = await store.load(docs.map(({ _id }) => _id))
    expect(loaded.map((doc) => doc?.version)).toEqual(depths.map((_depth, n) => (n < limit ? 2 : 1)))
  })

  it('one that no JSON can hold', async () => {
    expect(await batchWith((id) => save(id, 1, { set: { snapshot: { at: 10n } } }))).toEqual(
      allSavedBut('not-encodable'),
    )
  })

  it('one that the validator of the collection refuses', async () => {
    await fresh.db.command({ collMod: RECORDS, validator: { generation: { $lt: 9 } } })
    expect(await batchWith((id) => save(id, 1, { set: { generation: 9 } }))).toEqual(allSavedBut('validation-failed'))
  })

  it('several, each for its own reason, with one stale among them', async () => {
    await store.insert(['a', 'b', 'c', 'd'].map((id) => record(id)))
    await store.save([save('c', 1)])
    const outcomes = await store.save([
      save('a', 1, { steps: { read: stepWith('x'.repeat(17 * MIB)) } }),
      save('b', 1, { steps: { 'a.b': stepWith('1') } }),
      save('c', 1),
      save('d', 1),
    ])
    expect(outcomes).toMatchObject([
      { kind: 'refused', code: 'too-large' },
      { kind: 'refused', code: 'bad-name' },
      { kind: 'conflict', current: { version: 2 } },
      { kind: 'saved' },
    ])
  })

  it('says nothing of the content in its reasons', async () => {
    await fresh.db.command({ collMod: RECORDS, validator: { generation: { $lt: 9 } } })
    await store.insert([record('secret')])
    const step = stepWith('patient Jane Roe')
    const [outcome] = await store.save([
      save('secret', 1, { set: { generation: 9, settledAt: at(1) }, steps: { read: step } }),
    ])
    expect(outcome?.kind).toBe('refused')
    expect(JSON.stringify(outcome)).not.toMatch(/Jane|settledAt/)
  })
})

describe('a batch of 64 inserts', () => {
  it('one over depth and one of 17 MB', async () => {
    const docs = Array.from({ length: BATCH }, (_, n) => record(`i${n}`))
    docs[3] = { ...docs[3]!, steps: withEvidence(300) }
    docs[9] = { ...docs[9]!, steps: { read: stepWith('x'.repeat(17 * MIB)) } }
    const outcomes = await store.insert(docs)
    expect(outcomes.map((outcome) => (outcome.kind === 'refused' ? outcome.code : outcome.kind))).toEqual(
      docs.map((_doc, n) => ({ 3: 'too-deep', 9: 'too-large' })[n] ?? 'inserted'),
    )
  })
})
