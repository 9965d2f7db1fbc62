/**
 * Knows whether hints can travel: watches the connection, and asks JetStream for the work stream every second.
 *
 * N9 `awaySinceMs` is set from the first sign of trouble until JetStream answers for the stream again.
 * N10 Every question has a timeout, and at most one is under way.
 */
import type { NatsConnection } from 'nats'
import type { Logger } from 'pino'

export type Health = {
  awaySinceMs(): number | null
  connected(): boolean
  /** Asks now. Resolves when answered; never rejects. */
  probe(): Promise<void>
  close(): void
}

export type HealthOptions = {
  everyMs: number
  log: Pick<Logger, 'info' | 'warn'>
  nowMs(): number
  /** Resolves when the stream is there (made anew if needed); rejects when JetStream does not answer for it. */
  check(): Promise<void>
  onDisconnect(): void
  /** The bus works again. */
  onBack(): void
  onTick(): void
}

export function createHealth(nc: NatsConnection, options: HealthOptions): Health {
  let awayAtMs: number | null = null
  let connected = !nc.isClosed()
  let closed = false
  let probing: Promise<void> | null = null
  /** A connection that was lost and is back has lost its pulls, whether or not a probe noticed. */
  let backPending = false

  function lost(sinceMs: number, why: string): void {
    if (awayAtMs !== null || closed) return
    awayAtMs = sinceMs
    options.log.warn({ why }, 'NATS is away: hints are not carried until it is back.')
  }

  function recovered(): void {
    if (closed || (awayAtMs === null && !backPending)) return
    const awayForMs = awayAtMs === null ? 0 : Math.round(options.nowMs() - awayAtMs)
    awayAtMs = null
    backPending = false
    options.log.info({ awayForMs }, 'NATS carries hints again.')
    options.onBack()
  }

  async function ask(): Promise<void> {
    const startedMs = options.nowMs()
    try {
      await options.check()
      if (connected) recovered()
    } catch (error) {
      lost(startedMs, error instanceof Error ? error.message : String(error))
    } finally {
      probing = null
    }
  }

  function probe(): Promise<void> {
    if (closed || !connected) return Promise.resolve()
    probing ??= ask()
    return probing
  }

  const statuses = nc.status()
  async function watchConnection(): Promise<void> {
    for await (const status of statuses) {
      if (closed) return
      if (status.type === 'disconnect') {
        connected = false
        backPending = true
        lost(options.nowMs(), 'The connection is lost.')
        options.onDisconnect()
      } else if (status.type === 'reconnect') {
        connected = true
        void probe()
      }
    }
  }
  void watchConnection()
  void nc.closed().then(() => {
    connected = false
    lost(options.nowMs(), 'The connection is closed.')
    if (!closed) options.onDisconnect()
  })

  const timer = setInterval(() => {
    options.onTick()
    void probe()
  }, options.everyMs)
  timer.unref()

  return {
    awaySinceMs: () => awayAtMs,
    connected: () => connected,
    probe,
    close() {
      closed = true
      clearInterval(timer)
      stopIterator(statuses)
    },
  }
}

/** The client's status iterators have a `stop` that its types don't show; without it they live as long as the connection. */
function stopIterator(iterator: object): void {
  if ('stop' in iterator && typeof iterator.stop === 'function') iterator.stop()
}
