/**
 * From a NATS message to a Submission: plain messages with headers, and CloudEvents in binary and structured mode
 * (CloudEvents 1.0.2, NATS protocol binding 1.0.2).
 *
 * E1 The key is the header Idempotency-Key, else the CloudEvents id, else what the caller knows of the message's
 *    place. Never Nats-Msg-Id: its deduplication is per stream and drops other content silently (P7).
 * E2 A refusal names the header or field and how to mend it, never its value.
 */
import { Match, type MsgHdrs } from 'nats'
import { z } from 'zod'
import { Refusal, type Submission } from './contract.js'
import { parseJson } from './json-limits.js'

export type NatsMessage = { headers?: MsgHdrs | undefined; data: Uint8Array }
export type ObjectRef = { bucket: string; name: string }

/** What a message says about itself; `content` is null where an object holds it. */
export type NatsEnvelope = Pick<Submission, 'key' | 'mediaType' | 'fileName' | 'metadata'> & {
  content: Submission['content'] | null
  object: ObjectRef | null
}

const META = 'endstate-meta-'
const STRUCTURED = 'application/cloudevents+json'
const STRUCTURED_BATCH = 'application/cloudevents-batch'

/** Throws Refusal `invalid-submission`. */
export function readEnvelope(message: NatsMessage, placeKey: string | null): NatsEnvelope {
  const { headers, data } = message
  const contentType = one(headers, 'Content-Type')
  const ownKey = one(headers, 'Idempotency-Key')
  const shared = { fileName: one(headers, 'Endstate-Filename'), metadata: metadataOf(headers) }
  const object = objectOf(one(headers, 'Endstate-Object'))
  if (object !== null) {
    const key = ownKey ?? binaryId(headers) ?? placeKey
    return { ...shared, key, mediaType: contentType, content: null, object }
  }
  if (contentType?.toLowerCase().startsWith(STRUCTURED_BATCH) === true) {
    throw invalid(
      'A batch of CloudEvents is not taken, because each event needs its own receipt. Send them one by one.',
    )
  }
  const event = structuredEvent(contentType, data)
  if (event !== null) {
    return { ...shared, key: ownKey ?? event.id, mediaType: event.mediaType, content: event.content, object: null }
  }
  const key = ownKey ?? binaryId(headers) ?? placeKey
  return { ...shared, key, mediaType: contentType, content: { bytes: data }, object: null }
}

/** Null where the header is absent; an empty one stays empty, and is refused where it must not be. */
function one(headers: MsgHdrs | undefined, name: string): string | null {
  const values = headers?.values(name, Match.IgnoreCase) ?? []
  if (values.length > 1) throw invalid(`The header ${name} is given ${values.length} times. Give it once.`)
  return values[0] ?? null
}

function metadataOf(headers: MsgHdrs | undefined): { [name: string]: string } {
  const entries: [string, string][] = []
  for (const name of headers?.keys() ?? []) {
    if (!name.toLowerCase().startsWith(META)) continue
    const own = name.slice(META.length)
    if (own === '') throw invalid('A header Endstate-Meta- has no name behind the last "-". Write Endstate-Meta-NAME.')
    entries.push([own, headers?.get(name) ?? ''])
  }
  // fromEntries keeps a name such as __proto__ as an own field, where accept() sees and refuses it.
  return Object.fromEntries(entries)
}

function objectOf(reference: string | null): ObjectRef | null {
  if (reference === null) return null
  const slash = reference.indexOf('/')
  const bucket = reference.slice(0, Math.max(slash, 0))
  const name = reference.slice(slash + 1)
  if (!/^[A-Za-z0-9_-]{1,100}$/.test(bucket) || name === '') {
    throw invalid('The header Endstate-Object must be BUCKET/NAME, with a bucket of A-Z, a-z, 0-9, "_" and "-".')
  }
  return { bucket, name }
}

/** The binding percent-encodes what is no printable ASCII; an id that is not encoded properly is taken as it is. */
function binaryId(headers: MsgHdrs | undefined): string | null {
  const id = one(headers, 'ce-id')
  if (id === null) return null
  try {
    return decodeURIComponent(id)
  } catch {
    return id
  }
}

const CloudEvent = z.object({
  specversion: z.string().startsWith('1.', 'must be "1.0"'),
  id: z.string().min(1),
  source: z.string().min(1),
  type: z.string().min(1),
  datacontenttype: z.string().optional(),
  data: z.unknown().optional(),
  data_base64: z.base64().optional(),
})

type Structured = { id: string; mediaType: string | null; content: Submission['content'] }

/** Null when the message is no CloudEvent in structured mode. Without a Content-Type it must look like one entirely. */
function structuredEvent(contentType: string | null, data: Uint8Array): Structured | null {
  const declared = contentType?.toLowerCase().startsWith(STRUCTURED) === true
  if (
    !declared &&
    (contentType !== null || !Buffer.from(data.buffer, data.byteOffset, data.byteLength).includes('"specversion"'))
  ) {
    return null
  }
  const value = declared ? parseJson(data, 'The CloudEvent') : jsonOrNothing(data)
  const parsed = CloudEvent.safeParse(value)
  if (!parsed.success) {
    if (!declared) return null
    const faults = parsed.error.issues
      .slice(0, 5)
      .map(({ path, message }) => `${path.join('.') || 'the event'}: ${message}`)
    throw invalid(`The CloudEvent is not valid. ${faults.join('. ')}. See CloudEvents 1.0, JSON format.`)
  }
  return contentOf(parsed.data, value)
}

function contentOf(event: z.output<typeof CloudEvent>, raw: unknown): Structured {
  const { id, datacontenttype: type, data_base64: base64 } = event
  if (base64 !== undefined) {
    return { id, mediaType: type ?? null, content: { bytes: Buffer.from(base64, 'base64') } }
  }
  if (!(raw instanceof Object) || !('data' in raw)) {
    throw invalid('The CloudEvent has neither data nor data_base64. Put the content to process into one of them.')
  }
  const json = type === undefined || /[/+]json\s*(;|$)/i.test(type)
  if (!json && typeof raw.data === 'string') {
    return { id, mediaType: type, content: { bytes: Buffer.from(raw.data, 'utf8') } }
  }
  return { id, mediaType: json ? (type ?? null) : null, content: { json: raw.data } }
}

function jsonOrNothing(data: Uint8Array): unknown {
  try {
    return parseJson(data, 'The content')
  } catch {
    // Then it is no CloudEvent; what it is, accept() finds out.
    return null
  }
}

const invalid = (message: string): Refusal => new Refusal('invalid-submission', 400, message)
