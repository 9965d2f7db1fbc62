/** What the tests of `replicate` share: the provider on the protocol server, and calls that build as the worker does. */
import type { AskAnswer, CallRequest, Provider, Question, WebhookReader } from '../../src/providers/contract.js'
import { performAsk, performCall, type CallResult } from '../../src/providers/call.js'
import { replicate, type ReplicateOptions } from '../../src/providers/replicate/replicate.js'
import { env } from '../../src/providers/secret.js'
import { API_TOKEN, MODEL, WEBHOOK_KEY, type ReplicateServer } from '../support/protocol/replicate-server.js'
import { aRequest, options, realClock } from './call-inputs.js'

const SECRETS: { [name: string]: string } = { REPLICATE_API_TOKEN: API_TOKEN, REPLICATE_WEBHOOK: WEBHOOK_KEY }
export const secrets = { secret: (name: string): string => SECRETS[name] ?? 'unknown-secret' }

export const apiKey = env('REPLICATE_API_TOKEN')
export const webhookSecret = env('REPLICATE_WEBHOOK')
export const prices = { currency: 'USD', perSecond: '0.001' }
/** perSecond for the longest run of an hour. */
export const upperBound = { amount: '3.600000001', currency: 'USD', basis: 'upper-bound' }

export const createProvider = (server: ReplicateServer, more: Partial<ReplicateOptions> = {}): Provider =>
  replicate({
    ...(more.version === undefined && more.deployment === undefined && { model: MODEL }),
    apiKey,
    webhookSecret,
    prices,
    baseUrl: server.url,
    ...more,
  }).create('rep', secrets)

export const createReader = (more: Partial<ReplicateOptions> = {}): WebhookReader => {
  const reader = replicate({ model: MODEL, apiKey, webhookSecret, prices, ...more }).webhook
  if (reader === undefined) throw new Error('There is no webhook.')
  return reader('rep', secrets)
}

/** Builds, then calls, as the worker does. */
export async function call(provider: Provider, more: Partial<CallRequest> = {}): Promise<CallResult> {
  const request = aRequest({ request: { input: { text: 'Alice' } }, ...more })
  const built = (await provider.build?.(request)) ?? null
  return performCall(provider, { ...request, built }, options())
}

export const aQuestion = (more: Partial<Question> = {}): Question => ({
  record: 'rec-1',
  step: 'read',
  attempt: 3,
  generation: 1,
  requestKey: 'rec-1.read.rep.1.0',
  handle: null,
  startedAt: new Date(),
  sendBy: new Date(Date.now() + 10_000),
  deadlineMs: 5000,
  ...more,
})

export const ask = (provider: Provider, more: Partial<Question> = {}): Promise<AskAnswer> =>
  performAsk(provider, aQuestion(more), { clock: realClock })
