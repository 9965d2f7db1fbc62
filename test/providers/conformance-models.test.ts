/** `anthropic`, `kserve`, `replicate` and `cog` against the suite that every adapter passes. `openai` has its own file. */
import { describe, it } from 'vitest'
import { anthropic } from '../../src/providers/anthropic/anthropic.js'
import { cog } from '../../src/providers/cog/cog.js'
import { kserve } from '../../src/providers/kserve/kserve.js'
import { tensor } from '../../src/providers/kserve/tensor.js'
import { replicate } from '../../src/providers/replicate/replicate.js'
import { env } from '../../src/providers/secret.js'
import { conformanceOf, forwardTo, type Protocol, type ProviderSubject } from '../../src/testing/testing.js'
import { startAnthropicServer } from '../support/protocol/anthropic-server.js'
import { API_TOKEN, MODEL, startReplicateServer, WEBHOOK_KEY } from '../support/protocol/replicate-server.js'
import { deliveryFor } from './deliveries.js'

const content = ['Haemoglobin'] as const
const found = { found: 'Haemoglobin' }
const schema = { type: 'object', properties: { found: { type: 'string' } }, required: ['found'] }

const claude = (output: 'schema' | 'tool'): ProviderSubject => ({
  name: `anthropic, output by ${output}`,
  create: (baseUrl) =>
    anthropic({
      model: 'claude-test',
      apiKey: env('ANTHROPIC_API_KEY'),
      baseUrl,
      maxOutputTokens: 100,
      output,
    }),
  async protocol() {
    const server = await startAnthropicServer()
    server.reply({
      kind: 'message',
      message: output === 'tool' ? { toolInput: found } : { text: JSON.stringify(found) },
    })
    return { protocol: forwardTo(server.url), close: () => server.close() }
  },
  request: { request: `How much ${content[0]}?`, outputSchema: schema },
  output: found,
  content,
  secrets: { ANTHROPIC_API_KEY: 'test-key' },
  error: (status, message) => ({ type: 'error', error: { type: `error_${status}`, message } }),
})

const kserveServer = (): Protocol => (request) => {
  if (request.method === 'GET')
    return { status: 200, json: { name: 'risk', versions: ['3'], platform: '', ready: true } }
  const { id } = JSON.parse(request.body.toString('utf8')) as { id: string }
  const outputs = [{ name: 'y', shape: [1], datatype: 'BYTES', data: [content[0]] }]
  return { status: 200, json: { model_name: 'risk', model_version: '3', id, outputs } }
}

/** A prediction that ends while the PUT waits for it, as of a synchronous model. */
const cogServer = (): Protocol => (request) => {
  if (request.method === 'GET') return { status: 200, json: { status: 'READY' } }
  const id = request.path.replace('/predictions/', '')
  const times = { created_at: '2026-01-01T00:00:00Z', started_at: '2026-01-01T00:00:00Z' }
  const { input } = JSON.parse(request.body.toString('utf8')) as { input: object }
  const ended = { completed_at: '2026-01-01T00:00:01Z', metrics: { predict_time: 1 }, error: null, logs: '' }
  return { status: 200, json: { id, input, ...times, ...ended, status: 'succeeded', output: found } }
}

const replicated = (more: object): ProviderSubject => ({
  name: `replicate${'tokenField' in more ? ' with a field for our key' : ''}`,
  create: (baseUrl) =>
    replicate({
      model: MODEL,
      apiKey: env('REPLICATE_API_TOKEN'),
      webhookSecret: env('REPLICATE_WEBHOOK'),
      baseUrl: `${baseUrl}/v1`,
      ...more,
    }),
  async protocol() {
    const server = await startReplicateServer()
    const forward = forwardTo(new URL(server.url).origin)
    const looks = new Map<string, number>()
    return {
      protocol(request, faulty) {
        const id = /\/predictions\/(\w+)$/.exec(request.path)?.[1]
        const count = id === undefined ? 0 : (looks.get(id) ?? 0) + 1
        if (id !== undefined) looks.set(id, count)
        // Runs for one look, and has ended at the next.
        if (id !== undefined && server.predictions.some((each) => each.id === id))
          if (count > 1) server.succeed(id, found)
        return forward(request, faulty)
      },
      close: () => server.close(),
    }
  },
  request: { request: { input: { text: content[0] } } },
  output: found,
  content,
  secrets: { REPLICATE_API_TOKEN: API_TOKEN, REPLICATE_WEBHOOK: WEBHOOK_KEY },
  error: (status, detail) => ({ status, title: 'Problem', detail }),
  delivery: () =>
    deliveryFor(
      { id: 'ufawqhfynnddngldkgtslldrkq', status: 'succeeded', output: found, error: null, metrics: {} },
      new Date(),
      WEBHOOK_KEY,
    ),
})

const subjects: ProviderSubject[] = [
  claude('tool'),
  claude('schema'),
  {
    name: 'kserve',
    create: (url) => kserve({ url, model: 'risk', apiKey: env('TOKEN') }),
    protocol: kserveServer,
    request: { request: { inputs: [tensor('text', 'BYTES', [1], [content[0]])] } },
    output: {
      modelName: 'risk',
      modelVersion: '3',
      outputs: [{ name: 'y', shape: [1], datatype: 'BYTES', data: [content[0]], parameters: {} }],
      parameters: {},
    },
    content,
    error: (_, error) => ({ error }),
    documented: { 503: 'not-executed' },
  },
  {
    name: 'cog',
    create: (url) => cog({ url }),
    protocol: cogServer,
    request: { request: { input: { text: content[0] } } },
    output: found,
    content,
    error: (_, detail) => ({ detail }),
  },
  replicated({}),
  replicated({ tokenField: 'token' }),
]

describe.each(subjects)('$name', (subject) => {
  for (const check of conformanceOf(subject)) it(check.name, check.run)
})
