/** A TCP port of the loopback interface that nobody listens on right now. Another process may take it first. */
import { createServer } from 'node:net'

/** The preferred port when it is free, otherwise one that the system chooses. */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined) {
    const port = await tryListen(preferred)
    if (port !== null) return port
  }
  const port = await tryListen(0)
  if (port === null) throw new Error('The system has no free port on 127.0.0.1.')
  return port
}

function tryListen(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(null))
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : null))
    })
  })
}
