/** A person's event on a record that others change at the same time (E1), or whose version is gone (E2). */
import { describe, expect, it } from 'vitest'
import { applyEvent, nextIntent } from '../../src/machines/decide.js'
import { replay } from '../../src/machines/replay.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { StoreUnavailable } from '../../src/persistence/contract.js'
import { createDeliver } from '../../src/worker/deliver.js'
import { call, failed, live, operator, succeeded, uncertain } from '../machines/life.js'
import { compile, pipeline, step } from '../machines/pipelines.js'
import { createScene, unknown } from './scene.js'
import type { Scene } from './scene.js'

const old = compile(pipeline([step('read'), step('extract', { attempts: 1 })]))
const newer = compile(pipeline([step('read', { price: null }), step('extract')], { revision: 2 }))

const deliverIn = ({ turns, blobs, bus }: Scene) => createDeliver({ turns, blobs, bus })

/** Step `read` has its result, `extract` failed for good. */
const investigated = (): RecordDocument => {
  const life = live(old)
  life.does(succeeded(life.starts()))
  life.does(failed(life.starts()))
  expect(life.doc.status).toBe('investigation')
  return life.doc
}
const sceneOf = async (pipelines = [old], doc = investigated()) => {
  const scene = createScene(pipelines)
  await scene.real.insert([doc])
  return { scene, doc, deliver: deliverIn(scene) }
}
const events = (doc: RecordDocument | undefined, after: RecordDocument) =>
  doc?.history.slice(after.history.length).map(({ event, by, reused }) => [event.type, by, reused])

describe('E1 an expected version', () => {
  it('that the record has is applied to', async () => {
    const { doc, deliver, scene } = await sceneOf()
    const done = await deliver('r1', operator('RETRY'), 'operator:ann', { expectedVersion: doc.version })
    expect(done).toMatchObject({ applied: true, moved: false, doc: { status: 'processing', generation: 2 } })
    expect(await scene.read()).toEqual(done!.doc)
    expect(events(done!.doc, doc)).toEqual([['RETRY', 'operator:ann', ['read']]])
  })

  it.each([-1, 1])('that it does not have (%i) changes nothing', async (off) => {
    const { doc, deliver, scene } = await sceneOf()
    const done = await deliver('r1', operator('RETRY'), 'operator:ann', { expectedVersion: doc.version + off })
    expect(done).toEqual({ doc, applied: false, moved: true })
    expect(await scene.read()).toEqual(doc)
  })

  it('that another person changes between load and save is not applied to what he made of it', async () => {
    const { doc, deliver, scene } = await sceneOf()
    scene.next(async () => {
      const rival = createScene([old])
      await rival.real.insert([doc])
      await deliverIn(rival)('r1', operator('RETRY'), 'operator:bob')
      await scene.real.save(rival.saves)
      return null
    })
    // Cancelling would be possible after it, and is not what was asked for.
    const done = await deliver('r1', operator('CANCEL'), 'operator:ann', { expectedVersion: doc.version })
    expect(done).toMatchObject({ applied: false, moved: true, doc: { status: 'processing' } })
    expect(events(await scene.read(), doc)).toEqual([['RETRY', 'operator:bob', ['read']]])
  })

  it('is read from the storage where this process keeps an older copy', async () => {
    const running = live(old).doc
    const { scene, deliver } = await sceneOf([old], running)
    scene.recent.put(running)
    const rival = createScene([old])
    await rival.real.insert([running])
    await deliverIn(rival)('r1', operator('CANCEL'), 'operator:bob')
    await scene.real.save(rival.saves)
    const done = await deliver('r1', operator('CANCEL'), 'operator:ann', { expectedVersion: running.version + 1 })
    // The record is cancelled: not moved, refused.
    expect(done).toMatchObject({ applied: false, moved: false, doc: { status: 'cancelled' } })
  })
})

describe('without one', () => {
  it('an event is applied to what is there, also where this process keeps an older copy', async () => {
    const life = live(old)
    const running = life.doc
    const { scene, deliver } = await sceneOf([old], running)
    scene.recent.put(running)
    for (const each of [call('read', 1), call('extract', 1)]) {
      life.starts()
      life.does(each.step === 'read' ? succeeded(each) : failed(each))
    }
    expect(life.doc.status).toBe('investigation')
    for (const save of life.saves) await scene.real.save([save as never])
    expect(await deliver('r1', operator('RETRY'), 'operator:ann')).toMatchObject({
      applied: true,
      doc: { status: 'processing', generation: 2 },
    })
  })

  it('a save of which nobody knows is no answer', async () => {
    const { scene, deliver } = await sceneOf()
    scene.next(unknown)
    await expect(deliver('r1', operator('RETRY'), 'operator:ann')).rejects.toThrow(StoreUnavailable)
  })

  it('there is nothing to do for a record that does not exist', async () => {
    const { deliver } = await sceneOf()
    expect(await deliver('r2', operator('RETRY'), 'operator:ann')).toBeNull()
  })
})

describe('E2 a version that is gone', () => {
  it('is left with the event, in one save; the results stay and nothing is called again (P3)', async () => {
    const { doc, scene, deliver } = await sceneOf([newer])
    const done = await deliver('r1', operator('RETRY'), 'operator:ann', { expectedVersion: doc.version })
    expect(done).toMatchObject({ applied: true, doc: { pipelineVersion: newer.version, status: 'processing' } })
    expect(events(done!.doc, doc)).toEqual([
      ['PIPELINE_CHANGED', 'worker:test', undefined],
      ['RETRY', 'operator:ann', ['read']],
    ])
    expect(scene.saves).toHaveLength(1)
    expect(done!.doc.queue).toMatchObject([{ step: 'extract' }])
    expect(done!.doc.steps['read']).toEqual(doc.steps['read'])
    expect(done!.doc.charges).toEqual(doc.charges)
    const settlesBy = done!.doc.history.at(-1)!.at.getTime() + newer.worstCaseMs
    expect(done!.doc.settlesBy.getTime()).toBe(settlesBy)
    const known = (version: string) => [old, newer].find((each) => each.version === version)
    expect(replay(done!.doc, known).divergences).toEqual([])
  })

  it('takes its doubts along: a paid call at a provider that is gone may have run as well (P6)', async () => {
    const before = compile(pipeline([step('read', { use: ['paid'], attempts: 1, onUncertain: 'investigate' })]))
    const after = compile(pipeline([step('read', { use: ['free'] })], { revision: 2 }))
    const life = live(before)
    life.does(uncertain(life.starts()))
    life.passes(600_000)
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'outcome-uncertain' } })
    const { deliver, scene } = await sceneOf([after], life.doc)
    await deliver('r1', operator('RETRY'), 'operator:ann')
    await scene.turns('r1', (draft) => void applyEvent(draft, nextIntent(draft, 'free')!))
    expect((await scene.read()).steps['read']!.attempts).toMatchObject([
      { provider: 'paid', outcome: 'uncertain', possibleDuplicate: true, spend: { amount: '0.25' } },
      { provider: 'free', outcome: null },
    ])
  })

  it('stays with a record that does not take the event', async () => {
    const life = live(old)
    life.does(operator('CANCEL'))
    const { scene, deliver } = await sceneOf([newer], life.doc)
    expect(await deliver('r1', operator('RETRY'), 'operator:ann')).toEqual({
      doc: life.doc,
      applied: false,
      moved: false,
    })
    expect(scene.saves).toEqual([])
  })

  it('stays with a late answer: nobody has asked for the record', async () => {
    const life = live(old)
    life.starts()
    life.does(operator('CANCEL'))
    const answer = succeeded(call('read', 1))
    const here = await sceneOf([old], life.doc)
    expect(await here.deliver('r1', answer, 'webhook:answer')).toMatchObject({ applied: true })
    const gone = await sceneOf([newer], life.doc)
    expect(await gone.deliver('r1', answer, 'webhook:answer')).toMatchObject({ applied: false, doc: life.doc })
    expect(gone.scene.saves).toEqual([])
  })

  it('and a pipeline that is gone too is a reason', async () => {
    const other = compile(pipeline([step('read')], { name: 'other' }))
    const { doc, deliver } = await sceneOf([other])
    expect(await deliver('r1', operator('WRITE_OFF'), 'operator:ann')).toEqual({
      doc,
      applied: false,
      moved: false,
      impossible: 'No pipeline is called "test" any more.',
    })
  })

  it('of a record that runs is left to others', async () => {
    const { deliver } = await sceneOf([newer], live(old).doc)
    await expect(deliver('r1', operator('CANCEL'), 'operator:ann')).rejects.toThrow(/version is not known here/)
  })
})
