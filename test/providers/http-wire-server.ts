/**
 * A server that is told byte by byte what to do with a request, and counts the requests that reached it. Raw TCP,
 * because the cases are about exchanges that a proper HTTP server would not produce.
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { TEST_CERTIFICATE, TEST_PRIVATE_KEY } from './http-tls-pair.js'

export type SeenRequest = { head: string; body: string }

export interface WireServer {
  readonly port: number
  readonly url: string
  readonly requests: SeenRequest[]
  readonly connections: number
  close(): Promise<void>
}

/** `respond` runs once a whole request has been read. */
export async function startWireServer(
  respond: (socket: Socket, request: SeenRequest) => void,
  { tls = false }: { tls?: boolean } = {},
): Promise<WireServer> {
  const requests: SeenRequest[] = []
  const sockets = new Set<Socket>()
  let connections = 0

  const serve = (socket: Socket): void => {
    connections += 1
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    let received: Buffer = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      for (let parsed = takeRequest(received); parsed !== null; parsed = takeRequest(received)) {
        received = parsed.rest
        requests.push(parsed.request)
        respond(socket, parsed.request)
      }
    })
  }
  const server = tls ? createTlsServer({ key: TEST_PRIVATE_KEY, cert: TEST_CERTIFICATE }, serve) : createServer(serve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}/infer`,
    requests,
    get connections() {
      return connections
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      sockets.forEach((socket) => socket.destroy())
      await closed
    },
  }
}

function takeRequest(received: Buffer): { request: SeenRequest; rest: Buffer } | null {
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd < 0) return null
  const head = received.subarray(0, headEnd).toString('latin1')
  const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0)
  const end = headEnd + 4 + length
  if (received.length < end) return null
  return { request: { head, body: received.subarray(headEnd + 4, end).toString('utf8') }, rest: received.subarray(end) }
}

export function reply(socket: Socket, status: number, body: string, headers: { [name: string]: string } = {}): void {
  const extra = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`HTTP/1.1 ${status} x\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${extra.join('')}\r\n${body}`)
}
