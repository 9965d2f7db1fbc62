/** An adapter as a team would write it, with nothing but what `endstate/provider-kit` shows. As docs/providers.md has it. */
import {
  createHttpSession,
  defineProvider,
  NO_STATUS_RULES,
  parseJsonBody,
  readOutcome,
  type ProviderFactory,
  type Secret,
} from '../../src/providers/provider-kit.js'

const rules = { statuses: NO_STATUS_RULES, cutIsUnknown: true }

/** A model server that keeps each answer under our key for a day: `POST /infer`, `GET /runs/{key}`. */
export const scanner = (options: { baseUrl: string; apiKey: Secret }): ProviderFactory =>
  defineProvider({
    open: ({ name, secret }) =>
      createHttpSession(
        {
          provider: name,
          baseUrl: new URL(options.baseUrl),
          headers: {},
          apiKey: options.apiKey,
          connectionsMax: 4,
          connectTimeoutMs: 5000,
          responseBytesMax: 1024 * 1024,
        },
        { secret: () => secret(options.apiKey) },
      ),
    terms: { recovery: 'retrievable', lookupLag: '2s', cost: 'free', longestRun: '1m' },
    slots: 4,
    build: async ({ input }) => ({ body: JSON.stringify(await input.json()), contentType: 'application/json' }),
    async call({ built, requestKey }, signal, session) {
      const outcome = await session.exchange({
        method: 'POST',
        path: `${session.basePath}/infer`,
        ...built,
        headers: { 'idempotency-key': requestKey },
        signal,
      })
      const reading = readOutcome(outcome, rules)
      if (!reading.ok) return reading.failure
      const output = parseJsonBody(reading.body)
      const { evidence, limits } = reading
      if (output === undefined) return { kind: 'unknown', code: 'not-json', message: 'No JSON.', evidence, limits }
      return { kind: 'succeeded', output, spend: null, evidence, limits }
    },
    async ask({ requestKey }, signal, session) {
      const path = `${session.basePath}/runs/${encodeURIComponent(requestKey)}`
      const outcome = await session.exchange({ method: 'GET', path, signal })
      if (outcome.kind === 'answered' && outcome.status === 404) return { kind: 'missing' }
      const reading = readOutcome(outcome, rules)
      const output = reading.ok ? parseJsonBody(reading.body) : undefined
      // A question that fails says nothing about the call.
      if (output === undefined) return { kind: 'unknown', code: 'not-told', message: 'The look-up failed.' }
      return { kind: 'succeeded', output, spend: null }
    },
    close: (session) => session.close(),
  })
