/**
 * A team's own model server, one protocol for each recovery class: it runs once per request, or once per key, and says
 * so. `runs` counts executions independently of who asks.
 */
import type { Protocol, ProtocolRequest, ProtocolResponse } from '../../../src/testing/testing.js'

export const ANSWER = { text: 'Haemoglobin 8.4 g/dl', pages: 2 }

const keyOf = ({ headers }: ProtocolRequest): string => headers['idempotency-key'] ?? ''
const notFound: ProtocolResponse = { status: 404, json: { error: 'no such run' } }

/** `POST /infer`: each runs. `GET /health`. */
export const blindServer = (): Protocol => (request) =>
  request.path === '/health' ? { status: 204 } : { status: 200, json: ANSWER }

/** `POST /infer` with a key that was seen: the first answer again. `GET /runs/{key}`: that answer, or 404. */
export const keyedServer = (runs: { count: number } = { count: 0 }): Protocol => {
  const seen = new Set<string>()
  return (request) => {
    if (request.method === 'GET') {
      const key = decodeURIComponent(request.path.replace('/runs/', ''))
      return seen.has(key) ? { status: 200, json: ANSWER } : notFound
    }
    if (!seen.has(keyOf(request))) runs.count += 1
    seen.add(keyOf(request))
    return { status: 200, json: ANSWER }
  }
}

/**
 * `POST /jobs` -> 202 `{ id }`; `GET /jobs/{id}`: queued, running, then done with the output; `GET /jobs?key=…`: those
 * with that key; `DELETE /jobs/{id}`.
 */
export const jobServer = (): Protocol => {
  const jobs: { id: string; key: string; asked: number; cancelled: boolean }[] = []
  return (request) => {
    const url = new URL(request.path, 'http://server')
    if (request.method === 'POST') {
      const id = `job-${jobs.length + 1}`
      jobs.push({ id, key: keyOf(request), asked: 0, cancelled: false })
      return { status: 202, headers: { 'retry-after': '1' }, json: { id, state: 'queued' } }
    }
    const key = url.searchParams.get('key')
    if (key !== null)
      return { status: 200, json: { items: jobs.filter((job) => job.key === key).map(({ id }) => ({ id })) } }
    const job = jobs.find(({ id }) => url.pathname === `/jobs/${id}`)
    if (job === undefined) return notFound
    if (request.method === 'DELETE') return ((job.cancelled = true), { status: 204 })
    job.asked += 1
    if (job.cancelled) return { status: 200, json: { state: 'cancelled' } }
    const state = (['queued', 'running'] as const)[job.asked - 1]
    if (state !== undefined) return { status: 200, json: { state, progress: job.asked / 4 } }
    return { status: 200, json: { state: 'done', output: ANSWER, seconds: 1.5 } }
  }
}
