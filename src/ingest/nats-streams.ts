/**
 * The streams of the way in: one per source that holds submissions until they are answered, one for receipts, one for
 * what was refused. Missing ones are made; what an operator has tuned is left alone.
 *
 * I1 A submission is never dropped by the stream: work-queue retention, DiscardNew, no age limit. A full stream refuses
 *    the publisher.
 * I2 Its server-side deduplication is as short as the server allows: only our key decides what is the same (P7).
 */
import type { ConsumerConfig, JetStreamManager, StreamConfig } from 'nats'
import { AckPolicy, DiscardPolicy, nanos, NatsError, RetentionPolicy, StorageType } from 'nats'
import type { IngestNames } from './nats-names.js'

const DAY_MS = 24 * 60 * 60_000
const MIB = 1024 * 1024

/** JetStream sets `bytesMax` aside on disk when a stream is made. */
const INGEST_LIMITS = {
  ingest: { messagesMax: 1_000_000, bytesMax: 512 * MIB },
  receipts: { messagesMax: 1_000_000, bytesMax: 64 * MIB, ageMaxMs: 7 * DAY_MS },
  refused: { messagesMax: 100_000, bytesMax: 256 * MIB, ageMaxMs: 30 * DAY_MS },
  ackPendingMax: 1_000,
}

type Named = Partial<StreamConfig> & { name: string; subjects: string[] }

export async function ensureAnswerStreams(jsm: JetStreamManager, names: IngestNames, replicas: number): Promise<void> {
  const { receipts, refused } = INGEST_LIMITS
  const common = {
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    storage: StorageType.File,
    num_replicas: replicas,
  }
  await ensureStream(jsm, {
    ...common,
    name: names.receiptsStream,
    description: 'Receipts and refusals, by source.',
    subjects: [names.receiptsAll],
    max_msgs: receipts.messagesMax,
    max_bytes: receipts.bytesMax,
    max_age: nanos(receipts.ageMaxMs),
  })
  await ensureStream(jsm, {
    ...common,
    name: names.refusedStream,
    description: 'Submissions that were refused, as they came, with the reason in their headers.',
    subjects: [names.refusedAll],
    max_msgs: refused.messagesMax,
    max_bytes: refused.bytesMax,
    max_age: nanos(refused.ageMaxMs),
  })
}

/** The stream of one source, and its consumer. */
export async function ensureIngestStream(
  jsm: JetStreamManager,
  names: IngestNames,
  source: string,
  options: { replicas: number; ackWaitMs: number },
): Promise<void> {
  const name = names.ingestStream(source)
  await ensureStream(jsm, {
    name,
    description: `Submissions of source ${source} that have no answer yet.`,
    subjects: [names.ingestSubjects(source)],
    retention: RetentionPolicy.Workqueue,
    discard: DiscardPolicy.New,
    storage: StorageType.File,
    num_replicas: options.replicas,
    max_msgs: INGEST_LIMITS.ingest.messagesMax,
    max_bytes: INGEST_LIMITS.ingest.bytesMax,
    duplicate_window: nanos(100),
  })
  const consumer: Partial<ConsumerConfig> = {
    durable_name: names.durable,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(options.ackWaitMs),
    max_deliver: -1,
    max_ack_pending: INGEST_LIMITS.ackPendingMax,
  }
  if (await exists(() => jsm.consumers.info(name, names.durable))) return
  try {
    await jsm.consumers.add(name, consumer)
  } catch (error) {
    // Another process made it in between.
    if (!(await exists(() => jsm.consumers.info(name, names.durable)))) throw error
  }
}

async function ensureStream(jsm: JetStreamManager, wanted: Named): Promise<void> {
  if (await exists(() => jsm.streams.info(wanted.name))) return
  try {
    await jsm.streams.add(wanted)
  } catch (error) {
    if (!(await exists(() => jsm.streams.info(wanted.name)))) throw error
  }
}

async function exists(ask: () => Promise<unknown>): Promise<boolean> {
  try {
    await ask()
    return true
  } catch (error) {
    if (isNotFound(error)) return false
    throw error
  }
}

const isNotFound = (error: unknown): boolean => error instanceof NatsError && error.api_error?.code === 404
