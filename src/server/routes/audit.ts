/**
 * GET /v1/reports/audit: the invariants of every record, judged in this process, told line by line as it goes.
 *
 * - U1 One audit at a time in a process: it reads every record.
 * - U2 What is wrong before the first line is a problem document; what comes after it breaks the stream off: one that ends
 *   with a line of type `end` is whole.
 */
import { Readable } from 'node:stream'
import { z } from 'zod'
import type { AuditLine } from '../../audit/contract.js'
import type { ServerDeps } from '../contract.js'
import { parsePart, Problem } from '../problem.js'
import { present, type Route, type RouteContext } from '../route.js'
import { name } from '../schemas.js'

const NDJSON = 'application/x-ndjson'

const auditQuery = z.strictObject({
  source: name.optional().meta({ description: 'Only records of this source' }),
  blobs: z.enum(['sample', 'all']).default('sample').meta({ description: 'Whose blobs are looked for' }),
})

/** None where there is no auditor. */
export function auditRoutes(deps: ServerDeps): Route[] {
  const { audit } = deps
  if (!audit) return []
  let running: object | null = null
  return [
    {
      spec: {
        method: 'get',
        path: '/v1/reports/audit',
        summary: 'Check the invariants of every record',
        description:
          'One JSON object a line: `progress` every second, a `finding` for each broken invariant, `end` with the sums. ' +
          'Reads only. One at a time in a process; needs a caller that sees all sources. What each invariant means: docs/audit.md.',
        query: auditQuery,
        responses: { 200: { description: 'The audit as it goes', content: { [NDJSON]: z.string() } } },
      },
      async handle(ctx) {
        const { sees } = await deps.identify(ctx)
        if (sees !== 'all')
          throw new Problem(403, 'foreign-source', 'An audit is of all sources; this caller sees one.')
        const { source, blobs } = parsePart(auditQuery, ctx.query, 'query')
        if (running)
          throw new Problem(409, 'audit-running', 'Another audit runs in this process; wait for its end and ask again.')
        const mine = (running = {})
        const options = { ...present({ source }), allBlobs: blobs === 'all' }
        await stream(ctx, audit, options, () => {
          if (running === mine) running = null
        })
      },
    },
  ]
}

async function stream(
  ctx: RouteContext,
  audit: NonNullable<ServerDeps['audit']>,
  options: { source?: string; allBlobs: boolean },
  over: () => void,
): Promise<void> {
  const gone = new AbortController()
  // Also of an answer that nobody began to read.
  ctx.res.once('close', () => {
    gone.abort()
    over()
  })
  const lines = audit({ ...options, signal: gone.signal })[Symbol.asyncIterator]()
  try {
    const first = await lines.next()
    ctx.body = Readable.from(texts(first, lines, over), { objectMode: false })
  } catch (error) {
    over()
    throw error
  }
  ctx.set('content-type', NDJSON)
}

async function* texts(
  first: IteratorResult<AuditLine>,
  lines: AsyncIterator<AuditLine>,
  over: () => void,
): AsyncGenerator<string> {
  try {
    for (let line = first; !line.done; line = await lines.next()) yield `${JSON.stringify(line.value)}\n`
  } finally {
    over()
    await lines.return?.()
  }
}
