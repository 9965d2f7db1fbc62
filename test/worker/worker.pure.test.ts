/** The shell (W1 to W3): hints, calls and answers, on ports in memory. */
import { describe, expect, it } from 'vitest'
import { forceSettle } from '../../src/machines/decide.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { readJson } from '../../src/worker/payloads.js'
import { compile, pipeline, step } from '../machines/pipelines.js'
import { answers } from './hand-provider.js'
import { settle } from './hand-clock.js'
import { createScene, hint, refused, timer, unknown } from './scene.js'

const one = compile(pipeline([step('read')]))

const events = (doc: RecordDocument) => doc.history.map(({ event }) => event.type)

/** A worker that saves its intent and dies. */

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
