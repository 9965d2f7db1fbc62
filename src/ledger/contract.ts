/**
 * How charges leave: the sinks, and what each of them gets.
 *
 * - L1 A charge's id is `<record>/<key>` for the life of the record. It arrives at least once, always with the same id
 *   and the same bytes; the receiver keeps to the id.
 * - L2 A sink answers for certain or not at all: only `sent` means that it has the charge.
 * - L3 Simulated charges never leave.
 */
import type { Secret } from '../providers/secret.js'

/** What a config says, parsed. */
export type ChargeSinks = {
  /** Published to `<prefix>.charges` in JetStream. */
  nats: boolean
  webhook: WebhookSettings | null
}

export type WebhookSettings = {
  url: string
  secret: Secret
  /** For a receiver that keeps ids for a while only; null when it keeps them for good. */
  forgets: { afterMs: number; askUrl: string } | null
}

/** One charge as it leaves (L1). */
export type ChargeMessage = { id: string; body: string }

/**
 * - `refused`: the sink is there and does not want this charge. It is tried again, seldom; others go on.
 * - `failed`: the sink can't be reached, or is in trouble.
 */
export type SendOutcome =
  { kind: 'sent' } | { kind: 'refused'; code: string } | { kind: 'failed'; code: string; retryAfterMs?: number }

export interface ChargeSink {
  /** As the store knows it; part of field names. */
  readonly name: string
  /** Settles within bounded time, never rejects. */
  send(message: ChargeMessage, signal: AbortSignal): Promise<SendOutcome>
  /** For a sink that keeps ids for a while only: whether it has a charge is asked before a repeat that may be past it. */
  readonly forgets: {
    afterMs: number
    ask(id: string, signal: AbortSignal): Promise<'has' | 'has-not' | 'unknown'>
  } | null
}

export const NATS_SINK = 'charges-nats'
export const WEBHOOK_SINK = 'charges-webhook'

/** The part of a logger that is used here: ids, codes and counts, never a body. */
export type LedgerLog = { warn(facts: { [name: string]: unknown }, message: string): void }
