/**
 * Pulls one queue's hints by free slots, on JetStream's own pull protocol: one inbox, several pull requests in flight,
 * each for no more than the slots that are free and not asked for yet.
 *
 * Does not own: making the consumer (it reports that it is missing), nor when the connection is usable.
 *
 * N6 Asked for and not yet delivered, plus delivered beyond `free()` and held, never exceeds `free()` at the
 *    time of asking. A hint that arrives when the slots went elsewhere is held briefly, then given back.
 * N7 Nothing is handed over while paused or detached; what arrives then is given back at once.
 * N8 A pull whose end was never answered is forgotten after its expiry; deliveries to a forgotten inbox still count.
 */
import type { Msg, NatsConnection, Subscription } from 'nats'
import type { Delivery } from './contract.js'
import { deliveryOf, freshInbox, readHint, termHint } from './nats-hint.js'

export type Puller = {
  /** Begins to pull, on a fresh inbox. */
  attach(): void
  /** Ends pulling. With `connected`, what is under way is given back first. */
  detach(connected: boolean): Promise<void>
  /** Slots may have become free. Cheap; many calls in one turn become one. */
  nudge(): void
  /** Once in a while: gives back what was held too long, forgets pulls that got no answer. */
  tick(): void
  pause(): Promise<void>
  resume(): void
  close(): Promise<void>
}

export type PullerOptions = {
  /** The subject that asks for messages of this consumer. */
  pullSubject: string
  free(): number
  onHint(delivery: Delivery): void
  nowMs(): number
  connected(): boolean
  /** The consumer is gone. Resolves when it was made anew. */
  onConsumerMissing(): Promise<void>
  /** A message was no hint, and was terminated. */
  onUnreadable(): void
  onError(what: string, error: unknown): void
}

type Session = { inbox: string; subscription: Subscription; outstanding: number; expiresAtMs: number }

const PULL_EXPIRES_MS = 5_000
/** How long after its expiry a pull's end may still arrive. */
const PULL_GRACE_MS = 1_000
const PULL_BATCH_MAX = 256
const HOLD_MS = 1_000
const BLOCKED_MS = 250
const DRAIN_TIMEOUT_MS = 1_000

export function createPuller(nc: NatsConnection, options: PullerOptions): Puller {
  let session: Session | null = null
  let paused = false
  let closed = false
  let scheduled = false
  let blockedUntilMs = 0
  let pulls = 0
  let held: { delivery: Delivery; sinceMs: number }[] = []

  function onMessage(from: Session, msg: Msg): void {
    const code = msg.headers?.code ?? 0
    if (code !== 0 && msg.subject.startsWith(from.inbox)) {
      onStatus(from, code, msg)
      return
    }
    from.outstanding = Math.max(0, from.outstanding - 1)
    const hint = readHint(msg)
    if (hint === null) {
      termHint(nc, msg.reply)
      options.onUnreadable()
      nudge()
      return
    }
    const delivery = deliveryOf(nc, msg.reply ?? '', hint)
    if (paused || closed || session === null) delivery.nak()
    else if (held.length === 0 && options.free() > 0) handOver(delivery)
    else held.push({ delivery, sinceMs: options.nowMs() })
    nudge()
  }

  function handOver(delivery: Delivery): void {
    try {
      options.onHint(delivery)
    } catch (error) {
      options.onError('A hint handler threw.', error)
    }
  }

  function onStatus(from: Session, code: number, msg: Msg): void {
    if (from !== session || code === 100) return
    if (code === 408 || code === 404) {
      const pending = Number(msg.headers?.get('Nats-Pending-Messages') ?? '')
      from.outstanding = Number.isFinite(pending) && code === 408 ? Math.max(0, from.outstanding - pending) : 0
      nudge()
      return
    }
    // 503: nobody answers for this consumer. 409: deleted, leader changed, server going down, too many pulls.
    const description = msg.headers?.description ?? ''
    blockedUntilMs = options.nowMs() + BLOCKED_MS
    void renew()
    if (code === 503 || description.includes('Consumer Deleted')) mend()
  }

  function mend(): void {
    options.onConsumerMissing().then(
      () => {
        blockedUntilMs = 0
        nudge()
      },
      (error: unknown) => options.onError('The consumer of a queue could not be made anew.', error),
    )
  }

  function nudge(): void {
    if (scheduled || closed) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      pull()
    })
  }

  function pull(): void {
    if (session === null || paused || closed || !options.connected() || options.nowMs() < blockedUntilMs) return
    while (held.length > 0 && options.free() > 0) handOver(held.shift()!.delivery)
    const free = options.free()
    const want = Math.min(PULL_BATCH_MAX, free - session.outstanding - held.length)
    // Half of the free slots is asked for already: waiting for more to become free saves a request for each of them.
    if (want <= 0 || session.outstanding * 2 > free) return
    session.outstanding += want
    session.expiresAtMs = options.nowMs() + PULL_EXPIRES_MS
    const body = JSON.stringify({ batch: want, expires: PULL_EXPIRES_MS * 1_000_000 })
    nc.publish(options.pullSubject, body, { reply: `${session.inbox}.${(pulls++).toString(36)}` })
  }

  function attach(): void {
    nudge()
    if (closed || session !== null) return
    const inbox = freshInbox(nc)
    const subscription = nc.subscribe(`${inbox}.*`, {
      callback: (error, msg) => {
        if (error !== null) {
          options.onError('A pull inbox failed.', error)
          return
        }
        onMessage(opened, msg)
      },
    })
    const opened: Session = { inbox, subscription, outstanding: 0, expiresAtMs: 0 }
    session = opened
  }

  async function detach(connected: boolean): Promise<void> {
    const leaving = session
    session = null
    const back = held
    held = []
    for (const { delivery } of back) delivery.nak()
    if (leaving === null || leaving.subscription.isClosed()) return
    if (connected) await drained(leaving.subscription)
    else leaving.subscription.unsubscribe()
  }

  /** Forgets every pull under way, by changing to a fresh inbox. */
  async function renew(): Promise<void> {
    const leaving = session
    session = null
    attach()
    if (leaving !== null && !leaving.subscription.isClosed()) await drained(leaving.subscription)
  }

  function tick(): void {
    const nowMs = options.nowMs()
    const young = held.filter(({ sinceMs }) => nowMs - sinceMs < HOLD_MS)
    if (young.length < held.length) {
      const old = held.filter(({ sinceMs }) => nowMs - sinceMs >= HOLD_MS)
      held = young
      for (const { delivery } of old) delivery.nak()
    }
    if (session !== null && session.outstanding > 0 && nowMs > session.expiresAtMs + PULL_GRACE_MS) void renew()
    nudge()
  }

  return {
    attach() {
      if (!paused) attach()
    },
    detach,
    nudge,
    tick,
    async pause() {
      paused = true
      await detach(options.connected())
    },
    resume() {
      paused = false
      attach()
    },
    async close() {
      closed = true
      await detach(options.connected())
    },
  }
}

/** Ends a subscription after what is on its way here has arrived. Bounded: a dead connection answers nothing. */
async function drained(subscription: Subscription): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, DRAIN_TIMEOUT_MS)
  })
  await Promise.race([subscription.drain().catch(() => undefined), limit])
  clearTimeout(timer)
  if (!subscription.isClosed()) subscription.unsubscribe()
}
