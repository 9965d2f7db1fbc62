/** `replicate` and `cog` against the suite that every adapter passes. */
import { describe, it } from 'vitest'
import { cog } from '../../src/providers/cog/cog.js'
import { replicate, type ReplicateOptions } from '../../src/providers/replicate/replicate.js'
import { conformanceOf, forwardTo, type Protocol, type ProviderSubject } from '../../src/testing/testing.js'
import {
  API_TOKEN,
  MODEL,
  signDelivery,
  startReplicateServer,
  VERSION,
  WEBHOOK_KEY,
} from '../support/protocol/replicate-server.js'
import { apiKey, prices, webhookSecret } from './replicate-rig.js'

const content = ['Haemoglobin'] as const
const output = { text: 'Haemoglobin 8.4 g/dl' }

const onReplicate = (name: string, options: Partial<ReplicateOptions>): ProviderSubject => ({
  name: `replicate, ${name}`,
  create: (baseUrl) => replicate({ apiKey, webhookSecret, prices, baseUrl: `${baseUrl}/v1`, ...options }),
  /** Predictions run while they are asked about for the first time, and have ended at the second. */
  async protocol() {
    const server = await startReplicateServer()
    const forward = forwardTo(new URL(server.url).origin)
    const protocol: Protocol = async (request, context) => {
      const response = await forward(request, context)
      for (const { id, status } of server.predictions) {
        if (status === 'processing') server.succeed(id, output)
        if (status === 'starting') server.change(id, { status: 'processing' })
      }
      return response
    }
    return { protocol, close: () => server.close() }
  },
  output,
  content,
  secrets: { REPLICATE_API_TOKEN: API_TOKEN, REPLICATE_WEBHOOK: WEBHOOK_KEY },
  delivery: () => signDelivery(JSON.stringify({ id: 'abc123', status: 'succeeded', output, metrics: {} }), 'abc123'),
})

/** Cog as its documentation and its answers are; real ones are in cog.test.ts. */
const cogProtocol = (): Protocol => (request) => {
  const { pathname } = new URL(request.path, 'http://cog')
  if (pathname === '/health-check') return { status: 200, json: { status: 'READY' } }
  const [, id, action] = /^\/predictions\/([a-z2-7]{26})(\/cancel)?$/.exec(pathname) ?? []
  if (id === undefined) return { status: 404, json: {} }
  if (request.method === 'POST' && action !== undefined) return { status: 404, json: {} }
  if (request.method !== 'PUT') return { status: 405 }
  return { status: 200, json: { id, logs: '', metrics: { predict_time: 0.01 }, output, status: 'succeeded' } }
}

const subjects: ProviderSubject[] = [
  onReplicate('a model', { model: MODEL }),
  onReplicate('a version, found by its key', { version: VERSION, tokenField: 'reference' }),
  { name: 'cog', create: (url) => cog({ url }), protocol: cogProtocol, output, content },
  {
    name: 'cog, paid',
    create: (url) => cog({ url, cost: 'paid', prices: { currency: 'EUR', perSecond: '0.01' } }),
    protocol: cogProtocol,
    output,
    content,
  },
]

describe.each(subjects)('$name', (subject) => {
  for (const check of conformanceOf(subject)) it(check.name, check.run)
})
