/** The faultpoints around the ports: each is reached by the call it is named after, and a failure there stops the call. */
import { expect, it } from 'vitest'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { createMemoryHeartbeats } from '../../src/persistence/memory-heartbeats.js'
import { createMemoryProviderStates } from '../../src/persistence/memory-provider-states.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import type { FaultpointName } from '../../src/simulation/faultpoints.js'
import { FAULTPOINTS, withFaultpoints } from '../../src/simulation/faultpoints.js'
import type { Ports } from '../../src/simulation/ports.js'
import { createMemoryHintBus } from '../../src/worker/memory-hint-bus.js'
import { live as lifeOf } from '../machines/life.js'
import { compile, pipeline, step, terms } from '../machines/pipelines.js'
import { aRequest } from '../providers/call-inputs.js'
import { createHandClock, settle } from '../worker/hand-clock.js'
import { answers, createHandProvider } from '../worker/hand-provider.js'

const live = () => lifeOf(compile(pipeline([step('read')])))

const scene = (fails: FaultpointName | null) => {
  const clock = createHandClock()
  const reached: FaultpointName[] = []
  const provider = createHandProvider(terms['job']!)
  provider.always((request) => {
    request.onProgress({ handle: 'job-1' })
    return answers('text')
  })
  Object.assign(provider, { ask: async () => ({ kind: 'missing' }) })
  const plain: Ports = {
    store: createMemoryRecordStore({ sinks: ['nats'] }),
    blobs: createMemoryBlobStore({ now: clock.now }),
    heartbeats: createMemoryHeartbeats(clock),
    bus: createMemoryHintBus({ clock }),
    states: createMemoryProviderStates({ clock }),
    providers: new Map([['job', provider]]),
  }
  const ports = withFaultpoints(async (point) => {
    reached.push(point)
    if (point === fails) throw new Error('It fails here.')
  })(plain)
  return { ports, plain, reached, provider, clock }
}
type Scene = ReturnType<typeof scene>

const question = {
  record: 'r1',
  step: 'read',
  attempt: 1,
  generation: 1,
  requestKey: 'k',
  handle: 'job-1',
  startedAt: new Date(0),
  sendBy: new Date(0),
  deadlineMs: 1_000,
}
const { signal } = new AbortController()
const key = { per: 'deployment', name: '', currency: 'EUR', day: new Date(0) } as const
async function* bytes() {
  yield Buffer.from('large')
}

/** Every call that has faultpoints, once. */
const calls: { [what: string]: (of: Scene) => Promise<unknown> } = {
  insert: ({ ports }) => ports.store.insert([live().doc]),
  save: async ({ ports, plain }) => {
    const life = live()
    await plain.store.insert([life.doc])
    life.starts()
    return ports.store.save(life.saves)
  },
  load: ({ ports }) => ports.store.load(['r1']),
  markSending: ({ ports }) => ports.store.markSending('nats', [{ id: 'r1', seq: 1 }]),
  markSent: ({ ports }) => ports.store.markSent('nats', [{ id: 'r1', seq: 1 }]),
  put: ({ ports }) => ports.blobs.put(bytes(), { bytesMax: 100 }),
  get: async ({ ports, plain }) => {
    const { id } = await plain.blobs.put(bytes(), { bytesMax: 100 })
    const read: Uint8Array[] = []
    for await (const chunk of ports.blobs.get(id)) read.push(chunk)
    return read
  },
  publish: ({ ports }) => ports.bus.publish('timers', { type: 'TIMER_DUE', record: 'r1', version: 1 }),
  ack: async ({ ports, plain }) => {
    const taken = new Promise<void>((resolve) => {
      ports.bus.consume('timers', { free: () => 1, onHint: (delivery) => resolve(delivery.ack()) })
    })
    await plain.bus.publish('timers', { type: 'TIMER_DUE', record: 'r1', version: 1 })
    await settle()
    await taken
    await settle()
  },
  call: async ({ ports }) => {
    await ports.providers.get('job')!.call(aRequest(), signal)
    await settle()
  },
  ask: ({ ports }) => ports.providers.get('job')!.ask!(question, signal),
  cancel: ({ ports }) => ports.providers.get('job')!.cancel!(question, signal),
  lease: ({ ports }) =>
    ports.states.lease('job', {
      requestIntervalMs: 0,
      requestBurst: 1,
      tokenIntervalMs: 0,
      tokenBurst: 1,
      tokensPerCall: 1,
      want: 1,
      returnMs: 0,
      tokensUsed: 0,
      probesMax: 1,
      probeEveryMs: 1_000,
    }),
  reserve: ({ ports }) => ports.states.reserve(key, '1.00', ['0.10']),
  settle: ({ ports }) => ports.states.settle(key, [{ minute: 0, reserved: '0', actual: '0' }]),
}

it('each is reached by some call, and there is no other', async () => {
  const seen = new Set<string>()
  for (const make of Object.values(calls)) {
    const of = scene(null)
    await make(of)
    for (const point of of.reached) seen.add(point)
  }
  expect([...seen].sort()).toEqual(Object.keys(FAULTPOINTS).sort())
})

const before = (Object.keys(FAULTPOINTS) as FaultpointName[]).filter((name) => name.endsWith('.before'))

it.each(before)('%s: what fails there has not happened', async (point) => {
  const what = point.split('.')[1]!
  const of = scene(point)
  const failed = await calls[what]!(of).then(
    () => null,
    (error: unknown) => error,
  )
  expect(of.reached.at(-1)).toBe(point)
  // An ack answers nothing: it is lost, and the hint comes again.
  if (what !== 'ack') expect(String(failed)).toContain('It fails here.')
  if (what === 'call') expect(of.provider.calls).toEqual([])
  if (what === 'cancel') expect(of.provider.cancelled).toEqual([])
  if (what === 'ack') expect(await of.plain.bus.pending('timers')).toBe(1)
})
