/**
 * What this process can do with a record: its pipelines and their machines.
 */
import { z } from 'zod'
import type { ServerDeps } from '../contract.js'
import { parsePart, Problem } from '../problem.js'
import { json, type Route, type RouteContext } from '../route.js'
import { machineQuery, machineSchema, nameParams, noQuery, pipelineListSchema } from '../schemas.js'
import { pipelineView } from '../views.js'

const MERMAID_TYPE = 'text/vnd.mermaid'

export function pipelineRoutes(deps: ServerDeps): Route[] {
  return [
    {
      spec: {
        method: 'get',
        path: '/v1/pipelines',
        summary: 'List pipelines',
        query: noQuery,
        responses: { 200: json('All pipelines', pipelineListSchema) },
      },
      async handle(ctx) {
        await deps.identify(ctx)
        parsePart(noQuery, ctx.query, 'query')
        ctx.body = { items: deps.pipelines.all().map(pipelineView), next: null }
      },
    },
    {
      spec: {
        method: 'get',
        path: '/v1/pipelines/{name}/machine',
        summary: "A pipeline's machine",
        description: `As XState JSON with its Mermaid diagram, or as Mermaid alone (Accept: ${MERMAID_TYPE}, or ?format=mermaid).`,
        params: nameParams,
        query: machineQuery,
        responses: {
          200: {
            description: 'The machine',
            content: { 'application/json': machineSchema, [MERMAID_TYPE]: z.string() },
          },
        },
      },
      handle: (ctx) => showMachine(deps, ctx),
    },
  ]
}

async function showMachine(deps: ServerDeps, ctx: RouteContext): Promise<void> {
  await deps.identify(ctx)
  const { name } = parsePart(nameParams, ctx.params, 'path')
  const { format } = parsePart(machineQuery, ctx.query, 'query')
  const pipeline = deps.pipelines.byName(name)
  if (pipeline === undefined) {
    const known = deps.pipelines.all().map((each) => each.definition.name)
    const detail = `There is no pipeline "${name}". Known here: ${known.join(', ') || 'none'}.`
    throw new Problem(404, 'unknown-pipeline', detail, { facts: { pipeline: name, known } })
  }
  const { xstate, mermaid, path } = deps.describeMachine(pipeline)
  ctx.vary('Accept')
  if (
    format === 'mermaid' ||
    (format === undefined && ctx.accepts('application/json', MERMAID_TYPE) === MERMAID_TYPE)
  ) {
    ctx.body = mermaid
    ctx.set('content-type', `${MERMAID_TYPE}; charset=utf-8`)
  } else {
    ctx.body = { pipeline: name, version: pipeline.version, xstate, mermaid, ...(path && { path }) }
  }
}
