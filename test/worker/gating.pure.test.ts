/** What stops a start: a provider that is down or pauses, no permit, no money, a request that takes time. In memory. */
import { describe, expect, it } from 'vitest'
import { stateLabel } from '../../src/machines/advance.js'
import type { RecordDocument } from '../../src/machines/record.js'
import type { CallReport, Gate } from '../../src/providers/gate.js'
import { hintReady } from '../../src/roles.js'
import { held, live } from '../machines/life.js'
import { after, compile, pipeline, step } from '../machines/pipelines.js'
import { settle } from './hand-clock.js'
import { answers, refuses } from './hand-provider.js'
import { createScene, hint, unknown } from './scene.js'

const stateOf = (doc: RecordDocument) => stateLabel((doc.snapshot as { value: unknown }).value)
const of = (use: string[], change: Parameters<typeof step>[1] = {}) =>
  compile(pipeline([step('read', { use, ...change })]))
const job = of(['job'])
const paid = of(['paid', 'free'], { onUncertain: 'investigate' })
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

it('a permit of a call that did not leave is given back; one that was sent is used', async () => {
  const { gate, seen } = watched()
  const scene = createScene([job], { gate })
  await scene.insert()
  Object.assign(scene.provider('job'), { build: () => Promise.reject(new Error('It can’t be built.')) })
  await hint(scene, 'job')
  await settle()
  expect(scene.provider('job').calls).toEqual([])
  expect(seen).toMatchObject({ taken: 1, givenBack: 1 })
})

it('what a fused start took is given back once when its turn is decided anew', async () => {
  const two = compile(pipeline([step('read', { use: ['job'] }), step('sort', { use: ['free'] })]))
  const { gate, seen } = watched({ hold: (name) => (name === 'free' ? down : null) })
  const scene = createScene([two], { gate })
  await scene.insert()
  await hint(scene, 'job')
  const current = await scene.read()
  scene.next(() => ({ kind: 'conflict', current }))
  scene.provider('job').calls[0]!.answer(answers('text'))
  await settle()
  expect(stateOf(await scene.read())).toBe('sort.ready')
  expect(seen).toMatchObject({ taken: 3, givenBack: 2 })
})

it('money that was reserved too late for a fused start is free again', async () => {
  const two = compile(pipeline([step('read', { use: ['job'] }), step('sort', { use: ['free'] })]))
  let grant = () => {}
  const late = new Promise<null>((resolve) => (grant = () => resolve(null)))
  const { gate, seen } = watched({ reserve: ({ step: name }) => (name === 'sort' ? late : Promise.resolve(null)) })
  const scene = createScene([two], { gate })
  await scene.insert()
  await hint(scene, 'job')
  scene.provider('job').calls[0]!.answer(answers('text'))
  await settle()
  await scene.clock.passes(100)
  grant()
  await settle()
  // The first step's own, with what it cost as far as it is known; the second's, in full.
  expect(seen.settled).toHaveLength(2)
  expect(seen.settled).toContainEqual([1, null])
})

it('a refusal’s Retry-After is told to the gate as a pause', async () => {
  const reports: CallReport[] = []
  const scene = createScene([job], { gate: { report: (report) => void reports.push(report) } })
  await scene.insert()
  await hint(scene, 'job')
  scene.provider('job').calls[0]!.answer({ ...refuses(), retryAfterMs: 7_000 } as never)
  await settle()
  expect(reports).toMatchObject([{ record: 'r1', outcome: 'failed', kind: 'not-executed', limits: { pauseMs: 7_000 } }])
})

it('a step that is held is hinted by the feeder at its time, not at once by the save that holds it', () => {
  const life = live(job)
  const before = life.doc
  life.does(held('read', 'job', 'wait', after(60_000)))
  const hinted: string[] = []
  const loadView = { mayHint: () => true, hinted: (name: string) => void hinted.push(name) }
  const ports = { bus: { publish: () => Promise.resolve() } }
  hintReady({ loadView, ports } as never, before, life.doc)
  expect(hinted).toEqual([])
  hintReady({ loadView, ports } as never, { ...before, queue: [] }, before)
  expect(hinted).toEqual(['job'])
})
