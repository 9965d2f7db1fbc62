/** `openai` in each of its modes against the suite that every adapter passes. */
import { describe, it } from 'vitest'
import { openai, type OpenAiOptions } from '../../src/providers/openai/openai.js'
import { env } from '../../src/providers/secret.js'
import { conformanceOf, type ProviderSubject } from '../../src/testing/testing.js'
import { OPENAI_TEST_KEY, OpenAiProtocol } from '../support/protocol/openai-protocol.js'
import { signedDelivery } from '../support/protocol/openai-server.js'

const WEBHOOK_SECRET = 'whsec_aHVudGVyMg=='
const content = ['Haemoglobin', 'hunter2'] as const

const inMode = (name: string, options: Partial<OpenAiOptions>): ProviderSubject => ({
  name: `openai, ${name}`,
  create: (baseUrl) =>
    openai({
      model: 'gpt-test',
      baseUrl: `${baseUrl}/v1`,
      ...(options.compatible ? {} : { apiKey: env('OPENAI_API_KEY') }),
      ...options,
    }),
  protocol() {
    const protocol = new OpenAiProtocol({
      endsByItself: true,
      keyless: options.compatible === true,
      plan: () => ({ text: JSON.stringify({ found: content[0] }), pieceLength: 12 }),
    })
    return (request) => protocol.answer({ ...request, body: request.body.toString('utf8') })
  },
  request: { request: { prompt: `How much ${content[0]}?` } },
  output: { found: content[0] },
  content,
  secrets: { OPENAI_API_KEY: OPENAI_TEST_KEY, WEBHOOK_SECRET },
})

const subjects: ProviderSubject[] = [
  {
    ...inMode('background responses', { background: true, webhookSecret: env('WEBHOOK_SECRET') }),
    delivery: () => signedDelivery(WEBHOOK_SECRET, { type: 'response.completed', id: 'resp_0001' }),
  },
  inMode('streamed responses', {}),
  inMode('streamed responses that are not stored', { store: false }),
  inMode('stored chat', { api: 'chat' }),
  inMode('stored chat, streamed', { api: 'chat', stream: true }),
  inMode('chat that is not stored', { api: 'chat', store: false }),
  inMode('a compatible server', { compatible: true }),
  inMode('a compatible server, streamed', { compatible: true, stream: true }),
]

describe.each(subjects)('$name', (subject) => {
  for (const check of conformanceOf(subject)) it(check.name, check.run)
})
