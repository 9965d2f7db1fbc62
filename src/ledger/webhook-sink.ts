/**
 * Charges to a webhook, signed as Standard Webhooks says
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md): `webhook-id` is the
 * charge's id, `webhook-signature` is `v1,` and the HMAC-SHA256 over id, timestamp and body.
 *
 * - H1 Only a 2xx means that the receiver has it. Redirects are not followed: a charge goes where the config says.
 * - H2 Whether a receiver has a charge is known only from `{"known": true|false}`. Anything else, such as a 404 of a wrong
 *   address, is no answer.
 */
import { Webhook } from 'standardwebhooks'
import { z } from 'zod'
import type { ChargeSink, SendOutcome, WebhookSettings } from './contract.js'
import { WEBHOOK_SINK } from './contract.js'

const TIMEOUT_MS = 10_000
const ANSWER_BYTES_MAX = 16 * 1024
const SECRET_BYTES = { min: 24, max: 64 }

/** Statuses that speak about this one charge, not about the receiver. */
const ABOUT_THE_CHARGE = new Set([400, 409, 413, 415, 422])

const known = z.object({ known: z.boolean() })

/** Throws when the secret is none, naming the variable and never the value. */
const signerOf = (name: string, value: string): Webhook => {
  const bytes = Buffer.from(value.replace(/^whsec_/, ''), 'base64')
  const isBase64 = /^(whsec_)?[A-Za-z0-9+/]+={0,2}$/.test(value)
  if (!isBase64 || bytes.length < SECRET_BYTES.min || bytes.length > SECRET_BYTES.max)
    throw new Error(
      `The secret ${name} signs no webhook: it must be "whsec_" and 24 to 64 bytes in base64. Make one with: echo whsec_$(openssl rand -base64 32)`,
    )
  return new Webhook(value)
}

const retryAfterMs = (response: Response): number | undefined => {
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : undefined
}

const outcomeOf = (response: Response): SendOutcome => {
  if (response.ok) return { kind: 'sent' }
  const code = `status-${response.status}`
  if (ABOUT_THE_CHARGE.has(response.status)) return { kind: 'refused', code }
  const pauseMs = retryAfterMs(response)
  return { kind: 'failed', code, ...(pauseMs !== undefined && { retryAfterMs: pauseMs }) }
}

/** Null when it is longer than any answer. */
const readText = async (response: Response): Promise<string | null> => {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += (chunk as Uint8Array).length
    if (bytes > ANSWER_BYTES_MAX) return null
    chunks.push(chunk as Uint8Array)
  }
  return Buffer.concat(chunks).toString()
}

export const createWebhookSink = (
  settings: WebhookSettings,
  deps: { secret(name: string): string; now(): Date; timeoutMs?: number },
): ChargeSink => {
  const { timeoutMs = TIMEOUT_MS } = deps
  const signer = signerOf(settings.secret.secret, deps.secret(settings.secret.secret))
  const { forgets } = settings

  const headersFor = (id: string, body: string): { [name: string]: string } => {
    const at = deps.now()
    return {
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': signer.sign(id, at, body),
      'user-agent': 'endstate',
    }
  }
  const request = (url: string | URL, init: RequestInit, signal: AbortSignal): Promise<Response> =>
    fetch(url, { ...init, redirect: 'manual', signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]) })

  const ask = async (askUrl: string, id: string, signal: AbortSignal): Promise<'has' | 'has-not' | 'unknown'> => {
    try {
      const url = new URL(askUrl)
      url.searchParams.set('id', id)
      const response = await request(url, { headers: headersFor(id, '') }, signal)
      const text = response.ok ? await readText(response) : (await response.body?.cancel(), null)
      // H2
      return text !== null && known.parse(JSON.parse(text)).known ? 'has' : text === null ? 'unknown' : 'has-not'
    } catch {
      return 'unknown'
    }
  }

  return {
    name: WEBHOOK_SINK,
    async send({ id, body }, signal) {
      try {
        const headers = { ...headersFor(id, body), 'content-type': 'application/json' }
        const response = await request(settings.url, { method: 'POST', headers, body }, signal)
        await response.body?.cancel()
        return outcomeOf(response)
      } catch (error) {
        return { kind: 'failed', code: (error as Error).name === 'TimeoutError' ? 'timed-out' : 'unreachable' }
      }
    },
    forgets: forgets && { afterMs: forgets.afterMs, ask: (id, signal) => ask(forgets.askUrl, id, signal) },
  }
}
