/** The worker and what may not start, runs as a job, or is in doubt: gate, questions, progress. On ports in memory. */
import { describe, expect, it } from 'vitest'
import { stateLabel } from '../../src/machines/advance.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { openGate } from '../../src/providers/gate.js'
import type { Gate } from '../../src/providers/gate.js'
import { createErrandRunner } from '../../src/worker/errands.js'
import { accepted, call, live } from '../machines/life.js'
import { after, compile, pipeline, step, terms } from '../machines/pipelines.js'
import { createHandClock, settle } from './hand-clock.js'
import { answers, createHandProvider } from './hand-provider.js'
import type { Scene } from './scene.js'
import { createScene, deliveryOf, unknown } from './scene.js'

const stateOf = (doc: RecordDocument) => stateLabel((doc.snapshot as { value: unknown }).value)
const of = (use: string[], change: Parameters<typeof step>[1] = {}) =>
  compile(pipeline([step('read', { use, ...change })]))
const job = of(['job'])
const paid = of(['paid', 'free'], { onUncertain: 'investigate' })

const hint = async (scene: Scene, provider: string) => {
  const { delivery, answers: acked } = deliveryOf('r1')
  scene.worker.onProviderHint(provider, delivery)
  await settle()
  return acked
}
const timer = async (scene: Scene, type: 'TIMER_DUE' | 'OPERATOR_ACTED' = 'TIMER_DUE') => {
  const { delivery } = deliveryOf('r1', type)
  scene.worker.onTimerHint(delivery)
  await settle()
}

const down = { code: 'provider-down', message: 'It is down.', until: after(60_000) }

/** A gate that counts what it is asked and told. */
const watched = (change: Partial<Gate> = {}) => {
  const seen = { taken: 0, givenBack: 0, settled: [] as unknown[], reports: [] as string[] }
  const gate: Partial<Gate> = {
    take: () => {
      seen.taken += 1
      return { giveBack: () => void (seen.givenBack += 1) }
    },
    settle: (call, spend) => void seen.settled.push([call.attempt, spend?.amount ?? null]),
    report: ({ outcome }) => void seen.reports.push(outcome),
    ...change,
  }
  return { gate, seen }
}

describe('a provider that is down', () => {
  it('is not called: the record falls back at once, under no slot', async () => {
    const scene = createScene([paid], { gate: { hold: (name) => (name === 'paid' ? down : null) } })
    await scene.insert()
    expect(await hint(scene, 'paid')).toEqual(['ack'])
    const doc = await scene.read()
    expect(doc.queue).toMatchObject([{ provider: 'free' }])
    expect(scene.provider('paid').calls).toEqual([])
    expect(scene.free('paid')).toBe(2)
  })

  it('holds a record that has no other way: with the reason, and until when; nothing spins', async () => {
    const scene = createScene([job], { gate: { hold: () => down } })
    await scene.insert()
    await hint(scene, 'job')
    const held = await scene.read()
    expect(held.queue).toMatchObject([{ readyAt: after(60_000), held: { code: 'provider-down' } }])
    await hint(scene, 'job')
    expect((await scene.read()).version).toBe(held.version)
  })
})

it('a pause of seconds is sat out: no record is told of it, and the hint comes again', async () => {
  const pause = { code: 'provider-paused', message: 'It asked for a pause.', until: after(4_000) }
  const scene = createScene([job], { gate: { hold: () => pause, take: () => null } })
  await scene.insert()
  expect(await hint(scene, 'job')).toEqual(['nak 100'])
  expect((await scene.read()).version).toBe(1)
})

it('no permit: the hint comes again, and the slot is free', async () => {
  const scene = createScene([job], { gate: { take: () => null } })
  await scene.insert()
  expect(await hint(scene, 'job')).toEqual(['nak 100'])
  expect(scene.free('job')).toBe(2)
  expect((await scene.read()).version).toBe(1)
})

describe('money', () => {
  it('that has run out holds the record until there is some again, or sends it to a person', async () => {
    const wait = createScene([job], { gate: { reserve: async () => ({ ...down, code: 'budget-reached' }) } })
    await wait.insert()
    await hint(wait, 'job')
    expect((await wait.read()).queue).toMatchObject([{ held: { code: 'budget-reached' } }])
    expect(wait.provider('job').calls).toEqual([])

    const past = { code: 'budget-reached', message: 'No money is left.', until: after(-1) }
    const give = createScene([job], { gate: { reserve: async () => past } })
    await give.insert()
    await hint(give, 'job')
    expect(await give.read()).toMatchObject({ status: 'investigation', reason: { code: 'budget-reached' } })
  })

  it('that was reserved is free again when the intent was not saved', async () => {
    const { gate, seen } = watched()
    const scene = createScene([job], { gate })
    await scene.insert()
    scene.next(unknown)
    await hint(scene, 'job')
    expect(seen).toMatchObject({ taken: 1, givenBack: 1, settled: [[1, null]] })
  })

  it('is settled with what the call cost, once it is known', async () => {
    const { gate, seen } = watched()
    const scene = createScene([job], { gate })
    await scene.insert()
    await hint(scene, 'job')
    scene.provider('job').calls[0]!.answer({
      kind: 'succeeded',
      output: 1,
      spend: { amount: '0.03', currency: 'EUR', basis: 'reported' },
    })
    await settle()
    expect(seen).toMatchObject({ taken: 1, givenBack: 0, settled: [[1, '0.03']], reports: ['succeeded'] })
  })
})

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
    expect(stateOf(await scene.read())).toBe('read.awaiting.polling')
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

it('a hint that came while the provider was down takes a permit when it is up again, or comes again', async () => {
  let asked = 0
  const permits: (null | { giveBack(): void })[] = [null, { giveBack: () => {} }]
  const hold = () => ((asked += 1) % 3 === 1 ? down : null)
  const scene = createScene([job], { gate: { hold, take: () => permits.shift() ?? null } })
  await scene.insert()
  expect(await hint(scene, 'job')).toEqual(['nak 100'])
  expect(scene.provider('job').calls).toEqual([])
  asked = 0
  expect(await hint(scene, 'job')).toEqual(['ack'])
  expect(scene.provider('job').calls).toHaveLength(1)
  expect(permits).toEqual([])
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

it('what a fused start took is given back once, also when its turn is decided anew', async () => {
  const two = compile(pipeline([step('read', { use: ['job'] }), step('sort', { use: ['free'] })]))
  const { gate, seen } = watched({ hold: (name) => (name === 'free' ? down : null) })
  const scene = createScene([two], { gate })
  await scene.insert()
  await hint(scene, 'job')
  scene.provider('job').calls[0]!.answer(answers('text'))
  await settle()
  // One for the call, which was sent; one for the next step, which may not start.
  expect(seen).toMatchObject({ taken: 2, givenBack: 1 })
  expect([scene.free('job'), scene.free('free')]).toEqual([2, 2])
})

it('B3 an answer is saved though the next request is not built: that step starts by a hint of its own', async () => {
  const away = new Promise<never>(() => {})
  const two = compile(
    pipeline([step('read', { use: ['job'] }), step('sort', { use: ['free'], request: (() => ({})) as never })]),
  )
  let reads = 0
  const { gate, seen } = watched({
    reserve: ({ step: name }) => (name === 'sort' && (reads += 1) === 1 ? away : Promise.resolve(null)),
  })
  const scene = createScene([two], { gate })
  await scene.insert()
  await hint(scene, 'job')
  scene.provider('job').calls[0]!.answer(answers('text'))
  await settle()
  expect(stateOf(await scene.read())).toBe('read.calling')
  await scene.clock.passes(100)
  expect(stateOf(await scene.read())).toBe('sort.ready')
  expect(scene.provider('free').calls).toEqual([])
  expect(seen).toMatchObject({ taken: 2, givenBack: 1 })
  await hint(scene, 'free')
  expect(scene.provider('free').calls).toHaveLength(1)
})

it('B2 the lease counts from after the request was built', async () => {
  const scene = createScene([job])
  await scene.insert()
  const build = async () => {
    await scene.clock.sleep(4_000)
    return { body: '{}', contentType: 'application/json' }
  }
  Object.assign(scene.provider('job'), { build })
  await hint(scene, 'job')
  await scene.clock.passes(4_000)
  const doc = await scene.read()
  const lease = doc.timers.find(({ id }) => id.includes('lease'))
  expect([doc.steps['read']!.attempts[0]!.startedAt, lease!.dueAt]).toEqual([after(4_000), after(4_000 + 25_000)])
  expect(scene.provider('job').calls).toHaveLength(1)
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
  const { signal } = new AbortController()
  const asked = Array.from({ length: 20 }, (_, n) => ask(errand, { ...life.doc, _id: `r${n}` }, job, signal))
  await settle()
  expect(provider.asks).toHaveLength(16)
  for (const one of provider.asks) one.answer({ kind: 'missing' })
  await Promise.all(asked)
  void ask(errand, { ...life.doc, _id: 'r17' }, job, signal)
  await settle()
  expect(provider.asks).toHaveLength(17)
})
