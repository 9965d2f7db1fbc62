/**
 * For those who watch the process: is it alive, can it take records. No identity is asked for: probes have none.
 */
import type { ServerDeps } from '../contract.js'
import { json, type Route } from '../route.js'
import { liveSchema, readySchema } from '../schemas.js'

const READINESS_TIMEOUT_MS = 5_000

export function healthRoutes(deps: ServerDeps): Route[] {
  return [
    {
      spec: {
        method: 'get',
        path: '/livez',
        summary: 'The process answers',
        responses: { 200: json('Alive', liveSchema) },
      },
      async handle(ctx) {
        ctx.body = { status: 'ok' }
      },
    },
    {
      spec: {
        method: 'get',
        path: '/readyz',
        summary: 'The process can accept records',
        description: '`degraded` names what is away while records still settle, such as `nats`.',
        responses: { 200: json('Ready', readySchema), 503: json('Not ready', readySchema) },
      },
      async handle(ctx) {
        const { ok, degraded } = await readiness(deps)
        ctx.status = ok ? 200 : 503
        ctx.body = { status: ok ? 'ok' : 'unavailable', degraded }
      },
    },
  ]
}

async function readiness(deps: ServerDeps): Promise<{ ok: boolean; degraded: string[] }> {
  const answered = new AbortController()
  const tooLate = deps.clock.sleep(READINESS_TIMEOUT_MS, answered.signal).then(() => ({ ok: false, degraded: [] }))
  try {
    return await Promise.race([deps.readiness(), tooLate])
  } catch {
    return { ok: false, degraded: [] }
  } finally {
    answered.abort()
  }
}
