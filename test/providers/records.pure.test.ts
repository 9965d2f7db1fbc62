/** Child records over the real accept() on memory ports: one child for an item however often, and what became of them. */
import { describe, expect, it } from 'vitest'
import { recordIdOf } from '../../src/ingest/content-hash.js'
import type { Save } from '../../src/persistence/contract.js'
import type { CallRequest, Provider, Question } from '../../src/providers/contract.js'
import { recordsProvider, type MapPlan } from '../../src/providers/records/records.js'
import { createChildRecords } from '../../src/worker/child-records.js'
import { readOutputs } from '../../src/worker/payloads.js'
import { acceptBench, testPipelines, type AcceptBench } from '../ingest/accept-fixture.js'
import { live, operator, payload, succeeded } from '../machines/life.js'
import { noon } from '../machines/pipelines.js'

const plan: MapPlan = { pipeline: 'forms', max: 20, take: 'read', partial: false }
const signal = new AbortController().signal

const start = (change: Partial<MapPlan> = {}, bench = acceptBench()): { bench: AcceptBench; provider: Provider } => {
  const records = createChildRecords({
    accept: bench.accept,
    load: (ids) => bench.store.load(ids),
    outputs: (doc) => readOutputs(bench.blobs, doc),
    idOf: recordIdOf,
  })
  const provider = recordsProvider(() => ({ ...plan, ...change }), 600_000).create('records', {
    secret: () => '',
    records,
  })
  return { bench, provider }
}
const callWith = (request: unknown) =>
  ({ record: 'parent', source: 'clinic', pipeline: 'bundle', step: 'pages', request }) as unknown as CallRequest
const question = (handle: string | null): Question => ({
  record: 'parent',
  step: 'pages',
  attempt: 1,
  generation: 1,
  requestKey: 'k',
  handle,
  startedAt: noon,
  sendBy: noon,
  deadlineMs: 10_000,
})

/** The child of this index ends: with an output, or cancelled. */
const ends = async ({ store }: AcceptBench, index: number, output: unknown) => {
  const [doc] = await store.load([recordIdOf('clinic', `parent.pages.${index}`)])
  const life = live(testPipelines.byName('forms') as never, doc!)
  if (output === undefined) life.does(operator('CANCEL'))
  else life.does(succeeded(life.starts(), { result: payload(output) }))
  for (const save of life.saves) await store.save([save as Save])
}

describe('a call', () => {
  it('makes a child for each item, under the parent’s source, and is a job', async () => {
    const { bench, provider } = start()
    const answer = await provider.call(callWith([{ n: 0 }, { n: 1 }]), signal)
    expect(answer).toMatchObject({ kind: 'accepted', handle: 'clinic/bundle/2' })
    const docs = await bench.all()
    expect(docs.map(({ key }) => key ?? '').toSorted()).toEqual(['parent.pages.0', 'parent.pages.1'])
    for (const doc of docs)
      expect(doc).toMatchObject({
        source: 'clinic',
        pipeline: 'forms',
        metadata: { parent: 'parent', parentStep: 'pages' },
      })
  })

  it('that is repeated makes no second child, also after a crash between two of them', async () => {
    const { bench, provider } = start()
    await provider.call(callWith([{ n: 0 }]), signal)
    await provider.call(callWith([{ n: 0 }, { n: 1 }]), signal)
    await provider.call(callWith([{ n: 0 }, { n: 1 }]), signal)
    expect(await bench.all()).toHaveLength(2)
    expect(provider.terms).toMatchObject({ recovery: 'idempotent', polled: true, cost: 'free', longestRunMs: 600_000 })
  })

  it.each([
    ['no list', { pages: [] }, 'no-list'],
    ['too many', Array.from({ length: 21 }, (_, n) => ({ n })), 'too-many-items'],
  ])('over %s fails for certain, and submits nothing', async (_, items, code) => {
    const { bench, provider } = start()
    expect(await provider.call(callWith(items), signal)).toMatchObject({ kind: 'executed', code, retryable: false })
    expect(await bench.all()).toEqual([])
  })

  it('whose item is refused says which and why, not what it was', async () => {
    const { provider } = start({ pipeline: 'scans' })
    const answer = await provider.call(callWith([{ name: 'Smith' }]), signal)
    expect(answer).toMatchObject({ kind: 'executed', code: 'child-refused', retryable: false, evidence: { index: 0 } })
    expect(JSON.stringify(answer)).not.toContain('Smith')
  })

  it('while the storage is away is made again', async () => {
    const bench = acceptBench({ insert: () => Promise.reject(new Error('away')) })
    const { provider } = start({}, bench)
    expect(await provider.call(callWith([{}]), signal)).toMatchObject({ kind: 'not-executed', retryable: true })
  })
})

describe('a question', () => {
  it('waits for the last child, then gives the outputs in the order of the items', async () => {
    const { bench, provider } = start()
    const answer = await provider.call(callWith([{ n: 0 }, { n: 1 }]), signal)
    const asked = question(answer.kind === 'accepted' ? answer.handle : null)
    await ends(bench, 1, { page: 'b' })
    expect(await provider.ask!(asked, signal)).toMatchObject({ kind: 'accepted', fraction: 0.5 })
    await ends(bench, 0, { page: 'a' })
    expect(await provider.ask!(asked, signal)).toMatchObject({
      kind: 'succeeded',
      output: [{ page: 'a' }, { page: 'b' }],
    })
  })

  it('about children that did not complete names how many and which', async () => {
    const { bench, provider } = start()
    await provider.call(callWith([{ n: 0 }, { n: 1 }, { n: 2 }]), signal)
    await ends(bench, 0, { page: 'a' })
    await ends(bench, 1, undefined)
    await ends(bench, 2, undefined)
    expect(await provider.ask!(question('clinic/bundle/3'), signal)).toMatchObject({
      kind: 'executed',
      code: 'children-failed',
      message: '2 of 3 records of pipeline "forms" did not complete (index 1, 2).',
      retryable: false,
    })
  })

  it('with `partial` has null in their place, and without `take` all outputs by step', async () => {
    const { bench, provider } = start({ partial: true, take: null })
    await provider.call(callWith([{ n: 0 }, { n: 1 }]), signal)
    await ends(bench, 0, undefined)
    await ends(bench, 1, 'b')
    expect(await provider.ask!(question('clinic/bundle/2'), signal)).toMatchObject({ output: [null, { read: 'b' }] })
  })

  it('without a handle starts nothing and knows nothing', async () => {
    const { bench, provider } = start()
    expect(await provider.ask!(question(null), signal)).toMatchObject({ kind: 'unknown' })
    expect(await bench.all()).toEqual([])
  })
})
