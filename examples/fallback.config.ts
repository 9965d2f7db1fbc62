/**
 * A claim is triaged by a paid model behind an HTTP endpoint; when that refuses or cannot be reached, by a second one.
 * A call that was sent and has no answer (a timeout, a 500) is repeated under its key, and ends in investigation when that
 * does not help: with `onUncertain: 'fallback'` the second model would be asked, and paid, too.
 *
 *   endstate verify --config examples/fallback.config.ts
 */
import { endstate, env, http } from 'endstate'
import { z } from 'zod'

const Triage = z.object({
  urgency: z.enum(['routine', 'urgent', 'emergency']),
  reason: z.string().max(500),
})

const es = endstate({
  providers: {
    // Its documentation promises that a repeated Idempotency-Key does not run again: an uncertain call is simply repeated.
    main: http({
      url: 'https://inference.example.net/v1/triage',
      apiKey: env('TRIAGE_API_KEY'),
      recovery: 'idempotent',
      keyTtl: '24h',
      cost: 'paid',
      spendMax: { amount: '0.05', currency: 'EUR' },
      slots: 16,
    }),
    // Nothing can be asked here, and each call is billed: the step has to say what follows an uncertain call.
    spare: http({
      url: 'https://spare.example.org/classify',
      headers: { 'x-api-key': env('SPARE_API_KEY') },
      cost: 'paid',
      longestRun: '2m',
      spendMax: { amount: '0.12', currency: 'EUR' },
      output: (answer) => z.object({ triage: z.unknown() }).parse(answer).triage,
    }),
  },
})

const claim = es
  .pipeline('claim', { revision: 1, description: 'Triage of a claim.', accepts: ['application/json'], maxWait: '30m' })
  .step('triage', {
    description: 'Says how urgent the claim is, and why.',
    use: ['main', 'spare'],
    output: Triage,
    deadline: '20s',
    attempts: 3,
    onUncertain: { retry: { duplicateBudget: 1 } },
    price: { fixed: '0.25', currency: 'EUR' },
  })

export default es.config({ pipelines: [claim] })
