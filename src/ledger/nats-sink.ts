/**
 * Charges to JetStream: `<prefix>.charges`, in a stream of its own. `Nats-Msg-Id` is the charge's id, so that a repeat
 * within the stream's window is stored once; consumers keep to the id all the same.
 *
 * The stream is a window on the charges, not their home (P9): bounded by age and size, oldest gone first. A consumer that
 * was away for longer catches up by GET /v1/charges. An operator may tune its limits, or make another stream for the subject.
 */
import type { NatsConnection } from 'nats'
import { DiscardPolicy, ErrorCode, nanos, NatsError, RetentionPolicy, StorageType } from 'nats'
import type { ChargeSink, SendOutcome } from './contract.js'
import { NATS_SINK } from './contract.js'

const TIMEOUT_MS = 5_000
const LIMITS = { messagesMax: 2_000_000, bytesMax: 256 * 1024 * 1024, ageMaxMs: 30 * 24 * 3_600_000 }
/** How long JetStream itself drops a repeat. Ids are kept in memory there. */
const DUPLICATE_WINDOW_MS = 10 * 60_000

export const chargesSubject = (prefix: string): string => `${prefix}.charges`
export const chargesStream = (prefix: string): string => `${prefix.toUpperCase().replaceAll('.', '_')}_CHARGES`

export type NatsSinkDeps = { nats: NatsConnection; prefix: string; replicas?: number }

export const createNatsSink = ({ nats, prefix, replicas = 1 }: NatsSinkDeps): ChargeSink => {
  const subject = chargesSubject(prefix)

  const ensureStream = async (): Promise<void> => {
    const jsm = await nats.jetstreamManager({ checkAPI: false, timeout: TIMEOUT_MS })
    try {
      await jsm.streams.add({
        name: chargesStream(prefix),
        description: 'Charges, for others. Their home is MongoDB: see GET /v1/charges.',
        subjects: [subject],
        retention: RetentionPolicy.Limits,
        discard: DiscardPolicy.Old,
        storage: StorageType.File,
        num_replicas: replicas,
        max_msgs: LIMITS.messagesMax,
        max_bytes: LIMITS.bytesMax,
        max_age: nanos(LIMITS.ageMaxMs),
        duplicate_window: nanos(DUPLICATE_WINDOW_MS),
      })
    } catch (error) {
      // Another process made it in between, or an operator has another one for the subject.
      if ((await jsm.streams.find(subject).catch(() => null)) === null) throw error
    }
  }

  const publish = async (id: string, body: string): Promise<void> => {
    await nats.jetstream({ timeout: TIMEOUT_MS }).publish(subject, body, { msgID: id, timeout: TIMEOUT_MS })
  }

  return {
    name: NATS_SINK,
    forgets: null,
    async send({ id, body }): Promise<SendOutcome> {
      try {
        await publish(id, body).catch(async (error: unknown) => {
          if (!isStreamMissing(error)) throw error
          await ensureStream()
          await publish(id, body)
        })
        return { kind: 'sent' }
      } catch (error) {
        return { kind: 'failed', code: codeOf(error) }
      }
    },
  }
}

/** Nobody took the message: there is no stream for the subject. */
const isStreamMissing = (error: unknown): boolean => error instanceof NatsError && error.code === ErrorCode.NoResponders

const codeOf = (error: unknown): string => {
  if (!(error instanceof NatsError)) return 'nats-error'
  return `nats-${error.api_error?.err_code ?? error.code}`.toLowerCase().slice(0, 60)
}
