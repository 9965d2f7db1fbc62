/**
 * A server on 127.0.0.1 that speaks OpenAI's published protocol: Responses (background, streamed, cancelled, looked up),
 * Chat Completions (stored, listed by metadata, streamed), models, errors and signed webhooks. The official client talks
 * to it in test/providers/openai-sdk.test.ts.
 *
 * It counts what reaches it, and a test says per POST how the run ends and what the network does to the answer.
 */
import { once } from 'node:events'
import { createHmac } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { text as readText } from 'node:stream/consumers'
import {
  CompletionCreate,
  invalid,
  refusalOfCompletion,
  refusalOfResponse,
  ResponseCreate,
  type Refusal,
} from './openai-checks.js'
import {
  completionObject,
  completionStream,
  finalStatus,
  responseObject,
  responseStream,
  type RunEnd,
} from './openai-objects.js'

export type { RunEnd } from './openai-objects.js'

/** What becomes of one POST that starts a run. */
export type Plan = RunEnd & {
  /** Refused with this status; nothing runs. */
  refuse?: { status: number; code?: string | null; type?: string; headers?: { [name: string]: string } }
  /** The run is done and kept, and the connection is cut: before any byte, or after so many of the body. */
  cut?: 'before-status' | number
  /** Nothing is sent until `release()`: no status, or none of the body. */
  hold?: 'status' | 'body'
  /** The body leaves byte by byte. */
  byteByByte?: boolean
  /** The connection stays open after the last byte. */
  keepOpen?: boolean
  /** Sent instead of the body, with status 200. */
  body?: string
}

export type Seen = { method: string; path: string; headers: IncomingMessage['headers']; body: string }

type Run = { id: string; body: ResponseCreate; end: RunEnd | null; started: boolean }
type Stored = { id: string; body: CompletionCreate; end: RunEnd }

export interface OpenAiServer {
  /** Up to and with the version. */
  readonly baseUrl: string
  readonly requests: Seen[]
  /** Runs that were started: the independent truth of what was paid for. */
  readonly runs: number
  readonly connections: number
  /** For the next POSTs, one each, in order. Without one a run ends well. */
  plan(...plans: Plan[]): void
  /** Ends a background run; `started` alone only moves it on from the queue. */
  finish(id: string, end: RunEnd | 'started'): void
  /** Lets go of what is held. */
  release(): void
  /** The id of the run that was started last. */
  lastId(): string
  /** From now on lists show everything, as a server does that does not know the filter. */
  ignoreFilters(): void
  close(): Promise<void>
}

export const OPENAI_TEST_KEY = 'sk-test-hunter2'
const MODEL = 'gpt-test'

export async function startOpenAiServer({ keyless = false }: { keyless?: boolean } = {}): Promise<OpenAiServer> {
  const requests: Seen[] = []
  const plans: Plan[] = []
  const responses = new Map<string, Run>()
  const completions = new Map<string, Stored>()
  const sockets = new Set<Socket>()
  const held = new Set<() => void>()
  let runs = 0
  let connections = 0
  let last = ''
  let filters = true

  const startRun = (prefix: string): string => {
    runs += 1
    last = `${prefix}_${String(runs).padStart(4, '0')}`
    return last
  }

  const send = (res: ServerResponse, status: number, json: unknown, headers: { [name: string]: string } = {}): void => {
    res.writeHead(status, { 'content-type': 'application/json', ...HEADERS, ...headers })
    res.end(JSON.stringify(json))
  }
  const refuse = (res: ServerResponse, refusal: Refusal, headers?: { [name: string]: string }): void => {
    const { status, code, type, message, param } = refusal
    send(res, status, { error: { code, type, message, param } }, headers)
  }

  /** Sends a run's answer through what the plan does to the network. */
  const deliver = async (res: ServerResponse, type: string, bytes: Buffer, plan: Plan): Promise<void> => {
    const release = () => new Promise<void>((resolve) => held.add(resolve))
    if (plan.cut === 'before-status') return res.socket?.destroySoon()
    if (plan.hold === 'status') await release()
    res.writeHead(200, { 'content-type': type, ...HEADERS })
    res.flushHeaders()
    if (plan.hold === 'body') await release()
    const body = plan.body === undefined ? bytes : Buffer.from(plan.body)
    if (typeof plan.cut === 'number') {
      if (plan.cut > 0) res.write(body.subarray(0, plan.cut))
      return res.socket?.destroySoon()
    }
    if (plan.byteByByte) for (const byte of body) await new Promise((resolve) => res.write(Buffer.of(byte), resolve))
    else res.write(body)
    if (!plan.keepOpen) res.end()
  }

  const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

  const createResponse = async (res: ServerResponse, given: unknown): Promise<void> => {
    const parsed = ResponseCreate.safeParse(given)
    if (!parsed.success) return refuse(res, invalid(parsed.error.message))
    const body = parsed.data
    const refusal = refusalOfResponse(body) ?? unknownModel(body.model)
    if (refusal !== null) return refuse(res, refusal)
    const plan = plans.shift() ?? {}
    if (plan.refuse) return refuse(res, { ...REFUSED, ...plan.refuse }, plan.refuse.headers)
    const id = startRun('resp')
    const run: Run = { id, body, end: body.background ? null : plan, started: !body.background }
    if (body.store !== false) responses.set(id, run)
    if (body.stream) return deliver(res, 'text/event-stream; charset=utf-8', responseStream(id, body, plan), plan)
    return deliver(res, 'application/json', json(shown(run)), plan)
  }

  const createCompletion = async (res: ServerResponse, given: unknown): Promise<void> => {
    const parsed = CompletionCreate.safeParse(given)
    if (!parsed.success) return refuse(res, invalid(parsed.error.message))
    const body = parsed.data
    const refusal = refusalOfCompletion(body) ?? unknownModel(body.model)
    if (refusal !== null) return refuse(res, refusal)
    const plan = plans.shift() ?? {}
    if (plan.refuse) return refuse(res, { ...REFUSED, ...plan.refuse }, plan.refuse.headers)
    const id = startRun('chatcmpl')
    if (body.store) completions.set(id, { id, body, end: plan })
    if (body.stream) return deliver(res, 'text/event-stream; charset=utf-8', completionStream(id, body, plan), plan)
    return deliver(res, 'application/json', json(completionObject(id, body, plan)), plan)
  }

  const listCompletions = (res: ServerResponse, query: URLSearchParams): void => {
    const wanted = [...query].flatMap(([name, value]) => {
      const key = /^metadata\[(.+)\]$/.exec(name)?.[1]
      return key === undefined ? [] : [[key, value] as const]
    })
    const limit = Number(query.get('limit') ?? 20)
    const matching = [...completions.values()].filter(
      ({ body }) => !filters || wanted.every(([key, value]) => body.metadata?.[key] === value),
    )
    const data = matching
      .slice(0, limit)
      .map(({ id, body, end }) => ({ ...completionObject(id, body, end), metadata: body.metadata ?? {} }))
    send(res, 200, {
      object: 'list',
      data,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      has_more: matching.length > limit,
    })
  }

  const cancelResponse = (res: ServerResponse, id: string): void => {
    const run = responses.get(id)
    if (run === undefined) return refuse(res, noResponse(id))
    if (!run.body.background) return refuse(res, invalid('Only background responses can be cancelled.'))
    run.end ??= { cancelled: true }
    send(res, 200, shown(run))
  }

  const route = (req: IncomingMessage, res: ServerResponse, given: () => unknown): Promise<void> | void => {
    const url = new URL(req.url ?? '/', 'http://localhost')
    if (!keyless && req.headers.authorization !== `Bearer ${OPENAI_TEST_KEY}`) return refuse(res, WRONG_KEY)
    const [, version, ...parts] = url.pathname.split('/').map(decodeURIComponent)
    const [kind = '', second = '', third] = parts
    const what = `${req.method} ${kind}`
    if (version !== 'v1') return void res.writeHead(404).end('not here')
    if (what === 'POST responses' && third === 'cancel') return cancelResponse(res, second)
    if (what === 'POST responses') return createResponse(res, given())
    if (what === 'GET responses') {
      const run = responses.get(second)
      return run === undefined ? refuse(res, noResponse(second)) : send(res, 200, shown(run))
    }
    if (what === 'POST chat') return createCompletion(res, given())
    if (what === 'GET chat' && third === undefined) return listCompletions(res, url.searchParams)
    if (what === 'GET models' && second === '')
      return send(res, 200, { object: 'list', data: [{ id: MODEL, object: 'model', created: 1, owned_by: 'test' }] })
    if (what === 'GET models' && second === MODEL)
      return send(res, 200, { id: MODEL, object: 'model', created: 1, owned_by: 'test' })
    refuse(res, { ...invalid('Unknown.'), status: 404, code: kind === 'models' ? 'model_not_found' : 'unknown_url' })
  }

  const server = createServer((req, res) => {
    void readText(req).then((body) => {
      requests.push({ method: req.method ?? '', path: req.url ?? '', headers: req.headers, body })
      return route(req, res, () => JSON.parse(body) as unknown)
    })
  })
  server.on('connection', (socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    get runs() {
      return runs
    },
    get connections() {
      return connections
    },
    plan: (...more: Plan[]) => void plans.push(...more),
    finish(id: string, end: RunEnd | 'started') {
      const run = responses.get(id)
      if (run === undefined) throw new Error(`There is no response ${id} here.`)
      run.started = true
      if (end !== 'started') run.end ??= end
    },
    release() {
      held.forEach((letGo) => letGo())
      held.clear()
    },
    lastId: () => last,
    ignoreFilters() {
      filters = false
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      held.forEach((letGo) => letGo())
      sockets.forEach((socket) => socket.destroy())
      await closed
    },
  }
}

/** As every answer has them. */
const HEADERS = {
  'x-request-id': 'req_test_1',
  'openai-processing-ms': '12',
  'x-ratelimit-limit-requests': '500',
  'x-ratelimit-remaining-requests': '499',
  'x-ratelimit-limit-tokens': '30000',
  'x-ratelimit-remaining-tokens': '29800',
}

const REFUSED: Refusal = { ...invalid('Refused: hunter2.'), code: null, type: 'invalid_request_error' }
const WRONG_KEY: Refusal = { ...invalid('Incorrect API key provided.', null, 'invalid_api_key'), status: 401 }

const unknownModel = (model: string): Refusal | null =>
  model === MODEL ? null : { ...invalid('The model does not exist.', null, 'model_not_found'), status: 404 }

const noResponse = (id: string): Refusal => ({
  ...invalid(`Response with id '${id}' not found.`, 'id'),
  status: 404,
})

const shown = ({ id, body, end, started }: Run) => {
  if (end !== null) return responseObject(id, body, finalStatus(end), end)
  return responseObject(id, body, started ? 'in_progress' : 'queued', null)
}

/** A delivery as OpenAI signs it: https://github.com/standard-webhooks/standard-webhooks */
export function signedDelivery(
  secret: string,
  event: { type: string; id: string },
  at: Date = new Date(),
): { headers: { [name: string]: string }; body: Buffer } {
  const created = Math.floor(at.getTime() / 1000)
  const body = JSON.stringify({
    object: 'event',
    id: 'evt_1',
    type: event.type,
    created_at: created,
    data: { id: event.id },
  })
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const signature = createHmac('sha256', key).update(`wh_1.${created}.${body}`).digest('base64')
  return {
    headers: { 'webhook-id': 'wh_1', 'webhook-timestamp': `${created}`, 'webhook-signature': `v1,${signature}` },
    body: Buffer.from(body),
  }
}
