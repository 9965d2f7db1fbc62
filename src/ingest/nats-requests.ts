/**
 * Core requests on `<prefix>.submit.<source>.<pipeline>`: the answer is the receipt, or `{ error }` with the problem.
 *
 * Q1 Requests can't be held back at the server, so what is in work is bounded here by number and bytes; past that, the
 *    answer is `unavailable` at once, and the submitter tries again with the same key.
 * Q2 A message that asks for no answer gets it on the receipts subject, because nothing may be accepted or refused
 *    in silence.
 */
import type { JetStreamManager, Msg, NatsConnection, Subscription } from 'nats'
import type { Logger } from 'pino'
import { Refusal, type Accept } from './contract.js'
import { problemOf, type Answers } from './nats-answers.js'
import { codeOf, pipelineOf, submissionOf } from './nats-delivery.js'
import { readEnvelope } from './nats-envelope.js'
import { within } from './nats-intake.js'
import { SOURCE_NAME, type IngestNames } from './nats-names.js'

export type Requests = { pause(): Promise<void>; resume(): void; close(drainMs: number): Promise<void> }

export type RequestDeps = {
  nc: NatsConnection
  jsm: JetStreamManager
  accept: Accept
  answers: Answers
  names: IngestNames
  log: Pick<Logger, 'warn'>
}

type Load = { requests: number; bytes: number }

const IN_WORK_MAX = 2_048
const IN_WORK_BYTES_MAX = 128 * 1024 * 1024
/** Of these, for one source at most this share: a flood of one leaves room for the others (P12). */
const SOURCE_SHARE = 1 / 4
const DRAIN_TIMEOUT_MS = 1_000

export function createRequests(deps: RequestDeps): Requests {
  const { nc, names } = deps
  const inWork = new Set<Promise<void>>()
  const total: Load = { requests: 0, bytes: 0 }
  const bySource = new Map<string, Load>()
  let subscription: Subscription | null = null

  function onRequest(msg: Msg): void {
    const source = names.words(msg.subject)[0] ?? ''
    const own = bySource.get(source) ?? { requests: 0, bytes: 0 }
    if (isFull(total, 1, msg.data.length) || isFull(own, SOURCE_SHARE, msg.data.length)) {
      const busy = new Refusal(
        'unavailable',
        503,
        `${own.requests} requests of this source are in work. Send it again.`,
      )
      respond(msg, { error: problemOf(busy) })
      return
    }
    bySource.set(source, own)
    for (const load of [total, own]) add(load, 1, msg.data.length)
    const work = answer(deps, source, msg)
    inWork.add(work)
    void work.finally(() => {
      inWork.delete(work)
      for (const load of [total, own]) add(load, -1, -msg.data.length)
      if (own.requests === 0) bySource.delete(source)
    })
  }

  function resume(): void {
    if (subscription !== null || nc.isClosed()) return
    subscription = nc.subscribe(names.submitAll, {
      queue: names.submitQueue,
      callback: (error, msg) => {
        if (error === null) onRequest(msg)
        else deps.log.warn({ code: codeOf(error) }, 'Requests over NATS are not received: the subscription failed.')
      },
    })
  }

  async function pause(): Promise<void> {
    const ending = subscription
    subscription = null
    if (ending === null || ending.isClosed()) return
    await within(DRAIN_TIMEOUT_MS, ending.drain())
    if (!ending.isClosed()) ending.unsubscribe()
  }

  resume()
  return {
    pause,
    resume,
    async close(drainMs) {
      await pause()
      await within(drainMs, Promise.all(inWork))
    },
  }
}

const isFull = (load: Load, share: number, bytes: number): boolean =>
  load.requests + 1 > IN_WORK_MAX * share || load.bytes + bytes > IN_WORK_BYTES_MAX * share

function add(load: Load, requests: number, bytes: number): void {
  load.requests += requests
  load.bytes += bytes
}

async function answer(deps: RequestDeps, source: string, msg: Msg): Promise<void> {
  let body: { [name: string]: unknown }
  try {
    if (!SOURCE_NAME.test(source)) {
      throw new Refusal('invalid-submission', 400, 'The source in the subject must be 1 to 40 of a-z, 0-9 and "-".')
    }
    const pipeline = pipelineOf(deps.names, 'submit', msg.subject, source)
    const envelope = readEnvelope(msg, null)
    body = { ...(await deps.accept(submissionOf(deps.jsm, envelope, source, pipeline, 'nats-request'))) }
  } catch (error) {
    body = { error: problemOf(asRefusal(deps, source, error)) }
  }
  if (msg.reply !== undefined && msg.reply !== '') respond(msg, body)
  else if (SOURCE_NAME.test(source)) await publishUnasked(deps, source, msg, body)
}

function asRefusal(deps: RequestDeps, source: string, error: unknown): Refusal {
  if (error instanceof Refusal) return error
  deps.log.warn({ source, code: codeOf(error) }, 'A request over NATS could not be answered.')
  return new Refusal(
    'unavailable',
    503,
    'Endstate could not answer this request now. Send it again: with the same idempotency key it is accepted once only.',
  )
}

async function publishUnasked(deps: RequestDeps, source: string, msg: Msg, body: object): Promise<void> {
  try {
    await deps.answers.publish(source, { ...body, submission: { subject: msg.subject } })
  } catch (error) {
    deps.log.warn({ source, code: codeOf(error) }, 'The answer to a submission without a reply subject was not stored.')
  }
}

function respond(msg: Msg, body: object): void {
  try {
    msg.respond(JSON.stringify(body))
  } catch {
    // The connection is gone; the submitter asks again with the same key.
  }
}
