/** The shell's timers, results too large for a document, and its end. On ports in memory. */
import { describe, expect, it } from 'vitest'
import { applyEvent, nextIntent } from '../../src/machines/decide.js'
import { stateLabel } from '../../src/machines/advance.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { stepState } from '../../src/machines/step-state.js'
import { compile, pipeline, step } from '../machines/pipelines.js'
import { answers, refuses } from './hand-provider.js'
import { settle } from './hand-clock.js'
import type { Scene } from './scene.js'
import { createScene, hint, timer, unknown } from './scene.js'

const one = compile(pipeline([step('read')]))
const two = compile(pipeline([step('read'), step('extract', { use: ['keyed'] })]))
const paidBlind = { use: ['paid'], onUncertain: 'investigate' } as const

const stateOf = (doc: RecordDocument) => stateLabel((doc.snapshot as { value: unknown }).value)

/** A worker that saves its intent and dies. */
const intentOfTheDead = (scene: Scene, provider: string) =>
  scene.turns('r1', (draft) => void applyEvent(draft, nextIntent(draft, provider)!))

describe('timers', () => {
  it('fire when they are due: a lease that ran out leaves the call in doubt, and nobody calls at once', async () => {
    const scene = createScene([compile(pipeline([step('read', paidBlind)]))])
    await scene.insert()
    await intentOfTheDead(scene, 'paid')
    expect(await timer(scene)).toEqual(['ack'])
    await scene.clock.passes(24_999)
    await timer(scene)
    expect(stateOf(await scene.read())).toBe('read.calling')
    await scene.clock.passes(1)
    await timer(scene)
    const doc = await scene.read()
    expect(stateOf(doc)).toBe('read.uncertain')
    expect(doc.steps['read']!.attempts).toMatchObject([
      { outcome: 'uncertain', error: { code: 'lease-expired' }, spend: { basis: 'upper-bound' } },
    ])
    expect(scene.provider('paid').calls).toHaveLength(0)
  })

  it('of an uncertain call under a key lead to the same call again, in the same save', async () => {
    const scene = createScene([compile(pipeline([step('read', { use: ['keyed'] })]))])
    await scene.insert()
    await intentOfTheDead(scene, 'keyed')
    await scene.clock.passes(25_000)
    await timer(scene)
    await scene.clock.passes(200)
    const saves = scene.saves.length
    await timer(scene)
    expect(scene.saves.length).toBe(saves + 1)
    const attempts = (await scene.read()).steps['read']!.attempts
    expect(attempts.map(({ outcome }) => outcome)).toEqual(['uncertain', null])
    expect(new Set(attempts.map(({ requestKey }) => requestKey)).size).toBe(1)
    expect(scene.provider('keyed').calls).toMatchObject([{ request: { attempt: 2 } }])
  })

  it('are fired in bounded numbers: a chart that sets one of 0 ms again and again does not hold the process', async () => {
    const restless = compile(pipeline([step('read')]), {
      initial: 'loop',
      states: {
        loop: {
          description: 'Goes round.',
          initial: 'a',
          states: { a: { after: { none: 'b' } }, b: { after: { none: 'a' } } },
          after: { patience: 'read' },
        },
        read: stepState('read', { description: 'Reads.', done: '#completed', exhausted: 'investigation' }),
      },
      guards: {},
      delaysMs: { none: 0, patience: 1_000 },
    })
    const scene = createScene([restless])
    await scene.insert()
    await timer(scene)
    expect((await scene.read()).version).toBe(33)
    await scene.clock.passes(1_000)
    await timer(scene)
    expect(stateOf(await scene.read())).toBe('read.calling')
  })

  it('run in bounded numbers, and the count comes back', async () => {
    const scene = createScene([one], { timersAtOnceMax: 2 })
    await scene.insert()
    const waits: (() => void)[] = []
    scene.next(() => new Promise((resolve) => waits.push(() => resolve(null))))
    void timer(scene)
    await settle()
    expect(scene.worker.timersFree()).toBe(1)
    waits[0]!()
    await settle()
    expect(scene.worker.timersFree()).toBe(2)
  })
})

describe('a result too large for the document', () => {
  it('is a blob that the next step reads', async () => {
    const scene = createScene([
      compile(
        pipeline([
          step('read'),
          step('extract', { request: (({ read }: { read: string }) => ({ length: read.length })) as never }),
        ]),
      ),
    ])
    await scene.insert()
    await hint(scene)
    scene.provider('free').calls[0]!.answer(answers('x'.repeat(100_000)))
    await settle()
    expect((await scene.read()).steps['read']!.result!.payload).toMatchObject({
      bytes: 100_002,
      blob: expect.any(String),
    })
    expect(scene.provider('free').calls[1]!.request.request).toEqual({ length: 100_000 })
  })

  it('waits in its slot while the blob store is away, and is stored when it is back', async () => {
    let away = false
    const scene = createScene([one], {
      blobs: (real) => ({
        ...real,
        put: (...put) => {
          if (away) return Promise.reject(Object.assign(new Error('Away.'), { code: 'store-unavailable' }))
          return real.put(...put)
        },
      }),
    })
    await scene.insert()
    await hint(scene)
    away = true
    scene.provider('free').calls[0]!.answer(answers('x'.repeat(100_000)))
    await scene.clock.passes(60_000)
    expect(scene.free('free')).toBe(1)
    away = false
    await scene.clock.passes(500)
    expect(await scene.read()).toMatchObject({ status: 'completed' })
    expect(scene.provider('free').calls).toHaveLength(1)
  })
})

describe('close', () => {
  it('takes no more hints, waits for what runs, and leaves nothing behind', async () => {
    const scene = createScene([two])
    await scene.insert()
    scene.worker.start()
    await hint(scene)
    expect(scene.consumers()).toBe(scene.slots.size + 1)
    const closing = scene.worker.close(25_000)
    await scene.clock.passes(1_000)
    expect(scene.consumers()).toBe(0)
    await scene.bus.publish({ provider: 'free' }, { type: 'STEP_READY', record: 'r1', version: 1 })
    await settle()
    expect(scene.worker.inFlight()).toBe(1)
    scene.provider('free').calls[0]!.answer(answers('text'))
    await closing
    // The answer is saved; the next step is left to others.
    const doc = await scene.read()
    expect(doc.steps['read']!.result).toMatchObject({ attempt: 1 })
    expect(stateOf(doc)).toBe('extract.ready')
    expect(scene.provider('keyed').calls).toHaveLength(0)
    expect([scene.worker.inFlight(), scene.clock.sleeping(), scene.free('free')]).toEqual([0, 0, 2])
  })

  it('ends a call that does not end by itself, which stays in doubt', async () => {
    const scene = createScene([compile(pipeline([step('read', { ...paidBlind, deadlineMs: 60_000 })]))])
    await scene.insert()
    await hint(scene, 'paid')
    const closing = scene.worker.close(25_000)
    await scene.clock.passes(25_000)
    await closing
    expect(scene.provider('paid').calls[0]!.signal.aborted).toBe(true)
    const doc = await scene.read()
    expect(stateOf(doc)).toBe('read.uncertain')
    expect(doc.steps['read']!.attempts).toMatchObject([{ outcome: 'uncertain', error: { code: 'call-stopped' } }])
    expect([scene.clock.sleeping(), scene.free('paid')]).toEqual([0, 2])
  })

  it('gives up an answer that cannot be saved, which the lease then finds', async () => {
    const scene = createScene([one])
    await scene.insert()
    await hint(scene)
    scene.next(...Array.from({ length: 100 }, () => unknown))
    scene.provider('free').calls[0]!.answer(answers('text'))
    await settle()
    const closing = scene.worker.close(2_000)
    await scene.clock.passes(2_000)
    await closing
    expect(scene.worker.inFlight()).toBe(0)
    expect(stateOf(await scene.read())).toBe('read.calling')
    expect([scene.clock.sleeping(), scene.free('free')]).toEqual([0, 2])
  })

  it('gives up a large answer that cannot be stored, and says that it was there', async () => {
    const scene = createScene([one], {
      blobs: () => ({ ...createMemoryBlobStore(), put: () => Promise.reject(new Error('Away.')) }),
    })
    await scene.insert()
    await hint(scene)
    scene.provider('free').calls[0]!.answer(answers('x'.repeat(100_000)))
    await settle()
    const closing = scene.worker.close(2_000)
    await scene.clock.passes(2_000)
    await closing
    expect((await scene.read()).steps['read']!.attempts).toMatchObject([
      { outcome: 'uncertain', error: { code: 'stopped-with-answer' } },
    ])
  })

  it('a pause holds hints back until they are resumed', async () => {
    const scene = createScene([one])
    await scene.insert()
    scene.provider('free').always(() => refuses())
    scene.worker.start()
    await scene.worker.pause()
    await scene.bus.publish({ provider: 'free' }, { type: 'STEP_READY', record: 'r1', version: 1 })
    await settle()
    expect(scene.provider('free').calls).toHaveLength(0)
    scene.worker.resume()
    await settle()
    expect(scene.provider('free').calls).toHaveLength(1)
    await scene.worker.close(0)
  })
})
