/**
 * OpenAI's protocol (openai-protocol.ts) on 127.0.0.1. The official client talks to it in test/providers/openai-sdk.test.ts.
 *
 * It keeps what reaches it, and a test says per POST how the run ends and what the network does to the answer.
 */
import { once } from 'node:events'
import { createHmac } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { text as readText } from 'node:stream/consumers'
import type { RunEnd } from './openai-objects.js'
import { OpenAiProtocol, type OpenAiAnswer, type OpenAiRequest, type RunPlan } from './openai-protocol.js'

export { OPENAI_TEST_KEY } from './openai-protocol.js'

/** What becomes of one POST that starts a run. */
export type Plan = RunPlan & {
  /** The run is done and kept, and the connection is cut: before any byte, or after so many of the body. */
  cut?: 'before-status' | number
  /** Nothing is sent until `release()`: no status, none of the body, or nothing after its first event. */
  hold?: 'status' | 'body' | 'rest'
  /** The body leaves byte by byte. */
  byteByByte?: boolean
  /** The connection stays open after the last byte. */
  keepOpen?: boolean
  /** Sent instead of the body. */
  body?: string
}

export interface OpenAiServer {
  /** Up to and with the version. */
  readonly baseUrl: string
  readonly requests: OpenAiRequest[]
  /** Runs that were started: the independent truth of what was paid for. */
  readonly runs: number
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

export async function startOpenAiServer({ keyless = false }: { keyless?: boolean } = {}): Promise<OpenAiServer> {
  const requests: OpenAiRequest[] = []
  const plans: Plan[] = []
  const sockets = new Set<Socket>()
  const held = new Set<() => void>()
  let planned: Plan = {}
  const protocol = new OpenAiProtocol({ keyless, plan: () => (planned = plans.shift() ?? {}) })
  const hold = (): Promise<void> => new Promise((resolve) => held.add(resolve))

  const server = createServer((req, res) => {
    void readText(req).then((body) => {
      const request = { method: req.method ?? '', path: req.url ?? '', headers: req.headers, body }
      requests.push(request)
      planned = {}
      const answer = protocol.answer(request)
      return deliver(res, answer, planned, hold)
    })
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  const release = (): void => {
    held.forEach((resolve) => resolve())
    held.clear()
  }
  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    get runs() {
      return protocol.runs
    },
    plan: (...more) => void plans.push(...more),
    finish: (id, end) => protocol.finish(id, end),
    release,
    lastId: () => protocol.lastId,
    ignoreFilters: () => void (protocol.filters = false),
    async close() {
      const closed = once(server, 'close')
      server.close()
      release()
      sockets.forEach((socket) => socket.destroy())
      await closed
    },
  }
}

/** Sends an answer through what the plan does to the network. */
async function deliver(
  res: ServerResponse,
  answer: OpenAiAnswer,
  plan: Plan,
  hold: () => Promise<void>,
): Promise<void> {
  if (plan.cut === 'before-status') return res.socket?.destroySoon()
  if (plan.hold === 'status') await hold()
  res.writeHead(answer.status, answer.headers)
  res.flushHeaders()
  if (plan.hold === 'body') await hold()
  const body = plan.body === undefined ? answer.body : Buffer.from(plan.body)
  if (typeof plan.cut === 'number') {
    if (plan.cut > 0) res.write(body.subarray(0, plan.cut))
    return res.socket?.destroySoon()
  }
  if (plan.hold === 'rest') {
    const first = body.indexOf('\n\n') + 2
    res.write(body.subarray(0, first))
    await hold()
    if (res.destroyed) return
    res.write(body.subarray(first))
  } else if (plan.byteByByte)
    for (const byte of body) await new Promise((resolve) => res.write(Buffer.of(byte), resolve))
  else res.write(body)
  if (!plan.keepOpen) res.end()
}

/** A delivery as OpenAI signs it: https://github.com/standard-webhooks/standard-webhooks */
export function signedDelivery(
  secret: string,
  event: { type: string; id: string },
  at: Date = new Date(),
): { headers: { [name: string]: string }; body: Buffer } {
  const created = Math.floor(at.getTime() / 1000)
  const data = { id: event.id }
  const body = JSON.stringify({ object: 'event', id: 'evt_1', type: event.type, created_at: created, data })
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const signature = createHmac('sha256', key).update(`wh_1.${created}.${body}`).digest('base64')
  return {
    headers: { 'webhook-id': 'wh_1', 'webhook-timestamp': `${created}`, 'webhook-signature': `v1,${signature}` },
    body: Buffer.from(body),
  }
}
