/**
 * A route: what OpenAPI says about it, and what it does. Groups of routes live in routes/; app.ts mounts them, and
 * openapi.ts documents exactly what is mounted.
 */
import type { Context } from 'koa'
import type { z } from 'zod'
import type { RecordDocument } from '../machines/record.js'
import type { Identity, ServerDeps } from './contract.js'
import { Problem } from './problem.js'

export type RouteResponse = {
  description: string
  /** Schema by media type. */
  content?: { [mediaType: string]: z.ZodType }
}

export type RouteSpec = {
  method: 'get' | 'post'
  /** With `{name}` for parameters. */
  path: string
  summary: string
  description?: string
  params?: z.ZodObject
  query?: z.ZodObject
  headers?: z.ZodObject
  body?: { description: string; content: { [mediaType: string]: z.ZodType } }
  responses: { [status: string]: RouteResponse }
}

export type Route = { spec: RouteSpec; handle(ctx: RouteContext): Promise<void> }

/** Koa's context with the path's parameters. */
export type RouteContext = Context & { params: { [name: string]: string } }

export const json = (description: string, schema: z.ZodType): RouteResponse => ({
  description,
  content: { 'application/json': schema },
})

/** One record that this caller may see; 404 for the others, so that ids of other sources stay unknown (P12). */
export async function loadVisible(deps: ServerDeps, identity: Identity, id: string): Promise<RecordDocument> {
  const [doc] = await deps.store.load([id])
  if (doc && (identity.sees === 'all' || doc.source === identity.source)) return doc
  throw new Problem(404, 'unknown-record', `There is no record ${id}. List what there is with GET /v1/records.`)
}

/** The source that a list is limited to: what was asked for, or the caller's own. */
export function visibleSource(identity: Identity, asked: string | undefined): string | undefined {
  if (identity.sees === 'all') return asked
  if (asked !== undefined && asked !== identity.source) {
    throw new Problem(
      403,
      'foreign-source',
      `This caller sees the source "${identity.source}" only. Leave out \`source\`.`,
    )
  }
  return identity.source
}

/** Drops what is undefined, for optional fields under exactOptionalPropertyTypes. */
export function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}
