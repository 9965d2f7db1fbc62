/**
 * POST /v1/records/{id}/events: own events of a machine written by hand. What a state accepts is the machine's to say.
 */
import { z } from 'zod'
import { isOwnEventType } from '../../machines/events.js'
import { parseJson } from '../../ingest/json-limits.js'
import type { ServerDeps } from '../contract.js'
import { parsePart, Problem } from '../problem.js'
import { readWhole } from '../read-body.js'
import { json, loadVisible, type Route, type RouteContext } from '../route.js'
import { idParams, noQuery, recordSchema } from '../schemas.js'
import { recordView } from '../views.js'

/** An event's data is kept in the history, in full. */
const EVENT_BYTES_MAX = 4 * 1024
/** Own events of one record; with the bytes above they stay far below a document's limit. */
export const OWN_EVENTS_MAX = 128

const eventBody = z.strictObject({
  name: z
    .string()
    .max(64)
    .regex(/^[A-Z][A-Z0-9_]*$/, 'is no event name: write it in capitals, such as APPROVED')
    .refine(isOwnEventType, 'is an event of the record machine itself; choose another name'),
  data: z.unknown().optional(),
})

export function eventRoutes(deps: ServerDeps): Route[] {
  return [
    {
      spec: {
        method: 'post',
        path: '/v1/records/{id}/events',
        summary: "Deliver an event of the pipeline's own machine",
        description:
          'For machines written by hand. Answers the record after it, or 409 when its state does not take it.',
        params: idParams,
        query: noQuery,
        body: { description: 'The event', content: { 'application/json': eventBody } },
        responses: { 200: json('The record after the event', recordSchema) },
      },
      handle: (ctx) => deliverEvent(deps, ctx),
    },
  ]
}

async function deliverEvent(deps: ServerDeps, ctx: RouteContext): Promise<void> {
  const identity = await deps.identify(ctx)
  parsePart(noQuery, ctx.query, 'query')
  const { id } = parsePart(idParams, ctx.params, 'path')
  const bytes = await readWhole(ctx.req, 'The event', EVENT_BYTES_MAX)
  const { name, data } = parsePart(eventBody, parseJson(bytes, 'The event'), 'body')
  const before = await loadVisible(deps, identity, id)
  if (before.history.filter(({ event }) => event.type === 'CUSTOM').length >= OWN_EVENTS_MAX)
    throw new Problem(409, 'too-many-events', `Record ${id} has had ${OWN_EVENTS_MAX} events, which is the limit.`)
  const { doc, applied } = await deps.deliver(id, { type: 'CUSTOM', name, data: data ?? null }, identity.source)
  if (!applied)
    throw new Problem(409, 'event-not-accepted', `Record ${id} is ${doc.status} and takes no ${name} in its state now.`)
  ctx.set('etag', `"${doc.version}"`)
  ctx.body = recordView(doc, deps.pipelines)
}
