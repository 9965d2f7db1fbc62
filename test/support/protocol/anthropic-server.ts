/**
 * A server that speaks the Messages API as published: POST /v1/messages whole or streamed, GET /v1/models/{id}.
 *
 * What it answers is the test's to say (`reply`), one plan for each request that was found valid. It counts requests as
 * they arrive and executions apart, so that a test knows independently how often the model ran.
 * Sources: https://platform.claude.com/docs/en/api/messages/create, …/docs/en/build-with-claude/streaming,
 * …/docs/en/api/errors; the official SDK's types are the reference for shapes.
 */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  checkRequest,
  REQUEST_BYTES_MAX,
  type ApiError,
  type KnownModels,
  type MessagesBody,
} from './anthropic-checks.js'
import { sseBytes, streamOf, wholeOf, type ServedMessage } from './anthropic-stream.js'

export type { ServedMessage } from './anthropic-stream.js'

export type MessagePlan = {
  kind: 'message'
  message: ServedMessage
  headers?: { [name: string]: string }
  /** Waits for this before the status line. */
  before?: Promise<unknown>
  /** Bytes in one write; each write waits for the one before it. Default: all at once. */
  bytesPerWrite?: number
  /** Ends after so many bytes of the body. */
  stopAfterBytes?: number
  /** How: `cut` closes the connection, `end` closes the body as if it were whole, `hang` leaves both open. */
  stopBy?: 'cut' | 'end' | 'hang'
  /** Instead of the stream's own bytes. */
  bytes?: Buffer
  contentType?: string
}

export type ServerPlan =
  /** Reads the request, and then: `cut` resets the connection, `hang` says nothing until the server closes. */
  | { kind: 'cut' }
  | { kind: 'hang' }
  | { kind: 'error'; error: ApiError; headers?: { [name: string]: string } }
  | MessagePlan

export type SeenCall = { headers: IncomingHttpHeaders; raw: Buffer; body: MessagesBody | null }

export interface AnthropicServer {
  readonly url: string
  /** Every POST that arrived whole, valid or not. */
  readonly calls: readonly SeenCall[]
  /** How often the model ran, be it to no end. */
  readonly executions: number
  /** For all requests from now on. */
  reply(plan: ServerPlan | ((call: SeenCall) => ServerPlan)): void
  close(): Promise<void>
}

export async function startAnthropicServer({
  apiKey = 'test-key',
  models = ['claude-test'],
  alwaysThink = ['claude-test-thinks'],
}: { apiKey?: string } & Partial<KnownModels> = {}): Promise<AnthropicServer> {
  const known = { models, alwaysThink }
  const calls: SeenCall[] = []
  let executions = 0
  let plan: (call: SeenCall) => ServerPlan = () => ({ kind: 'message', message: { text: 'Hello.' } })
  let requests = 0

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const requestId = `req_${String(++requests).padStart(6, '0')}`
    res.setHeader('request-id', requestId)
    const raw = await readAll(req)
    if (req.method === 'GET') return serveModel(req, res, [...models, ...alwaysThink], requestId)
    if (req.method !== 'POST' || req.url !== '/v1/messages')
      return sendError(res, { status: 404, type: 'not_found_error', message: 'Not found' }, requestId)

    const checked = checkRequest(req.headers, raw, { apiKey, known })
    const call: SeenCall = { headers: req.headers, raw, body: 'body' in checked ? checked.body : null }
    calls.push(call)
    if ('error' in checked) return sendError(res, checked.error, requestId)
    const next = plan(call)
    if (next.kind === 'error') {
      for (const [name, value] of Object.entries(next.headers ?? {})) res.setHeader(name, value)
      return sendError(res, next.error, requestId)
    }
    executions += 1
    if (next.kind === 'cut') return void req.socket.resetAndDestroy()
    if (next.kind === 'hang') return
    await sendMessage(res, next, checked.body, requestId)
  }

  const server = createServer((req, res) => {
    // A client that leaves in the middle is part of the tests.
    res.on('error', () => {})
    serve(req, res).catch(() => res.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    get executions() {
      return executions
    },
    reply(next) {
      plan = typeof next === 'function' ? next : () => next
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function readAll(req: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes - chunk.length <= REQUEST_BYTES_MAX) chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function sendJson(res: ServerResponse, status: number, json: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
}

function sendError(res: ServerResponse, error: ApiError, requestId: string): void {
  const { status, type, message, errorCode } = error
  const details = errorCode === undefined ? {} : { details: { error_code: errorCode } }
  sendJson(res, status, { type: 'error', error: { type, message, ...details }, request_id: requestId })
}

function serveModel(req: IncomingMessage, res: ServerResponse, models: readonly string[], requestId: string): void {
  const id = decodeURIComponent(/^\/v1\/models\/([^/?]+)$/.exec(req.url ?? '')?.[1] ?? '')
  if (!models.includes(id)) return sendError(res, { status: 404, type: 'not_found_error', message: id }, requestId)
  sendJson(res, 200, { type: 'model', id, display_name: id, created_at: '2026-01-01T00:00:00Z', lifecycle: 'active' })
}

async function sendMessage(
  res: ServerResponse,
  plan: MessagePlan,
  body: MessagesBody,
  requestId: string,
): Promise<void> {
  await plan.before
  for (const [name, value] of Object.entries(plan.headers ?? {})) res.setHeader(name, value)
  if (body.stream !== true) return sendJson(res, 200, wholeOf(plan.message, body))

  const all = plan.bytes ?? sseBytes(streamOf(plan.message, body, requestId))
  const bytes = all.subarray(0, plan.stopAfterBytes ?? all.length)
  const contentType = plan.contentType ?? 'text/event-stream; charset=utf-8'
  res.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-cache' })
  res.flushHeaders()
  const step = plan.bytesPerWrite ?? Math.max(bytes.length, 1)
  for (let at = 0; at < bytes.length && !res.destroyed; at += step) await write(res, bytes.subarray(at, at + step))
  const stopBy = plan.stopBy ?? 'end'
  if (stopBy === 'end') res.end()
  // What was written is sent first, then FIN: within a chunked body that is a cut.
  else if (stopBy === 'cut') res.socket?.destroySoon()
}

/** Resolves when the bytes have been handed to the system, so that two writes are two packets (or nobody reads). */
const write = (res: ServerResponse, bytes: Buffer): Promise<void> =>
  new Promise((resolve) => {
    res.once('close', resolve)
    res.write(bytes, () => {
      res.off('close', resolve)
      resolve()
    })
  })
