/** Group commit on both stores, and its batching on a store whose answers the test holds back. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RecordStore, Save, SaveOutcome } from '../../src/persistence/contract.js'
import { StoreUnavailable } from '../../src/persistence/contract.js'
import { createGroupCommit } from '../../src/persistence/group-commit.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { RecordUnreadable } from '../../src/persistence/stored-form.js'
import { waitFor } from '../support/processes.js'
import { freshDb } from '../support/servers.js'
import type { FreshDb } from '../support/servers.js'
import { record, save } from './record-store-documents.js'

type Held = { saves: Save[]; answer(outcomes?: SaveOutcome[]): void }

/** A real store behind a gate: each batch of saves waits until the test lets it through or answers for it. */
const gated = (store: RecordStore) => {
  const batches: Held[] = []
  const save_ = (saves: readonly Save[]) =>
    new Promise<SaveOutcome[]>((resolve, reject) => {
      const answer = (outcomes?: SaveOutcome[]) =>
        outcomes ? resolve(outcomes) : void store.save(saves).then(resolve, reject)
      batches.push({ saves: [...saves], answer })
    })
  return { store: { ...store, save: save_ }, batches }
}

const idsOf = (batch: Held | undefined) => batch?.saves.map(({ id }) => id)
const UNKNOWN: SaveOutcome = { kind: 'unknown', message: 'no answer' }

const world = async (count: number) => {
  const { store, batches } = gated(createMemoryRecordStore())
  const ids = Array.from({ length: count }, (_, n) => `r${n}`)
  await store.insert(ids.map((id) => record(id)))
  const upTo = (total: number) => waitFor(() => batches.length >= total, { what: `batch ${total}` })
  return { store, batches, ids, upTo }
}

describe('batches', () => {
  it('hold all that came in one turn, two at a time, up to batchMax, in order', async () => {
    const { store, batches, ids, upTo } = await world(12)
    const writer = createGroupCommit(store, { batchMax: 4 })
    const answers = ids.map((id) => writer.save(save(id, 1)))
    await upTo(2)
    expect(batches.map(idsOf)).toEqual([ids.slice(0, 4), ids.slice(4, 8)])
    batches[1]!.answer()
    await upTo(3)
    expect(idsOf(batches[2])).toEqual(ids.slice(8))
    batches[0]!.answer()
    batches[2]!.answer()
    expect(await Promise.all(answers)).toEqual(ids.map(() => ({ kind: 'saved' })))
  })

  it('a single save does not wait for company', async () => {
    const { store, batches, upTo } = await world(3)
    const writer = createGroupCommit(store)
    const first = writer.save(save('r0', 1))
    await upTo(1)
    const second = writer.save(save('r1', 1))
    await upTo(2)
    const third = writer.save(save('r2', 1))
    batches[0]!.answer()
    await first
    await upTo(3)
    expect(batches.map(idsOf)).toEqual([['r0'], ['r1'], ['r2']])
    batches[1]!.answer()
    batches[2]!.answer()
    await Promise.all([second, third, writer.drain()])
  })

  it('never hold two saves of one record, nor send the second before the first has its answer', async () => {
    const { store, batches, upTo } = await world(2)
    const writer = createGroupCommit(store)
    const answers = [save('r0', 1), save('r0', 2), save('r1', 1), save('r0', 3)].map((one) => writer.save(one))
    await upTo(1)
    expect(batches.map(idsOf)).toEqual([['r0', 'r1']])
    batches[0]!.answer()
    await upTo(2)
    batches[1]!.answer()
    await upTo(3)
    batches[2]!.answer()
    expect(batches.map(idsOf)).toEqual([['r0', 'r1'], ['r0'], ['r0']])
    expect(batches[2]!.saves[0]!.expectedVersion).toBe(3)
    expect(await Promise.all(answers)).toEqual(answers.map(() => ({ kind: 'saved' })))
  })
})

describe('an unknown outcome', () => {
  it('is sent again as it is, apart from fresh saves, until it is known (S3)', async () => {
    const { store, batches, upTo } = await world(2)
    const writer = createGroupCommit(store)
    const change = save('r0', 1)
    const answer = writer.save(change)
    await upTo(1)
    batches[0]!.answer([UNKNOWN])
    const fresh = writer.save(save('r1', 1))
    await upTo(3)
    expect(
      batches
        .slice(1)
        .map(idsOf)
        .map(String)
        .toSorted((a, b) => a.localeCompare(b)),
    ).toEqual(['r0', 'r1'])
    const again = batches.find((batch, n) => n > 0 && idsOf(batch)![0] === 'r0')!
    expect(again.saves[0]).toBe(change)
    for (const batch of batches.slice(1)) batch.answer()
    expect(await Promise.all([answer, fresh])).toEqual([{ kind: 'saved' }, { kind: 'saved' }])
  })

  it('is answered when the limit has passed', async () => {
    const { store } = await world(1)
    const away = { ...store, save: async () => [UNKNOWN] }
    let nowMs = 0
    const time = {
      monotonicMs: () => nowMs,
      sleep: async (ms: number) => void (nowMs += ms),
    }
    const writer = createGroupCommit(away, { saveUnknownLimitMs: 5_000, time })
    expect(await writer.save(save('r0', 1))).toEqual(UNKNOWN)
    expect(nowMs).toBe(5_000)
  })

  it('is answered at once when the process closes', async () => {
    const { store, batches, upTo } = await world(1)
    const closing = new AbortController()
    const writer = createGroupCommit(store, { closing: closing.signal })
    const answer = writer.save(save('r0', 1))
    await upTo(1)
    batches[0]!.answer([UNKNOWN])
    closing.abort()
    expect(await answer).toEqual(UNKNOWN)
    await writer.drain()
  })
})

describe('drain', () => {
  it('waits for all that was given, and for nothing else', async () => {
    const { store, batches, upTo } = await world(1)
    const writer = createGroupCommit(store)
    await writer.drain()
    const order: string[] = []
    const answer = writer.save(save('r0', 1)).then(() => order.push('saved'))
    const drained = writer.drain().then(() => order.push('drained'))
    await upTo(1)
    batches[0]!.answer()
    await Promise.all([answer, drained])
    expect(order).toEqual(['saved', 'drained'])
  })
})

describe('loads', () => {
  it('fail for all when the store is away', async () => {
    const { store } = await world(2)
    const away = {
      ...store,
      load: async () => {
        throw new StoreUnavailable('away')
      },
    }
    const writer = createGroupCommit(away)
    const loads = [writer.load('r0'), writer.load('r1')]
    for (const one of loads) await expect(one).rejects.toMatchObject({ code: 'store-unavailable' })
  })

  it('one record that can not be read takes no other with it (S4)', async () => {
    const { store } = await world(3)
    const broken: RecordStore = {
      ...store,
      load: async (ids, options) => {
        if (ids.includes('r1')) throw new RecordUnreadable('r1 is broken')
        return store.load(ids, options)
      },
    }
    const writer = createGroupCommit(broken)
    const answers = await Promise.allSettled(['r0', 'r1', 'r2'].map((id) => writer.load(id)))
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  })
})

const stores: [string, (fresh: FreshDb) => RecordStore][] = [
  ['memory', () => createMemoryRecordStore()],
  ['MongoDB', ({ db }) => createMongoRecordStore(db)],
]

describe.each(stores)('on %s', (_name, make) => {
  let fresh: FreshDb
  beforeAll(async () => {
    fresh = await freshDb('group')
    await ensureIndexes(fresh.db)
  })
  afterAll(() => fresh.dispose())

  it('300 records of three saves each, all at once, and every load sees its own', async () => {
    const writer = createGroupCommit(make(fresh), { batchMax: 32 })
    const run = async (id: string) => {
      expect(await writer.insert(record(id))).toEqual({ kind: 'inserted' })
      expect(await writer.insert(record(id))).toMatchObject({ kind: 'exists' })
      for (const version of [1, 2, 3]) expect(await writer.save(save(id, version))).toEqual({ kind: 'saved' })
      expect(await writer.save(save(id, 2))).toMatchObject({ kind: 'conflict', current: { version: 4 } })
      return writer.load(id, { majority: true })
    }
    const docs = await Promise.all(Array.from({ length: 300 }, (_, n) => run(`g${n}`)))
    expect(docs.every((doc, n) => doc?._id === `g${n}` && doc.version === 4)).toBe(true)
    expect(await writer.load('nobody')).toBeNull()
    await writer.drain()
  })
})
