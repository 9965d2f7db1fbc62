/**
 * A server that speaks Replicate's HTTP API as published, with predictions that end when a test says so.
 *
 * Owns the account's predictions, the counting of what reached it, and its own signing of webhooks (HMAC by hand, so that
 * the package under test is not checked against itself). Faults happen to the next POST that creates something.
 *
 * https://replicate.com/docs/reference/http, https://replicate.com/docs/topics/webhooks/verify-webhook
 */
import { createHmac, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { z } from 'zod'

export const API_TOKEN = 'r8_test0000000000000000000000000000000000'
export const WEBHOOK_KEY = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'
/** The versions, models and deployments that there are. */
export const VERSION = '5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa'
export const MODEL = 'clinic/reader'
export const DEPLOYMENT = 'clinic/reader-eu'

const BODY_BYTES_MAX = 16 * 1024 * 1024
const DELIVERY_MS_MAX = 5_000

export type ServedPrediction = {
  id: string
  model: string
  version: string
  status: 'starting' | 'processing' | 'succeeded' | 'failed' | 'canceled' | 'aborted'
  input: { [field: string]: unknown }
  output: unknown
  error: string | null
  logs: string | null
  metrics: { predict_time?: number; total_time?: number }
  source: 'api' | 'web'
  data_removed: boolean
  created_at: string
  started_at: string | null
  completed_at: string | null
  webhook?: string
  webhook_events_filter?: string[]
}

/** What happens to the next creating POST. `taken`: is the prediction made all the same? */
export type Fault =
  | { kind: 'cut'; taken: boolean }
  | { kind: 'cut-body' }
  | { kind: 'hang' }
  | { kind: 'status'; status: number; body: unknown; headers?: { [name: string]: string }; taken?: boolean }
  | { kind: 'ended'; output: unknown; seconds: number }
  | { kind: 'answer'; status: number; body: unknown }

export type Delivery = { headers: { [name: string]: string }; body: Uint8Array }

export interface ReplicateServer {
  /** With `/v1`. */
  readonly url: string
  /** Newest last. Its length is the independent count of executions. */
  readonly predictions: readonly ServedPrediction[]
  /** Of creating POSTs, as they came. */
  readonly posts: readonly { path: string; body: string; headers: IncomingMessage['headers'] }[]
  /** "GET /v1/predictions/…", all of them. */
  readonly requests: readonly string[]
  /** The page's size of lists. Default 100. */
  pageSize: number
  fault(fault: Fault): void
  /** Changes a prediction, as its run or the clean-up would. */
  change(id: string, change: Partial<ServedPrediction>): void
  succeed(id: string, output: unknown, seconds?: number): void
  /** Another caller's prediction. */
  add(change?: Partial<ServedPrediction>): ServedPrediction
  /** The delivery that tells the prediction's present state, signed for `at`. */
  deliveryOf(id: string, options?: { at?: Date; key?: string; messageId?: string }): Delivery
  /** Sends it to the prediction's webhook. Answers the status. */
  deliver(id: string): Promise<number>
  close(): Promise<void>
}

const CreateBody = z.strictObject({
  version: z.string().optional(),
  input: z.record(z.string(), z.unknown()),
  webhook: z.url().optional(),
  webhook_events_filter: z.array(z.enum(['start', 'output', 'logs', 'completed'])).optional(),
  stream: z.boolean().optional(),
})

export async function startReplicateServer(): Promise<ReplicateServer> {
  const predictions: ServedPrediction[] = []
  const posts: { path: string; body: string; headers: IncomingMessage['headers'] }[] = []
  const requests: string[] = []
  const faults: Fault[] = []
  let baseUrl = ''

  const find = (id: string): ServedPrediction => {
    const found = predictions.find((prediction) => prediction.id === id)
    if (found === undefined) throw new Error(`There is no prediction ${id}.`)
    return found
  }
  const server = createServer((req, res) => {
    serve(req, res).catch(() => res.destroy())
  })

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? '/', baseUrl)
    requests.push(`${req.method} ${url.pathname}`)
    const body = await readBody(req)
    if (req.headers.authorization !== `Bearer ${API_TOKEN}`)
      return problem(res, 401, 'Unauthenticated', 'You did not pass a valid authentication token')
    const [, version, ...path] = url.pathname.split('/')
    if (version !== 'v1') return problem(res, 404, 'Not found', 'The requested resource could not be found.')
    if (req.method === 'POST' && path.at(-1) === 'predictions') return create(req, res, path, body)
    const [kind, id, action] = path
    if (kind === 'predictions') {
      if (req.method === 'GET' && id === undefined) return list(res, url)
      const prediction = predictions.find((one) => one.id === id)
      if (prediction === undefined) return problem(res, 404, 'Not found', 'The requested resource could not be found.')
      if (req.method === 'GET' && action === undefined) return json(res, 200, shown(prediction))
      if (req.method === 'POST' && action === 'cancel') {
        if (prediction.status === 'starting' || prediction.status === 'processing')
          Object.assign(prediction, { status: 'canceled', completed_at: new Date().toISOString() })
        return json(res, 200, shown(prediction))
      }
    }
    if (req.method === 'GET' && path.join('/') === 'webhooks/default/secret')
      return json(res, 200, { key: WEBHOOK_KEY })
    if (req.method === 'GET' && path.join('/') === 'account')
      return json(res, 200, { type: 'organization', username: 'clinic', name: 'Clinic' })
    const there = [`models/${MODEL}`, `deployments/${DEPLOYMENT}`]
    if (req.method === 'GET' && there.includes(path.join('/')))
      return json(res, 200, { owner: 'clinic', name: path[2] })
    problem(res, 404, 'Not found', 'The requested resource could not be found.')
  }

  function create(req: IncomingMessage, res: ServerResponse, path: string[], text: string): void {
    posts.push({ path: req.url ?? '', body: text, headers: req.headers })
    const fault = faults.shift()
    if (fault?.kind === 'cut' && !fault.taken) return void res.destroy()
    if (fault?.kind === 'answer') return json(res, fault.status, fault.body)
    if (fault?.kind === 'status' && fault.taken !== true) return json(res, fault.status, fault.body, fault.headers)
    const parsed = CreateBody.safeParse(parseJson(text))
    if (!parsed.success) return problem(res, 422, 'Input validation failed', 'The body is not as documented.')
    const target = path.slice(0, -1).join('/')
    const known = { [`models/${MODEL}`]: MODEL, [`deployments/${DEPLOYMENT}`]: MODEL, '': MODEL }[target]
    if (known === undefined) return problem(res, 404, 'Not found', 'The requested resource could not be found.')
    const { version, input, webhook, webhook_events_filter: filter } = parsed.data
    if (target === '' && version?.split(':').at(-1) !== VERSION)
      return problem(res, 422, 'Invalid version or not permitted', 'The specified version does not exist.')
    const prediction = newPrediction({
      input,
      ...(webhook && { webhook }),
      ...(filter && { webhook_events_filter: filter }),
    })
    predictions.push(prediction)
    if (fault?.kind === 'cut') return void res.destroy()
    if (fault?.kind === 'hang') return
    if (fault?.kind === 'status') return json(res, fault.status, fault.body, fault.headers)
    if (fault?.kind === 'ended') end(prediction, fault.output, fault.seconds)
    if (fault?.kind !== 'cut-body') return json(res, 201, shown(prediction))
    const whole = JSON.stringify(shown(prediction))
    res.writeHead(201, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(whole) })
    res.write(whole.slice(0, whole.length / 2), () => res.destroy())
  }

  function list(res: ServerResponse, url: URL): void {
    const after = url.searchParams.get('created_after')
    const before = url.searchParams.get('created_before')
    const skip = Number(url.searchParams.get('cursor') ?? 0)
    const matching = predictions
      .filter(({ created_at: at }) => (after === null || at >= after) && (before === null || at < before))
      .reverse()
    const results = matching.slice(skip, skip + api.pageSize).map(shown)
    const more = new URL(url)
    more.searchParams.set('cursor', String(skip + api.pageSize))
    json(res, 200, { previous: null, next: skip + api.pageSize < matching.length ? more.href : null, results })
  }

  const shown = (prediction: ServedPrediction) => {
    // The reference shows no webhook in what is got and listed.
    const { webhook: _webhook, webhook_events_filter: _filter, ...rest } = prediction
    const own = `${baseUrl}/v1/predictions/${prediction.id}`
    return { ...rest, urls: { get: own, cancel: `${own}/cancel` } }
  }

  const api: ReplicateServer = {
    get url() {
      return `${baseUrl}/v1`
    },
    predictions,
    posts,
    requests,
    pageSize: 100,
    fault: (fault) => void faults.push(fault),
    change: (id, change) => void Object.assign(find(id), change),
    succeed: (id, output, seconds = 1.5) => end(find(id), output, seconds),
    add(change = {}) {
      const prediction = newPrediction(change)
      predictions.push(prediction)
      return prediction
    },
    deliveryOf: (id, options) =>
      signDelivery(JSON.stringify({ ...shown(find(id)), ...webhookOf(find(id)) }), id, options),
    async deliver(id) {
      const { webhook } = find(id)
      if (webhook === undefined) throw new Error(`Prediction ${id} asked for no webhook.`)
      const { headers, body } = api.deliveryOf(id)
      const signal = AbortSignal.timeout(DELIVERY_MS_MAX)
      const answer = await fetch(webhook, { method: 'POST', headers, body: Buffer.from(body), signal })
      await answer.arrayBuffer()
      return answer.status
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return api
}

/** Webhooks show the webhook, as seen in deliveries. */
const webhookOf = ({ webhook, webhook_events_filter: filter }: ServedPrediction) => ({
  ...(webhook !== undefined && { webhook }),
  ...(filter !== undefined && { webhook_events_filter: filter }),
})

function newPrediction(change: Partial<ServedPrediction>): ServedPrediction {
  return {
    id: randomBytes(13).toString('hex'),
    model: MODEL,
    version: VERSION,
    status: 'starting',
    input: {},
    output: null,
    error: null,
    logs: '',
    metrics: {},
    source: 'api',
    data_removed: false,
    created_at: new Date().toISOString(),
    started_at: null,
    completed_at: null,
    ...change,
  }
}

function end(prediction: ServedPrediction, output: unknown, seconds: number): void {
  const completedAt = new Date().toISOString()
  const metrics = { predict_time: seconds, total_time: seconds + 0.2 }
  Object.assign(prediction, { status: 'succeeded', output, metrics, completed_at: completedAt })
}

/** A delivery of this body, signed by hand. */
export function signDelivery(
  body: string,
  id: string,
  { at = new Date(), key = WEBHOOK_KEY, messageId = `msg_${id}` }: { at?: Date; key?: string; messageId?: string } = {},
): Delivery {
  const timestamp = String(Math.floor(at.getTime() / 1000))
  const secret = Buffer.from(key.slice('whsec_'.length), 'base64')
  const signature = createHmac('sha256', secret).update(`${messageId}.${timestamp}.${body}`).digest('base64')
  const headers = {
    'content-type': 'application/json',
    'webhook-id': messageId,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${signature}`,
  }
  return { headers, body: Buffer.from(body) }
}

async function readBody(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) throw new Error(`A body of more than ${BODY_BYTES_MAX} bytes.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

function json(res: ServerResponse, status: number, body: unknown, headers: { [name: string]: string } = {}): void {
  res.writeHead(status, { 'content-type': 'application/json', 'x-request-id': 'req-1', ...headers })
  res.end(JSON.stringify(body))
}

const problem = (res: ServerResponse, status: number, title: string, detail: string): void =>
  json(res, status, { title, detail, status })
