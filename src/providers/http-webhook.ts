/**
 * Deliveries of a described provider: how it is given our URL, and how what it sends there is verified.
 *
 * - B1 Verified on the raw bytes, before anything is parsed; compared in constant time.
 * - B2 What is unsigned, or not to be read, says one thing only: ask now.
 * - B3 A refusal names what was wrong, never a signature, a secret or a body.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import type { ProviderDeps, WebhookDelivery, WebhookNews, WebhookReader } from './contract.js'
import { WebhookRefused } from './contract.js'
import { readFinished, readStatus } from './http-answer.js'
import { parseJsonBody } from './http-session.js'
import type { HttpSettings, WebhookSettings } from './http-settings.js'

const ASK: WebhookNews = { kind: 'ask' }

/** Throws TypeError when the secret can't be a key of the described kind. */
export function createWebhookReader(
  name: string,
  settings: HttpSettings,
  webhook: WebhookSettings,
  { secret }: ProviderDeps,
): WebhookReader {
  if (webhook.verify === 'none') return () => ASK
  const verify =
    webhook.verify === 'standard-webhooks'
      ? standardVerifier(name, secret(webhook.secret.secret))
      : hmacVerifier(name, webhook.verify.hmac, secret(webhook.secret.secret))
  return (delivery) => {
    verify(delivery)
    return webhook.body === 'status' ? readBody(settings, delivery) : ASK
  }
}

function readBody(settings: HttpSettings, { headers, body }: WebhookDelivery): WebhookNews {
  const json = parseJsonBody(body)
  if (json === undefined) throw new WebhookRefused(400, 'The delivery is no JSON.')
  const { job } = settings
  if (job === null || job.result !== undefined) return ASK
  const told = { evidence: { via: 'webhook' }, limits: null }
  const answer = { status: 200, headers, json }
  const news = readStatus(settings, job.poll as never, answer, { handle: '-', pollAfterMs: undefined }, told, () =>
    readFinished(settings, json, json, told),
  )
  return news.kind === 'accepted' || news.kind === 'unknown' ? ASK : { kind: 'answer', answer: news }
}

/** https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
function standardVerifier(name: string, secret: string): (delivery: WebhookDelivery) => void {
  const webhook = readable(name, () => new Webhook(secret))
  return ({ headers, body }) => {
    try {
      // The library signs text: bytes that are no UTF-8 would become others.
      new TextDecoder('utf-8', { fatal: true }).decode(body)
      webhook.verify(Buffer.from(body), headers, { jsonParse: false })
    } catch {
      throw new WebhookRefused(401, "The delivery's signature, id or time is missing or wrong.")
    }
  }
}

type Hmac = { header: string; algorithm: 'sha256' | 'sha512'; encoding: 'hex' | 'base64'; prefix: string }

function hmacVerifier(name: string, hmac: Hmac, secret: string): (delivery: WebhookDelivery) => void {
  if (secret === '') throw new TypeError(`Provider ${name} can't verify webhooks: its secret is empty.`)
  const { algorithm, encoding, prefix } = hmac
  const header = hmac.header.toLowerCase()
  return ({ headers, body }) => {
    const given = headers[header]
    const expected = createHmac(algorithm, secret).update(body).digest()
    const signature = given?.startsWith(prefix) ? Buffer.from(given.slice(prefix.length), encoding) : Buffer.alloc(0)
    if (signature.length !== expected.length || !timingSafeEqual(signature, expected))
      throw new WebhookRefused(401, `The delivery's signature in ${header} is missing or wrong.`)
  }
}

function readable<T>(name: string, make: () => T): T {
  try {
    return make()
  } catch {
    throw new TypeError(`Provider ${name} can't verify webhooks: its secret is empty or no key of that kind.`)
  }
}

type Carried = { path: string; headers: { [name: string]: string }; body: string | Uint8Array }

/** Gives the provider our URL. Only the body's field is ours: the rest stays the frozen request. */
export function carryUrl(webhook: WebhookSettings | null, url: string | null, plain: Carried): Carried {
  if (webhook === null || url === null) return plain
  const { carries } = webhook
  if ('header' in carries) return { ...plain, headers: { ...plain.headers, [carries.header]: url } }
  if ('query' in carries) {
    const sign = plain.path.includes('?') ? '&' : '?'
    return { ...plain, path: `${plain.path}${sign}${carries.query}=${encodeURIComponent(url)}` }
  }
  const rest = String(plain.body).slice(1)
  const field = `{${JSON.stringify(carries.body)}:${JSON.stringify(url)}`
  return { ...plain, body: rest === '}' ? `${field}}` : `${field},${rest}` }
}

/** Throws where the URL could not be put into this body later. */
export function checkCarrying(webhook: WebhookSettings | null, content: unknown): void {
  if (webhook === null || !('body' in webhook.carries)) return
  const field = webhook.carries.body
  if (typeof content !== 'object' || content === null || Array.isArray(content) || content instanceof Uint8Array)
    throw new TypeError(`The webhook's URL is carried in the body's field ${field}: the body must be a JSON object.`)
  if (Object.hasOwn(content, field))
    throw new TypeError(`The body has a field ${field}, which is where the webhook's URL is carried.`)
}
