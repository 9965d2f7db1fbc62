/**
 * Takes one source's messages from its stream, with a bounded number in work at once, and survives whatever happens to
 * the stream, its consumer and the connection: every session ends after a known time without an answer, and the next
 * one makes anew what is missing.
 *
 * K1 Asked for is what is free of `concurrency`, and what arrives beyond it is given back (P12: one source's backlog holds no one else's places).
 * K2 Nothing is begun while paused; what arrives then is given back at once.
 */
import { createInbox, type Msg, type NatsConnection, type Subscription } from 'nats'

export type Intake = {
  pause(): Promise<void>
  resume(): void
  /** The connection came back or was lost: the session begins anew. */
  restart(): void
  /** Takes nothing more, and resolves when what is in work is answered, or after `drainMs`. */
  close(drainMs: number): Promise<void>
}

export type IntakeOptions = {
  pullSubject: string
  concurrency: number
  connected(): boolean
  /** Makes stream and consumer if they are missing. Rejects when it can't now. */
  prepare(): Promise<void>
  /** Resolves when the message is answered. Never rejects. */
  take(msg: Msg): Promise<void>
  onTrouble(error: unknown): void
}

type Session = { inbox: string; subscription: Subscription; outstanding: number; expiresAtMs: number }

const PULL_EXPIRES_MS = 5_000
const PULL_GRACE_MS = 1_000
const RETRY_MS = 1_000
const DRAIN_TIMEOUT_MS = 1_000

export function createIntake(nc: NatsConnection, options: IntakeOptions): Intake {
  const inWork = new Set<Promise<void>>()
  let session: Session | null = null
  let opening = false
  let paused = false
  let closed = false
  let scheduled = false
  let pulls = 0

  async function open(): Promise<void> {
    if (opening || closed || paused || session !== null || !options.connected()) return
    opening = true
    try {
      await options.prepare()
      if (closed || paused || !options.connected()) return
      session = subscribe()
      schedule()
    } catch (error) {
      options.onTrouble(error)
    } finally {
      opening = false
    }
  }

  function subscribe(): Session {
    const inbox = freshInbox(nc)
    const subscription = nc.subscribe(`${inbox}.*`, {
      callback: (error, msg) => {
        if (error === null) onMessage(opened, msg)
        else options.onTrouble(error)
      },
    })
    const opened: Session = { inbox, subscription, outstanding: 0, expiresAtMs: 0 }
    return opened
  }

  function onMessage(from: Session, msg: Msg): void {
    const code = msg.headers?.code ?? 0
    if (code !== 0 && msg.subject.startsWith(from.inbox)) {
      if (from === session) onStatus(from, code, msg)
      return
    }
    from.outstanding = Math.max(0, from.outstanding - 1)
    if (paused || closed || inWork.size >= options.concurrency) {
      msg.respond(NAK)
      return
    }
    const work = options.take(msg)
    inWork.add(work)
    void work.finally(() => {
      inWork.delete(work)
      schedule()
    })
  }

  function onStatus(from: Session, code: number, msg: Msg): void {
    if (code === 100) return
    if (code === 408) {
      from.outstanding = Math.max(0, from.outstanding - Number(msg.headers?.get('Nats-Pending-Messages') ?? 0))
      schedule()
      return
    }
    // 503: no consumer answers. 409: it was deleted, or its leader changed. Begin anew, by way of `prepare`.
    void end(session)
    void open()
  }

  /** Places that became free in one turn are asked for together. */
  function schedule(): void {
    if (scheduled || closed) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      pull()
    })
  }

  function pull(): void {
    if (session === null || paused || closed || !options.connected()) return
    const free = options.concurrency - inWork.size
    const want = free - session.outstanding
    if (want <= 0 || session.outstanding * 2 > free) return
    session.outstanding += want
    session.expiresAtMs = performance.now() + PULL_EXPIRES_MS
    const body = JSON.stringify({ batch: want, expires: PULL_EXPIRES_MS * 1_000_000 })
    nc.publish(options.pullSubject, body, { reply: `${session.inbox}.${(pulls++).toString(36)}` })
  }

  async function end(ending: Session | null): Promise<void> {
    if (ending === session) session = null
    if (ending === null || ending.subscription.isClosed()) return
    if (!options.connected()) ending.subscription.unsubscribe()
    else await within(DRAIN_TIMEOUT_MS, ending.subscription.drain())
    if (!ending.subscription.isClosed()) ending.subscription.unsubscribe()
  }

  const timer = setInterval(() => {
    if (session === null) void open()
    else if (session.outstanding > 0 && performance.now() > session.expiresAtMs + PULL_GRACE_MS) {
      void end(session)
      void open()
    } else schedule()
  }, RETRY_MS)
  timer.unref()
  void open()

  return {
    async pause() {
      paused = true
      await end(session)
    },
    resume() {
      paused = false
      void open()
    },
    restart() {
      void end(session)
      void open()
    },
    async close(drainMs) {
      closed = true
      clearInterval(timer)
      await end(session)
      await within(drainMs, Promise.all(inWork))
    },
  }
}

const NAK = new TextEncoder().encode('-NAK')

/** Resolves with `work` or after `ms`, whichever comes first; never rejects. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([work.then(() => undefined).catch(() => undefined), limit])
  clearTimeout(timer)
}

/** Under the connection's own inbox prefix, which accounts with narrow permissions rely on; its type does not show it. */
function freshInbox(nc: NatsConnection): string {
  const options: unknown = 'options' in nc ? nc.options : null
  const own = options instanceof Object && 'inboxPrefix' in options ? options.inboxPrefix : undefined
  return typeof own === 'string' ? createInbox(own) : createInbox()
}
