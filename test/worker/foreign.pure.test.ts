/** Records of a version that nobody alive knows: left alone for their grace, then carried over or settled by force. */
import { describe, expect, it } from 'vitest'
import type { CompiledPipeline } from '../../src/machines/compiled.js'
import type { RecordDocument } from '../../src/machines/record.js'
import type { Member } from '../../src/persistence/contract.js'
import { createGroupCommit } from '../../src/persistence/group-commit.js'
import { createForeignKeeper } from '../../src/worker/foreign.js'
import { createIds } from '../../src/worker/ids.js'
import { createMailboxes } from '../../src/worker/mailbox.js'
import { pipelineSet } from '../ingest/accept-fixture.js'
import { compile, pipeline, record, step } from '../machines/pipelines.js'
import { createHandClock } from './hand-clock.js'
import { createFaultyStore, createLog, refused, unknown } from './scene.js'

const GRACE_MS = 600_000
const old = compile(pipeline([step('read')], { revision: 1 }))
const current = compile(pipeline([step('read')], { revision: 2 }))
const without = compile(pipeline([step('other')], { revision: 3 }))
const renamed = compile(pipeline([step('read')], { name: 'renamed' }))

const worker = (pipelines: string[]): Member => ({ id: 'w', roles: ['worker'], slots: {}, pipelines, waiting: [] })

const keeperOf = (known: readonly CompiledPipeline[]) => {
  const clock = createHandClock()
  const faulty = createFaultyStore()
  const members: Member[] = []
  const moved: [RecordDocument, RecordDocument][] = []
  const keeper = createForeignKeeper({
    pipelines: pipelineSet(known),
    store: faulty.store,
    records: createGroupCommit(faulty.store, { defer: queueMicrotask, time: clock, saveUnknownLimitMs: 0 }),
    mailboxes: createMailboxes(),
    members: () => members,
    clock,
    ids: createIds(),
    by: 'sweeper:test',
    log: createLog().log,
    facts: false,
    afterMs: GRACE_MS,
    saved: (before, after) => void moved.push([before, after]),
  })
  const read = async () => (await faulty.real.load(['r1']))[0]!
  return { clock, keeper, members, moved, read, ...faulty }
}

describe('a record of a version that nobody alive knows', () => {
  it('is left alone for the grace, then carried over, with the change in its history', async () => {
    const { clock, keeper, moved, read, real } = keeperOf([current])
    await real.insert([record(old)])
    keeper.start()
    await clock.passes(GRACE_MS - 1_000)
    expect((await read()).pipelineVersion).toBe(old.version)
    await clock.passes(2_000)
    const doc = await read()
    expect(doc).toMatchObject({ pipelineVersion: current.version, status: 'processing', version: 2 })
    expect(doc.history.at(-1)!.event).toEqual({ type: 'PIPELINE_CHANGED', from: old.version, to: current.version })
    expect(moved.map(([before, after]) => [before.version, after.version])).toEqual([[1, 2]])
    await clock.passes(10_000)
    expect((await read()).version).toBe(2)
    await keeper.close()
    expect(clock.sleeping()).toBe(0)
  })

  it('is left to a worker that knows it, for as long as that lives; and has its whole grace again when it goes', async () => {
    const { clock, keeper, members, read, real } = keeperOf([current])
    await real.insert([record(old)])
    keeper.start()
    await clock.passes(GRACE_MS - 10_000)
    members.push(worker([old.version]))
    await clock.passes(GRACE_MS)
    expect((await read()).version).toBe(1)
    members.pop()
    await clock.passes(GRACE_MS - 1_000)
    expect((await read()).version).toBe(1)
    await clock.passes(2_000)
    expect((await read()).pipelineVersion).toBe(current.version)
    await keeper.close()
  })

  it.each([
    ['no pipeline has its name any more', [renamed], /No pipeline is called "test" any more/],
    ['the new version has no place for it', [without], /is gone\./],
  ])('is settled by force when %s', async (_, known, message) => {
    const { clock, keeper, read, real } = keeperOf(known)
    await real.insert([record(old)])
    keeper.start()
    await clock.passes(GRACE_MS + 2_000)
    const doc = await read()
    expect(doc).toMatchObject({ status: 'investigation', reason: { code: 'pipeline-unknown' }, wakeAt: null })
    expect(doc.reason!.message).toMatch(message)
    await keeper.close()
  })

  it('is settled by force when the storage refuses what it would become', async () => {
    const { clock, keeper, next, read, real } = keeperOf([current])
    await real.insert([record(old)])
    next(refused)
    keeper.start()
    await clock.passes(GRACE_MS + 1_000)
    expect(await read()).toMatchObject({ status: 'investigation', reason: { code: 'pipeline-unknown' } })
    await keeper.close()
  })

  it('is looked at again when a save of it stays unknown', async () => {
    const { clock, keeper, next, read, real } = keeperOf([current])
    await real.insert([record(old)])
    next(unknown, unknown)
    keeper.start()
    await clock.passes(GRACE_MS + 5_000)
    expect(await read()).toMatchObject({ pipelineVersion: current.version, version: 2 })
    await keeper.close()
  })

  it('is known as foreign to whoever would give it up', () => {
    const { keeper, members } = keeperOf([current])
    expect([keeper.isForeign(record(old)), keeper.isForeign(record(current))]).toEqual([true, false])
    members.push(worker([old.version]))
    expect(keeper.isForeign(record(old))).toBe(false)
  })
})

describe('a record of a version that is known', () => {
  it('is not touched', async () => {
    const { clock, keeper, read, real, saves } = keeperOf([current])
    await real.insert([record(current), record(old, { _id: 'r2', status: 'cancelled', queue: [], wakeAt: null })])
    keeper.start()
    await clock.passes(2 * GRACE_MS)
    expect((await read()).version).toBe(1)
    expect(saves).toEqual([])
    await keeper.close()
  })
})
