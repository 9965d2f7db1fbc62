/**
 * Every adapter, and one of a team's own, against the suite that `endstate/testing` shows. Adapters that break a rule on
 * purpose prove that the suite bites.
 */
import { describe, expect, it } from 'vitest'
import { http, type HttpOptions } from '../../src/providers/http.js'
import { env } from '../../src/providers/secret.js'
import { bytesInput, conformanceOf, type ProviderSubject } from '../../src/testing/testing.js'
import { ANALYSIS, documentIntelligenceServer } from '../support/protocol/document-intelligence.js'
import { FAL_RESULT, falServer } from '../support/protocol/fal.js'
import { ANSWER, blindServer, jobServer, keyedServer } from '../support/protocol/model-server.js'
import { RUNPOD_OUTPUT, runpodServer } from '../support/protocol/runpod.js'
import { breaches } from './breaches.js'
import { described, florence, layout, triage } from './described.js'
import { deliveryFor, WEBHOOK_SECRET } from './deliveries.js'
import { scanner } from './own-adapter.js'

const content = ['Haemoglobin'] as const
const apiKey = env('MODEL_KEY')
const free = { cost: 'free', apiKey } as const

const overHttp = (name: string, describe: (baseUrl: string) => HttpOptions) => ({
  name: `http, ${name}`,
  create: (baseUrl: string) => http(describe(baseUrl)),
  output: ANSWER,
  content,
})

const image = bytesInput('image/png', Buffer.from('Haemoglobin'))

const job = {
  handle: '/id',
  poll: {
    url: '/jobs/{handle}',
    status: '/state',
    means: { queued: 'running', running: 'running', done: 'succeeded', cancelled: 'failed-for-good' },
    fraction: '/progress',
  },
  cancel: { method: 'DELETE', url: '/jobs/{handle}' },
} as const

const subjects: ProviderSubject[] = [
  {
    ...overHttp('blind', (baseUrl) => ({ url: `${baseUrl}/infer`, ready: '/health', ...free })),
    protocol: blindServer,
  },
  {
    ...overHttp('idempotent', (url) => ({ url: `${url}/infer`, recovery: 'idempotent', keyTtl: '24h', ...free })),
    protocol: keyedServer,
  },
  {
    ...overHttp('in-flight', (baseUrl) => ({
      url: `${baseUrl}/predictions/{requestKey}`,
      method: 'PUT',
      recovery: 'in-flight',
      ...free,
    })),
    protocol: blindServer,
  },
  {
    ...overHttp('retrievable', (baseUrl) => ({
      url: `${baseUrl}/infer`,
      recovery: 'retrievable',
      lookup: { url: '/runs/{requestKey}', lag: '2s' },
      ...free,
    })),
    protocol: keyedServer,
  },
  {
    ...overHttp('job with a look-up', (baseUrl) => ({
      url: `${baseUrl}/jobs`,
      recovery: 'job',
      job,
      lookup: { url: '/jobs?key={requestKey}', handle: '/items/0/id', lag: '2s' },
      webhook: {
        carries: { header: 'x-callback' },
        verify: 'standard-webhooks',
        secret: env('WEBHOOK_SECRET'),
        body: 'status',
      },
      output: '/output',
      ...free,
    })),
    protocol: jobServer,
    secrets: { WEBHOOK_SECRET },
    delivery: () => deliveryFor({ state: 'done', output: ANSWER }),
  },
  {
    name: 'fal by description',
    create: (baseUrl) => described(florence, baseUrl),
    protocol: falServer,
    request: { input: image },
    output: FAL_RESULT.results,
    content,
  },
  {
    name: 'RunPod by description',
    create: (baseUrl) => described(triage, baseUrl),
    protocol: runpodServer,
    request: { request: { text: content[0] } },
    output: RUNPOD_OUTPUT,
    content,
  },
  {
    name: 'Document Intelligence by description',
    create: (baseUrl) => described(layout, baseUrl),
    protocol: documentIntelligenceServer,
    request: { input: image },
    output: ANALYSIS,
    content,
  },
  {
    name: 'an adapter of a team',
    create: (baseUrl) => scanner({ baseUrl, apiKey }),
    protocol: keyedServer,
    output: ANSWER,
    content,
  },
]

describe.each(subjects)('$name', (subject) => {
  for (const check of conformanceOf(subject)) it(check.name, check.run)
})

describe('the suite finds an adapter that', () => {
  it.each(breaches)('$breaks', async ({ subject, found }) => {
    const failed: string[] = []
    for (const { name, run } of conformanceOf(subject)) await run().catch(() => failed.push(name.split(': ')[1] ?? ''))
    expect(failed).toEqual(expect.arrayContaining([...found]))
  })
})
