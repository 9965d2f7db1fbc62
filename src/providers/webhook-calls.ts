/**
 * The token in a webhook's URL: which call a delivery is about. It is made by us and cannot be guessed, so a delivery
 * that carries it comes from whom we gave it to. What it says about the call is another matter: see WebhookReader.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'

export type WebhookCall = { record: string; step: string; attempt: number; generation: number }

export interface WebhookCalls {
  urlFor(provider: string, call: WebhookCall): string | null
  /** Null when the token is not ours, or was given to another provider. */
  read(provider: string, token: string): WebhookCall | null
}

const TOKEN_LENGTH_MAX = 1_000

/** `publicUrl`: where providers reach the API, null when they can't. `secret`: the deployment's own. */
export const createWebhookCalls = (publicUrl: string | null, secret: string): WebhookCalls => {
  const base = publicUrl?.replace(/\/+$/, '')
  const sign = (provider: string, body: string): Buffer =>
    createHmac('sha256', secret).update(`${provider}\n${body}`).digest().subarray(0, 18)
  return {
    urlFor(provider, { record, step, attempt, generation }) {
      if (base === undefined) return null
      const body = Buffer.from(JSON.stringify([record, step, attempt, generation])).toString('base64url')
      return `${base}/v1/webhooks/${provider}?call=${body}.${sign(provider, body).toString('base64url')}`
    },
    read(provider, token) {
      const [body, signature, ...rest] = token.slice(0, TOKEN_LENGTH_MAX).split('.')
      if (!body || !signature || rest.length > 0) return null
      const given = Buffer.from(signature, 'base64url')
      const right = sign(provider, body)
      if (given.length !== right.length || !timingSafeEqual(given, right)) return null
      const [record, step, attempt, generation] = JSON.parse(Buffer.from(body, 'base64url').toString('utf8')) as never[]
      return { record: record!, step: step!, attempt: attempt!, generation: generation! }
    },
  }
}
