/**
 * The load: a closed loop with so many records in flight, and an open one with so many submissions a second.
 *
 * L1 In flight counts from the first byte of the submission until the record has settled, for both services alike.
 * L2 The open loop sends at times fixed beforehand, on a free connection, so that a slow answer holds up no other one and
 *    hides none. A latency counts from the sending: the lateness of this process' timers is not the service's.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { openConnection } from './client.mjs'

const INPUT_BYTES = 1024
const FILLER = 'Patient letter, seen today in the clinic. '.repeat(30)
let serial = 0

/** A submission with an input of INPUT_BYTES, another one each time. */
export const submission = (pipeline) => {
  const start = `{"n":"${(serial += 1)}","text":"`
  const input = `${start}${FILLER.slice(0, INPUT_BYTES - start.length - 2)}"}`
  return `{"pipeline":"${pipeline}","input":${input}}`
}

const ofUrls = (service, count, headers) =>
  Promise.all(
    Array.from({ length: count }, (_, at) =>
      openConnection(service.urls[at % service.urls.length], service.path, headers),
    ),
  )

const expectStatus = (answer, status) => {
  if (answer.status !== status)
    throw new Error(`The service answered ${answer.status} instead of ${status}: ${answer.text.slice(0, 300)}`)
}

/** What is told by the answer itself: one connection for each record in flight. */
async function synchronousLoad(service, { pipeline, inFlight, running, headers }) {
  const connections = await ofUrls(service, inFlight, headers)
  const progress = { settled: 0 }
  const loops = connections.map(async (connection) => {
    while (running()) {
      expectStatus(await connection.post(submission(pipeline)), 200)
      progress.settled += 1
    }
  })
  const done = Promise.all(loops).finally(() => connections.forEach((connection) => connection.close()))
  return { progress, done }
}

/** What is told by the service's count: a receipt each, and a new submission for each record that has settled. */
async function receiptLoad(service, { pipeline, inFlight, running }) {
  const free = await ofUrls(service, inFlight)
  const connections = [...free]
  const progress = { settled: 0 }
  let submitted = 0
  let finish, fail
  const done = new Promise((resolve, reject) => ([finish, fail] = [resolve, reject]))
  const submit = (connection) => {
    submitted += 1
    connection
      .post(submission(pipeline))
      .then((answer) => {
        expectStatus(answer, 202)
        free.push(connection)
        refill()
      })
      .catch(fail)
  }
  const refill = () => {
    if (!running()) {
      if (progress.settled >= submitted) finish()
      return
    }
    while (submitted - progress.settled < inFlight && free.length > 0) submit(free.pop())
  }
  const stopListening = service.onSettled((count) => {
    progress.settled += count
    refill()
  })
  refill()
  const ended = done.finally(() => {
    stopListening()
    connections.forEach((connection) => connection.close())
  })
  return { progress, done: ended }
}

const DRAIN_MS = 20_000

/** Answers how many have settled so far, and `stop`, which waits for what is in flight. */
async function startLoop(service, { pipeline, inFlight, wait = false }) {
  let on = true
  const options = { pipeline, inFlight, running: () => on, headers: wait ? 'Prefer: wait=30\r\n' : '' }
  const start = service.synchronous || wait ? synchronousLoad : receiptLoad
  const { progress, done } = await start(service, options)
  const failed = done.then(() => {
    throw new Error('The load ended by itself.')
  })
  failed.catch(() => {})
  return {
    settled: () => progress.settled,
    passes: (ms) => Promise.race([sleep(ms), failed]),
    async stop() {
      on = false
      const late = sleep(DRAIN_MS, undefined, { ref: false }).then(() => {
        throw new Error(`Records in flight did not settle within ${DRAIN_MS} ms.`)
      })
      await Promise.race([done, late])
    },
  }
}

/** Runs a closed loop; `mark` is called at the beginning and the end of what counts. Answers how many settled between. */
export async function closedLoop(service, { warmUpMs, measureMs, mark, ...options }) {
  const loop = await startLoop(service, options)
  await loop.passes(warmUpMs)
  const before = await mark()
  const settledBefore = loop.settled()
  await loop.passes(measureMs)
  const settled = loop.settled() - settledBefore
  const after = await mark()
  await loop.stop()
  return { settled, before, after }
}

/** Lets a fresh service's code be compiled: until it has settled so many, or the time is over. */
export async function prime(service, { records, ms, ...options }) {
  const loop = await startLoop(service, options)
  const end = performance.now() + ms
  while (loop.settled() < records && performance.now() < end) await loop.passes(50)
  await loop.stop()
}

/** L2. Answers the latencies in ms, sorted. */
export async function openLoop(service, { pipeline, perSecond, warmUpMs, measureMs }) {
  const connections = await ofUrls(service, 32, service.synchronous ? '' : 'Prefer: wait=30\r\n')
  const free = [...connections]
  const latencies = []
  const everyMs = 1000 / perSecond
  const startMs = performance.now() + 50
  const count = Math.round((warmUpMs + measureMs) / everyMs)
  const running = new Set()
  for (let n = 0; n < count; n += 1) {
    const pauseMs = startMs + n * everyMs - performance.now()
    if (pauseMs > 0) await sleep(pauseMs)
    // In turn: one that idles for seconds is closed by its server.
    const connection = free.shift()
    if (connection === undefined) throw new Error('More than 32 answers are outstanding: the service does not keep up.')
    const sentMs = performance.now()
    const one = connection.post(submission(pipeline)).then((answer) => {
      if (n * everyMs >= warmUpMs) latencies.push(performance.now() - sentMs)
      expectStatus(answer, 200)
      free.push(connection)
    })
    running.add(one)
    void one.then(
      () => running.delete(one),
      () => undefined,
    )
  }
  await Promise.all(running)
  connections.forEach((connection) => connection.close())
  return latencies.sort((a, b) => a - b)
}

export const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]
