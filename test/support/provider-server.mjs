/**
 * A local provider for tests and the bench, as a process of its own: `node provider-server.mjs [port]`.
 * Prints `{"url":"http://127.0.0.1:…"}` on its first line, and ends with the process that started it.
 *
 * It is the independent witness: it counts what arrived (`posts`) and what was run (`executions`) per
 * idempotency key, and what it says is compared with what the records say. It knows nothing of Endstate.
 *
 * POST <any path>      a call. The rule that fits it decides what happens; without one it is answered at once.
 * POST /control        adds or clears rules, see below. Answers 204.
 * GET  /counts?key=K   { posts, executions, at } of one key; `?match=S` sums over the keys that contain S;
 *                      without either, the totals. `at` are ms since the epoch, the first 1,000 of them.
 * GET  /waiting        { hanging }: calls that hang now.
 *
 * A rule: { mode, match?, times?, …}. `match`: a text that the key or the body contains (default: every call).
 * `times`: the rule goes away after so many calls. The newest fitting rule wins.
 *   answer           { body? }             200 with `body`, or { ok: true, execution }
 *   delay            { ms, body? }         the same after `ms`
 *   hang             {}                    runs, then never answers, until { release: true }
 *   cut-before-reply {}                    runs, then resets the connection
 *   cut-body         {}                    runs, sends half of the answer, then resets the connection
 *   status           { status, headers?, body?, run? }   runs only with `run: true`
 *   large            { bytes }             200 with a JSON text of `bytes` in it
 * The query does the same for one URL: `?mode=delay&ms=50`.
 * Besides: { clear: true } drops all rules, { reset: true } also all counts, { release: true } answers what hangs,
 * { idempotent: true } answers a known key from the first run, without running again.
 */
import { createServer } from 'node:http'

const TIMES_KEPT = 1000
const RULES_MAX = 1000
const BODY_BYTES_MAX = 128 * 1024 * 1024

let rules = []
let idempotent = false
let totals = { posts: 0, executions: 0 }
const byKey = new Map()
const firstAnswers = new Map()
const hanging = new Set()

function entryOf(key) {
  let entry = byKey.get(key)
  if (entry === undefined) byKey.set(key, (entry = { posts: 0, executions: 0, at: [] }))
  return entry
}

function run(key) {
  const entry = entryOf(key)
  entry.executions += 1
  totals.executions += 1
  return entry.executions
}

function ruleFor(url, key, body) {
  const mode = url.searchParams.get('mode')
  if (mode !== null) {
    const number = (name) => (url.searchParams.has(name) ? Number(url.searchParams.get(name)) : undefined)
    return { mode, ms: number('ms'), status: number('status'), bytes: number('bytes') }
  }
  for (let i = rules.length - 1; i >= 0; i -= 1) {
    const rule = rules[i]
    if (rule.match !== undefined && !key.includes(rule.match) && !body.includes(rule.match)) continue
    if (rule.times !== undefined) {
      rule.times -= 1
      if (rule.times <= 0) rules.splice(i, 1)
    }
    return rule
  }
  return { mode: 'answer' }
}

function sendJson(res, status, text, headers = {}) {
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers })
  res.end(text)
}

const modes = {
  answer: (res, rule, key) => sendJson(res, 200, executeOnce(key, rule)),
  delay: (res, rule, key) => {
    const text = executeOnce(key, rule)
    setTimeout(() => sendJson(res, 200, text), rule.ms ?? 0)
  },
  hang: (res, rule, key) => {
    const text = executeOnce(key, rule)
    const release = () => sendJson(res, 200, text)
    hanging.add(release)
    res.on('close', () => hanging.delete(release))
  },
  'cut-before-reply': (res, rule, key) => {
    executeOnce(key, rule)
    res.socket.resetAndDestroy()
  },
  'cut-body': (res, rule, key) => {
    const text = executeOnce(key, rule)
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    // The half must be on its way before the reset, or the reset overtakes it in the kernel.
    res.write(text.slice(0, text.length / 2), () => setTimeout(() => res.socket?.resetAndDestroy(), 20))
  },
  status: (res, rule, key) => {
    if (rule.run) executeOnce(key, rule)
    sendJson(res, rule.status ?? 500, JSON.stringify(rule.body ?? { error: 'as told' }), rule.headers)
  },
  large: (res, rule, key) => {
    sendJson(res, 200, executeOnce(key, { body: { ok: true, text: 'x'.repeat(rule.bytes ?? 0) } }))
  },
}

/** Runs the call, or takes the first run's answer where the key is honoured. The answer as JSON text. */
function executeOnce(key, rule) {
  const first = idempotent && key !== '' ? firstAnswers.get(key) : undefined
  if (first !== undefined) return first
  const execution = run(key)
  const text = rule.body === undefined ? `{"ok":true,"execution":${execution}}` : JSON.stringify(rule.body)
  if (idempotent && key !== '') firstAnswers.set(key, text)
  return text
}

function control(res, body) {
  const order = JSON.parse(body)
  if (order.reset || order.clear) rules = []
  if (order.reset) {
    idempotent = false
    totals = { posts: 0, executions: 0 }
    byKey.clear()
    firstAnswers.clear()
  }
  if (order.release) hanging.forEach((release) => release())
  if (order.idempotent !== undefined) idempotent = order.idempotent
  if (order.mode !== undefined) {
    if (modes[order.mode] === undefined) return sendJson(res, 400, `{"error":"no such mode"}`)
    if (rules.length >= RULES_MAX) return sendJson(res, 400, `{"error":"too many rules"}`)
    rules.push(order)
  }
  res.writeHead(204).end()
}

function counts(url) {
  const key = url.searchParams.get('key')
  if (key !== null) return byKey.get(key) ?? { posts: 0, executions: 0, at: [] }
  const match = url.searchParams.get('match')
  if (match === null) return { ...totals, keys: byKey.size }
  const sum = { posts: 0, executions: 0, keys: 0 }
  for (const [name, entry] of byKey) {
    if (!name.includes(match)) continue
    sum.posts += entry.posts
    sum.executions += entry.executions
    sum.keys += 1
  }
  return sum
}

function call(req, res, url, body) {
  const key = String(req.headers['idempotency-key'] ?? '')
  const entry = entryOf(key)
  entry.posts += 1
  totals.posts += 1
  if (entry.at.length < TIMES_KEPT) entry.at.push(Date.now())
  const rule = ruleFor(url, key, body)
  const mode = modes[rule.mode]
  if (mode === undefined) sendJson(res, 400, '{"error":"no such mode"}')
  else mode(res, rule, key)
}

const server = createServer((req, res) => {
  const url = new URL(req.url, 'http://provider')
  const chunks = []
  let bytes = 0
  req.on('data', (chunk) => {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) req.destroy()
    else chunks.push(chunk)
  })
  req.on('error', () => {})
  req.on('end', () => {
    const body = Buffer.concat(chunks).toString('latin1')
    try {
      if (url.pathname === '/counts') sendJson(res, 200, JSON.stringify(counts(url)))
      else if (url.pathname === '/waiting') sendJson(res, 200, JSON.stringify({ hanging: hanging.size }))
      else if (url.pathname === '/control') control(res, Buffer.concat(chunks).toString('utf8'))
      else if (req.method === 'POST') call(req, res, url, body)
      else sendJson(res, 404, '{"error":"only POST is a call"}')
    } catch (error) {
      sendJson(res, 400, JSON.stringify({ error: String(error) }))
    }
  })
})
server.keepAliveTimeout = 60_000
server.requestTimeout = 0

server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })}\n`)
})

// A killed test leaves no provider behind: an orphan has another parent.
const parent = process.ppid
setInterval(() => {
  if (process.ppid !== parent) process.exit(0)
}, 500).unref()
process.on('SIGTERM', () => process.exit(0))
