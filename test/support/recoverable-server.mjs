/**
 * A model server that can be asked, for tests, as a process of its own: `node recoverable-server.mjs [port]`.
 * Prints `{"url":"http://127.0.0.1:…"}` on its first line, and ends with the process that started it.
 *
 * The independent witness of the recovery tests: it counts by request key (header Idempotency-Key, or the path's end)
 * what arrived (`posts`) and what was run (`executions`). It knows nothing of Endstate.
 *
 * POST /keyed           honours the key: a known one is answered from the first run
 * POST /blind           runs each time
 * POST /stored          runs each time and keeps the answer;   GET /stored/{key}: that, or 404
 * POST /jobs            takes a job: 202 { id };   GET /jobs/{id}, GET /jobs-of/{key} -> { id }, DELETE /jobs/{id}
 *                       the header X-Webhook names where its end is told, signed as a standard webhook
 * PUT  /flight/{key}    one run while it runs, a new one afterwards
 * POST /control         { ms?: a run's length, cut?: resets instead of the next answers, webhooks?: deliveries of each
 *                       end, tamper?: the delivery's body is changed after signing, forget?: true drops all jobs }
 * GET  /counts?key=K    { posts, executions, asks, cancels }; without a key the totals
 */
import { createHmac, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { WEBHOOK_SECRET } from './webhook-secret.mjs'

const orders = { ms: 0, cut: 0, webhooks: 1, tamper: false }
const byKey = new Map()
const totals = { posts: 0, executions: 0, asks: 0, cancels: 0 }
const answers = new Map()
const jobs = new Map()
const flights = new Map()

const entryOf = (key) => {
  if (!byKey.has(key)) byKey.set(key, { posts: 0, executions: 0, asks: 0, cancels: 0 })
  return byKey.get(key)
}
const count = (key, what) => {
  entryOf(key)[what] += 1
  totals[what] += 1
}
const run = (key) => {
  count(key, 'executions')
  return { ok: true, execution: entryOf(key).executions }
}
const pause = () => new Promise((resolve) => setTimeout(resolve, orders.ms))

const send = (res, status, body) => {
  const text = JSON.stringify(body)
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  res.end(text)
}
/** The answer of a call: may be cut as ordered. */
const reply = (res, status, body) => {
  if (orders.cut > 0) {
    orders.cut -= 1
    res.socket.resetAndDestroy()
  } else send(res, status, body)
}

const tell = async (url, job) => {
  const id = `msg_${randomUUID()}`
  const at = Math.floor(Date.now() / 1000)
  const text = JSON.stringify({ id: job.id, status: job.status, output: job.output })
  const key = Buffer.from(WEBHOOK_SECRET.slice('whsec_'.length), 'base64')
  const signature = createHmac('sha256', key).update(`${id}.${at}.${text}`).digest('base64')
  for (let n = 0; n < orders.webhooks; n += 1) {
    await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(at),
        'webhook-signature': `v1,${signature}`,
      },
      body: orders.tamper ? text.replace('true', 'null') : text,
      signal: AbortSignal.timeout(10_000),
    })
      .then((response) => job.told.push(response.status))
      .catch(() => job.told.push(0))
  }
}

const takeJob = async (req, res, key) => {
  const job = { id: `job-${jobs.size + 1}`, key, status: 'running', output: null, told: [] }
  jobs.set(job.id, job)
  reply(res, 202, { id: job.id })
  await pause()
  if (job.status !== 'running') return
  job.output = run(key)
  job.status = 'done'
  const hook = req.headers['x-webhook']
  if (hook) await tell(hook, job)
}

const fly = async (res, key) => {
  let flight = flights.get(key)
  if (!flight) {
    const output = run(key)
    flight = pause().then(() => output)
    flights.set(key, flight)
    void flight.then(() => flights.delete(key))
  }
  reply(res, 200, await flight)
}

const call = async (req, res, place, key) => {
  count(key, 'posts')
  if (place === 'jobs') return takeJob(req, res, key)
  if (place === 'flight') return fly(res, key)
  const known = place === 'keyed' ? answers.get(key) : undefined
  const output = known ?? run(key)
  answers.set(key, output)
  await pause()
  return reply(res, 200, output)
}

const read = (res, place, name) => {
  if (place === 'stored') count(name, 'asks')
  if (place === 'stored') return answers.has(name) ? send(res, 200, answers.get(name)) : send(res, 404, {})
  const job = place === 'jobs-of' ? [...jobs.values()].find(({ key }) => key === name) : jobs.get(name)
  if (!job) return send(res, 404, {})
  count(job.key, 'asks')
  return send(res, 200, { id: job.id, status: job.status, output: job.output, told: job.told })
}

const answer = async (req, res) => {
  const url = new URL(req.url, 'http://provider')
  const [, place, name = ''] = url.pathname.split('/').map(decodeURIComponent)
  const chunks = []
  req.on('error', () => {})
  for await (const chunk of req) chunks.push(chunk)
  const key = name || String(req.headers['idempotency-key'] ?? '')
  if (place === 'control') {
    const order = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    Object.assign(orders, order)
    if (order.forget) jobs.clear()
    return res.writeHead(204).end()
  }
  if (place === 'counts') {
    const wanted = url.searchParams.get('key')
    return send(res, 200, wanted === null ? totals : entryOf(wanted))
  }
  if (req.method === 'DELETE' && jobs.has(name)) {
    count(jobs.get(name).key, 'cancels')
    jobs.get(name).status = 'cancelled'
    return send(res, 200, {})
  }
  if (req.method === 'GET') return read(res, place, name)
  return call(req, res, place, key)
}

const server = createServer((req, res) => {
  // A request that broke off has nobody to tell.
  answer(req, res).catch(() => res.destroy())
})

server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })}\n`)
})

// A killed test leaves no provider behind: an orphan has another parent.
const parent = process.ppid
setInterval(() => {
  if (process.ppid !== parent) process.exit(0)
}, 500).unref()
process.on('SIGTERM', () => process.exit(0))
