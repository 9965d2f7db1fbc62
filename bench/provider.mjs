/**
 * The model of the bench: one process that answers every POST at once, and counts. As cheap as node:http allows, because
 * it shares the machine with what is measured. GET /count answers { calls }.
 * The first line printed is {"url": "…"}.
 */
import { createServer } from 'node:http'

let calls = 0
const ANSWER = '{"ok":true}'
const HEADERS = { 'content-type': 'application/json', 'content-length': ANSWER.length }

const server = createServer((req, res) => {
  if (req.method === 'GET') return res.end(JSON.stringify({ calls }))
  calls += 1
  req.resume()
  req.on('end', () => {
    res.writeHead(200, HEADERS)
    res.end(ANSWER)
  })
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` }))
})
process.on('SIGTERM', () => process.exit(0))
// The bench that started it may be killed: an orphan has another parent.
const parent = process.ppid
setInterval(() => process.ppid === parent || process.exit(0), 500).unref()
