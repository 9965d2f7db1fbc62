/**
 * POST /v1/records/{id}/cancel|retry|write-off: what a person does to a record. The machine says whether its state takes
 * it; `can` of the record says so before. With If-Match only the version that the person has seen is changed
 * (RFC 9110, 13.1.1: strong comparison, 412 otherwise).
 */
import { z } from 'zod'
import { OPERATOR_EVENTS, recordCan, standingOf } from '../../machines/actions.js'
import type { RecordCan } from '../../machines/actions.js'
import type { HistoryEntry, RecordDocument } from '../../machines/record.js'
import { parseJson } from '../../ingest/json-limits.js'
import type { ServerDeps } from '../contract.js'
import { parsePart, Problem } from '../problem.js'
import { readWhole } from '../read-body.js'
import { json, loadVisible, type Route, type RouteContext, type RouteResponse } from '../route.js'
import { idParams, noQuery, problemSchema, recordSchema } from '../schemas.js'
import { recordView } from '../views.js'

const BODY_BYTES_MAX = 8 * 1024
const REASON_CHARACTERS_MAX = 500
/** Newest kept; all of them are in the history. */
const CHANGES_MAX = 50

const actionBody = z
  .strictObject({
    reason: z
      .string()
      .trim()
      .min(1, 'must say why')
      .max(REASON_CHARACTERS_MAX, `may have up to ${REASON_CHARACTERS_MAX} characters`)
      .meta({ description: 'Why: kept in the history. No patient data' }),
  })
  .meta({ id: 'OperatorAction' })

const actionHeaders = z.object({
  'If-Match': z
    .string()
    .regex(/^\s*(\*|"\d{1,15}")\s*$/, 'must be the ETag of the record as you saw it, such as "7"')
    .optional()
    .meta({ description: 'The ETag that the record must still have' }),
})

type Action = { name: keyof RecordCan; path: string; summary: string; description: string }

const ACTIONS: readonly Action[] = [
  {
    name: 'cancel',
    path: 'cancel',
    summary: 'End a record',
    description: 'Nothing new is started; results and charges that it has stay. A late answer is kept as discarded.',
  },
  {
    name: 'retry',
    path: 'retry',
    summary: 'Start a record in investigation again',
    description:
      'A new generation, with fresh budgets and a new `settlesBy`. Steps that have their result are not called again: ' +
      'the history names them as `reused`. A record of a pipeline version that is gone moves to the current one first.',
  },
  {
    name: 'writeOff',
    path: 'write-off',
    summary: 'Give up a record in investigation',
    description: 'It ends as cancelled; what it has and what it cost stay.',
  },
]

const problem = (description: string): RouteResponse => ({
  description,
  content: { 'application/problem+json': problemSchema },
})

export function actionRoutes(deps: ServerDeps): Route[] {
  return ACTIONS.map((action) => ({
    spec: {
      method: 'post',
      path: `/v1/records/{id}/${action.path}`,
      summary: action.summary,
      description: action.description,
      params: idParams,
      query: noQuery,
      headers: actionHeaders,
      body: { description: 'Why', content: { 'application/json': actionBody } },
      responses: {
        200: json('The record after it', recordSchema),
        409: problem('Its state does not take this: `can` says what it takes'),
        412: problem('It is at another `version`: `changes` says what happened since'),
      },
    },
    handle: (ctx) => act(deps, action, ctx),
  }))
}

async function act(deps: ServerDeps, { name, path }: Action, ctx: RouteContext): Promise<void> {
  const identity = await deps.identify(ctx)
  parsePart(noQuery, ctx.query, 'query')
  const { id } = parsePart(idParams, ctx.params, 'path')
  const expected = expectedVersion(ctx)
  const bytes = await readWhole(ctx.req, 'The action', BODY_BYTES_MAX)
  const { reason } = parsePart(actionBody, parseJson(bytes, 'The action'), 'body')
  await loadVisible(deps, identity, id)
  const event = { type: OPERATOR_EVENTS[name], reason }
  const options = expected === null ? {} : { expectedVersion: expected }
  const { doc, applied, moved, impossible } = await deps.deliver(id, event, identity.source, options)
  if (moved) throw movedOn(doc, expected ?? doc.version)
  if (!applied) throw refused(deps, doc, path, impossible)
  ctx.set('etag', etagOf(doc))
  ctx.body = recordView(doc, deps.pipelines)
}

/** Null: any version. */
function expectedVersion(ctx: RouteContext): number | null {
  const given = ctx.req.headers['if-match']
  const { 'If-Match': match } = parsePart(actionHeaders, given === undefined ? {} : { 'If-Match': given }, 'headers')
  const digits = match === undefined ? null : /\d+/.exec(match)
  return digits === null ? null : Number(digits[0])
}

const etagOf = (doc: RecordDocument): string => `"${doc.version}"`

const change = ({ version, at, event, from, to, by }: HistoryEntry) => ({
  version,
  at: at.toISOString(),
  event: event.type,
  from,
  to,
  by,
})

function movedOn(doc: RecordDocument, expected: number): Problem {
  const since = doc.history.filter(({ version }) => version > expected)
  const changes = since.slice(-CHANGES_MAX).map(change)
  const last = changes.at(-1)
  const what = last
    ? `${since.length} change(s) since, the last of them ${last.event} by ${last.by} (${last.from} -> ${last.to})`
    : 'it has never had that version'
  const detail =
    `Record ${doc._id} is at version ${doc.version}, not ${expected}: ${what}. ` +
    'Look at it again, and send its new ETag if you still want this.'
  return new Problem(412, 'record-moved', detail, {
    facts: { version: doc.version, recordStatus: doc.status, changes },
    headers: { etag: etagOf(doc) },
  })
}

function refused(deps: ServerDeps, doc: RecordDocument, path: string, impossible: string | undefined): Problem {
  const can = recordCan(doc, deps.pipelines)
  const takes = ACTIONS.filter((action) => can?.[action.name]).map((action) => action.path)
  const detail =
    impossible === undefined
      ? `Record ${doc._id} takes no ${path} in its state now. It is ${standingOf(doc, deps.pipelines).replace(/\.$/, '')}. ` +
        `It takes ${takes.length === 0 ? 'nothing of a person any more' : takes.join(', ')}.`
      : `Record ${doc._id} takes no ${path}: its pipeline version ${doc.pipelineVersion} is gone. ${impossible}`
  return new Problem(409, 'action-refused', detail, {
    facts: { version: doc.version, recordStatus: doc.status, can },
    headers: { etag: etagOf(doc) },
  })
}
