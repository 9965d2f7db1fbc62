/**
 * GET /v1/providers: how each provider does, in the whole deployment. A caller that sees one source alone sees that
 * source's spending alone (P12); everything else is the same for all.
 */
import type { ProviderReport, ProviderReports } from '../../providers/gate.js'
import type { Identity, ServerDeps } from '../contract.js'
import { parsePart, Problem } from '../problem.js'
import { providerListSchema, providerSchema, type ProviderJson } from '../provider-schemas.js'
import { json, type Route } from '../route.js'
import { nameParams, noQuery } from '../schemas.js'

const iso = (at: Date | null): string | null => at?.toISOString() ?? null

export const providerView = (report: ProviderReport): ProviderJson => ({
  ...report,
  breaker: { ...report.breaker, since: iso(report.breaker.since), until: iso(report.breaker.until) },
  pausedUntil: iso(report.pausedUntil),
  ready: report.ready && { ...report.ready, at: report.ready.at.toISOString() },
})

const listFor = (reports: ProviderReports, { sees, source }: Identity) => reports.list(sees === 'all' ? null : source)

/** None where nobody reports. */
export function providerRoutes(deps: ServerDeps): Route[] {
  const { providers } = deps
  if (!providers) return []
  return [
    {
      spec: {
        method: 'get',
        path: '/v1/providers',
        summary: 'List providers, and how each does',
        description: 'Rate, latency, errors, breaker, limits and what was spent today, of the whole deployment.',
        query: noQuery,
        responses: { 200: json('All providers', providerListSchema) },
      },
      async handle(ctx) {
        const identity = await deps.identify(ctx)
        parsePart(noQuery, ctx.query, 'query')
        ctx.body = { items: (await listFor(providers, identity)).map(providerView), next: null }
      },
    },
    {
      spec: {
        method: 'get',
        path: '/v1/providers/{name}',
        summary: 'One provider, and how it does',
        params: nameParams,
        query: noQuery,
        responses: { 200: json('The provider', providerSchema) },
      },
      async handle(ctx) {
        const identity = await deps.identify(ctx)
        const { name } = parsePart(nameParams, ctx.params, 'path')
        parsePart(noQuery, ctx.query, 'query')
        const reports = await listFor(providers, identity)
        const report = reports.find((each) => each.name === name)
        if (!report) {
          const known = reports.map((each) => each.name)
          const detail = `There is no provider "${name}". Known here: ${known.join(', ') || 'none'}.`
          throw new Problem(404, 'unknown-provider', detail, { facts: { provider: name, known } })
        }
        ctx.body = providerView(report)
      },
    },
  ]
}
