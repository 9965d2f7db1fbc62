/**
 * Binds the API to a port, with limits on everything a slow or hostile client could hold open, and lets go of it in
 * bounded time.
 */
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isLoopbackHost } from './identify.js'

/** Idle sockets; longer than the longest wait for a record. */
const IDLE_MS = 90_000
const HEADERS_MS = 15_000
/** One whole request, a slow upload included. */
const REQUEST_MS = 15 * 60_000
const KEEP_ALIVE_MS = 65_000
const CONNECTIONS_MAX = 10_000
const CLOSE_GRACE_MS = 10_000

export class ListenError extends Error {
  readonly code: 'port-in-use' | 'bind-refused' | 'bind-failed'
  constructor(code: ListenError['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

export type Listening = {
  /** `http://host:port`, with the port that was really bound. */
  url: string
  port: number
  /** Takes no new request, lets those under way finish for `graceMs`, then cuts them. */
  close(options?: { graceMs?: number }): Promise<void>
}

/** Throws ListenError. Port 0 takes any free port. Only loopback, as long as there are no API keys. */
export async function listen(
  handler: RequestListener,
  { host, port }: { host: string; port: number },
): Promise<Listening> {
  if (!isLoopbackHost(host)) {
    throw new ListenError(
      'bind-refused',
      `Endstate has no API keys, so anyone who reaches ${host} could submit and read records. Bind to 127.0.0.1, and let others in through a tunnel or a proxy that authenticates them.`,
    )
  }
  let closing = false
  const server = createHttpServer(
    { headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS, keepAliveTimeout: KEEP_ALIVE_MS },
    (req, res) => {
      if (closing) res.setHeader('connection', 'close')
      handler(req, res)
    },
  )
  server.setTimeout(IDLE_MS)
  server.maxConnections = CONNECTIONS_MAX
  await bind(server, host, port)
  const bound = (server.address() as AddressInfo).port
  return {
    url: `http://${host.includes(':') ? `[${host.replace(/[[\]]/g, '')}]` : host}:${bound}`,
    port: bound,
    close({ graceMs = CLOSE_GRACE_MS } = {}) {
      closing = true
      return closeServer(server, graceMs)
    },
  }
}

function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(error, host, port)))
    server.listen(port, host.replace(/[[\]]/g, ''), resolve)
  })
}

function bindError(error: NodeJS.ErrnoException, host: string, port: number): ListenError {
  if (error.code === 'EADDRINUSE') {
    return new ListenError(
      'port-in-use',
      `Port ${port} on ${host} is in use by another program. Stop it, or choose another port with --port or ENDSTATE_PORT (0 takes any free one).`,
      error,
    )
  }
  const reason =
    error.code === 'EACCES' ? 'ports below 1024 need privileges; choose a higher one' : (error.code ?? 'unknown')
  return new ListenError(
    'bind-failed',
    `Can't listen on ${host}:${port} (${reason}). Choose another with --port or ENDSTATE_PORT.`,
    error,
  )
}

function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    // Connections that were busy become idle one by one; Node closes only those idle at the moment of the call.
    const sweep = setInterval(() => server.closeIdleConnections(), 50)
    const cut = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearInterval(sweep)
      clearTimeout(cut)
      resolve()
    })
    server.closeIdleConnections()
  })
}
