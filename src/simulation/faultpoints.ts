/**
 * Faultpoints: named places before and after each call that leaves the process, as decorators of the ports. Off, they
 * are not there at all; on, `reach` decides what happens at each: nothing, a pause, an error, the end of the process.
 */
import type { Save } from '../persistence/contract.js'
import type { Provider } from '../providers/contract.js'
import type { Delivery, HintBus } from '../worker/contract.js'
import type { Ports } from './ports.js'

/** Each place and what a failure there stands for. */
export const FAULTPOINTS = {
  'store.insert.before': 'The record has not reached the database.',
  'store.insert.after': 'The record is durable; its receipt and its message are not out yet.',
  'store.save.before': 'The decision is made, nothing of it is stored.',
  'store.save.after': 'The save is durable; nobody has acted on it, no hint is acked.',
  'store.load.before': 'A worker holds a hint and has not read the record.',
  'store.markSending.before': 'A charge is about to leave; nothing says that it may have.',
  'store.markSent.before': 'A charge has left; it would leave again.',
  'blobs.get.before': 'Large content is needed and has not been read.',
  'blobs.put.before': 'Large content has not reached the database.',
  'blobs.put.after': 'Large content is stored; the record does not name it yet.',
  'bus.publish.before': 'The record is stored; nobody has been told.',
  'bus.publish.after': 'The hint is out.',
  'bus.ack.before': 'The intent is saved; the hint will come again.',
  'provider.call.before': 'The intent is durable; the provider has heard nothing.',
  'provider.call.after': 'The provider has answered; nothing of the answer is stored.',
  'provider.ask.before': 'A call is in doubt, or runs as a job; the provider has not been asked.',
  'provider.ask.after': 'The provider has told what became of the call; nothing of it is stored.',
  'provider.cancel.before': 'A job that nobody needs has not been asked to end.',
  'states.lease.before': 'A worker has no permit for a limited provider.',
  'states.reserve.before': 'A call waits for money; nothing is reserved.',
  'states.reserve.after': 'Money is reserved for a call that is not decided yet.',
  'states.settle.before': 'A call has ended; what it did not cost is still reserved.',
  'provider.progress': 'The provider has told its own id of a running call; it is not stored.',
} as const

export type FaultpointName = keyof typeof FAULTPOINTS

/** What passes a faultpoint: record ids, and event types of saves (`CALL_SUCCEEDED:read`) or steps of calls. */
export type Passing = { records: readonly string[]; events: readonly string[] }

/** Resolves to let the call go on, rejects to fail it. */
export type Reach = (point: FaultpointName, passing: Passing) => Promise<void>

const eventsOf = (saves: readonly Save[]): string[] =>
  saves.flatMap(({ history }) =>
    history.map(({ event }) => ('step' in event ? `${event.type}:${event.step}` : event.type)),
  )

const aroundStore = (store: Ports['store'], reach: Reach): Ports['store'] => ({
  ...store,
  async insert(docs) {
    const passing = { records: docs.map(({ _id }) => _id), events: ['RECORD_ACCEPTED'] }
    await reach('store.insert.before', passing)
    const outcomes = await store.insert(docs)
    await reach('store.insert.after', passing)
    return outcomes
  },
  async save(saves) {
    const passing = { records: saves.map(({ id }) => id), events: eventsOf(saves) }
    await reach('store.save.before', passing)
    const outcomes = await store.save(saves)
    await reach('store.save.after', passing)
    return outcomes
  },
  async load(ids, options) {
    await reach('store.load.before', { records: ids, events: [] })
    return store.load(ids, options)
  },
  async markSending(sink, sending) {
    await reach('store.markSending.before', { records: sending.map(({ id }) => id), events: [] })
    await store.markSending(sink, sending)
  },
  async markSent(sink, sent) {
    await reach('store.markSent.before', { records: sent.map(({ id }) => id), events: [] })
    await store.markSent(sink, sent)
  },
})

const aroundBlobs = (blobs: Ports['blobs'], reach: Reach): Ports['blobs'] => ({
  ...blobs,
  async *get(id) {
    await reach('blobs.get.before', { records: [], events: [] })
    yield* blobs.get(id)
  },
  async put(bytes, options) {
    await reach('blobs.put.before', { records: [], events: [] })
    const put = await blobs.put(bytes, options)
    await reach('blobs.put.after', { records: [], events: [] })
    return put
  },
})

const aroundStates = (states: Ports['states'], reach: Reach): Ports['states'] => {
  const passing: Passing = { records: [], events: [] }
  return {
    ...states,
    async lease(provider, ask) {
      await reach('states.lease.before', passing)
      return states.lease(provider, ask)
    },
    async reserve(key, limit, amounts) {
      await reach('states.reserve.before', passing)
      const reserved = await states.reserve(key, limit, amounts)
      await reach('states.reserve.after', passing)
      return reserved
    },
    async settle(key, settlements) {
      await reach('states.settle.before', passing)
      await states.settle(key, settlements)
    },
  }
}

const aroundBus = (bus: HintBus, reach: Reach): HintBus => {
  const watched = (delivery: Delivery): Delivery => ({
    ...delivery,
    ack() {
      const passing = { records: [delivery.hint.record], events: [delivery.hint.type] }
      void reach('bus.ack.before', passing).then(
        () => delivery.ack(),
        () => undefined,
      )
    },
  })
  return {
    ...bus,
    async publish(queue, hint) {
      const passing = { records: [hint.record], events: [hint.type] }
      await reach('bus.publish.before', passing)
      await bus.publish(queue, hint)
      await reach('bus.publish.after', passing)
    },
    consume: (queue, handlers) =>
      bus.consume(queue, { ...handlers, onHint: (delivery) => handlers.onHint(watched(delivery)) }),
  }
}

const aroundProvider = (provider: Provider, reach: Reach): Provider => {
  const passing = ({ record, step }: { record: string; step: string }): Passing => ({
    records: [record],
    events: [step],
  })
  const { build, ask, cancel, ready } = provider
  return {
    terms: provider.terms,
    slots: provider.slots,
    ...(build && { build: (parts) => build.call(provider, parts) }),
    ...(cancel && {
      async cancel(question, signal) {
        await reach('provider.cancel.before', passing(question))
        await cancel.call(provider, question, signal)
      },
    }),
    ...(ready && { ready: (signal) => ready.call(provider, signal) }),
    async call(request, signal) {
      await reach('provider.call.before', passing(request))
      const onProgress: typeof request.onProgress = (progress) =>
        void reach('provider.progress', passing(request)).then(
          () => request.onProgress(progress),
          () => undefined,
        )
      const answer = await provider.call({ ...request, onProgress }, signal)
      await reach('provider.call.after', passing(request))
      return answer
    },
    ...(ask && {
      async ask(question, signal) {
        await reach('provider.ask.before', passing(question))
        const answer = await ask.call(provider, question, signal)
        await reach('provider.ask.after', passing(question))
        return answer
      },
    }),
    close: () => provider.close(),
  }
}

/** Wraps every port; give it to `createEndstate` as `decorate`. */
export const withFaultpoints =
  (reach: Reach) =>
  (ports: Ports): Ports => ({
    store: aroundStore(ports.store, reach),
    blobs: aroundBlobs(ports.blobs, reach),
    heartbeats: ports.heartbeats,
    states: aroundStates(ports.states, reach),
    bus: aroundBus(ports.bus, reach),
    providers: new Map([...ports.providers].map(([name, provider]) => [name, aroundProvider(provider, reach)])),
  })
