/** The shell (W1 to W3): hints, calls and answers, on ports in memory. */
import { describe, expect, it } from 'vitest'
import { applyEvent, forceSettle, nextIntent } from '../../src/machines/decide.js'
import { stateLabel } from '../../src/machines/advance.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { stepState } from '../../src/machines/step-state.js'
import { readJson } from '../../src/worker/payloads.js'
import { compile, pipeline, step } from '../machines/pipelines.js'
import { answers, refuses } from './hand-provider.js'
import { settle } from './hand-clock.js'
import type { Scene } from './scene.js'
import { createScene, deliveryOf, refused, unknown } from './scene.js'

const one = compile(pipeline([step('read')]))
const two = compile(pipeline([step('read'), step('extract', { use: ['keyed'] })]))
const paidBlind = { use: ['paid'], onUncertain: 'investigate' } as const

const stateOf = (doc: RecordDocument) => stateLabel((doc.snapshot as { value: unknown }).value)
const events = (doc: RecordDocument) => doc.history.map(({ event }) => event.type)

/** Hands the worker a hint of this provider and lets everything happen that needs no time. */
const hint = async (scene: Scene, provider = 'free', record = 'r1') => {
  const { delivery, answers: acked } = deliveryOf(record)
  scene.worker.onProviderHint(provider, delivery)
  await settle()
  return acked
}

const timer = async (scene: Scene, record = 'r1') => {
  const { delivery, answers: acked } = deliveryOf(record, 'TIMER_DUE')
  scene.worker.onTimerHint(delivery)
  await settle()
  return acked
}

/** A worker that saves its intent and dies. */
const intentOfTheDead = (scene: Scene, provider: string) =>
  scene.turns('r1', (draft) => void applyEvent(draft, nextIntent(draft, provider)!))

describe('P5 a call', () => {
  it('is made after its intent is confirmed, never before', async () => {
    const scene = createScene([one])
    await scene.insert()
    let letGo = () => {}
    scene.next(() => new Promise((resolve) => (letGo = () => resolve(null))))
    await hint(scene)
    expect(scene.provider('free').calls).toHaveLength(0)
    letGo()
    await settle()
    expect(scene.provider('free').calls).toHaveLength(1)
    expect((await scene.read()).steps['read']!.attempts).toMatchObject([{ n: 1, outcome: null, provider: 'free' }])
    expect(scene.provider('free').calls[0]!.request).toMatchObject({ record: 'r1', step: 'read', attempt: 1 })
  })

  it.each([
    ['unknown', unknown],
    ['refused', refused],
  ])('is not made when the save of its intent is %s', async (_, fault) => {
    const scene = createScene([one])
    await scene.insert()
    scene.next(fault)
    await hint(scene)
    expect(scene.provider('free').calls).toHaveLength(0)
    expect(scene.free('free')).toBe(2)
  })

  it('is not made for a record that another worker has taken meanwhile', async () => {
    const scene = createScene([one])
    await scene.insert()
    const [first, second] = [await hint(scene), await hint(scene)]
    expect([first, second]).toEqual([['ack'], ['ack']])
    expect(scene.provider('free').calls).toHaveLength(1)
    expect(scene.free('free')).toBe(1)
  })
})

describe('W1 a hint', () => {
  it('is acked once its intent is saved, long before the answer', async () => {
    const scene = createScene([one])
    await scene.insert()
    let letGo = () => {}
    scene.next(() => new Promise((resolve) => (letGo = () => resolve(null))))
    const acked = await hint(scene)
    expect(acked).toEqual([])
    letGo()
    await settle()
    expect(acked).toEqual(['ack'])
    expect(scene.provider('free').calls).toHaveLength(1)
  })

  it('that is needless is acked, and so is one that names no record', async () => {
    const scene = createScene([one])
    await scene.insert({ status: 'completed', queue: [] })
    expect(await hint(scene)).toEqual(['ack'])
    expect(await hint(scene, 'free', 'nobody')).toEqual(['ack'])
    expect(scene.saves).toEqual([])
  })

  it('comes again when the outcome of its save is unknown, when this process may not decide, and when its record is of a foreign version', async () => {
    const scene = createScene([one])
    await scene.insert()
    await scene.insert({ _id: 'r2', pipelineVersion: 'v0' })
    scene.next(unknown)
    expect(await hint(scene)).toEqual(['nak 1000'])
    scene.liveness.outages = null
    expect(await hint(scene)).toEqual(['nak 1000'])
    expect(await timer(scene)).toEqual(['nak 1000'])
    scene.liveness.outages = []
    scene.known.add('v0')
    expect(await hint(scene, 'free', 'r2')).toEqual(['nak 500'])
    // When nobody alive knows its version, it comes again with the record that is carried over.
    scene.known.clear()
    expect(await hint(scene, 'free', 'r2')).toEqual(['ack'])
    expect(scene.provider('free').calls).toHaveLength(0)
    expect(scene.free('free')).toBe(2)
  })

  it('whose save the storage refuses for good ends its record by force, and is acked after that', async () => {
    const scene = createScene([one])
    await scene.insert()
    scene.next(refused)
    expect(await hint(scene)).toEqual(['ack'])
    expect(scene.forced).toMatchObject([{ record: 'r1', version: 1, code: 'too-large' }])
  })

  it('whose record cannot even be ended now is neither acked nor given back: it comes again', async () => {
    const scene = createScene([one])
    await scene.insert()
    scene.next(refused)
    scene.state.forceFails = true
    expect(await hint(scene)).toEqual([])
    expect(scene.acked).toEqual(['free'])
    expect([scene.free('free'), scene.worker.inFlight()]).toEqual([2, 0])
  })

  it('goes back at once when no slot is free, and is counted as taken', async () => {
    const scene = createScene([one], { slots: { free: 1 } })
    await scene.insert()
    await scene.insert({ _id: 'r2' })
    await hint(scene)
    expect(await hint(scene, 'free', 'r2')).toEqual(['nak 100'])
    expect(scene.taken).toEqual(['free', 'free'])
    expect(scene.acked).toEqual(['free', 'free'])
    expect((await scene.read('r2')).version).toBe(1)
  })
})

describe('W2 a slot', () => {
  it('is held from before the intent is saved until its answer is saved', async () => {
    const scene = createScene([one])
    await scene.insert()
    const held: number[] = []
    const look = () => {
      held.push(scene.free('free'))
      return null
    }
    scene.next(look, look)
    await hint(scene)
    held.push(scene.free('free'))
    scene.provider('free').calls[0]!.answer(answers('text'))
    await settle()
    expect(held).toEqual([1, 1, 1])
    expect(scene.free('free')).toBe(2)
    expect((await scene.read()).status).toBe('completed')
    expect(scene.worker.inFlight()).toBe(0)
  })

  it('never lets more calls through than the provider has slots', async () => {
    const scene = createScene([one], { slots: { free: 3 } })
    scene.worker.start()
    let running = 0
    let most = 0
    scene.provider('free').always(async () => {
      most = Math.max(most, (running += 1))
      await scene.clock.sleep(50)
      running -= 1
      return answers('text')
    })
    for (let n = 0; n < 20; n += 1) {
      await scene.insert({ _id: `r${n}` })
      await scene.bus.publish({ provider: 'free' }, { type: 'STEP_READY', record: `r${n}`, version: 1 })
    }
    await scene.clock.passes(2_000)
    expect(most).toBe(3)
    expect(await scene.real.counts()).toMatchObject({ completed: 20, processing: 0 })
    await scene.worker.close(0)
  })
})

describe('an answer', () => {
  it('becomes result, charge and end in one save', async () => {
    const scene = createScene([one])
    await scene.insert()
    await hint(scene)
    scene.provider('free').calls[0]!.answer(answers({ text: 'x' }))
    await settle()
    const doc = await scene.read()
    expect(events(doc)).toEqual(['RECORD_ACCEPTED', 'ATTEMPT_STARTED', 'CALL_SUCCEEDED'])
    expect(doc).toMatchObject({ status: 'completed', charges: { read: { amount: '0.40', attempt: 1 } } })
    expect(await readJson(scene.blobs, doc.steps['read']!.result!.payload)).toEqual({ text: 'x' })
    expect(scene.saves).toHaveLength(2)
  })

  it('is kept at while the outcome of its save is unknown, in its slot, and is saved once', async () => {
    const scene = createScene([one])
    await scene.insert()
    await hint(scene)
    scene.next(unknown, unknown, unknown)
    scene.provider('free').calls[0]!.answer(answers('text'))
    await settle()
    expect(await scene.read()).toMatchObject({ status: 'processing' })
    expect(scene.free('free')).toBe(1)
    await scene.clock.passes(1_500)
    const doc = await scene.read()
    expect(doc).toMatchObject({ status: 'completed', version: 3 })
    expect(scene.provider('free').calls).toHaveLength(1)
    expect(scene.free('free')).toBe(2)
  })

  it('that the storage refuses is kept as a blob with its spend, and the record asks for a person (RESULT_UNSTORABLE)', async () => {
    const scene = createScene([one])
    await scene.insert()
    await hint(scene)
    scene.next(refused)
    const spend = { amount: '0.07', currency: 'EUR', basis: 'reported' } as const
    scene.provider('free').calls[0]!.answer({ kind: 'succeeded', output: { text: 'x' }, spend, evidence: null })
    await settle()
    const doc = await scene.read()
    expect(doc).toMatchObject({ status: 'investigation', reason: { code: 'result-unstorable' }, charges: {} })
    const [attempt] = doc.steps['read']!.attempts
    expect(attempt).toMatchObject({ outcome: 'succeeded', spend })
    const [kept] = doc.steps['read']!.discarded
    expect(kept).toMatchObject({ attempt: 1, reason: 'result-unstorable', payload: { blob: expect.any(String) } })
    expect(await readJson(scene.blobs, kept!.payload as never)).toEqual({ text: 'x' })
    // Nobody pays again for what was answered.
    await scene.clock.passes(600_000)
    await timer(scene)
    expect(scene.provider('free').calls).toHaveLength(1)
    expect(scene.lines.map(({ msg }) => msg)).toContainEqual(expect.stringMatching(/refuses this answer for good/))
  })

  it('that not even its refusal can be saved for ends the record by force', async () => {
    const scene = createScene([one])
    await scene.insert()
    await hint(scene)
    scene.next(refused, refused)
    scene.provider('free').calls[0]!.answer(answers('text'))
    await settle()
    expect(scene.forced).toMatchObject([{ record: 'r1', version: 2, code: 'too-large' }])
    expect(scene.free('free')).toBe(2)
  })

  it('that comes after the record was settled by force is kept, and changes nothing else', async () => {
    const scene = createScene([one])
    await scene.insert()
    await hint(scene)
    const before = await scene.read()
    const decider = { at: scene.clock.now(), by: 'sweeper:other', writer: 'other', facts: false }
    const error = { code: 'cannot-advance', message: 'Given up.', kind: 'unknown' } as const
    await scene.real.save([forceSettle(before, error, decider).save])
    scene.provider('free').calls[0]!.answer(answers('text'))
    await settle()
    const doc = await scene.read()
    expect(doc).toMatchObject({ status: 'investigation', reason: { code: 'cannot-advance' }, charges: {} })
    expect(doc.steps['read']).toMatchObject({ result: null, candidate: { attempt: 1 } })
  })
})

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
