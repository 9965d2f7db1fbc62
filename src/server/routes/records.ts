/**
 * Reading records: lists, one record, its history.
 */
import type { ServerDeps } from '../contract.js'
import { badPageToken, parsePart } from '../problem.js'
import { json, loadVisible, present, visibleSource, type Route, type RouteContext } from '../route.js'
import {
  historyListSchema,
  historyQuery,
  idParams,
  listQuery,
  noQuery,
  recordListSchema,
  recordSchema,
} from '../schemas.js'
import { historyView, recordRowView, recordView } from '../views.js'

export function recordRoutes(deps: ServerDeps): Route[] {
  return [
    {
      spec: {
        method: 'get',
        path: '/v1/records',
        summary: 'List records, newest first',
        description: 'Results come by link; one record has its outputs inline where they are small.',
        query: listQuery,
        responses: { 200: json('A page of records', recordListSchema) },
      },
      handle: (ctx) => listRecords(deps, ctx),
    },
    {
      spec: {
        method: 'get',
        path: '/v1/records/{id}',
        summary: 'One record',
        description: 'The ETag is the version. With If-None-Match an unchanged record is answered with 304.',
        params: idParams,
        query: noQuery,
        responses: { 200: json('The record', recordSchema), 304: { description: 'Unchanged' } },
      },
      handle: (ctx) => showRecord(deps, ctx),
    },
    {
      spec: {
        method: 'get',
        path: '/v1/records/{id}/history',
        summary: 'What happened to a record, oldest first',
        params: idParams,
        query: historyQuery,
        responses: { 200: json('A page of history entries', historyListSchema) },
      },
      handle: (ctx) => showHistory(deps, ctx),
    },
  ]
}

async function listRecords(deps: ServerDeps, ctx: RouteContext): Promise<void> {
  const identity = await deps.identify(ctx)
  const { limit, page, source, pipeline, status } = parsePart(listQuery, ctx.query, 'query')
  const filter = present({ source: visibleSource(identity, source), pipeline, status })
  const found = await deps.store.list(filter, { limit, token: page ?? null })
  ctx.body = { items: found.items.map((doc) => recordRowView(doc, deps.pipelines)), next: found.next }
}

async function showRecord(deps: ServerDeps, ctx: RouteContext): Promise<void> {
  const identity = await deps.identify(ctx)
  parsePart(noQuery, ctx.query, 'query')
  const { id } = parsePart(idParams, ctx.params, 'path')
  const doc = await loadVisible(deps, identity, id)
  const etag = `"${doc.version}"`
  ctx.set('etag', etag)
  if (isKnown(ctx.get('if-none-match'), etag)) ctx.status = 304
  else ctx.body = recordView(doc, deps.pipelines)
}

/** Not Koa's `fresh`: fetch sends `Cache-Control: no-cache` beside If-None-Match, and that is no reason to send all again. */
function isKnown(ifNoneMatch: string, etag: string): boolean {
  return ifNoneMatch.split(',').some((known) => known.trim().replace(/^W\//, '') === etag || known.trim() === '*')
}

async function showHistory(deps: ServerDeps, ctx: RouteContext): Promise<void> {
  const identity = await deps.identify(ctx)
  const { id } = parsePart(idParams, ctx.params, 'path')
  const { limit, page } = parsePart(historyQuery, ctx.query, 'query')
  const after = page === undefined ? 0 : versionOf(page)
  const doc = await loadVisible(deps, identity, id)
  const later = doc.history.filter((entry) => entry.version > after)
  const items = later.slice(0, limit)
  const last = items.at(-1)
  const next = last !== undefined && later.length > limit ? tokenAfter(last.version) : null
  ctx.body = { items: items.map(historyView), next }
}

function tokenAfter(version: number): string {
  return Buffer.from(`after ${version}`).toString('base64url')
}

function versionOf(token: string): number {
  const version = /^after (\d{1,15})$/.exec(Buffer.from(token, 'base64url').toString())?.[1]
  if (version === undefined) throw badPageToken()
  return Number(version)
}
