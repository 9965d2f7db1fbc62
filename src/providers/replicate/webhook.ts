/**
 * Replicate's webhooks: signed as Standard Webhooks sign, checked on the bytes as they came.
 *
 * - V1 Nothing of a delivery is read before its signature and its time have been checked. A repeat within the tolerance
 *   is the same news; that it changes nothing twice is the record's own rule.
 * - V2 The signature does not cover the URL, so a delivery proves what became of the prediction that it names, not whose
 *   call that was: the answer always carries the prediction's id as its handle, to be held against the call's own.
 *
 * https://replicate.com/docs/topics/webhooks/verify-webhook, https://www.standardwebhooks.com
 */
import { Webhook } from 'standardwebhooks'
import { WebhookRefused, type ProviderDeps, type WebhookReader } from '../contract.js'
import type { Secret } from '../secret.js'
import { isRunning, parsePrediction, readEnded, type PredictionRules } from '../predictions/prediction.js'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Throws TypeError when the secret is none. */
export function createWebhookReader(
  provider: string,
  secret: Secret,
  rules: PredictionRules,
  deps: ProviderDeps,
): WebhookReader {
  const verifier = createVerifier(provider, secret, deps)
  return ({ headers, body }) => {
    const text = decode(body)
    try {
      verifier.verify(text, headers, { jsonParse: false })
    } catch {
      throw new WebhookRefused(401, 'The delivery is not signed by the account, or is older than 5 minutes.')
    }
    const prediction = parsePrediction(parseJson(text))
    if (prediction === null || prediction.id === null) {
      throw new WebhookRefused(400, 'The delivery holds no prediction with an id.')
    }
    const told = { evidence: { via: 'webhook' }, limits: null }
    if (isRunning(prediction)) return { kind: 'answer', answer: { kind: 'accepted', handle: prediction.id, ...told } }
    const answer = readEnded(prediction, told, rules)
    // A status that nobody has documented: the provider may say more when it is asked.
    return answer === null ? { kind: 'ask' } : { kind: 'answer', answer }
  }
}

function createVerifier(provider: string, { secret: name }: Secret, { secret }: ProviderDeps): Webhook {
  const value = secret(name)
  if (!value.startsWith('whsec_')) throw new TypeError(wrongSecret(provider, name))
  try {
    return new Webhook(value)
  } catch {
    throw new TypeError(wrongSecret(provider, name))
  }
}

const wrongSecret = (provider: string, name: string): string =>
  `Provider ${provider}: the secret ${name} is no signing secret. It begins with "whsec_" and comes from GET /v1/webhooks/default/secret.`

/** Only text is signed: what is no UTF-8 would otherwise be signed as something else than it is. */
function decode(body: Uint8Array): string {
  try {
    return utf8.decode(body)
  } catch {
    throw new WebhookRefused(400, 'The delivery is no UTF-8.')
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
