/**
 * A submission's content from a NATS object store, chunk by chunk: one is asked for when the one before was taken, so
 * memory stays flat whatever the object's size. The client's own reader fetches ahead without bound, and opening
 * a store with it creates missing buckets.
 *
 * O1 A source reads only buckets that are open to it: its own name, or its name, "_" and more. Endstate reads with
 *    its own credentials, so without this rule one source could have another's objects processed (P12).
 * O2 What may mend itself (no answer, the object replaced while it was read) is a Refusal `unavailable`, and the
 *    message comes again; what can't (no such object, a wrong digest) is final.
 */
import { createHash } from 'node:crypto'
import { NatsError, type JetStreamManager, type StoredMsg } from 'nats'
import { z } from 'zod'
import { Refusal } from './contract.js'
import type { ObjectRef } from './nats-envelope.js'

const ObjectMeta = z.object({
  nuid: z.string().regex(/^[A-Za-z0-9]{1,64}$/),
  size: z.int().min(0),
  chunks: z.int().min(0),
  digest: z.string().startsWith('SHA-256='),
  options: z.object({ link: z.unknown().optional() }).nullish(),
})
/** A deleted object's description stays, without a digest. */
const Deleted = z.object({ deleted: z.literal(true) })

export const mayRead = (source: string, bucket: string): boolean => bucket === source || bucket.startsWith(`${source}_`)

/** Yields the object's bytes. Throws Refusal. */
export async function* readObject(jsm: JetStreamManager, source: string, ref: ObjectRef): AsyncGenerator<Uint8Array> {
  if (!mayRead(source, ref.bucket)) {
    throw invalid(
      `The bucket of Endstate-Object is not open to source "${source}". Use the bucket "${source}", or one whose name begins with "${source}_".`,
    )
  }
  const stream = `OBJ_${ref.bucket}`
  const meta = await metaOf(jsm, stream, ref)
  const hash = createHash('sha256')
  const subject = `$O.${ref.bucket}.C.${meta.nuid}`
  let bytes = 0
  let sequence = 1
  for (let chunk = 0; chunk < meta.chunks; chunk++) {
    const message = await ask(jsm, stream, { seq: sequence, next_by_subj: subject })
    if (message === null) throw away('The object was replaced or removed while it was read.')
    sequence = message.seq + 1
    bytes += message.data.length
    hash.update(message.data)
    yield message.data
  }
  const digest = `SHA-256=${hash.digest('base64url')}`
  if (bytes !== meta.size || digest !== meta.digest.replace(/=+$/, '')) {
    throw new Refusal(
      'broken-upload',
      400,
      `The object has ${bytes} bytes with another digest than its ${meta.size} declared ones. Store it again and send the reference anew.`,
    )
  }
}

async function metaOf(jsm: JetStreamManager, stream: string, ref: ObjectRef): Promise<z.output<typeof ObjectMeta>> {
  const name = Buffer.from(ref.name, 'utf8').toString('base64url')
  // Object stores pad their base64url names (ADR-20).
  const padded = name.padEnd(Math.ceil(name.length / 4) * 4, '=')
  const message = await ask(jsm, stream, { last_by_subj: `$O.${ref.bucket}.M.${padded}` })
  if (message === null)
    throw invalid('There is no object of that name in the bucket. Store it before the message is sent.')
  const described = jsonOf(message)
  if (Deleted.safeParse(described).success) {
    throw invalid('The object was deleted. Store it again before the message is sent.')
  }
  const meta = ObjectMeta.safeParse(described)
  if (!meta.success)
    throw invalid('The object has no readable description. Store it again with a NATS object store client.')
  if (meta.data.options?.link != null)
    throw invalid('The object is a link, and links are not followed. Name the object itself.')
  return meta.data
}

/** Null: there is no such message or bucket. */
async function ask(
  jsm: JetStreamManager,
  stream: string,
  query: { last_by_subj: string } | { seq: number; next_by_subj: string },
): Promise<StoredMsg | null> {
  try {
    return await jsm.streams.getMessage(stream, query)
  } catch (error) {
    if (error instanceof NatsError && error.api_error?.code === 404) return null
    throw away('The object store did not answer in time.', error)
  }
}

function jsonOf(message: StoredMsg): unknown {
  try {
    return JSON.parse(message.string())
  } catch {
    return null
  }
}

function away(message: string, cause?: unknown): Refusal {
  const refusal = new Refusal('unavailable', 503, `${message} It is tried again.`)
  refusal.cause = cause
  return refusal
}

const invalid = (message: string): Refusal => new Refusal('invalid-submission', 400, message)
