/** The reads that every record store must offer, each test on records of a pipeline and source of its own. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RecordDocument, RecordStore } from '../../src/persistence/contract.js'
import { at, charge, fact, queued, record, save, stepWith } from './record-store-documents.js'
import { waitFor } from '../support/processes.js'
import type { MadeStore } from './record-store-suite.js'

const pages = async <T>(
  read: (token: string | null) => Promise<{ items: T[]; next: string | null }>,
): Promise<T[][]> => {
  const all: T[][] = []
  for (let token: string | null = null; all.length < 50;) {
    const page = await read(token)
    all.push(page.items)
    token = page.next
    if (token === null) break
  }
  return all
}

const dueTests = (get: () => RecordStore): void => {
  const ids = ['due-c', 'due-a', 'due-b', 'due-d', 'due-e', 'due-f']
  const wakeAts = [at(10), at(20), at(20), at(20), at(40), null]

  beforeAll(async () => {
    const docs = ids.map((id, n) => record(id, { wakeAt: wakeAts[n]!, shard: n * 40 }))
    await get().insert([...docs, record('due-settled', { wakeAt: at(1), status: 'completed' })])
  })
  const due = (query: Partial<Parameters<RecordStore['due']>[0]>) =>
    get().due({ now: at(30), after: null, shards: { from: 0, to: 256 }, limit: 10, ...query })

  it('finds what is due, in order of time and id, and nothing that is settled', async () => {
    expect(await due({})).toEqual([
      { id: 'due-c', version: 1, wakeAt: at(10) },
      { id: 'due-a', version: 1, wakeAt: at(20) },
      { id: 'due-b', version: 1, wakeAt: at(20) },
      { id: 'due-d', version: 1, wakeAt: at(20) },
    ])
  })

  it('goes on after a place among records of the same time', async () => {
    const first = await due({ limit: 2 })
    const last = first.at(-1)!
    const rest = await due({ after: { wakeAt: last.wakeAt, id: last.id }, now: at(50) })
    expect(rest.map(({ id }) => id)).toEqual(['due-b', 'due-d', 'due-e'])
    expect(await due({ after: { wakeAt: at(31), id: '' } })).toEqual([])
  })

  it('keeps to its shards, the end left out', async () => {
    const found = await due({ shards: { from: 40, to: 120 } })
    expect(found.map(({ id }) => id)).toEqual(['due-a', 'due-b'])
  })
}

const waitingTests = (get: () => RecordStore): void => {
  beforeAll(async () => {
    const both = [queued('slow', at(9), 'other'), queued('ocr', at(7)), queued('ocr', at(3), 'third')]
    await get().insert([
      record('w-1', { source: 's-b', queue: [queued('ocr', at(5))] }),
      record('w-2', { source: 's-a', queue: [queued('ocr', at(5))] }),
      record('w-3', { source: 's-a', queue: both }),
      record('w-4', { source: 's-a', queue: [queued('ocr', at(60))] }),
      record('w-5', { source: 's-c', queue: [queued('ocr', at(1))], status: 'cancelled' }),
      record('w-6', { source: 's-d', queue: [queued('slow', at(1))] }),
      record('w-7', { source: 's-a', queue: [queued('ocr', at(5))] }),
    ])
  })
  const waiting = (query: Partial<Parameters<RecordStore['waiting']>[2]>, provider = 'ocr') =>
    get().waiting(provider, 's-a', { readyBefore: at(10), after: null, limit: 10, ...query })

  it('names the sources that wait, by provider, page by page', async () => {
    expect(await get().waitingSources('ocr', 10)).toEqual(['s-a', 's-b'])
    expect(await get().waitingSources('ocr', 1)).toEqual(['s-a'])
    expect(await get().waitingSources('ocr', 5, 's-a')).toEqual(['s-b'])
    expect(await get().waitingSources('slow', 10)).toEqual(['s-a', 's-d'])
    expect(await get().waitingSources('none', 10)).toEqual([])
  })

  it('gives each source its records by their own time at this provider', async () => {
    expect(await waiting({})).toEqual([
      { id: 'w-3', version: 1, source: 's-a', readyAt: at(3) },
      { id: 'w-2', version: 1, source: 's-a', readyAt: at(5) },
      { id: 'w-7', version: 1, source: 's-a', readyAt: at(5) },
    ])
    expect(await waiting({}, 'slow')).toEqual([{ id: 'w-3', version: 1, source: 's-a', readyAt: at(9) }])
  })

  it('goes on after a place, and up to a time', async () => {
    const rest = await waiting({ after: { readyAt: at(5), id: 'w-2' }, readyBefore: at(60) })
    expect(rest.map(({ id, readyAt }) => [id, readyAt])).toEqual([
      ['w-7', at(5)],
      ['w-3', at(7)],
      ['w-4', at(60)],
    ])
    expect(await waiting({ limit: 1 })).toHaveLength(1)
    expect(await waiting({ after: { readyAt: at(11), id: '' } })).toEqual([])
  })

  it('leaves out records of other pipelineVersions when it is asked to', async () => {
    const ids = async (versions: string[]) => (await waiting({ versions })).map(({ id }) => id)
    expect(await ids(['v1', 'v9'])).toEqual(['w-3', 'w-2', 'w-7'])
    expect(await ids(['v9'])).toEqual([])
    expect(await ids([])).toEqual([])
  })

  it('forgets a record that waits no longer', async () => {
    await get().save([save('w-1', 1, { set: { queue: [] } })])
    expect(await get().waitingSources('ocr', 10)).toEqual(['s-a'])
  })
}

const listTests = (get: () => RecordStore): void => {
  const docs: RecordDocument[] = []
  beforeAll(async () => {
    for (let n = 0; n < 12; n += 1)
      docs.push(
        record(`ls-${String(n).padStart(2, '0')}`, {
          source: n % 2 ? 'list-a' : 'list-b',
          pipeline: n % 3 ? 'list-p' : 'list-q',
          status: n % 4 ? 'processing' : 'investigation',
          acceptedAt: at(Math.floor(n / 3)),
        }),
      )
    await get().insert(docs)
  })

  it('pages through all, newest first, each record once', async () => {
    const read = (token: string | null) => get().list({ source: 'list-a' }, { limit: 2, token })
    const all = await pages(read)
    expect(all.map((items) => items.length)).toEqual([2, 2, 2])
    expect(all.flat().map(({ _id }) => _id)).toEqual(['ls-11', 'ls-09', 'ls-07', 'ls-05', 'ls-03', 'ls-01'])
    expect(all.flat()[0]).toEqual(docs[11])
  })

  it.each([
    [{ source: 'list-b', status: 'investigation' as const }, ['ls-08', 'ls-04', 'ls-00']],
    [{ pipeline: 'list-q' }, ['ls-09', 'ls-06', 'ls-03', 'ls-00']],
    [{ pipeline: 'list-q', source: 'list-a', status: 'processing' as const }, ['ls-09', 'ls-03']],
    [{ pipeline: 'none' }, []],
  ])('filters by %j', async (filter, expected) => {
    const { items, next } = await get().list(filter, { limit: 100, token: null })
    expect(items.map(({ _id }) => _id)).toEqual(expected)
    expect(next).toBeNull()
  })

  it.each(['', 'x', Buffer.from('[1]').toString('base64url'), Buffer.from('{"$ne":1}').toString('base64url')])(
    'refuses the page token %j',
    async (token) => {
      await expect(get().list({}, { limit: 1, token })).rejects.toThrow('page token')
      await expect(get().charges({}, { limit: 1, token })).rejects.toThrow('page token')
    },
  )
}

const chargeTests = (get: () => RecordStore): void => {
  beforeAll(async () => {
    await get().insert([
      record('ch-1', { source: 'pay-a', pipeline: 'p1' }),
      record('ch-2', { source: 'pay-a', pipeline: 'p2' }),
      record('ch-3', { source: 'pay-b', pipeline: 'p1', charges: { record: charge('3', at(500_000)) } }),
      record('ch-4', { source: 'pay-b', pipeline: 'p1' }),
    ])
    await get().save([
      save('ch-1', 1, { charges: { read: charge('1.10', at(10)), extract: charge('1.20', at(10)) } }),
      save('ch-2', 1, { charges: { read: charge('2', at(10)) } }),
    ])
    await get().save([save('ch-1', 2, { charges: { record: charge('1.30', at(90_000)) } })])
  })
  const rows = async (filter: Parameters<RecordStore['charges']>[0], limit = 2) => {
    const all = await pages((token) => get().charges(filter, { limit, token }))
    return all.flat().map(({ record: id, key }) => `${id}/${key}`)
  }
  const OF_A = ['ch-1/record', 'ch-2/read', 'ch-1/read', 'ch-1/extract']

  it('gives the charges as a view over the records, newest first, each once, over pages', async () => {
    const { items } = await get().charges({ source: 'pay-b' }, { limit: 5, token: null })
    expect(items).toEqual([
      { ...charge('3', at(500_000)), record: 'ch-3', key: 'record', source: 'pay-b', pipeline: 'p1' },
    ])
    expect(await rows({ source: 'pay-a' })).toEqual(OF_A)
    expect(await rows({ source: 'pay-a' }, 1)).toEqual(OF_A)
    expect(await rows({ source: 'pay-a' }, 4)).toEqual(OF_A)
    expect(await rows({ source: 'nobody' })).toEqual([])
  })

  it('filters by key, by currency and by whether it was simulated', async () => {
    const dollars = { ...charge('1', at(600_000)), currency: 'USD', simulated: true }
    await get().insert([record('ch-5', { source: 'pay-c', charges: { read: dollars, record: charge('2', at(1)) } })])
    const of = (filter: object) => rows({ source: 'pay-c', ...filter })
    expect(await of({ key: 'record' })).toEqual(['ch-5/record'])
    expect(await of({ currency: 'USD' })).toEqual(['ch-5/read'])
    expect(await of({ simulated: true })).toEqual(['ch-5/read'])
    expect(await of({ simulated: false })).toEqual(['ch-5/record'])
    expect(await of({ simulated: false, currency: 'USD' })).toEqual([])
  })

  it('filters by pipeline and by time, both ends included', async () => {
    expect(await rows({ source: 'pay-a', pipeline: 'p2' })).toEqual(['ch-2/read'])
    expect(await rows({ source: 'pay-a', from: at(11) })).toEqual(['ch-1/record'])
    expect(await rows({ source: 'pay-a', from: at(10), to: at(10) })).toEqual(OF_A.slice(1))
    expect(await rows({ source: 'pay-a', to: at(9) })).toEqual([])
    expect((await rows({ from: at(10), simulated: false })).slice(0, 2)).toEqual(['ch-3/record', 'ch-1/record'])
  })
}

const outboxTests = (get: () => RecordStore): void => {
  beforeAll(async () => {
    await get().insert([record('ob-1'), record('ob-2', { outbox: [fact(1, at(3))] }), record('ob-3')])
    await get().save([save('ob-1', 1, { outbox: [fact(1, at(4)), fact(2, at(5), { n: 2 })] })])
  })
  const unsent = async (sink = 'nats') =>
    (await get().unsent(sink, 10)).map(({ id, entries }) => [id, entries.map(({ seq }) => seq)])

  it('gives the facts that a sink has not got, oldest record first, until they are marked', async () => {
    const beside = { source: 'clinic-a', pipeline: 'referral', simulated: false }
    const found = await get().unsent('nats', 10)
    expect(found).toEqual([
      { ...beside, id: 'ob-2', at: at(3), entries: [fact(1, at(3))] },
      { ...beside, id: 'ob-1', at: at(4), entries: [fact(1, at(4)), fact(2, at(5), { n: 2 })] },
    ])
    expect(await get().unsent('nats', 1)).toEqual(found.slice(0, 1))
    await get().markSent('nats', [
      { id: 'ob-2', seq: 1 },
      { id: 'ob-1', seq: 1 },
      { id: 'ob-gone', seq: 1 },
    ])
    expect(await unsent()).toEqual([['ob-1', [2]]])
    expect(await unsent('audit')).toEqual([
      ['ob-2', [1]],
      ['ob-1', [1, 2]],
    ])
  })

  it('goes on after a place, among records of the same time as well', async () => {
    const ids = ['ob-same-a', 'ob-same-b', 'ob-same-c']
    await get().insert(ids.map((id) => record(id, { outbox: [fact(1, at(900))] })))
    const [first] = (await get().unsent('audit', 10)).filter(({ id }) => id === 'ob-same-a')
    const rest = await get().unsent('audit', 10, first)
    expect(rest.map(({ id }) => id)).toEqual(['ob-same-b', 'ob-same-c'])
    expect(await get().unsent('audit', 1, first)).toEqual(rest.slice(0, 1))
    expect(await get().unsent('audit', 10, { at: at(901), id: '' })).toEqual([])
    for (const sink of ['nats', 'audit'])
      await get().markSent(
        sink,
        ids.map((id) => ({ id, seq: 1 })),
      )
  })

  it('keeps when the attempts in doubt began, until it is certain that none arrived', async () => {
    await get().insert([record('ob-intent', { outbox: [fact(1, at(901)), fact(2, at(902))] })])
    const sending = async () => {
      const [doc] = await get().load(['ob-intent'])
      expect(doc!.outbox[1]!.sending).toBeUndefined()
      return doc!.outbox[0]!.sending!['audit']!
    }
    await get().markSending('audit', [{ id: 'ob-intent', seq: 1 }])
    const begun = await sending()
    expect(begun.first).toEqual(begun.last)
    const later = async (anew: boolean) => {
      await waitFor(
        async () => {
          await get().markSending('audit', [{ id: 'ob-intent', seq: 1, anew }])
          return (await sending()).last > begun.last
        },
        { what: 'the clock to go on' },
      )
      return sending()
    }
    expect((await later(false)).first).toEqual(begun.first)
    const anew = await later(true)
    expect(anew.first).toEqual(anew.last)
    await get().markSent('audit', [{ id: 'ob-intent', seq: 1 }])
    expect((await get().unsent('audit', 10)).map(({ entries }) => entries.map(({ seq }) => seq))).toContainEqual([2])
    for (const sink of ['nats', 'audit'])
      await get().markSent(
        sink,
        [1, 2].map((seq) => ({ id: 'ob-intent', seq })),
      )
  })

  it('takes up a record again when new facts come', async () => {
    await get().markSent('nats', [{ id: 'ob-1', seq: 2 }])
    expect(await unsent()).toEqual([])
    await get().save([save('ob-1', 2, { outbox: [fact(3, at(1))] })])
    expect(await unsent()).toEqual([['ob-1', [3]]])
  })

  it('leaves the version alone, so that marking never disturbs a save', async () => {
    const [before] = await get().load(['ob-2'])
    expect(before?.version).toBe(1)
    expect(before?.outbox[0]?.sent['nats']).toBeInstanceOf(Date)
  })

  it('refuses a sink that was not declared', async () => {
    await expect(get().unsent('mail', 1)).rejects.toThrow('"mail" is not declared')
    await expect(get().markSent('mail', [])).rejects.toThrow('not declared')
    await expect(get().markSending('mail', [])).rejects.toThrow('not declared')
  })
}

const versionTests = (get: () => RecordStore): void => {
  it('finds unsettled records of versions that nobody here knows, oldest wakeAt first', async () => {
    await get().insert([
      record('uv-1', { pipelineVersion: 'old-2', wakeAt: at(2) }),
      record('uv-2', { pipelineVersion: 'old-1', wakeAt: at(3) }),
      record('uv-3', { pipelineVersion: 'old-1', wakeAt: null }),
      record('uv-4', { pipelineVersion: 'old-1', wakeAt: at(1), status: 'rejected' }),
      record('uv-5', { pipelineVersion: 'new', wakeAt: at(1) }),
    ])
    expect(await get().unknownVersions(['new', 'v1'], 10)).toEqual(['uv-3', 'uv-1', 'uv-2'])
    expect(await get().unknownVersions(['new', 'v1', 'old-1'], 10)).toEqual(['uv-1'])
    expect(await get().unknownVersions(['v1', 'old-1', 'old-2'], 1)).toEqual(['uv-5'])
    expect(await get().unknownVersions(['new', 'v1'], 2)).toEqual(['uv-3', 'uv-1'])
  })
}

const blobTests = (get: () => RecordStore): void => {
  const blob = (name: string) => ({ blob: name, sha256: 'x', bytes: 100_000 })

  it('tells which blobs records name: inputs, results and what was discarded, added with their saves', async () => {
    const input = { mediaType: 'image/png', fileName: null, encoding: 'blob' as const, payload: blob('b-input') }
    await get().insert([record('bl-1', { input }), record('bl-2')])
    const asked = ['b-input', 'b-result', 'b-late', 'b-nobody']
    expect(await get().referencedBlobs(asked)).toEqual(new Set(['b-input']))
    const step = stepWith('x')
    const result = { attempt: 1, at: at(2), payload: blob('b-result') }
    const late = { attempt: 2, generation: 1, at: at(3), payload: blob('b-late'), reason: 'late' }
    await get().save([save('bl-2', 1, { steps: { read: { ...step, result, discarded: [late] } } })])
    expect(await get().referencedBlobs(asked)).toEqual(new Set(['b-input', 'b-result', 'b-late']))
    expect((await get().load(['bl-2']))[0]).not.toHaveProperty('blobs')
  })

  it('finds a record by the provider’s own id of one of its calls, also when that was told later', async () => {
    const step = stepWith('x')
    const [attempt] = step.attempts
    await get().insert([record('h-1'), record('h-2')])
    const told = { ...step, attempts: [{ ...attempt!, provider: 'gpt', handle: 'resp_1' }] }
    await get().save([save('h-2', 1, { steps: { read: told } })])
    expect(await get().byHandle('gpt', 'resp_1')).toBe('h-2')
    expect(await get().byHandle('other', 'resp_1')).toBeNull()
    expect(await get().byHandle('gpt', 'resp_2')).toBeNull()
    expect((await get().load(['h-2']))[0]).not.toHaveProperty('handles')
  })
}

const countTests = (get: () => RecordStore): void => {
  it('counts by status', async () => {
    const before = await get().counts()
    await get().insert([record('ct-1', { status: 'rejected' }), record('ct-2', { status: 'rejected' }), record('ct-3')])
    const { processing, rejected, ...rest } = before
    expect(await get().counts()).toEqual({ ...rest, processing: processing + 1, rejected: rejected + 2 })
  })
}

const GROUPS: [string, (get: () => RecordStore) => void][] = [
  ['due', dueTests],
  ['waiting', waitingTests],
  ['list', listTests],
  ['charges', chargeTests],
  ['outbox', outboxTests],
  ['unknownVersions', versionTests],
  ['blobs', blobTests],
  ['counts', countTests],
]

export const recordStoreQuerySuite = (name: string, make: () => Promise<MadeStore>): void => {
  describe.each(GROUPS)(`the record store: ${name}: %s`, (_group, tests) => {
    let made: MadeStore
    beforeAll(async () => {
      made = await make()
    })
    afterAll(async () => {
      await made.store.close()
      await made.dispose()
    })
    tests(() => made.store)
  })
}
