/**
 * What goes back over NATS: the answer to a request, the receipts subject, and the refused message itself.
 * A refusal has the shape of HTTP's problem details (RFC 9457), so that a submitter reads one shape everywhere.
 *
 * R1 Everything published here is confirmed by JetStream before the submission is acked.
 * R2 A refused message is kept whole: where the reason no longer fits beside it, in two parts.
 */
import { headers as newHeaders, type JetStreamClient, type MsgHdrs, type NatsConnection } from 'nats'
import type { Receipt, Refusal } from './contract.js'
import type { IngestNames } from './nats-names.js'

/** Where a submission came from, so that a reader of the receipts subject can tell which one is meant. */
export type SubmissionPlace = {
  subject: string
  pipeline: string | null
  key: string | null
  stream: string | null
  sequence: number | null
}

type RefusedMessage = { id: string; place: SubmissionPlace; headers: MsgHdrs | undefined; data: Uint8Array }

export type Answers = {
  receipt(source: string, id: string, receipt: Receipt, place: SubmissionPlace): Promise<void>
  refusal(source: string, refusal: Refusal, message: RefusedMessage): Promise<void>
  /** An answer that no one asked for, on the receipts subject. */
  publish(source: string, body: object): Promise<void>
}

const PUBLISH_TIMEOUT_MS = 5_000
/** The protocol line and the headers of the server's own. */
const ENVELOPE_BYTES_MAX = 512
const REASON_CHARS_MAX = 500

export type ProblemOverNats = { type: string; status: number; code: string; detail: string; [fact: string]: unknown }

export const problemOf = (refusal: Refusal): ProblemOverNats => ({
  ...refusal.details,
  type: `urn:endstate:problem:${refusal.code}`,
  status: refusal.status,
  code: refusal.code,
  detail: refusal.message,
})

export function createAnswers(nc: NatsConnection, names: IngestNames): Answers {
  const js: JetStreamClient = nc.jetstream({ timeout: PUBLISH_TIMEOUT_MS })

  async function publish(
    subject: string,
    body: string | Uint8Array,
    id: string | null,
    headers?: MsgHdrs,
  ): Promise<void> {
    // The id is the submission's place, so that a redelivery within two minutes does not repeat its answer.
    const options = {
      timeout: PUBLISH_TIMEOUT_MS,
      ...(id === null ? {} : { msgID: id }),
      ...(headers === undefined ? {} : { headers }),
    }
    await js.publish(subject, body, options)
  }

  async function keep(source: string, refusal: Refusal, message: RefusedMessage): Promise<void> {
    const room = (nc.info?.max_payload ?? 1024 * 1024) - ENVELOPE_BYTES_MAX
    const subject = names.refused(source)
    const whole = reasonHeaders(refusal, message, message.headers)
    if (bytesOf(whole) + message.data.length <= room) {
      await publish(subject, message.data, `${message.id}:refused`, whole)
      return
    }
    const half = Math.ceil(message.data.length / 2)
    for (const part of [1, 2]) {
      const headers = reasonHeaders(refusal, message, bytesOf(whole) < room / 2 ? message.headers : undefined)
      headers.set('Endstate-Part', `${part}/2`)
      const data = part === 1 ? message.data.subarray(0, half) : message.data.subarray(half)
      await publish(subject, data, `${message.id}:refused:${part}`, headers)
    }
  }

  return {
    publish: (source, body) => publish(names.receipts(source), JSON.stringify(body), null),
    async receipt(source, id, receipt, place) {
      await publish(names.receipts(source), JSON.stringify({ ...receipt, submission: place }), id)
    },
    async refusal(source, refusal, message) {
      await keep(source, refusal, message)
      const body = JSON.stringify({ error: problemOf(refusal), submission: message.place })
      await publish(names.receipts(source), body, message.id)
    },
  }
}

function reasonHeaders(refusal: Refusal, message: RefusedMessage, original: MsgHdrs | undefined): MsgHdrs {
  const headers = newHeaders()
  for (const name of original?.keys() ?? []) {
    // The server acts on its own headers (deduplication, expected sequences): they must not act again here.
    if (name.toLowerCase().startsWith('nats-')) continue
    for (const value of original?.values(name) ?? []) headers.append(name, value)
  }
  headers.set('Endstate-Refusal-Code', refusal.code)
  headers.set('Endstate-Refusal-Reason', refusal.message.replace(/\s+/g, ' ').slice(0, REASON_CHARS_MAX))
  headers.set('Endstate-Refusal-Subject', message.place.subject)
  return headers
}

const bytesOf = (headers: MsgHdrs): number => {
  let bytes = 0
  for (const name of headers.keys()) {
    for (const value of headers.values(name)) bytes += Buffer.byteLength(name) + Buffer.byteLength(value) + 4
  }
  return bytes
}
