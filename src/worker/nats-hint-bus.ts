/**
 * Hints over JetStream: one work-queue stream, one durable pull consumer per queue.
 *
 * Owns: putting the parts together (publisher, pullers, health) and making the stream and its consumers anew.
 * Does not own the connection: the caller opens it (`maxReconnectAttempts: -1`, `pingInterval` 5 to 10 s) and
 * closes it after the bus.
 *
 * N11 A deleted stream or consumer is made anew within about two seconds, by whoever notices first: a
 *     publisher, a puller, or the probe of every second. Once a minute all of them are verified.
 */
import type { JetStreamManager, NatsConnection } from 'nats'
import type { Logger } from 'pino'
import type { HintBus, QueueName } from './contract.js'
import { BusUnavailable } from './contract.js'
import { createHealth } from './nats-health.js'
import { writeHint } from './nats-hint.js'
import { createPublisher } from './nats-publisher.js'
import type { Puller } from './nats-pull.js'
import { createPuller } from './nats-pull.js'
import { queueKey, workNames } from './nats-subjects.js'
import type { WorkStreamLimits } from './nats-work-stream.js'
import { ensureWorkConsumer, ensureWorkStream, isMissing, WORK_STREAM_LIMITS } from './nats-work-stream.js'

export type NatsHintBusOptions = {
  log: Pick<Logger, 'info' | 'warn' | 'error'>
  /** Subjects and streams lie under it. Default `endstate`. */
  prefix?: string
  replicas?: number
  limits?: Partial<Omit<WorkStreamLimits, 'replicas'>>
  publishTimeoutMs?: number
  /** Hints that may wait for their acknowledgement at once. */
  inFlightMax?: number
  probeEveryMs?: number
}

const REQUEST_TIMEOUT_MS = 2_000
const VERIFY_EVERY_MS = 60_000
const LOG_GAP_MS = 10_000

export function createNatsHintBus(nc: NatsConnection, options: NatsHintBusOptions): HintBus {
  const { log, publishTimeoutMs = 2_000, inFlightMax = 20_000, probeEveryMs = 1_000 } = options
  const names = workNames(options.prefix ?? 'endstate')
  const limits: WorkStreamLimits = { ...WORK_STREAM_LIMITS, ...options.limits, replicas: options.replicas ?? 1 }
  const nowMs = (): number => performance.now()
  const queues = new Map<string, { queue: QueueName; pullers: Set<Puller> }>()
  let closed = false
  let unreadable = 0
  let verifiedAtMs = Number.NEGATIVE_INFINITY
  let ensuring: Promise<void> | null = null
  let jsmReady: Promise<JetStreamManager> | null = null
  let loggedAtMs = Number.NEGATIVE_INFINITY

  const manager = (): Promise<JetStreamManager> => {
    jsmReady ??= nc.jetstreamManager({ checkAPI: false, timeout: REQUEST_TIMEOUT_MS })
    return jsmReady
  }

  async function ensureAll(): Promise<void> {
    const jsm = await manager()
    await ensureWorkStream(jsm, names, limits)
    for (const { queue } of queues.values()) await ensureWorkConsumer(jsm, names, queue, limits)
    verifiedAtMs = nowMs()
  }

  /** Many may notice at once that something is missing; one makes it anew. */
  function ensure(): Promise<void> {
    ensuring ??= ensureAll().finally(() => {
      ensuring = null
    })
    return ensuring
  }

  async function check(): Promise<void> {
    if (nowMs() - verifiedAtMs >= VERIFY_EVERY_MS) return ensure()
    const jsm = await manager()
    try {
      await jsm.streams.info(names.stream)
    } catch (error) {
      if (!isMissing(error)) throw error
      log.warn({ stream: names.stream }, 'The stream of hints was gone; it is made anew.')
      await ensure()
    }
  }

  const eachPuller = (act: (puller: Puller) => void): void => {
    for (const { pullers } of queues.values()) for (const puller of pullers) act(puller)
  }

  /** At most one line in ten seconds: a broken bus must not flood the log. */
  function warn(what: string, error: unknown): void {
    if (nowMs() - loggedAtMs < LOG_GAP_MS) return
    loggedAtMs = nowMs()
    log.warn({ reason: error instanceof Error ? error.message : String(error) }, what)
  }

  const publisher = createPublisher(nc, { timeoutMs: publishTimeoutMs, inFlightMax, nowMs, onStreamMissing: ensure })
  const health = createHealth(nc, {
    everyMs: probeEveryMs,
    log,
    nowMs,
    check,
    onDisconnect() {
      publisher.failAll('the connection to NATS is lost')
      eachPuller((puller) => void puller.detach(false))
    },
    onBack() {
      eachPuller((puller) => puller.attach())
    },
    onTick() {
      if (unreadable > 0) log.warn({ unreadable }, 'Messages on the work subjects were no hints; they were dropped.')
      unreadable = 0
      eachPuller((puller) => puller.tick())
    },
  })
  void health.probe()

  function register(queue: QueueName): { queue: QueueName; pullers: Set<Puller> } {
    const key = queueKey(queue)
    const known = queues.get(key)
    if (known !== undefined) return known
    const made = { queue, pullers: new Set<Puller>() }
    queues.set(key, made)
    return made
  }

  return {
    async publish(queue, hint) {
      if (!health.connected()) {
        throw new BusUnavailable('The hint was not published: the connection to NATS is lost.')
      }
      await publisher.publish(names.subject(queue), writeHint(hint))
    },

    consume(queue, handlers) {
      const entry = register(queue)
      const puller = createPuller(nc, {
        pullSubject: `$JS.API.CONSUMER.MSG.NEXT.${names.stream}.${names.durable(queue)}`,
        free: () => handlers.free(),
        onHint: (delivery) => handlers.onHint(delivery),
        nowMs,
        connected: health.connected,
        onConsumerMissing: ensure,
        onUnreadable: () => void unreadable++,
        onError: warn,
      })
      entry.pullers.add(puller)
      const attach = (): void => {
        if (health.connected()) puller.attach()
      }
      // Attached even when it can't be made now: a pull without a consumer is answered, and tried again.
      ensure().then(attach, attach)
      return {
        pause: puller.pause,
        resume: puller.resume,
        async close() {
          entry.pullers.delete(puller)
          await puller.close()
        },
      }
    },

    nudge(queue) {
      for (const puller of queues.get(queueKey(queue))?.pullers ?? []) puller.nudge()
    },

    async pending(queue) {
      try {
        const jsm = await manager()
        const info = await jsm.consumers.info(names.stream, names.durable(queue)).catch(async (error: unknown) => {
          if (!isMissing(error)) throw error
          await ensureWorkStream(jsm, names, limits)
          await ensureWorkConsumer(jsm, names, queue, limits)
          return jsm.consumers.info(names.stream, names.durable(queue))
        })
        return info.num_pending + info.num_ack_pending
      } catch (error) {
        throw new BusUnavailable('The number of waiting hints is not known.', { cause: error })
      }
    },

    awaySinceMs: health.awaySinceMs,

    async close() {
      if (closed) return
      closed = true
      health.close()
      const closing: Promise<void>[] = []
      eachPuller((puller) => closing.push(puller.close()))
      await Promise.all(closing)
      publisher.close()
    },
  }
}
