/**
 * fal's queue as it is published (https://fal.ai/docs/documentation/model-apis/inference/queue): submit answers with
 * URLs and `request_id`, the status never holds the output, the response stands at a path of its own, cancel is a PUT.
 * Failures of the platform are flat objects with `error_type`, also told by `X-Fal-Error-Type`
 * (https://fal.ai/docs/documentation/model-apis/request-errors); failures of the model are a 422.
 */
import type { Protocol, ProtocolResponse } from '../../../src/testing/testing.js'

export const FAL_RESULT = { results: 'Haemoglobin 8.4 g/dl' }

export type FalJob = { id: string; webhook: string | null; asked: number; cancelled: boolean }
export type FalState = { jobs: FalJob[]; response?: ProtocolResponse }

export const falServer = (state: FalState = { jobs: [] }): Protocol => {
  const base = '/fal-ai/florence-2-large'
  return (request, { url: origin }) => {
    if (!/^Key \S+$/.test(request.headers['authorization'] ?? '')) return { status: 401, json: { detail: 'No key' } }
    const url = new URL(request.path, origin)
    if (request.method === 'POST' && url.pathname === `${base}/ocr`) {
      const id = `80e732af-660e-45cd-bd63-${String(state.jobs.length + 1).padStart(12, '0')}`
      state.jobs.push({ id, webhook: url.searchParams.get('fal_webhook'), asked: 0, cancelled: false })
      const job = `${origin}${base}/requests/${id}`
      const urls = { response_url: job, status_url: `${job}/status`, cancel_url: `${job}/cancel` }
      return { status: 200, json: { status: 'IN_QUEUE', request_id: id, ...urls, queue_position: 0 } }
    }
    const [, id, what = ''] = /\/requests\/([^/]+)(?:\/(\w+))?$/.exec(url.pathname) ?? []
    const job = state.jobs.find((each) => each.id === id)
    if (job === undefined) return { status: 404, json: { detail: 'Request not found' } }
    if (request.method === 'PUT' && what === 'cancel') {
      job.cancelled = true
      return { status: 202, json: { status: 'CANCELLATION_REQUESTED' } }
    }
    if (what === 'status') return { status: 200, json: statusOf(job) }
    return state.response ?? { status: 200, json: FAL_RESULT }
  }
}

function statusOf(job: FalJob): object {
  job.asked += 1
  if (job.asked === 1) return { status: 'IN_QUEUE', queue_position: 1, request_id: job.id }
  if (job.asked === 2) return { status: 'IN_PROGRESS', logs: null, request_id: job.id }
  return { status: 'COMPLETED', logs: null, request_id: job.id, metrics: { inference_time: 2.5 } }
}
