/** What every record store must do: run on memory and on real MongoDB. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RecordDocument, RecordStore } from '../../src/persistence/contract.js'
import { recordStoreQuerySuite } from './record-store-query-suite.js'
import { applied, at, charge, fact, fusedSave, queued, record, save, stepWith } from './record-store-documents.js'

export type MadeStore = { store: RecordStore; dispose(): Promise<void> }

/** Keys and values that are no good as BSON or as object keys. */
const HOSTILE = JSON.parse(
  '{"$ref":"x","$id":"y","$ne":1,"a.b":{"":[null,"\\ud800"]},"__proto__":{"x":1},"_bsontype":"ObjectId"}',
) as unknown

const insertAll = async (store: RecordStore, docs: RecordDocument[]): Promise<void> => {
  const outcomes = await store.insert(docs)
  expect(outcomes.map(({ kind }) => kind)).toEqual(docs.map(() => 'inserted'))
}

const nested = (depth: number): unknown => {
  let value: unknown = 1
  for (let level = 0; level < depth; level += 1) value = { down: value }
  return value
}

const insertTests = (get: () => RecordStore): void => {
  it('gives back what was inserted, dates as dates and hostile keys as they were', async () => {
    const doc = record('in-1', {
      snapshot: HOSTILE,
      metadata: { 'a.b': 'c', $ref: 'd', $id: 'e' },
      queue: [queued('gpt', at(1))],
      outbox: [fact(1, at(1), { deep: HOSTILE })],
      charges: { read: charge('0.40', at(1)) },
    })
    await insertAll(get(), [doc])
    const [loaded] = await get().load(['in-1'])
    expect(loaded).toEqual(doc)
    expect(JSON.stringify(loaded?.snapshot)).toBe(JSON.stringify(HOSTILE))
  })

  it('answers a taken id with the record that is there, and changes nothing (P7)', async () => {
    const first = record('in-2')
    await insertAll(get(), [first])
    const [outcome] = await get().insert([record('in-2', { contentHash: 'other' })])
    expect(outcome).toEqual({ kind: 'exists', current: first })
    expect(await get().load(['in-2'], { majority: true })).toEqual([first])
  })

  it('takes the same insert again for its own', async () => {
    const doc = record('in-3')
    await insertAll(get(), [doc])
    expect(await get().insert([doc])).toEqual([{ kind: 'inserted' }])
  })

  it('lets the first of two with one id in a batch win, and answers in order', async () => {
    const [a, b, c] = [record('in-4'), record('in-4', { contentHash: 'b' }), record('in-5')]
    expect(await get().insert([a, b, c])).toEqual([
      { kind: 'inserted' },
      { kind: 'exists', current: a },
      { kind: 'inserted' },
    ])
  })

  it('refuses one record that is too large and inserts the others (S4)', async () => {
    const huge = record('in-6', {
      input: {
        ...record('x').input,
        payload: { inline: 'x'.repeat(17 * 1024 * 1024), sha256: 'f', bytes: 17 * 1024 * 1024 },
      },
    })
    const outcomes = await get().insert([record('in-7'), huge, record('in-8')])
    expect(outcomes.map(({ kind }) => kind)).toEqual(['inserted', 'refused', 'inserted'])
    expect(outcomes[1]).toMatchObject({ code: 'too-large' })
    expect(await get().load(['in-6'])).toEqual([null])
  })

  it('refuses what is no JSON', async () => {
    const outcomes = await get().insert([record('in-9', { snapshot: { n: 1n } }), record('in-10')])
    expect(outcomes).toMatchObject([{ kind: 'refused', code: 'not-encodable' }, { kind: 'inserted' }])
  })

  it('answers an empty batch', async () => {
    expect(await get().insert([])).toEqual([])
    expect(await get().save([])).toEqual([])
    expect(await get().load([])).toEqual([])
  })
}

const saveTests = (get: () => RecordStore): void => {
  it('applies a save whole: fields, steps, charges, history, facts', async () => {
    const doc = record('sv-1')
    await insertAll(get(), [doc])
    const change = save('sv-1', 1, {
      set: { status: 'completed', snapshot: HOSTILE, wakeAt: null, timers: [], settledAt: at(5), queue: [] },
      steps: { extract: stepWith('{"fields":[]}') },
      charges: { extract: charge('0.40', at(5)) },
      outbox: [fact(1, at(5), { id: 'sv-1' })],
    })
    expect(await get().save([change])).toEqual([{ kind: 'saved' }])
    expect(await get().load(['sv-1'])).toEqual([applied(doc, change)])
  })

  it('moves the version by each event of a fused save', async () => {
    await insertAll(get(), [record('sv-2')])
    expect(await get().save([fusedSave('sv-2', 1)])).toEqual([{ kind: 'saved' }])
    const [loaded] = await get().load(['sv-2'])
    expect(loaded?.version).toBe(3)
    expect(loaded?.history.map(({ version }) => version)).toEqual([1, 2, 3])
    expect((await get().save([save('sv-2', 3)]))[0]).toEqual({ kind: 'saved' })
  })

  it('refuses a stale version with the document that is there, and changes nothing (S1)', async () => {
    const doc = record('sv-3')
    await insertAll(get(), [doc])
    const first = save('sv-3', 1, { set: { generation: 2 } })
    await get().save([first])
    const stale = save('sv-3', 1, { set: { generation: 9 }, charges: { read: charge('9', at(1)) } })
    expect(await get().save([stale])).toEqual([{ kind: 'conflict', current: applied(doc, first) }])
    expect(await get().load(['sv-3'])).toEqual([applied(doc, first)])
  })

  it('takes the same save again for its own, also after others have followed', async () => {
    await insertAll(get(), [record('sv-4')])
    const first = save('sv-4', 1)
    for (const one of [first, first, save('sv-4', 2), first])
      expect(await get().save([one])).toEqual([{ kind: 'saved' }])
    const [loaded] = await get().load(['sv-4'])
    expect(loaded?.history).toHaveLength(3)
  })

  it('answers a save of a record that is not there with a conflict without a document', async () => {
    expect(await get().save([save('sv-none', 1)])).toEqual([{ kind: 'conflict', current: null }])
  })

  it('answers for each of a batch of 64 of which one is stale (S4)', async () => {
    const docs = Array.from({ length: 64 }, (_, n) => record(`sv-b${n}`))
    await insertAll(get(), docs)
    const moved = save('sv-b40', 1)
    await get().save([moved])
    const outcomes = await get().save(docs.map(({ _id }) => save(_id, 1)))
    expect(outcomes.filter(({ kind }) => kind === 'saved')).toHaveLength(63)
    expect(outcomes[40]).toEqual({ kind: 'conflict', current: applied(docs[40]!, moved) })
  })

  it('refuses one save that is too large, saves the others, and leaves its record as it was (S4)', async () => {
    const docs = ['a', 'b', 'c', 'd', 'e'].map((name) => record(`sv-l${name}`))
    await insertAll(get(), docs)
    const saves = docs.map(({ _id }) => save(_id, 1))
    saves[3] = save('sv-ld', 1, { steps: { read: stepWith('x'.repeat(17 * 1024 * 1024)) } })
    const outcomes = await get().save(saves)
    expect(outcomes.map(({ kind }) => kind)).toEqual(['saved', 'saved', 'saved', 'refused', 'saved'])
    expect(outcomes[3]).toMatchObject({ code: 'too-large' })
    expect(await get().load(['sv-ld'])).toEqual([docs[3]])
  })

  it('refuses a save that makes its record too large, though it is small enough itself', async () => {
    await insertAll(get(), [record('sv-g'), record('sv-h')])
    const nine = 9 * 1024 * 1024
    expect(await get().save([save('sv-g', 1, { steps: { one: stepWith('x'.repeat(nine)) } })])).toEqual([
      { kind: 'saved' },
    ])
    const outcomes = await get().save([
      save('sv-g', 2, { steps: { two: stepWith('x'.repeat(nine)) } }),
      save('sv-h', 1),
    ])
    expect(outcomes).toMatchObject([{ kind: 'refused', code: 'too-large' }, { kind: 'saved' }])
  })

  it('stores a snapshot of any depth', async () => {
    await insertAll(get(), [record('sv-d')])
    expect(await get().save([save('sv-d', 1, { set: { snapshot: nested(1_000) } })])).toEqual([{ kind: 'saved' }])
    const [loaded] = await get().load(['sv-d'])
    expect(JSON.stringify(loaded?.snapshot)).toBe(JSON.stringify(nested(1_000)))
  })

  it.each(['a.b', '$set', '', '__proto__', 'x'.repeat(41)])('refuses the step name %j', async (name) => {
    await insertAll(get(), [record(`sv-n${name.length}${name.slice(0, 2)}`)])
    const steps = Object.fromEntries([[name, stepWith('1')]])
    const id = `sv-n${name.length}${name.slice(0, 2)}`
    expect(await get().save([save(id, 1, { steps })])).toMatchObject([{ kind: 'refused', code: 'bad-name' }])
  })

  it('refuses a history that does not continue the version', async () => {
    await insertAll(get(), [record('sv-i')])
    const outcomes = await get().save([save('sv-i', 1, { history: save('sv-i', 7).history })])
    expect(outcomes).toMatchObject([{ kind: 'refused', code: 'invalid-save' }])
    expect(await get().save([save('sv-i', 1, { history: [] })])).toMatchObject([{ kind: 'refused' }])
  })

  it('throws when two saves name one record', async () => {
    await insertAll(get(), [record('sv-t')])
    await expect(get().save([save('sv-t', 1), save('sv-t', 1)])).rejects.toThrow('one mailbox')
  })

  it('is not changed by what the caller does to its objects afterwards', async () => {
    const doc = record('sv-m')
    await insertAll(get(), [doc])
    doc.queue.push(queued('gpt', at(1)))
    const [loaded] = await get().load(['sv-m'])
    loaded!.history.length = 0
    const [again] = await get().load(['sv-m'])
    expect(again?.queue).toEqual([])
    expect(again?.history).toHaveLength(1)
  })
}

export const recordStoreSuite = (name: string, make: () => Promise<MadeStore>): void => {
  describe(`the record store: ${name}`, () => {
    let made: MadeStore
    beforeAll(async () => {
      made = await make()
    })
    afterAll(async () => {
      await made.store.close()
      await made.dispose()
    })
    describe('insert and load', () => insertTests(() => made.store))
    describe('save', () => saveTests(() => made.store))
  })
  recordStoreQuerySuite(name, make)
}
