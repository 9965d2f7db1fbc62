/**
 * GET /v1/charges: what customers owe, as a view over the records.
 */
import type { ServerDeps } from '../contract.js'
import { parsePart } from '../problem.js'
import { json, present, visibleSource, type Route } from '../route.js'
import { chargeListSchema, chargesQuery } from '../schemas.js'
import { chargeView } from '../views.js'

export function chargeRoutes(deps: ServerDeps): Route[] {
  return [
    {
      spec: {
        method: 'get',
        path: '/v1/charges',
        summary: 'List charges, newest first',
        description: 'At most one per record and charge key.',
        query: chargesQuery,
        responses: { 200: json('A page of charges', chargeListSchema) },
      },
      async handle(ctx) {
        const identity = await deps.identify(ctx)
        const { limit, page, source, pipeline, from, to } = parsePart(chargesQuery, ctx.query, 'query')
        const filter = present({
          source: visibleSource(identity, source),
          pipeline,
          from: from === undefined ? undefined : new Date(from),
          to: to === undefined ? undefined : new Date(to),
        })
        const found = await deps.store.charges(filter, { limit, token: page ?? null })
        ctx.body = { items: found.items.map(chargeView), next: found.next }
      },
    },
  ]
}
