/**
 * A server that speaks a provider's protocol rightly, and fails on the wire as it is told: it reads and cuts, cuts its
 * answer at a byte, hangs, drips, or answers something else. On loopback, with raw sockets, because no proper HTTP
 * server would do these things.
 *
 * - X1 Each request that reached it whole is kept in `requests`, in order, before anything is answered.
 * - X2 `protocol` runs for every request but those that are answered instead: a lost answer has been executed.
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { answerBytes, REQUEST_BYTES_MAX, takeRequest, type AnswerBytes } from './http-text.js'
import type { Protocol, ProtocolRequest, ProtocolResponse } from './subject.js'

export type Fault =
  /** The request ran, and no byte of the answer comes. */
  | { kind: 'read-and-cut'; how: 'reset' | 'close' }
  /** The answer ends after so many of its bytes. */
  | { kind: 'cut'; afterBytes: number; how: 'reset' | 'close' }
  /** The answer stops after so many of its bytes, and the connection stays. */
  | { kind: 'hang'; afterBytes: number }
  /** The answer comes whole, a few bytes at a time. */
  | { kind: 'drip'; bytes: number }
  /** It never ran: this is the answer. */
  | { kind: 'instead'; response: ProtocolResponse }

/** Which requests fail: those that can start work, or those that only ask. */
export type Faults = { starts?: Fault; asks?: Fault }

export interface FaultyServer {
  readonly url: string
  readonly requests: ProtocolRequest[]
  readonly answers: AnswerBytes[]
  readonly openConnections: number
  faults: Faults
  /** Resolves when so many requests have come. */
  seen(count: number): Promise<void>
  /** Resolves when so many answers have left, as far as their faults let them. */
  sent(count: number): Promise<void>
  /** Resolves when no connection is left. */
  quiet(): Promise<void>
  close(): Promise<void>
}

export const startsWork = ({ method }: ProtocolRequest): boolean => method !== 'GET' && method !== 'HEAD'

export async function startFaultyServer(protocol: Protocol): Promise<FaultyServer> {
  const sockets = new Set<Socket>()
  const waiting = new Set<() => void>()
  const changed = (): void => waiting.forEach((look) => look())
  let sent = 0
  const server = createServer()
  const faulty: FaultyServer = {
    url: '',
    requests: [],
    answers: [],
    faults: {},
    get openConnections() {
      return sockets.size
    },
    seen: (count) => until(() => faulty.requests.length >= count),
    sent: (count) => until(() => sent >= count),
    quiet: () => until(() => sockets.size === 0),
    async close() {
      const closed = once(server, 'close')
      server.close()
      sockets.forEach((socket) => socket.destroy())
      await closed
    },
  }
  const until = (met: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!met()) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      look()
    })

  const serve = async (socket: Socket, request: ProtocolRequest): Promise<void> => {
    faulty.requests.push(request)
    const fault = startsWork(request) ? faulty.faults.starts : faulty.faults.asks
    changed()
    const response = fault?.kind === 'instead' ? fault.response : await protocol(request, { url: faulty.url })
    const answer = answerBytes(response)
    faulty.answers.push(answer)
    await send(socket, answer.bytes, fault)
    sent += 1
    changed()
  }
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      changed()
    })
    readRequests(socket, (request) => serve(socket, request))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.assign(faulty, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
}

/** One at a time: an answer is sent before the next request of the connection is read. */
function readRequests(socket: Socket, serve: (request: ProtocolRequest) => Promise<void>): void {
  let received: Buffer = Buffer.alloc(0)
  let working = Promise.resolve()
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    if (received.length > REQUEST_BYTES_MAX) socket.destroy()
    for (let taken = takeRequest(received); taken !== null; taken = takeRequest(received)) {
      received = taken.rest
      const { request } = taken
      // A protocol that throws is a mistake of the test's: the connection ends, and the check fails on its answer.
      working = working.then(() => serve(request)).catch(() => void socket.destroy())
    }
  })
}

async function send(socket: Socket, bytes: Buffer, fault: Fault | undefined): Promise<void> {
  const end = (how: 'reset' | 'close'): void => void (how === 'reset' ? socket.resetAndDestroy() : socket.end())
  switch (fault?.kind) {
    case 'read-and-cut':
      return end(fault.how)
    case 'cut':
      // What was written must leave before a reset, which would throw it away.
      await write(socket, bytes.subarray(0, fault.afterBytes))
      return end(fault.how)
    case 'hang':
      return write(socket, bytes.subarray(0, fault.afterBytes))
    case 'drip':
      for (let at = 0; at < bytes.length; at += fault.bytes) await write(socket, bytes.subarray(at, at + fault.bytes))
      return
    default:
      return write(socket, bytes)
  }
}

/** Resolves when the bytes are with the system, and other work has had its turn. */
const write = (socket: Socket, bytes: Buffer): Promise<void> =>
  new Promise((resolve) => {
    if (bytes.length === 0 || socket.destroyed) setImmediate(resolve)
    else socket.write(bytes, () => setImmediate(resolve))
  })
