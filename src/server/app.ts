/**
 * The HTTP API as one Node request listener. Owns the order of things around every request (request id, security
 * headers, problems); the routes own what they do. Binds no port, reads no environment.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { randomUUID } from 'node:crypto'
import { Router } from '@koa/router'
import Koa from 'koa'
import helmet from 'koa-helmet'
import type { ServerDeps } from './contract.js'
import { openApiDocument } from './openapi.js'
import { asProblem, Problem, problemBody } from './problem.js'
import { discardRest, refuseEncoded } from './read-body.js'
import { json, type Route, type RouteContext } from './route.js'
import { actionRoutes } from './routes/actions.js'
import { chargeRoutes } from './routes/charges.js'
import { eventRoutes } from './routes/events.js'
import { contentRoutes } from './routes/contents.js'
import { healthRoutes } from './routes/health.js'
import { metricRoutes } from './routes/metrics.js'
import { pipelineRoutes } from './routes/pipelines.js'
import { providerRoutes } from './routes/providers.js'
import { recordRoutes } from './routes/records.js'
import { auditRoutes } from './routes/audit.js'
import { reportRoutes } from './routes/reports.js'
import { submitRoutes } from './routes/submit.js'
import { uploadRoutes } from './routes/uploads.js'
import { webhookRoutes } from './routes/webhooks.js'
import { anyObject } from './schemas.js'

export type Server = {
  /** Mounts in Node's http, Koa, Express or Nest. */
  handler(req: IncomingMessage, res: ServerResponse): void
  /** What /openapi.json answers. */
  openapi: object
}

const API_VERSION = '1'
const REQUEST_ID = /^[A-Za-z0-9_-]{1,64}$/

export function createServer(deps: ServerDeps): Server {
  const routes = [
    ...submitRoutes(deps),
    ...uploadRoutes(deps),
    ...recordRoutes(deps),
    ...contentRoutes(deps),
    ...eventRoutes(deps),
    ...actionRoutes(deps),
    ...chargeRoutes(deps),
    ...reportRoutes(deps),
    ...auditRoutes(deps),
    ...pipelineRoutes(deps),
    ...healthRoutes(deps),
    ...webhookRoutes(deps),
    ...providerRoutes(deps),
    ...metricRoutes(deps),
  ]
  const documentation: Route = {
    spec: {
      method: 'get',
      path: '/openapi.json',
      summary: 'This description',
      responses: { 200: json('OpenAPI 3.1', anyObject) },
    },
    async handle(ctx) {
      ctx.set('content-type', 'application/json; charset=utf-8')
      ctx.body = text
    },
  }
  const openapi = openApiDocument(
    [...routes, documentation].map(({ spec }) => spec),
    API_VERSION,
  )
  const text = JSON.stringify(openapi)

  const app = new Koa()
  app.on('error', (error: unknown) => {
    if (!isClientGone(error)) deps.log.error({ err: nameOf(error) }, 'A response broke off.')
  })
  app.use(problems(deps))
  app.use(securityHeaders())
  app.use(routerOf([...routes, documentation]).routes())
  app.use(noRoute)
  const handle = app.callback()
  return { handler: (req, res) => void handle(req, res), openapi }
}

function routerOf(routes: readonly Route[]): Router {
  const router = new Router({ strict: true, sensitive: true })
  for (const { spec, handle } of routes) {
    router[spec.method](spec.path.replace(/\{(\w+)\}/g, ':$1'), (ctx) => {
      if (spec.body !== undefined) refuseEncoded(ctx.req)
      return handle(ctx as unknown as RouteContext)
    })
  }
  return router
}

function problems(deps: ServerDeps): Koa.Middleware {
  return async (ctx, next) => {
    const given = ctx.req.headers['x-request-id']
    const requestId = typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID()
    ctx.set('x-request-id', requestId)
    ctx.set('cache-control', 'no-store')
    try {
      await next()
    } catch (error) {
      const problem = asProblem(error)
      if (problem.status >= 500) {
        const facts = { requestId, code: problem.code, method: ctx.method, err: nameOf(problem.cause ?? problem) }
        deps.log.error(facts, 'A request failed.')
      }
      ctx.status = problem.status
      ctx.set(problem.headers)
      ctx.body = JSON.stringify(problemBody(problem, requestId))
      ctx.set('content-type', 'application/problem+json; charset=utf-8')
      discardRest(ctx.req)
    }
  }
}

/**
 * The API serves data, never pages: nothing may be loaded or framed from it. The console sets its own policy.
 * The headers are the same for each answer, so helmet is asked once.
 */
function securityHeaders(): Koa.Middleware {
  const protect = helmet({
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    // Answers carry what the scheme in front of us decides; on loopback there is no TLS.
    strictTransportSecurity: false,
  })
  const headers: [string, string][] = []
  const res = { setHeader: (name: string, value: string) => void headers.push([name, value]), removeHeader() {} }
  void protect({ req: {}, res } as unknown as Koa.Context, async () => {})
  return (ctx, next) => {
    for (const [name, value] of headers) ctx.res.setHeader(name, value)
    return next()
  }
}

const noRoute: Koa.Middleware = (ctx) => {
  const layers = (ctx as { matched?: { methods: string[] }[] }).matched ?? []
  const allowed = [...new Set(layers.flatMap(({ methods }) => methods))]
  if (allowed.length > 0) {
    const detail = `${ctx.method} is not possible here; ${allowed.join(', ')} is. See /openapi.json.`
    throw new Problem(405, 'method-not-allowed', detail, { headers: { allow: allowed.join(', ') } })
  }
  throw new Problem(404, 'unknown-route', 'There is nothing at this address. See /openapi.json for what there is.')
}

/** Clients go away in the middle of everything; that is their business and no error of ours. */
function isClientGone(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return /^(ECONNRESET|EPIPE|ECANCELED|ERR_STREAM_PREMATURE_CLOSE|HPE_.*)$/.test(code)
}

/** Class and code of an error; the message may quote content and stays out of the log. */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error
  const code = 'code' in error ? ` ${String(error.code)}` : ''
  return `${error.name}${code}`
}
