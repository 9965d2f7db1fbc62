/**
 * Submissions over NATS, design section 10: core requests, and one JetStream stream per source.
 *
 * Owns: which sources have a stream (the configured ones and those that exist already), keeping streams and sessions
 * alive, and the order of ending. Does not own the connection: the caller opens it, and closes it afterwards.
 *
 * G1 Both ways call the same accept() as every other adapter.
 * G2 Whatever is deleted on the server is made anew: by the session that notices, and by a look every minute.
 */
import type { JetStreamManager, NatsConnection } from 'nats'
import type { Logger } from 'pino'
import type { Accept } from './contract.js'
import { createAnswers } from './nats-answers.js'
import { codeOf, takeDelivery } from './nats-delivery.js'
import { createIntake, within, type Intake } from './nats-intake.js'
import { ingestNames, SOURCE_NAME } from './nats-names.js'
import { createRequests } from './nats-requests.js'
import { ensureAnswerStreams, ensureIngestStream } from './nats-streams.js'

export type NatsIngestOptions = {
  nc: NatsConnection
  accept: Accept
  log: Pick<Logger, 'info' | 'warn'>
  /** Subjects and streams lie under it. Default `endstate`. */
  prefix?: string
  /** Sources that get an ingest stream. Default `local`. */
  sources?: readonly string[]
  /** Submissions of one source's stream in work at once. */
  concurrency?: number
  replicas?: number
  /** After this time the stream delivers again what a process that died had in work. */
  ackWaitMs?: number
}

export type NatsIngest = {
  /** Nothing is taken any more when it resolves; what is in work goes on. */
  pause(): Promise<void>
  resume(): void
  /** Takes nothing more, and waits for what is in work, at most `drainMs`. */
  close(drainMs?: number): Promise<void>
}

const REQUEST_TIMEOUT_MS = 5_000
const SETUP_TIMEOUT_MS = 10_000
const LOOK_EVERY_MS = 60_000
const CONCURRENCY = 64
const ACK_WAIT_MS = 15_000
const DRAIN_MS = 10_000
const LOG_GAP_MS = 10_000

/** Resolves when everything is in place, or after ten seconds of trying, which then goes on in the background. */
export async function createNatsIngest(options: NatsIngestOptions): Promise<NatsIngest> {
  const { nc, log, accept, concurrency = CONCURRENCY, replicas = 1, ackWaitMs = ACK_WAIT_MS } = options
  const names = ingestNames(options.prefix ?? 'endstate')
  const configured = options.sources ?? ['local']
  const wrong = configured.find((source) => !SOURCE_NAME.test(source))
  if (wrong !== undefined) {
    throw new Error(`A source's name is 1 to 40 of a-z, 0-9 and "-"; found ${JSON.stringify(wrong)}.`)
  }
  const jsm = await nc.jetstreamManager({ checkAPI: false, timeout: REQUEST_TIMEOUT_MS })
  const answers = createAnswers(nc, names)
  const intakes = new Map<string, Intake>()
  let connected = !nc.isClosed()
  let paused = false
  let closed = false
  let loggedAtMs = Number.NEGATIVE_INFINITY

  function onTrouble(error: unknown): void {
    if (closed || performance.now() - loggedAtMs < LOG_GAP_MS) return
    loggedAtMs = performance.now()
    log.warn({ code: codeOf(error) }, 'Submissions are not taken from JetStream now; it is tried again.')
  }

  async function prepare(source: string): Promise<void> {
    await ensureIngestStream(jsm, names, source, { replicas, ackWaitMs })
    await ensureAnswerStreams(jsm, names, replicas)
  }

  function takeFrom(source: string): void {
    if (intakes.has(source) || closed) return
    const intake = createIntake(nc, {
      pullSubject: `$JS.API.CONSUMER.MSG.NEXT.${names.ingestStream(source)}.${names.durable}`,
      concurrency,
      connected: () => connected,
      prepare: () => prepare(source),
      take: (msg) => takeDelivery({ nc, jsm, accept, answers, names, log, ackWaitMs }, source, msg),
      onTrouble,
    })
    intakes.set(source, intake)
    if (paused) void intake.pause()
  }

  /** Makes what is missing, and finds streams of sources that no one configured here. */
  async function look(): Promise<void> {
    try {
      await ensureAnswerStreams(jsm, names, replicas)
      for (const source of configured) await ensureIngestStream(jsm, names, source, { replicas, ackWaitMs })
      for (const source of await existingSources(jsm, names.ingestAll, names.sourceOf)) takeFrom(source)
    } catch (error) {
      onTrouble(error)
    }
  }

  const requests = createRequests({ nc, jsm, accept, answers, names, log })
  const statuses = nc.status()
  async function watchConnection(): Promise<void> {
    for await (const status of statuses) {
      if (closed) return
      if (status.type !== 'disconnect' && status.type !== 'reconnect') continue
      connected = status.type === 'reconnect'
      for (const intake of intakes.values()) intake.restart()
    }
  }
  void watchConnection()
  const timer = setInterval(() => {
    if (connected) void look()
  }, LOOK_EVERY_MS)
  timer.unref()

  await within(SETUP_TIMEOUT_MS, look())
  for (const source of configured) takeFrom(source)

  return {
    async pause() {
      paused = true
      await Promise.all([requests.pause(), ...[...intakes.values()].map((intake) => intake.pause())])
    },
    resume() {
      paused = false
      requests.resume()
      for (const intake of intakes.values()) intake.resume()
    },
    async close(drainMs = DRAIN_MS) {
      if (closed) return
      closed = true
      clearInterval(timer)
      if ('stop' in statuses && typeof statuses.stop === 'function') statuses.stop()
      await Promise.all([requests.close(drainMs), ...[...intakes.values()].map((intake) => intake.close(drainMs))])
    },
  }
}

async function existingSources(
  jsm: JetStreamManager,
  subject: string,
  sourceOf: (stream: string) => string | null,
): Promise<string[]> {
  const sources: string[] = []
  for await (const name of jsm.streams.names(subject)) {
    const source = sourceOf(name)
    if (source !== null) sources.push(source)
  }
  return sources
}
