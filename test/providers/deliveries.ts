/** Webhook deliveries as a provider would sign them. */
import { Webhook } from 'standardwebhooks'
import type { WebhookDelivery } from '../../src/providers/contract.js'

export const WEBHOOK_SECRET = `whsec_${Buffer.from('a-key-for-tests-of-32-bytes-len!').toString('base64')}`

/** Signed now: a delivery that is older than five minutes is refused. */
export function deliveryFor(json: unknown, at = new Date(), secret = WEBHOOK_SECRET): WebhookDelivery {
  const body = Buffer.from(JSON.stringify(json))
  const signature = new Webhook(secret).sign('msg_1', at, body.toString('utf8'))
  return {
    headers: {
      'webhook-id': 'msg_1',
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': signature,
    },
    body,
  }
}
