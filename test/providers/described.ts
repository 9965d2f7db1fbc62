/**
 * Three services by description, as docs/providers.md shows them: the tests run these very lines, and compare them with
 * the page.
 */
import { at } from '../../src/providers/http-places.js'
import { http, type HttpOptions } from '../../src/providers/http.js'
import type { ProviderFactory } from '../../src/providers/contract.js'
import { env } from '../../src/providers/secret.js'

export const florence = {
  url: 'https://queue.fal.run/fal-ai/florence-2-large/ocr',
  apiKey: env('FAL_KEY'),
  apiKeyScheme: 'Key',
  cost: 'paid',
  prices: { currency: 'USD', perSecond: '0.0006' },
  spendMax: { amount: '0.10', currency: 'USD' },
  longestRun: '30m',
  body: async ({ input }) => {
    const base64 = Buffer.from(await input.bytes()).toString('base64')
    return { image_url: `data:${input.mediaType};base64,${base64}` }
  },
  recovery: 'job',
  job: {
    handle: '/request_id',
    poll: {
      url: '/fal-ai/florence-2-large/requests/{handle}/status',
      status: '/status',
      means: { IN_QUEUE: 'running', IN_PROGRESS: 'running', COMPLETED: 'succeeded' },
      every: '2s',
    },
    result: {
      url: '/fal-ai/florence-2-large/requests/{handle}',
      error: { header: 'x-fal-error-type' },
      failed: [400, 422],
    },
    cancel: { method: 'PUT', url: '/fal-ai/florence-2-large/requests/{handle}/cancel' },
  },
  webhook: { carries: { query: 'fal_webhook' }, verify: 'none' },
  output: '/results',
  usage: (_, status) => ({ seconds: Number(at(status, '/metrics/inference_time')) }),
} satisfies HttpOptions

export const triage = {
  url: 'https://api.runpod.ai/v2/ENDPOINT_ID/run',
  apiKey: env('RUNPOD_API_KEY'),
  cost: 'paid',
  prices: { currency: 'USD', perSecond: '0.00031' },
  spendMax: { amount: '0.19', currency: 'USD' },
  longestRun: '10m',
  body: ({ request }) => ({ input: request, policy: { executionTimeout: 600_000, ttl: 600_000 } }),
  recovery: 'job',
  job: {
    handle: '/id',
    poll: {
      url: '/v2/ENDPOINT_ID/status/{handle}',
      status: '/status',
      means: {
        IN_QUEUE: 'running',
        IN_PROGRESS: 'running',
        COMPLETED: 'succeeded',
        FAILED: 'failed',
        TIMED_OUT: 'failed',
        CANCELLED: 'failed-for-good',
      },
      every: '1s',
    },
    cancel: { method: 'POST', url: '/v2/ENDPOINT_ID/cancel/{handle}' },
  },
  webhook: { carries: { body: 'webhook' }, verify: 'none' },
  output: '/output',
  usage: (json) => ({ seconds: Number(at(json, '/executionTime')) / 1000 }),
  ready: '/v2/ENDPOINT_ID/health',
} satisfies HttpOptions

export const layout = {
  url: 'https://clinic.cognitiveservices.azure.com/documentintelligence/documentModels/prebuilt-layout:analyze?api-version=2024-11-30',
  headers: { 'Ocp-Apim-Subscription-Key': env('DOCUMENT_INTELLIGENCE_KEY') },
  cost: 'paid',
  prices: { currency: 'USD', perPage: '0.01' },
  usageMax: { pages: 50 },
  longestRun: '15m',
  body: ({ input }) => input.bytes(),
  recovery: 'job',
  job: {
    // The whole URL; it is followed only to this resource, because the key goes with it.
    handle: { header: 'Operation-Location' },
    poll: {
      status: '/status',
      means: {
        notStarted: 'running',
        running: 'running',
        succeeded: 'succeeded',
        failed: 'failed',
        canceled: 'failed-for-good',
        skipped: 'failed-for-good',
      },
      error: '/error/code',
    },
  },
  output: '/analyzeResult',
  usage: (json) => ({ pages: Number(at(json, '/analyzeResult/pages/length')) }),
} satisfies HttpOptions

/** The description as it is, at another origin. */
export const described = (options: HttpOptions, origin: string): ProviderFactory =>
  http({ ...options, url: origin + options.url.slice(new URL(options.url).origin.length) })
