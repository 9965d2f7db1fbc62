/**
 * A RunPod serverless endpoint as it is published (https://docs.runpod.io/serverless/endpoints/send-requests): `/run`
 * takes `{ input, webhook }` and answers with an id, `/status/{id}` holds the output, `/cancel/{id}` is a POST.
 */
import type { Protocol } from '../../../src/testing/testing.js'

export const RUNPOD_OUTPUT = { text: 'Haemoglobin 8.4 g/dl' }

export type RunpodJob = { id: string; body: { input?: unknown; webhook?: string }; asked: number; cancelled: boolean }
/** `end`: the status of jobs that have ended. */
export type RunpodState = { jobs: RunpodJob[]; end: object }

export const runpodState = (): RunpodState => ({
  jobs: [],
  end: { status: 'COMPLETED', delayTime: 824, executionTime: 3391, output: RUNPOD_OUTPUT },
})

export const runpodServer = (state: RunpodState = runpodState()): Protocol => {
  const base = '/v2/ENDPOINT_ID'
  return (request) => {
    if (!/^Bearer \S+$/.test(request.headers['authorization'] ?? '')) return { status: 401, body: '' }
    if (request.path === `${base}/health`) return { status: 200, json: { workers: { idle: 1 } } }
    if (request.method === 'POST' && request.path === `${base}/run`) {
      const body = JSON.parse(request.body.toString('utf8')) as RunpodJob['body']
      if (body.input === undefined) return { status: 400, json: { error: 'input is required' } }
      const id = `eaebd6e7-6a92-4bb8-a911-f996ac5ea${String(state.jobs.length + 1).padStart(3, '0')}-u1`
      state.jobs.push({ id, body, asked: 0, cancelled: false })
      return { status: 200, json: { id, status: 'IN_QUEUE' } }
    }
    const [, what, id] = /\/(status|cancel)\/([^/]+)$/.exec(request.path) ?? []
    const job = state.jobs.find((each) => each.id === id)
    if (job === undefined) return { status: 404, json: { error: 'job not found' } }
    if (what === 'cancel') job.cancelled = true
    if (job.cancelled) return { status: 200, json: { id, status: 'CANCELLED' } }
    job.asked += 1
    if (job.asked === 1) return { status: 200, json: { id, status: 'IN_QUEUE', delayTime: 10 } }
    if (job.asked === 2) return { status: 200, json: { id, status: 'IN_PROGRESS', delayTime: 824 } }
    return { status: 200, json: { id, ...state.end } }
  }
}
