// Carries TCP connections from a port on every address to a port of 127.0.0.1: `node loopback-gateway.mjs FROM TO`.
// For a container whose service listens on loopback only. It checks nobody: publish its port to loopback only.
import { createConnection, createServer } from 'node:net'

const CONNECTIONS_MAX = 1_000
const [from, to] = process.argv.slice(2).map(Number)
const listenHost = process.argv[4] ?? '0.0.0.0'
if (!(from > 0) || !(to > 0)) {
  console.error('Usage: node loopback-gateway.mjs FROM TO [LISTEN-ADDRESS]')
  process.exit(2)
}

const server = createServer({ allowHalfOpen: true }, (outer) => {
  const inner = createConnection({ port: to, host: '127.0.0.1', allowHalfOpen: true })
  outer.pipe(inner).pipe(outer)
  outer.on('error', () => inner.destroy())
  inner.on('error', () => outer.destroy())
  outer.on('close', () => inner.destroy())
  inner.on('close', () => outer.destroy())
})
server.maxConnections = CONNECTIONS_MAX
server.listen(from, listenHost, () => console.log(`Carrying ${listenHost}:${from} to 127.0.0.1:${to}.`))

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(0))
