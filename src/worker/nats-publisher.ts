/**
 * Publishes to JetStream with many messages in flight: one reply inbox, one deadline sweep for all, no timer and no
 * captured stack per message, because hints go out thousands a second.
 *
 * Does not own: making the stream (it tells the bus that it is missing), nor repeating a message whose
 * answer did not come (the sweeper does, P9).
 *
 * N5 Every publish is answered within `timeoutMs`, and at most `inFlightMax` wait at once.
 */
import type { Msg, NatsConnection, Subscription } from 'nats'
import { z } from 'zod'
import { BusUnavailable } from './contract.js'
import { freshInbox } from './nats-hint.js'

export type Publisher = {
  /** Resolves when the stream has stored it. Throws BusUnavailable. */
  publish(subject: string, body: string): Promise<void>
  /** Answers everything in flight at once: the connection is lost. */
  failAll(reason: string): void
  close(): void
}

type InFlight = {
  subject: string
  body: string
  dueAtMs: number
  /** Already sent again after the stream was made anew. */
  repeated: boolean
  resolve(): void
  reject(error: Error): void
}

const PubAck = z.object({ error: z.object({ description: z.string() }).optional() })

const SWEEP_EVERY_MS = 250

export function createPublisher(
  nc: NatsConnection,
  options: {
    timeoutMs: number
    inFlightMax: number
    nowMs(): number
    /** The stream is not there. Resolves when it was made anew. */
    onStreamMissing(): Promise<void>
  },
): Publisher {
  const inbox = freshInbox(nc)
  const inFlight = new Map<string, InFlight>()
  let counter = 0
  let closed = false

  function send(entry: InFlight): void {
    const token = (counter++).toString(36)
    inFlight.set(token, entry)
    try {
      nc.publish(entry.subject, entry.body, { reply: `${inbox}.${token}` })
    } catch (error) {
      inFlight.delete(token)
      entry.reject(unavailable(error instanceof Error ? error.message : String(error)))
    }
  }

  function onAnswer(msg: Msg): void {
    const token = msg.subject.slice(inbox.length + 1)
    const entry = inFlight.get(token)
    if (entry === undefined) return
    inFlight.delete(token)
    if (msg.headers?.code === 503) {
      onMissing(entry)
      return
    }
    const refusal = pubAckError(msg)
    if (refusal === null) entry.resolve()
    else entry.reject(unavailable(refusal))
  }

  function onMissing(entry: InFlight): void {
    if (entry.repeated || closed) {
      entry.reject(unavailable('no stream takes hints'))
      return
    }
    entry.repeated = true
    options.onStreamMissing().then(
      () => {
        if (options.nowMs() < entry.dueAtMs && !closed) send(entry)
        else entry.reject(unavailable('the stream was not made anew in time'))
      },
      () => entry.reject(unavailable('the stream is gone and could not be made anew')),
    )
  }

  const subscription: Subscription = nc.subscribe(`${inbox}.*`, {
    callback: (error, msg) => {
      if (error === null) onAnswer(msg)
    },
  })

  const sweep = setInterval(() => {
    const nowMs = options.nowMs()
    // Oldest first; an entry sent again is behind younger ones, and waits at most one round longer.
    for (const [token, entry] of inFlight) {
      if (entry.dueAtMs > nowMs) {
        if (entry.repeated) continue
        break
      }
      inFlight.delete(token)
      entry.reject(unavailable(`no answer within ${options.timeoutMs} ms`))
    }
  }, SWEEP_EVERY_MS)
  sweep.unref()

  function failAll(reason: string): void {
    const entries = [...inFlight.values()]
    inFlight.clear()
    for (const entry of entries) entry.reject(unavailable(reason))
  }

  return {
    publish(subject, body) {
      if (closed) return Promise.reject(unavailable('the bus is closed'))
      if (inFlight.size >= options.inFlightMax) {
        return Promise.reject(unavailable(`${inFlight.size} hints already wait for an answer`))
      }
      return new Promise<void>((resolve, reject) => {
        const dueAtMs = options.nowMs() + options.timeoutMs
        send({ subject, body, dueAtMs, repeated: false, resolve, reject })
      })
    },
    failAll,
    close() {
      closed = true
      clearInterval(sweep)
      failAll('the bus is closed')
      if (!subscription.isClosed()) subscription.unsubscribe()
    },
  }
}

/** Null: stored. Otherwise why not. */
function pubAckError(msg: Msg): string | null {
  try {
    const ack = PubAck.safeParse(JSON.parse(msg.string()))
    if (!ack.success) return 'the answer was no JetStream acknowledgement'
    return ack.data.error === undefined ? null : ack.data.error.description
  } catch {
    return 'the answer was no JetStream acknowledgement'
  }
}

const unavailable = (reason: string): BusUnavailable => new BusUnavailable(`The hint was not published: ${reason}.`)
