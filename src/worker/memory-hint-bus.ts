/**
 * The hint bus without a server: the same contract as over JetStream (one conformance suite runs on both), for tests,
 * for virtual time and for simulation.
 *
 * H1 Everything JetStream may do to a hint can be asked for by `fate`: drop, duplicate, delay (and thereby reorder).
 * H2 Nothing is random and nothing runs on its own clock: time comes from `clock`, hand-overs from microtasks.
 */
import type { Clock, Delivery, Hint, HintBus, HintConsumer, QueueName } from './contract.js'
import { BusUnavailable } from './contract.js'
import { queueKey } from './nats-subjects.js'

type Fate = 'deliver' | 'drop' | 'duplicate' | { delayMs: number }

export type MemoryHintBusOptions = {
  clock?: Pick<Clock, 'monotonicMs' | 'sleep'>
  ackWaitMs?: number
  /** Hints that a queue holds at most; more are refused, as a full stream does. */
  depthMax?: number
  /** Decides over each published hint. Default: deliver. */
  fate?: (queue: QueueName, hint: Hint) => Fate
}

export type MemoryHintBus = HintBus & {
  /** The server goes away (hints are kept, answers are lost) or comes back. */
  setAway(away: boolean): void
  /** The server loses everything it holds. */
  wipe(): void
}

type Consumer = { free(): number; onHint(delivery: Delivery): void; paused: boolean }
type Delivered = { hint: Hint; dueAtMs: number }
type Queue = {
  ready: Hint[]
  /** On their way, or back after a nak with a delay: not acked yet either. */
  delayed: number
  /** By delivery, in the order of their due times. */
  delivered: Map<symbol, Delivered>
  consumers: Consumer[]
  next: number
  scheduled: boolean
  watched: boolean
}

const realClock: Pick<Clock, 'monotonicMs' | 'sleep'> = {
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) return resolve()
      const end = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', end)
        resolve()
      }
      const timer = setTimeout(end, ms)
      signal?.addEventListener('abort', end)
    }),
}

export function createMemoryHintBus(options: MemoryHintBusOptions = {}): MemoryHintBus {
  const { clock = realClock, ackWaitMs = 30_000, depthMax = 100_000, fate = () => 'deliver' } = options
  const queues = new Map<string, Queue>()
  const closing = new AbortController()
  let awayAtMs: number | null = null
  /** Counts wipes: what was delayed before one must not arrive after it. */
  let era = 0

  function queueOf(name: QueueName): Queue {
    const key = queueKey(name)
    const known = queues.get(key)
    if (known !== undefined) return known
    const made: Queue = {
      ready: [],
      delayed: 0,
      delivered: new Map(),
      consumers: [],
      next: 0,
      scheduled: false,
      watched: false,
    }
    queues.set(key, made)
    return made
  }

  const sizeOf = ({ ready, delayed, delivered }: Queue): number => ready.length + delayed + delivered.size

  function schedule(queue: Queue): void {
    if (queue.scheduled) return
    queue.scheduled = true
    queueMicrotask(() => {
      queue.scheduled = false
      deliver(queue)
    })
  }

  function deliver(queue: Queue): void {
    let taken = 0
    while (awayAtMs === null && !closing.signal.aborted && taken < queue.ready.length) {
      const consumer = nextFree(queue)
      if (consumer === null) break
      handOver(queue, consumer, queue.ready[taken++]!)
    }
    if (taken > 0) queue.ready.splice(0, taken)
  }

  /** In turn, so that no consumer starves another. */
  function nextFree(queue: Queue): Consumer | null {
    for (let i = 0; i < queue.consumers.length; i++) {
      const consumer = queue.consumers[(queue.next + i) % queue.consumers.length]!
      if (consumer.paused || consumer.free() <= 0) continue
      queue.next = (queue.next + i + 1) % queue.consumers.length
      return consumer
    }
    return null
  }

  function handOver(queue: Queue, consumer: Consumer, hint: Hint): void {
    const id = Symbol('delivery')
    queue.delivered.set(id, { hint, dueAtMs: clock.monotonicMs() + ackWaitMs })
    void watchAcks(queue)
    const born = era
    consumer.onHint({
      hint,
      ack() {
        if (awayAtMs === null) queue.delivered.delete(id)
        schedule(queue)
      },
      nak(delayMs = 0) {
        if (awayAtMs !== null || !queue.delivered.delete(id)) return
        void arrive(queue, hint, delayMs, born)
      },
    })
  }

  async function arrive(queue: Queue, hint: Hint, delayMs: number, born: number): Promise<void> {
    queue.delayed += 1
    if (delayMs > 0) await clock.sleep(delayMs, closing.signal)
    if (closing.signal.aborted || born !== era) return
    queue.delayed -= 1
    queue.ready.push(hint)
    schedule(queue)
  }

  /** One sleep for all deliveries of a queue: the oldest is due first, because all wait equally long. */
  async function watchAcks(queue: Queue): Promise<void> {
    if (queue.watched) return
    queue.watched = true
    for (;;) {
      const oldest = queue.delivered.entries().next()
      if (oldest.done === true || closing.signal.aborted) break
      const [id, { hint, dueAtMs }] = oldest.value
      const waitMs = dueAtMs - clock.monotonicMs()
      if (waitMs > 0) {
        await clock.sleep(waitMs, closing.signal)
        continue
      }
      queue.delivered.delete(id)
      queue.ready.push(hint)
      schedule(queue)
    }
    queue.watched = false
  }

  const unavailable = (reason: string): BusUnavailable => new BusUnavailable(`The hint was not published: ${reason}.`)

  return {
    async publish(name, hint) {
      if (closing.signal.aborted) throw unavailable('the bus is closed')
      if (awayAtMs !== null) throw unavailable('the bus is away')
      const queue = queueOf(name)
      if (sizeOf(queue) >= depthMax) throw unavailable(`${depthMax} hints wait already`)
      const decided = fate(name, hint)
      if (decided === 'drop') return
      if (decided === 'duplicate') void arrive(queue, { ...hint }, 0, era)
      void arrive(queue, { ...hint }, typeof decided === 'object' ? decided.delayMs : 0, era)
    },

    consume(name, handlers): HintConsumer {
      const queue = queueOf(name)
      const consumer: Consumer = {
        free: () => handlers.free(),
        onHint: (delivery) => handlers.onHint(delivery),
        paused: false,
      }
      queue.consumers.push(consumer)
      schedule(queue)
      return {
        async pause() {
          consumer.paused = true
        },
        resume() {
          consumer.paused = false
          schedule(queue)
        },
        async close() {
          consumer.paused = true
          queue.consumers = queue.consumers.filter((other) => other !== consumer)
        },
      }
    },

    nudge: (name) => schedule(queueOf(name)),

    async pending(name) {
      if (awayAtMs !== null) throw new BusUnavailable('The number of waiting hints is not known: the bus is away.')
      return sizeOf(queueOf(name))
    },

    awaySinceMs: () => awayAtMs,

    async close() {
      closing.abort()
    },

    setAway(away) {
      awayAtMs = away ? (awayAtMs ?? clock.monotonicMs()) : null
      if (!away) for (const queue of queues.values()) schedule(queue)
    },

    wipe() {
      era += 1
      for (const queue of queues.values()) {
        queue.ready = []
        queue.delayed = 0
        queue.delivered.clear()
      }
    },
  }
}
