/**
 * What one would write by hand, and what the bench measures against: Koa, one MongoDB document with a status field,
 * and the model called while the client waits. Run: node server.mjs --mongodb URL --provider URL [--port N]
 *
 * Written as well as this design allows: validated input, prepared collections, a connection pool of the load's size,
 * kept connections to the provider, a limit on every wait, a clean stop. Three majority and journaled writes a record,
 * one by one: received, processing, completed.
 *
 * What it can't do is the point: if the last write fails, or the process dies before it, the record stays
 * `processing` although the model has answered and billed. A retry calls and bills again.
 *
 * GET /usage answers this process' CPU time, for the bench. The first line printed is {"url": "…"}.
 */
import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import { parseArgs } from 'node:util'
import { bodyParser } from '@koa/bodyparser'
import Router from '@koa/router'
import Koa from 'koa'
import { MongoClient } from 'mongodb'
import { z } from 'zod'

const CALL_MS_MAX = 30_000
const WRITE_MS_MAX = 10_000
const ANSWER_BYTES_MAX = 1024 * 1024

const { values: flags } = parseArgs({
  options: {
    mongodb: { type: 'string' },
    provider: { type: 'string' },
    port: { type: 'string', default: '0' },
    'pool-size': { type: 'string', default: '64' },
  },
})
if (flags.mongodb === undefined || flags.provider === undefined) {
  console.error('Usage: node server.mjs --mongodb mongodb://… --provider http://… [--port N] [--pool-size N]')
  process.exit(2)
}

const client = new MongoClient(flags.mongodb, {
  writeConcern: { w: 'majority', journal: true, wtimeoutMS: WRITE_MS_MAX },
  socketTimeoutMS: WRITE_MS_MAX,
  waitQueueTimeoutMS: WRITE_MS_MAX,
  serverSelectionTimeoutMS: 5000,
  maxPoolSize: Number(flags['pool-size']),
})
await client.connect()
const records = client.db().collection('records')
await records.createIndex({ status: 1 })

const providerUrl = new URL(flags.provider)
const agent = new Agent({ keepAlive: true, scheduling: 'lifo' })

const Submission = z.strictObject({ pipeline: z.string().max(40), input: z.record(z.string(), z.unknown()) })
const Output = z.object({ ok: z.boolean() })

/** One POST to the model. Throws on anything but a 200 with JSON. */
function callModel(id, input) {
  const body = JSON.stringify(input)
  return new Promise((resolve, reject) => {
    const req = request(providerUrl, {
      agent,
      method: 'POST',
      signal: AbortSignal.timeout(CALL_MS_MAX),
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'idempotency-key': id,
      },
    })
    req.on('error', reject)
    req.on('response', (res) => {
      const chunks = []
      let bytes = 0
      res.on('data', (chunk) => {
        bytes += chunk.length
        if (bytes > ANSWER_BYTES_MAX) req.destroy(new Error('The answer is too large.'))
        else chunks.push(chunk)
      })
      res.on('error', reject)
      res.on('end', () => {
        if (res.statusCode !== 200) return reject(new Error(`The model answered ${res.statusCode}.`))
        try {
          resolve(Output.parse(JSON.parse(Buffer.concat(chunks, bytes).toString('utf8'))))
        } catch (error) {
          reject(error)
        }
      })
    })
    req.end(body)
  })
}

const setStatus = (id, status, more = {}) =>
  records.updateOne({ _id: id }, { $set: { status, [`${status}At`]: new Date(), ...more } })

const router = new Router()
router.post('/records', async (ctx) => {
  const parsed = Submission.safeParse(ctx.request.body)
  if (!parsed.success) {
    ctx.status = 400
    ctx.body = { error: z.prettifyError(parsed.error) }
    return
  }
  const id = randomUUID()
  await records.insertOne({ _id: id, status: 'received', receivedAt: new Date(), ...parsed.data })
  await setStatus(id, 'processing')
  try {
    const result = await callModel(id, parsed.data.input)
    await setStatus(id, 'completed', { result, charge: { amount: '0.40', currency: 'EUR' } })
    ctx.body = { id, status: 'completed', result }
  } catch (error) {
    await setStatus(id, 'failed', { error: String(error) })
    ctx.status = 502
    ctx.body = { id, status: 'failed' }
  }
})
router.get('/records/:id', async (ctx) => {
  const record = await records.findOne({ _id: ctx.params.id })
  if (record === null) ctx.status = 404
  else ctx.body = record
})
router.get('/usage', (ctx) => {
  ctx.body = { ...process.cpuUsage(), rss: process.memoryUsage.rss() }
})

const app = new Koa()
app
  .use(bodyParser({ enableTypes: ['json'], jsonLimit: '1mb' }))
  .use(router.routes())
  .use(router.allowedMethods())
const server = app.listen(Number(flags.port), '127.0.0.1', () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` }))
})

async function stop() {
  server.close()
  server.closeIdleConnections()
  agent.destroy()
  await client.close()
  process.exit(0)
}
process.once('SIGTERM', () => void stop())
process.once('SIGINT', () => void stop())
// The bench that started it may be killed: an orphan has another parent.
const parent = process.ppid
setInterval(() => process.ppid === parent || process.exit(0), 500).unref()
