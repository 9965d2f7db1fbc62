/**
 * W3: the next step's intent rides in another save only where its provider has a free slot here and nobody waits for
 * one; and every slot that was taken for it comes back, whatever becomes of the save.
 */
import { describe, expect, it } from 'vitest'
import { applyEvent } from '../../src/machines/decide.js'
import type { OwnChart } from '../../src/machines/record-machine.js'
import { stepState } from '../../src/machines/step-state.js'
import { compile, pipeline, step } from '../machines/pipelines.js'
import { settle } from './hand-clock.js'
import { answers } from './hand-provider.js'
import type { SaveFault, Scene } from './scene.js'
import { createScene, deliveryOf, refused, unknown } from './scene.js'

const two = compile(pipeline([step('read'), step('extract', { use: ['keyed'] })]))
const paidBlind = { use: ['paid'], onUncertain: 'investigate' } as const

/** The first step is called, and its answer comes. */
const answerFirst = async (scene: Scene, output: unknown = 'text') => {
  await scene.insert()
  scene.worker.onProviderHint('free', deliveryOf('r1').delivery)
  await settle()
  scene.provider('free').calls[0]!.answer(answers(output))
}
const eventsOfLastSave = (scene: Scene) => scene.saves.at(-1)!.history.map(({ event }) => event.type)

describe('W3 an answer', () => {
  it('takes the next intent along: k steps are k + 1 saves', async () => {
    const scene = createScene([two])
    await answerFirst(scene)
    await settle()
    expect(eventsOfLastSave(scene)).toEqual(['CALL_SUCCEEDED', 'ATTEMPT_STARTED'])
    expect(scene.provider('keyed').calls).toHaveLength(1)
    expect([scene.free('free'), scene.free('keyed')]).toEqual([2, 1])
    scene.provider('keyed').calls[0]!.answer(answers('fields'))
    await settle()
    expect(await scene.read()).toMatchObject({ status: 'completed', version: 5 })
    expect(scene.saves).toHaveLength(3)
    expect([scene.free('keyed'), scene.worker.inFlight()]).toEqual([2, 0])
  })

  it('does not where the provider has no free slot here', async () => {
    const scene = createScene([two], { slots: { keyed: 1 } })
    const slot = scene.slots.get('keyed')!.acquire()!
    await answerFirst(scene)
    await settle()
    expect(eventsOfLastSave(scene)).toEqual(['CALL_SUCCEEDED'])
    expect((await scene.read()).queue).toMatchObject([{ provider: 'keyed', step: 'extract' }])
    slot.release()
    expect(scene.free('keyed')).toBe(1)
  })

  it('does not where others wait for that provider (P12)', async () => {
    const scene = createScene([two])
    scene.waiting.add('keyed')
    await answerFirst(scene)
    await settle()
    expect(eventsOfLastSave(scene)).toEqual(['CALL_SUCCEEDED'])
    expect(scene.provider('keyed').calls).toHaveLength(0)
    expect(scene.free('keyed')).toBe(2)
  })

  it.each([
    ['is paid and blind', 0, step('extract', paidBlind)],
    ['is paid and blind, and says fuse', 1, step('extract', { ...paidBlind, fuse: true })],
  ])('before a step that %s: %i calls at once', async (_, calls, extract) => {
    const scene = createScene([compile(pipeline([step('read'), extract]))])
    await answerFirst(scene)
    await settle()
    expect(scene.provider('paid').calls).toHaveLength(calls)
    expect(scene.free('paid')).toBe(2 - calls)
  })

  it('does not take along a fallback to a paid blind provider', async () => {
    const scene = createScene([
      compile(pipeline([step('read', { use: ['free', 'paid'], attempts: 1, onUncertain: 'investigate' })])),
    ])
    await scene.insert()
    scene.worker.onProviderHint('free', deliveryOf('r1').delivery)
    await settle()
    const broken = { kind: 'executed', code: 'broken', message: 'Broken.', retryable: false } as const
    scene.provider('free').calls[0]!.answer(broken)
    await settle()
    expect((await scene.read()).queue).toMatchObject([{ provider: 'paid' }])
    expect(scene.provider('paid').calls).toHaveLength(0)
  })

  it('goes on in its own slot where the next step asks the same provider and no other slot is free', async () => {
    const scene = createScene([compile(pipeline([step('read'), step('extract'), step('check')]))], {
      slots: { free: 1 },
    })
    await answerFirst(scene)
    for (const call of [1, 2]) {
      await settle()
      expect(scene.provider('free').calls).toHaveLength(call + 1)
      expect(scene.free('free')).toBe(0)
      scene.provider('free').calls[call]!.answer(answers('text'))
    }
    await settle()
    expect(await scene.read()).toMatchObject({ status: 'completed' })
    expect(scene.free('free')).toBe(1)
  })

  it('starts two steps at one provider under a slot each', async () => {
    const region = (name: string) => ({
      initial: name,
      states: {
        [name]: stepState(name, { description: `Does ${name}.`, done: 'done', exhausted: 'investigation' }),
        done: { type: 'final' },
      },
    })
    const own: OwnChart = {
      initial: 'read',
      states: {
        read: stepState('read', { description: 'Reads.', done: 'both', exhausted: 'investigation' }),
        both: { type: 'parallel', states: { left: region('left'), right: region('right') }, onDone: '#completed' },
      },
      guards: {},
      delaysMs: {},
    }
    const keyed = { use: ['keyed'] }
    const scene = createScene([compile(pipeline([step('read'), step('left', keyed), step('right', keyed)]), own)])
    await answerFirst(scene)
    await settle()
    expect(scene.provider('keyed').calls.map(({ request }) => request.step)).toEqual(['left', 'right'])
    expect(scene.free('keyed')).toBe(0)
    scene.provider('keyed').calls[0]!.answer(answers('l'))
    await settle()
    expect(scene.free('keyed')).toBe(1)
    scene.provider('keyed').calls[1]!.answer(answers('r'))
    await settle()
    expect(await scene.read()).toMatchObject({ status: 'completed' })
    expect(scene.free('keyed')).toBe(2)
  })
})

describe('a slot that was taken for the next step comes back', () => {
  /** Another worker cancels the record before this save. */
  const cancelled =
    (scene: Scene, compiled = two): SaveFault =>
    async ({ id }) => {
      const rival = createScene([compiled])
      await rival.real.insert([await scene.read(id)])
      await rival.turns(id, (draft) => void applyEvent(draft, { type: 'CANCEL', reason: 'Elsewhere.' }))
      await scene.real.save(rival.saves)
      return null
    }

  it('when the save conflicts, and the new decision needs none', async () => {
    const scene = createScene([two])
    await answerFirst(scene)
    scene.next(cancelled(scene))
    await settle()
    expect(await scene.read()).toMatchObject({ status: 'cancelled', version: 4 })
    expect([scene.free('free'), scene.free('keyed')]).toEqual([2, 2])
    expect(scene.provider('keyed').calls).toHaveLength(0)
  })

  it('when it was the answer’s own, and the save conflicts or stays unknown', async () => {
    const chain = compile(pipeline([step('read'), step('extract')]))
    const scene = createScene([chain], { slots: { free: 1 } })
    await answerFirst(scene)
    scene.next(unknown, cancelled(scene, chain))
    await settle()
    expect(scene.free('free')).toBe(0)
    await scene.clock.passes(500)
    expect(await scene.read()).toMatchObject({ status: 'cancelled' })
    expect(scene.free('free')).toBe(1)
  })

  it('when the save’s outcome is unknown, each time it is tried', async () => {
    const scene = createScene([two])
    await answerFirst(scene)
    scene.next(unknown, unknown, unknown)
    await settle()
    expect(scene.free('keyed')).toBe(2)
    await scene.clock.passes(1_500)
    expect(scene.provider('keyed').calls).toHaveLength(1)
    expect([scene.free('free'), scene.free('keyed')]).toEqual([2, 1])
  })

  it('when the storage refuses the save', async () => {
    const scene = createScene([two])
    await answerFirst(scene)
    scene.next(refused)
    await settle()
    expect(await scene.read()).toMatchObject({ status: 'investigation' })
    expect([scene.free('free'), scene.free('keyed')]).toEqual([2, 2])
  })

  it('when the chart’s guard throws at the intent, which settles the record by force', async () => {
    const own: OwnChart = {
      initial: 'read',
      states: {
        read: stepState('read', { description: 'Reads.', done: 'extract', exhausted: 'investigation' }),
        extract: {
          ...stepState('extract', { description: 'Extracts.', done: '#completed', exhausted: 'investigation' }),
          always: { guard: 'isSound', target: '#rejected' },
        },
      },
      guards: {
        isSound: ({ extract }) => {
          if (calls++ > 0) throw new TypeError('broken')
          return extract === 'never'
        },
      },
      delaysMs: {},
    }
    const broken = compile(pipeline([step('read'), step('extract', { use: ['keyed'] })]), own)
    let calls = 0
    const scene = createScene([broken])
    await answerFirst(scene)
    await settle()
    expect(await scene.read()).toMatchObject({ status: 'investigation', reason: { code: 'machine-failed' } })
    expect([scene.free('free'), scene.free('keyed')]).toEqual([2, 2])
  })

  it('when the outputs that the chart asks for cannot be read', async () => {
    let away = false
    const own: OwnChart = {
      initial: 'read',
      states: {
        read: stepState('read', {
          description: 'Reads.',
          done: [{ guard: 'isUrgent', target: 'extract' }, { target: '#completed' }],
          exhausted: 'investigation',
        }),
        extract: stepState('extract', { description: 'Extracts.', done: '#completed', exhausted: 'investigation' }),
      },
      guards: {
        isUrgent: ({ read }) => {
          away = true // From here on the blob can't be read again.
          return typeof read === 'string'
        },
      },
      delaysMs: {},
    }
    const guarded = compile(pipeline([step('read'), step('extract', { use: ['keyed'] })]), own)
    const scene = createScene([guarded], {
      blobs: (real) => ({
        ...real,
        get: (id) => {
          if (away) throw Object.assign(new Error('Away.'), { code: 'store-unavailable' })
          return real.get(id)
        },
      }),
    })
    await answerFirst(scene, 'x'.repeat(100_000))
    await settle()
    expect(await scene.read()).toMatchObject({ version: 2 })
    expect(scene.free('keyed')).toBe(2)
    // The answer is still in hand, in its own slot.
    expect(scene.free('free')).toBe(1)
    const closing = scene.worker.close(0)
    await scene.clock.passes(500)
    await closing
    expect([scene.free('free'), scene.free('keyed')]).toEqual([2, 2])
  })
})

describe('a timer that fires', () => {
  it('takes the next try along, under a slot that is held until the answer is saved', async () => {
    const scene = createScene([compile(pipeline([step('read', { attempts: 2 })]))])
    await scene.insert()
    scene.worker.onProviderHint('free', deliveryOf('r1').delivery)
    await settle()
    const failed = { kind: 'not-executed', code: 'at-capacity', message: 'Full.', retryable: true } as const
    scene.provider('free').calls[0]!.answer(failed)
    await scene.clock.passes(200)
    scene.worker.onTimerHint(deliveryOf('r1', 'TIMER_DUE').delivery)
    await settle()
    expect(eventsOfLastSave(scene)).toEqual([expect.stringContaining('xstate.after'), 'ATTEMPT_STARTED'])
    expect(scene.free('free')).toBe(1)
    scene.provider('free').calls[1]!.answer(answers('text'))
    await settle()
    expect(await scene.read()).toMatchObject({ status: 'completed' })
    expect(scene.free('free')).toBe(2)
  })
})
