/** The worker and calls that run as a job or are in doubt: questions, progress. On ports in memory. */
import { describe, expect, it } from 'vitest'
import { stateLabel } from '../../src/machines/advance.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { openGate } from '../../src/providers/gate.js'
import { performAsk } from '../../src/providers/call.js'
import { createErrandRunner } from '../../src/worker/errands.js'
import { accepted, call, live } from '../machines/life.js'
import { compile, pipeline, step, terms } from '../machines/pipelines.js'
import { createHandClock, settle } from './hand-clock.js'
import { answers, createHandProvider } from './hand-provider.js'
import type { Scene } from './scene.js'
import { createScene, hint, timer, unknown } from './scene.js'

const stateOf = (doc: RecordDocument) => stateLabel((doc.snapshot as { value: unknown }).value)
const of = (use: string[], change: Parameters<typeof step>[1] = {}) =>
  compile(pipeline([step('read', { use, ...change })]))
const job = of(['job'])

describe('a job', () => {
  const taken = async (scene: Scene): Promise<void> => {
    await scene.insert()
    await hint(scene, 'job')
    scene.provider('job').calls[0]!.answer({ kind: 'accepted', handle: 'job-1' })
    await settle()
  }

  it('holds no slot while it runs', async () => {
    const scene = createScene([job])
    await taken(scene)
    expect(stateOf(await scene.read())).toBe('read.awaiting.waiting')
    expect(scene.free('job')).toBe(2)
  })

  it('is asked for by its handle, and its answer is taken as the call’s', async () => {
    const scene = createScene([job])
    await taken(scene)
    await scene.clock.passes(1_000)
    await timer(scene)
    const [asked] = scene.provider('job').asks
    expect(asked!.question).toMatchObject({ record: 'r1', step: 'read', attempt: 1, handle: 'job-1' })
    asked!.answer(answers('text'))
    await settle()
    const doc = await scene.read()
    expect(doc).toMatchObject({ status: 'completed', charges: { read: { amount: '0.40', attempt: 1 } } })
    expect(scene.provider('job').calls).toHaveLength(1)
  })

  it('is asked one question at a time', async () => {
    const scene = createScene([job])
    await taken(scene)
    for (let poll = 0; poll < 4; poll += 1) {
      await scene.clock.passes(2_500)
      await timer(scene)
    }
    expect(scene.provider('job').asks).toHaveLength(1)
  })

  it('whose question gets no answer stays where it is, and is asked again', async () => {
    const scene = createScene([job])
    await taken(scene)
    await scene.clock.passes(1_000)
    await timer(scene)
    scene.provider('job').asks[0]!.answer({ kind: 'unknown', code: 'no-answer', message: 'None came.' })
    await settle()
    const doc = await scene.read()
    expect([stateOf(doc), doc.steps['read']!.attempts[0]!.outcome]).toEqual(['read.awaiting.polling', null])
    await scene.clock.passes(10_000)
    await timer(scene)
    expect(scene.provider('job').asks).toHaveLength(2)
  })

  it('that has come a tenth further is worth a save, less is not', async () => {
    const scene = createScene([job])
    await taken(scene)
    const tells = async (fraction: number) => {
      await scene.clock.passes(10_000)
      await timer(scene)
      scene.provider('job').asks.at(-1)!.answer({ kind: 'accepted', handle: 'job-1', fraction })
      await settle()
      return (await scene.read()).steps['read']!.attempts[0]!.progress?.fraction
    }
    expect(await tells(0.3)).toBe(0.3)
    expect(await tells(0.35)).toBe(0.3)
    expect(await tells(0.4)).toBe(0.4)
  })

  it('of a record that was cancelled elsewhere is asked to end', async () => {
    const scene = createScene([job])
    await taken(scene)
    await scene.turns('r1', async (draft) => {
      const { applyEvent } = await import('../../src/machines/decide.js')
      applyEvent(draft, { type: 'CANCEL', reason: 'So it is.' })
    })
    await timer(scene, 'OPERATOR_ACTED')
    expect(scene.provider('job').cancelled).toMatchObject([{ handle: 'job-1' }])
  })
})

describe('a call in doubt', () => {
  const found = of(['found'])

  it('is looked up, not repeated', async () => {
    const scene = createScene([found])
    await scene.insert()
    await hint(scene, 'found')
    scene.provider('found').calls[0]!.answer({ kind: 'unknown', code: 'connection-reset', message: 'It broke.' })
    await settle()
    expect(stateOf(await scene.read())).toBe('read.recovering.polling')
    const [asked] = scene.provider('found').asks
    expect(asked!.question).toMatchObject({ handle: null, requestKey: 'r1.read.found.1.0' })
    asked!.answer(answers('text'))
    await settle()
    expect(await scene.read()).toMatchObject({ status: 'completed' })
    expect(scene.provider('found').calls).toHaveLength(1)
  })

  it('an answer to a question is judged as one to the call: a wrong shape is no result', async () => {
    const { z } = await import('zod')
    const scene = createScene([of(['found'], { output: z.object({ name: z.string() }), attempts: 1 })])
    await scene.insert()
    await hint(scene, 'found')
    scene.provider('found').calls[0]!.answer({ kind: 'unknown', code: 'connection-reset', message: 'It broke.' })
    await settle()
    scene.provider('found').asks[0]!.answer(answers('text'))
    await settle()
    expect((await scene.read()).steps['read']!.attempts).toMatchObject([{ error: { code: 'output-schema' } }])
  })
})

it('a stream’s id is saved while the call still runs', async () => {
  const scene = createScene([job])
  await scene.insert()
  await hint(scene, 'job')
  const [call] = scene.provider('job').calls
  call!.request.onProgress({ handle: 'resp_1' })
  await settle()
  expect((await scene.read()).steps['read']!.attempts).toMatchObject([{ outcome: null, handle: 'resp_1' }])
  call!.answer(answers('text'))
  await settle()
  expect((await scene.read()).status).toBe('completed')
})

it('a stream’s id that could not be saved at once is saved when the storage is back', async () => {
  const scene = createScene([job])
  await scene.insert()
  await hint(scene, 'job')
  scene.next(unknown, unknown)
  scene.provider('job').calls[0]!.request.onProgress({ handle: 'resp_1' })
  await settle()
  expect((await scene.read()).steps['read']!.attempts[0]).not.toHaveProperty('handle')
  await scene.clock.passes(1_000)
  expect((await scene.read()).steps['read']!.attempts).toMatchObject([{ handle: 'resp_1' }])
})

it('E1 questions at one provider are bounded: one that finds no place is left to the next timer', async () => {
  const clock = createHandClock()
  const provider = createHandProvider(terms['job']!)
  const ask = createErrandRunner({
    providers: new Map([['job', provider]]),
    blobs: createMemoryBlobStore(),
    clock,
    gate: openGate,
    random: () => 0.5,
    storageRetryMs: 500,
  })
  const life = live(job)
  life.starts()
  life.does(accepted(call('read', 1)))
  const errand = { kind: 'ask', step: 'read', attempt: 1 } as const
  const signal = () => new AbortController().signal
  const asked = Array.from({ length: 20 }, (_, n) => ask(errand, { ...life.doc, _id: `r${n}` }, job, signal()))
  await settle()
  expect(provider.asks).toHaveLength(16)
  for (const one of provider.asks) one.answer({ kind: 'missing' })
  await Promise.all(asked)
  void ask(errand, { ...life.doc, _id: 'r17' }, job, signal())
  await settle()
  expect(provider.asks).toHaveLength(17)
})

it('a question without an answer is given up at its limit, whatever the adapter does', async () => {
  const clock = createHandClock()
  const provider = createHandProvider(terms['job']!)
  const question = { record: 'r1', step: 'read', attempt: 1, generation: 1, requestKey: 'k', handle: 'job-1' }
  const times = { startedAt: clock.now(), sendBy: clock.now(), deadlineMs: 10_000 }
  const asked = performAsk(provider, { ...question, ...times }, { clock })
  await clock.passes(10_250)
  expect(await asked).toMatchObject({ kind: 'unknown', code: 'deadline-exceeded' })
})

it.each([' ', 'a b', 'é', 'x'.repeat(513)])(
  'a job whose id is %j is in doubt: it could not be asked for',
  async (handle) => {
    const scene = createScene([job])
    await scene.insert()
    await hint(scene, 'job')
    scene.provider('job').calls[0]!.answer({ kind: 'accepted', handle })
    await settle()
    expect((await scene.read()).steps['read']!.attempts).toMatchObject([
      { outcome: 'uncertain', error: { code: 'bad-handle' }, spend: { basis: 'upper-bound' } },
    ])
  },
)

it('a hint about a version that came elsewhere makes the worker read anew, not trust the copy it kept', async () => {
  const scene = createScene([job])
  await scene.insert()
  await hint(scene, 'job')
  scene.provider('job').calls[0]!.answer({ kind: 'accepted', handle: 'job-1' })
  await settle()
  const kept = await scene.read()
  const life = live(job, kept, scene.clock.now())
  life.does({ type: 'CANCEL', reason: 'So it is.' })
  await scene.store.save(life.saves)
  // What this process has just written is still in its memory.
  scene.recent.put(kept)
  await timer(scene, 'OPERATOR_ACTED', life.doc.version)
  expect(scene.provider('job').cancelled).toMatchObject([{ handle: 'job-1' }])
})

it('E3 an answer to a question that can’t be kept before the end makes nothing more doubtful', async () => {
  const away = () => Promise.reject(Object.assign(new Error('Away.'), { code: 'store-unavailable' }))
  const scene = createScene([job], { blobs: (real) => ({ ...real, put: away }) })
  await scene.insert()
  await hint(scene, 'job')
  scene.provider('job').calls[0]!.answer({ kind: 'accepted', handle: 'job-1' })
  await settle()
  await scene.clock.passes(1_000)
  await timer(scene)
  scene.provider('job').asks[0]!.answer(answers('x'.repeat(100_000)))
  await settle()
  const closed = scene.worker.close(1_000)
  await scene.clock.passes(2_000)
  await closed
  const [attempt] = (await scene.read()).steps['read']!.attempts
  expect(attempt).toMatchObject({ outcome: null, handle: 'job-1' })
})
