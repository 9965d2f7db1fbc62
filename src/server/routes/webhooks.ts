/**
 * POST /v1/webhooks/{provider}: a provider tells of a job's end. Verified on the raw bytes; 2xx only after the save.
 */
import { z } from 'zod'
import { WebhookRefused } from '../../providers/contract.js'
import type { ServerDeps } from '../contract.js'
import { parsePart, Problem } from '../problem.js'
import { readWhole } from '../read-body.js'
import { json, type Route, type RouteContext } from '../route.js'

const BODY_BYTES_MAX = 32 * 1024 * 1024

const params = z.strictObject({ provider: z.string().regex(/^[a-z0-9-]{1,40}$/, 'is no provider name') })
/** Providers add parameters of their own. */
const query = z.looseObject({
  call: z
    .string()
    .max(1_000)
    .optional()
    .meta({ description: 'The token of the URL that was given with the call; without it the delivery names the call' }),
})
const taken = z
  .strictObject({ taken: z.enum(['saved', 'known']).meta({ description: '`known`: the record had said so before' }) })
  .meta({ id: 'WebhookTaken' })

export function webhookRoutes(deps: ServerDeps): Route[] {
  return [
    {
      spec: {
        method: 'post',
        path: '/v1/webhooks/{provider}',
        summary: 'News of a job, from its provider',
        description:
          'Called by providers, at the URL they were given with the job. Repeated deliveries change nothing.',
        params,
        query,
        body: { description: "The provider's own message", content: { '*/*': z.unknown() } },
        responses: { 200: json('It is saved', taken) },
      },
      handle: (ctx) => takeDelivery(deps, ctx),
    },
  ]
}

async function takeDelivery(deps: ServerDeps, ctx: RouteContext): Promise<void> {
  const { provider } = parsePart(params, ctx.params, 'path')
  const { call } = parsePart(query, ctx.query, 'query')
  const body = await readWhole(ctx.req, 'The delivery', BODY_BYTES_MAX)
  const headers = Object.fromEntries(
    Object.entries(ctx.req.headers).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
  )
  try {
    const outcome = await deps.webhook(provider, call ?? null, { headers, body })
    if (outcome === 'unknown-provider')
      throw new Problem(404, 'unknown-provider', `Provider "${provider}" takes no webhooks here.`)
    if (outcome === 'unknown-call')
      throw new Problem(404, 'unknown-call', 'This delivery is about no call of this provider that is known here.')
    ctx.body = { taken: outcome }
  } catch (error) {
    if (error instanceof WebhookRefused) throw new Problem(error.status, error.code, error.message)
    throw error
  }
}
