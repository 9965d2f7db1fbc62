/**
 * Deliveries of OpenAI's webhook: verified by the Standard Webhooks scheme on their raw bytes, then believed in nothing but
 * that there is news of a response. Source: https://developers.openai.com/api/docs/guides/webhooks
 *
 * OpenAI knows one endpoint per project, so the delivery tells its response by id, not by its address.
 */
import { Webhook } from 'standardwebhooks'
import { z } from 'zod'
import { WebhookRefused, type ProviderDeps, type WebhookNews, type WebhookReader } from '../contract.js'
import { parseJsonBody } from '../http-session.js'
import type { Secret } from '../secret.js'

const Delivery = z.object({
  type: z.string().regex(/^response\./),
  data: z.object({ id: z.string().regex(/^[\x21-\x7e]{1,512}$/) }),
})

/** `handle`: the response's id, as `accepted` told it. */
export type ResponseNews = Extract<WebhookNews, { kind: 'ask' }> & { handle: string }

/** Throws TypeError when the secret is none of the scheme's (`whsec_…`). */
export function readOpenAiWebhook(name: string, { secret: named }: Secret, deps: ProviderDeps): WebhookReader {
  const webhook = createVerifier(name, named, deps.secret(named))
  return ({ headers, body }): ResponseNews => {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
    try {
      webhook.verify(bytes, headers, { jsonParse: false })
    } catch {
      throw new WebhookRefused(401, 'The signature is missing, wrong, or older than five minutes.')
    }
    const delivery = Delivery.safeParse(parseJsonBody(bytes))
    if (!delivery.success)
      throw new WebhookRefused(400, 'This is no event of a response: subscribe the endpoint to response.* alone.')
    return { kind: 'ask', handle: delivery.data.data.id }
  }
}

function createVerifier(name: string, named: string, value: string): Webhook {
  try {
    return new Webhook(value)
  } catch {
    throw new TypeError(
      `Provider ${name} can't verify webhooks: the secret ${named} is not a signing secret as OpenAI gives it (whsec_…).`,
    )
  }
}
