/**
 * The ports of the shell besides storage: hints, time, identifiers.
 * A hint names a record and why it may advance. It holds no truth and no patient data (P9): losing,
 * repeating, delaying or reordering hints changes when something happens, never what.
 */

export type Hint = {
  type: 'RECORD_ACCEPTED' | 'STEP_READY' | 'TIMER_DUE' | 'OPERATOR_ACTED'
  record: string
  version: number
}

/** `timers` is the queue of TIMER_DUE and OPERATOR_ACTED; every other queue is a provider's name. */
export type QueueName = { provider: string } | 'timers'

export type Delivery = {
  hint: Hint
  /** Answers nothing: a lost ack means redelivery, which is harmless. */
  ack(): void
  /** Redeliver, after `delayMs` if given. */
  nak(delayMs?: number): void
}

export interface HintConsumer {
  /** No delivery starts after this resolves, until `resume`. */
  pause(): Promise<void>
  resume(): void
  close(): Promise<void>
}

export interface HintBus {
  /** Resolves when the bus has it; throws `BusUnavailable` within `publishTimeoutMs`. Fresh message id each time. */
  publish(queue: QueueName, hint: Hint): Promise<void>
  /**
   * Pulls hints while `free()` answers more than 0, never more at once than it answers, and hands them to `onHint`,
   * which must not throw and must not be awaited on slow work. Survives a deleted stream or consumer (it makes
   * them anew) and any loss of the connection.
   */
  consume(queue: QueueName, handlers: { free(): number; onHint(delivery: Delivery): void }): HintConsumer
  /** Tells consumers of this process that `free()` may have grown. */
  nudge(queue: QueueName): void
  /** Hints published and not yet acked, as far as the bus knows. Throws BusUnavailable. */
  pending(queue: QueueName): Promise<number>
  /** Since when (monotonic ms of this process) the bus has been unusable; null when it works. */
  awaySinceMs(): number | null
  close(): Promise<void>
}

/** `unknown-provider`, `unknown-call`: nobody here waits for it. `saved`: the record says so. `known`: it had said so. */
export type WebhookTaken = 'unknown-provider' | 'unknown-call' | 'saved' | 'known'

export interface Clock {
  /** The database server's time, as well as this process knows it. */
  now(): Date
  /** Milliseconds that never go backwards and are not changed by setting the clock. */
  monotonicMs(): number
  /** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export interface Ids {
  /** UUIDv7. */
  record(): string
  /** A fresh writer token. */
  writer(): string
}

export class BusUnavailable extends Error {
  readonly code = 'bus-unavailable'
}
