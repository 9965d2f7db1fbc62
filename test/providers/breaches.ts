/** Adapters that each break one rule of the port, and the checks that must find it. */
import type { CallAnswer, Provider, ProviderFactory } from '../../src/providers/contract.js'
import { http } from '../../src/providers/http.js'
import { env } from '../../src/providers/secret.js'
import type { ProviderSubject } from '../../src/testing/testing.js'
import { ANSWER, keyedServer } from '../support/protocol/model-server.js'

type Breach = { breaks: string; change: (provider: Provider, baseUrl: string) => Partial<Provider>; found: string[] }

const right = (baseUrl: string): ProviderFactory =>
  http({
    url: `${baseUrl}/infer`,
    apiKey: env('MODEL_KEY'),
    cost: 'free',
    recovery: 'retrievable',
    lookup: { url: '/runs/{requestKey}', lag: '2s' },
  })

const again = (answer: CallAnswer): boolean => answer.kind === 'unknown' || answer.kind === 'partial'

const BREACHES: Breach[] = [
  {
    breaks: 'sends again by itself',
    change: (provider) => ({
      async call(request, signal) {
        const answer = await provider.call(request, signal)
        return again(answer) ? provider.call(request, signal) : answer
      },
    }),
    found: ['a request that was read, then a reset, is unknown', 'an answer that is cut at any byte never succeeds'],
  },
  {
    breaks: 'calls a doubt a failure',
    change: (provider) => ({
      async call(request, signal) {
        const answer = await provider.call(request, signal)
        if (answer.kind !== 'unknown') return answer
        return { kind: 'not-executed', code: answer.code, message: answer.message, retryable: true }
      },
    }),
    found: [
      'a request that was read, then a close, is unknown',
      'a provider that hangs is unknown, soon after the signal aborts',
      '500 is as uncertain as it is documented',
    ],
  },
  {
    breaks: 'does not listen to the signal',
    change: (provider) => ({ call: (request) => provider.call(request, new AbortController().signal) }),
    found: [
      'a provider that hangs is unknown, soon after the signal aborts',
      'a signal that is aborted already sends nothing',
    ],
  },
  {
    breaks: 'takes whatever came for the answer',
    change: (provider) => ({
      async call(request, signal) {
        const answer = await provider.call(request, signal)
        const isCut = answer.kind === 'unknown' && /cut|json/.test(answer.code)
        return isCut ? { kind: 'succeeded', output: ANSWER, spend: null } : answer
      },
    }),
    found: ['an answer that is cut at any byte never succeeds', 'a 200 that is no JSON never succeeds'],
  },
  {
    breaks: 'builds another body each time',
    change: (provider) => {
      let count = 0
      return {
        async build(parts) {
          const built = await provider.build!(parts)
          return { ...built, body: `${String(built.body)}${' '.repeat((count += 1))}` }
        },
      }
    },
    found: [
      'the request is built the same twice, and without the network',
      'a repeat has the same bytes and the same key',
    ],
  },
  {
    breaks: 'takes a failed question for a missing call',
    change: (provider) => ({
      async ask(question, signal) {
        const answer = await provider.ask!(question, signal)
        return answer.kind === 'unknown' ? { kind: 'missing' } : answer
      },
    }),
    found: [
      'a question without an answer is unknown',
      'an answer to a question that is cut at any byte is unknown',
      'a question that hangs is unknown, soon after the signal aborts',
    ],
  },
  {
    breaks: 'asks by calling again',
    change: (provider) => ({
      async ask({ requestKey }, signal) {
        const built = { body: '{}', contentType: 'application/json' }
        return provider.call({ requestKey, built, webhookUrl: null } as never, signal)
      },
    }),
    found: ['asking starts nothing', 'a call that never arrived is missing'],
  },
  {
    breaks: 'quotes the content',
    change: (provider) => ({
      async call(request, signal) {
        const answer = await provider.call(request, signal)
        return answer.kind === 'not-executed' ? { ...answer, message: String(request.built?.body) } : answer
      },
    }),
    found: ['a refusal that quotes the content is not passed on'],
  },
  {
    breaks: 'keeps its connections',
    change: () => ({ close: () => Promise.resolve() }),
    found: ['close leaves no connection'],
  },
  {
    breaks: 'has no ask',
    change: () => ({ ask: undefined as never }),
    found: ['what the terms promise has its means'],
  },
]

export const breaches: { breaks: string; subject: ProviderSubject; found: string[] }[] = BREACHES.map(
  ({ breaks, change, found }) => ({
    breaks,
    found,
    subject: {
      name: breaks,
      create(baseUrl) {
        const factory = right(baseUrl)
        return {
          ...factory,
          create(name, deps) {
            const provider = factory.create(name, deps)
            return { ...provider, ...change(provider, baseUrl) }
          },
        }
      },
      protocol: keyedServer,
      output: ANSWER,
      content: ['Haemoglobin'],
    },
  }),
)
