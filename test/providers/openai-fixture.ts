/** A provider of ours against the protocol server, and calls as the call layer makes them. */
import { afterEach, beforeEach } from 'vitest'
import type { CallAnswer, CallRequest, Progress, Provider, Question } from '../../src/providers/contract.js'
import { openai, type OpenAiOptions } from '../../src/providers/openai/openai.js'
import { env } from '../../src/providers/secret.js'
import { OPENAI_TEST_KEY, startOpenAiServer, type OpenAiServer } from '../support/protocol/openai-server.js'
import { aRequest } from './call-inputs.js'

export const PRICE = {
  currency: 'USD',
  inputPerMillion: '2.00',
  cachedInputPerMillion: '0.50',
  outputPerMillion: '8.00',
}
/** Of the server's usual usage, 120 in (20 of them cached) and 9 out, by PRICE. */
export const USUAL_SPEND = { amount: '0.000282', currency: 'USD', basis: 'reported' }
export const USUAL_USAGE = { inputTokens: 120, cachedInputTokens: 20, outputTokens: 9 }
/** What the server's usual text says. */
export const USUAL_OUTPUT = { name: 'Grüße, 患者 🩺' }

export const secrets = {
  secret: (name: string) => (name === 'OPENAI_API_KEY' ? OPENAI_TEST_KEY : 'whsec_aHVudGVyMg=='),
}

export const optionsFor = (
  server: Pick<OpenAiServer, 'baseUrl'>,
  more: Partial<OpenAiOptions> = {},
): OpenAiOptions => ({
  model: 'gpt-test',
  baseUrl: server.baseUrl,
  prices: PRICE,
  ...(more.compatible ? {} : { apiKey: env('OPENAI_API_KEY') }),
  ...more,
})

export const providerFor = (server: Pick<OpenAiServer, 'baseUrl'>, more: Partial<OpenAiOptions> = {}): Provider =>
  openai(optionsFor(server, more)).create('gpt', secrets)

export type Called = { answer: CallAnswer; progress: Progress[] }

/** Builds and calls, once. */
export async function callOnce(
  provider: Provider,
  overrides: Partial<CallRequest> = {},
  signal: AbortSignal = AbortSignal.timeout(10_000),
): Promise<Called> {
  const progress: Progress[] = []
  const request = aRequest({
    request: { prompt: 'Who?' },
    onProgress: (told) => void progress.push(told),
    ...overrides,
  })
  const built = await provider.build!(request)
  return { answer: await provider.call({ ...request, built }, signal), progress }
}

export const aQuestion = (overrides: Partial<Question> = {}): Question => ({
  record: 'rec-1',
  step: 'read',
  attempt: 3,
  generation: 1,
  requestKey: 'rec-1.read.gpt.1',
  handle: null,
  startedAt: new Date(),
  sendBy: new Date(),
  deadlineMs: 5000,
  ...overrides,
})

export const askOnce = (provider: Provider, overrides: Partial<Question> = {}) =>
  provider.ask!(aQuestion(overrides), AbortSignal.timeout(10_000))

/** The form that the steps of these tests ask for. */
export const nameSchema = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] }

/** For each test of a file a server of its own, and providers on it that are closed after it. */
export const serveEach = (options: Parameters<typeof startOpenAiServer>[0] = {}) => {
  let server: OpenAiServer
  const providers: Provider[] = []
  beforeEach(async () => {
    server = await startOpenAiServer(options)
  })
  afterEach(async () => {
    for (const provider of providers.splice(0)) await provider.close()
    await server.close()
  })
  return {
    server: () => server,
    /** `at`: another server than the test's own. */
    provider(more: Partial<OpenAiOptions> = {}, at: Pick<OpenAiServer, 'baseUrl'> = server): Provider {
      const made = providerFor(at, more)
      providers.push(made)
      return made
    },
    posts: () => server.requests.filter(({ method }) => method === 'POST'),
  }
}
