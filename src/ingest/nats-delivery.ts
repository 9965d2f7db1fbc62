/**
 * One JetStream message: submission in, answer out, then the ack.
 *
 * D1 Acked only after the record is durable or the refusal is final, and the answer is stored. Everything else is a nak
 *    with a delay: nothing is lost, and storage that is down is not hammered.
 * D2 Without a key of its own, a message's key is the time at which its stream stored it and its sequence there: both
 *    stay the same over every redelivery, and no other message ever has them, also after the stream was made anew.
 */
import type { JetStreamManager, Msg, NatsConnection } from 'nats'
import type { Logger } from 'pino'
import { Refusal, type Accept, type Receipt, type Submission } from './contract.js'
import type { Answers, SubmissionPlace } from './nats-answers.js'
import { readEnvelope, type NatsEnvelope } from './nats-envelope.js'
import type { IngestNames } from './nats-names.js'
import { readObject } from './nats-object.js'

export type DeliveryDeps = {
  nc: NatsConnection
  jsm: JetStreamManager
  accept: Accept
  answers: Answers
  names: IngestNames
  log: Pick<Logger, 'warn'>
  /** After this time without a word from us the stream delivers a message again. */
  ackWaitMs: number
}

type Place = { deliveries: number; sequence: number; storedAtNanos: string }

const NAK_FIRST_MS = 500
const NAK_MAX_MS = 10_000

const encoder = new TextEncoder()
const ACK = encoder.encode('+ACK')
const WORKING = encoder.encode('+WPI')

/** Resolves when the message is acked or given back. Never rejects. */
export async function takeDelivery(deps: DeliveryDeps, source: string, msg: Msg): Promise<void> {
  const reply = msg.reply ?? ''
  const at = placeOf(reply)
  if (at === null) return
  const working = setInterval(() => say(deps.nc, reply, WORKING), deps.ackWaitMs / 3)
  try {
    await answerOne(deps, source, msg, at)
    say(deps.nc, reply, ACK)
  } catch (error) {
    const delayMs = Math.min(NAK_MAX_MS, NAK_FIRST_MS * 2 ** Math.min(at.deliveries - 1, 10))
    say(deps.nc, reply, encoder.encode(`-NAK {"delay": ${delayMs * 1_000_000}}`))
    deps.log.warn(
      { source, code: codeOf(error), deliveries: at.deliveries, delayMs },
      'A submission from NATS could not be answered yet; it comes again.',
    )
  } finally {
    clearInterval(working)
  }
}

/** Throws what a later try may mend. */
async function answerOne(deps: DeliveryDeps, source: string, msg: Msg, at: Place): Promise<void> {
  const stream = deps.names.ingestStream(source)
  const id = `${stream}:${at.storedAtNanos}:${at.sequence}`
  const place: SubmissionPlace = { subject: msg.subject, pipeline: null, key: null, stream, sequence: at.sequence }
  let receipt: Receipt
  try {
    place.pipeline = pipelineOf(deps.names, 'ingest', msg.subject, source)
    const envelope = readEnvelope(msg, `nats:${at.storedAtNanos}:${at.sequence}`)
    place.key = envelope.key
    receipt = await deps.accept(submissionOf(deps.jsm, envelope, source, place.pipeline, 'nats-stream'))
  } catch (error) {
    if (!isFinal(error)) throw error
    await deps.answers.refusal(source, error, { id, place, headers: msg.headers, data: msg.data })
    return
  }
  await deps.answers.receipt(source, id, receipt, place)
}

export function submissionOf(
  jsm: JetStreamManager,
  envelope: NatsEnvelope,
  source: string,
  pipeline: string,
  via: string,
): Submission {
  const { key, mediaType, fileName, metadata, object } = envelope
  const content = object === null ? envelope.content : { stream: readObject(jsm, source, object) }
  const named = fileName ?? object?.name ?? null
  return {
    source,
    via,
    pipeline,
    key,
    mediaType,
    fileName: named,
    metadata,
    content: content ?? { bytes: new Uint8Array() },
  }
}

/** The pipeline's name from `<prefix>.<kind>.<source>.<pipeline>`. Throws Refusal. */
export function pipelineOf(names: IngestNames, kind: 'submit' | 'ingest', subject: string, source: string): string {
  const [, pipeline, ...more] = names.words(subject)
  if (pipeline !== undefined && more.length === 0) return pipeline
  const found = names.words(subject).length
  throw new Refusal(
    'invalid-submission',
    400,
    `The subject must be ${names.shape(kind, source)}; found ${found} words after "${kind}" where 2 belong.`,
  )
}

/** Trying again can't change it. `upload-aborted` and `unavailable` may mend themselves; so may what no one foresaw. */
const isFinal = (error: unknown): error is Refusal =>
  error instanceof Refusal && error.code !== 'unavailable' && error.code !== 'upload-aborted'

/** From the reply subject of a delivery (ADR-15): 9 words, or 11 and more with the account's domain. */
function placeOf(reply: string): Place | null {
  const words = reply.split('.')
  if (!reply.startsWith('$JS.ACK.') || words.length < 9) return null
  const at = words.length === 9 ? 4 : 6
  const [deliveries, sequence, , storedAtNanos] = words.slice(at)
  return { deliveries: Number(deliveries), sequence: Number(sequence), storedAtNanos: storedAtNanos ?? '' }
}

export function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return error instanceof Error ? error.name : 'unknown'
}

function say(nc: NatsConnection, reply: string, body: Uint8Array): void {
  if (nc.isClosed()) return
  try {
    nc.publish(reply, body)
  } catch {
    // The connection is draining: the message comes again, and its key makes it the same record.
  }
}
