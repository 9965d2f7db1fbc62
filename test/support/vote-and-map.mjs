/** Pipelines for test/support/node.mjs that are no plain data: a vote of two, and a map. `es` comes from dist/. */
import { z } from 'zod'

export const make = (es) => {
  const limits = { deadline: '10s', attempts: 3, backoff: { initial: '50ms', max: '200ms' } }
  const options = { revision: 1, accepts: ['application/json'], lease: { sendWithin: '1s', failover: '1s' } }
  const voting = (name, of) =>
    es.pipeline(name, options).vote('said', {
      ...limits,
      of,
      output: z.object({ ok: z.boolean(), execution: z.number() }),
      agree: (a, b) => a.ok === b.ok,
      price: { fixed: '0.40', currency: 'EUR' },
    })
  const page = es.pipeline('page', options).step('a', { ...limits, use: ['keyed'], output: z.unknown() })
  const pages = es
    .pipeline('pages', options)
    .compute('split', { output: z.array(z.string()) }, async (_, input) => (await input.json()).pages)
    .map('each', {
      over: ({ split }) => split.map((text) => ({ text })),
      pipeline: page,
      take: 'a',
      max: 50,
      wait: '30s',
    })
  return [voting('vote', ['keyed', 'free']), page, pages]
}
