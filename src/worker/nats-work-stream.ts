/**
 * Keeps the work stream and its consumers as they must be. JetStream's own state is disposable (P9): whatever
 * is missing is made anew, and what an operator has tuned (limits, replicas, storage) is left alone.
 *
 * N3 The stream deletes nothing silently: work-queue retention, DiscardNew, explicit limits.
 * N4 A consumer never gives up on a hint: explicit ack, max_deliver -1.
 */
import type { ConsumerConfig, JetStreamManager, NatsConnection, StreamConfig, StreamInfo } from 'nats'
import { AckPolicy, DiscardPolicy, nanos, NatsError, RetentionPolicy, StorageType } from 'nats'
import type { QueueName } from './contract.js'
import type { WorkNames } from './nats-subjects.js'

export type WorkStreamLimits = {
  replicas: number
  storage: 'file' | 'memory'
  messagesMax: number
  /** Per queue, so that one provider's unread hints can't fill the stream for the others (P8). */
  messagesPerQueueMax: number
  bytesMax: number
  ageMaxMs: number
  ackWaitMs: number
  ackPendingMax: number
}

export const WORK_STREAM_LIMITS: WorkStreamLimits = {
  replicas: 1,
  storage: 'file',
  messagesMax: 1_000_000,
  messagesPerQueueMax: 250_000,
  bytesMax: 128 * 1024 * 1024,
  ageMaxMs: 15 * 60_000,
  ackWaitMs: 5_000,
  ackPendingMax: 20_000,
}

const PULLS_WAITING_MAX = 4_096

const STREAM_NOT_FOUND = 10_059
const CONSUMER_NOT_FOUND = 10_014
const STREAM_NAME_IN_USE = 10_058
const CONSUMER_EXISTS = 10_148

/** JetStream's own error number, or null for an error of another kind. */
const jetStreamCode = (error: unknown): number | null =>
  error instanceof NatsError ? (error.api_error?.err_code ?? null) : null

export const isMissing = (error: unknown): boolean => {
  const code = jetStreamCode(error)
  return code === STREAM_NOT_FOUND || code === CONSUMER_NOT_FOUND
}

const streamConfig = (names: WorkNames, limits: WorkStreamLimits): Partial<StreamConfig> & { name: string } => ({
  name: names.stream,
  description: 'Hints that a record may advance. Disposable: MongoDB holds the truth.',
  subjects: names.captures,
  retention: RetentionPolicy.Workqueue,
  discard: DiscardPolicy.New,
  discard_new_per_subject: true,
  storage: limits.storage === 'memory' ? StorageType.Memory : StorageType.File,
  num_replicas: limits.replicas,
  max_msgs: limits.messagesMax,
  max_msgs_per_subject: limits.messagesPerQueueMax,
  max_bytes: limits.bytesMax,
  max_age: nanos(limits.ageMaxMs),
  // Hints carry no Nats-Msg-Id, so that a repeated hint is never dropped: nothing needs to be remembered.
  duplicate_window: nanos(100),
})

/** Makes the stream, or mends what breaks N3. Throws when it can't, naming what an operator must do. */
export async function ensureWorkStream(
  jsm: JetStreamManager,
  names: WorkNames,
  limits: WorkStreamLimits,
): Promise<void> {
  const found = await infoOrNull(() => jsm.streams.info(names.stream))
  if (found === null) {
    try {
      await jsm.streams.add(streamConfig(names, limits))
    } catch (error) {
      // Another process made it in between, perhaps with other limits: then look at what is there.
      if (jetStreamCode(error) !== STREAM_NAME_IN_USE) throw error
      await mendWorkStream(jsm, names, limits, await jsm.streams.info(names.stream))
    }
    return
  }
  await mendWorkStream(jsm, names, limits, found)
}

async function mendWorkStream(
  jsm: JetStreamManager,
  names: WorkNames,
  limits: WorkStreamLimits,
  found: StreamInfo,
): Promise<void> {
  const { config } = found
  if (config.retention !== RetentionPolicy.Workqueue) {
    throw new Error(
      `Stream ${names.stream} has ${config.retention} retention where work-queue retention is needed. ` +
        `It can't be changed in place: delete the stream (hints are disposable), or choose another subject prefix.`,
    )
  }
  const bounded = config.max_msgs > 0 && config.max_bytes > 0 && config.max_age > 0
  const captures = names.captures.every((subject) => config.subjects.includes(subject))
  if (bounded && captures && config.discard === DiscardPolicy.New) return
  const wanted = streamConfig(names, limits)
  await jsm.streams.update(names.stream, {
    ...config,
    subjects: captures ? config.subjects : names.captures,
    discard: DiscardPolicy.New,
    ...(bounded ? {} : { max_msgs: wanted.max_msgs!, max_bytes: wanted.max_bytes!, max_age: wanted.max_age! }),
  })
}

/** Makes the queue's durable consumer, or mends what breaks N4. The stream must be there. */
export async function ensureWorkConsumer(
  jsm: JetStreamManager,
  names: WorkNames,
  queue: QueueName,
  limits: WorkStreamLimits,
): Promise<void> {
  const durable = names.durable(queue)
  const wanted: Partial<ConsumerConfig> = {
    durable_name: durable,
    filter_subject: names.subject(queue),
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(limits.ackWaitMs),
    max_deliver: -1,
    max_ack_pending: limits.ackPendingMax,
    max_waiting: PULLS_WAITING_MAX,
  }
  const found = await infoOrNull(() => jsm.consumers.info(names.stream, durable))
  if (found === null) {
    try {
      await jsm.consumers.add(names.stream, wanted)
    } catch (error) {
      if (jetStreamCode(error) !== CONSUMER_EXISTS) throw error
    }
    return
  }
  const { config } = found
  if (config.ack_policy === AckPolicy.Explicit && (config.max_deliver ?? -1) === -1) return
  await jsm.consumers.update(names.stream, durable, { ...config, max_deliver: -1 })
}

async function infoOrNull<T>(ask: () => Promise<T>): Promise<T | null> {
  try {
    return await ask()
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

const VERSION_MIN = [2, 10] as const

/**
 * Throws when the server can't carry hints, naming the fix: older than 2.10, without JetStream, or an account
 * that may not use it. To be called once at startup; a running bus reports its state by `awaySinceMs`.
 */
export async function assertJetStream(nc: NatsConnection, timeoutMs = 5_000): Promise<void> {
  const where = nc.getServer()
  const version = nc.info?.version ?? 'unknown'
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major < VERSION_MIN[0] || (major === VERSION_MIN[0] && minor < VERSION_MIN[1])) {
    throw new Error(`The NATS server at ${where} is ${version}; 2.10 or newer is needed. Upgrade nats-server.`)
  }
  try {
    const jsm = await nc.jetstreamManager({ checkAPI: false, timeout: timeoutMs })
    await jsm.getAccountInfo()
  } catch (error) {
    throw new Error(jetStreamFix(where, version, nc.info?.jetstream === true, error), { cause: error })
  }
}

function jetStreamFix(where: string, version: string, serverHasIt: boolean, error: unknown): string {
  const server = `The NATS server at ${where} (${version})`
  const code = error instanceof NatsError ? error.code : ''
  if (code === '503' && !serverHasIt) {
    return `${server} has no JetStream. Start it with "nats-server -js -sd DIR", or add "jetstream { store_dir: DIR }" to its configuration.`
  }
  if (code === '503' || jetStreamCode(error) === 10_039) {
    return `${server} has JetStream, but not for this account. Add "jetstream: enabled" to the account.`
  }
  const reason = error instanceof Error ? error.message : String(error)
  return (
    `${server} did not answer for JetStream: ${reason}. ` +
    `Check that the credentials may publish to "$JS.API.>" and subscribe to "_INBOX.>", and that the cluster has a leader.`
  )
}
