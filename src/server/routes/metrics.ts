/**
 * GET /metrics: for Prometheus (text exposition format 0.0.4, https://prometheus.io/docs/instrumenting/exposition_formats/).
 *
 * What is told of providers is of the whole deployment, since most workers have no port of their own: every process that
 * has one tells the same, so take the maximum over instances, not the sum. `process_` and `nodejs_` are of the process
 * that was asked.
 *
 * - Labels are names from the config and fixed words: never a record, a source or a code from outside.
 */
import { collectDefaultMetrics, Registry } from 'prom-client'
import { z } from 'zod'
import type { ServerDeps } from '../contract.js'
import { auditMetrics } from '../audit-metrics.js'
import { Problem } from '../problem.js'
import { providerMetrics } from '../provider-metrics.js'
import type { Route } from '../route.js'

/** Once per process, however many servers it has: its observers can't be taken back. */
let processMetrics: Registry | null = null
const processRegistry = (): Registry => {
  if (!processMetrics) {
    processMetrics = new Registry()
    collectDefaultMetrics({ register: processMetrics })
  }
  return processMetrics
}

/** None where nobody reports. */
export function metricRoutes(deps: ServerDeps): Route[] {
  const { providers } = deps
  if (!providers) return []
  const type = Registry.PROMETHEUS_CONTENT_TYPE
  return [
    {
      spec: {
        method: 'get',
        path: '/metrics',
        summary: 'Metrics for Prometheus',
        description: 'Of providers in the whole deployment, and of this process. Needs a caller that sees all sources.',
        responses: { 200: { description: 'Text exposition format 0.0.4', content: { 'text/plain': z.string() } } },
      },
      async handle(ctx) {
        const { sees } = await deps.identify(ctx)
        if (sees !== 'all')
          throw new Problem(403, 'foreign-source', 'Metrics are of all sources; this caller sees one.')
        const [reports, totals, audited] = await Promise.all([
          providers.list(null),
          providers.totals(),
          deps.audited?.() ?? null,
        ])
        const texts = [
          await providerMetrics(reports, totals).metrics(),
          ...(audited ? [await auditMetrics(audited).metrics()] : []),
          await processRegistry().metrics(),
        ]
        ctx.body = texts.join('\n')
        ctx.set('content-type', type)
      },
    },
  ]
}
