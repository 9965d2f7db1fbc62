/**
 * A hint on the wire: `{ type, record, version }` as JSON, without headers, and the answers to its delivery.
 * Answers are sent and forgotten: a lost one means redelivery, which is harmless (P9).
 */
import { createInbox, type Msg, type NatsConnection } from 'nats'
import { z } from 'zod'
import type { Delivery, Hint } from './contract.js'

const HintShape = z.object({
  type: z.enum(['RECORD_ACCEPTED', 'STEP_READY', 'TIMER_DUE', 'OPERATOR_ACTED']),
  record: z.string().min(1).max(200),
  version: z.int().min(0),
})

const HINT_BYTES_MAX = 1_024

export const writeHint = (hint: Hint): string =>
  JSON.stringify({ type: hint.type, record: hint.record, version: hint.version })

/** Null when the message is no hint. */
export function readHint(msg: Msg): Hint | null {
  if (msg.data.length > HINT_BYTES_MAX) return null
  try {
    const hint = HintShape.safeParse(JSON.parse(msg.string()))
    return hint.success ? hint.data : null
  } catch {
    return null
  }
}

const encoder = new TextEncoder()
const ACK = encoder.encode('+ACK')
const NAK = encoder.encode('-NAK')
const TERM = encoder.encode('+TERM')

export const termHint = (nc: NatsConnection, reply: string | undefined): void => answer(nc, reply ?? '', TERM)
const nakHint = (nc: NatsConnection, reply: string, delayMs = 0): void =>
  answer(nc, reply, delayMs > 0 ? encoder.encode(`-NAK {"delay": ${Math.round(delayMs) * 1_000_000}}`) : NAK)

function answer(nc: NatsConnection, reply: string, body: Uint8Array): void {
  if (reply === '' || nc.isClosed()) return
  try {
    nc.publish(reply, body)
  } catch {
    // The connection is draining or gone: the bus redelivers.
  }
}

/** Answered once, whoever calls first. */
export function deliveryOf(nc: NatsConnection, reply: string, hint: Hint): Delivery {
  let answered = false
  const once = (act: () => void): void => {
    if (answered) return
    answered = true
    act()
  }
  return {
    hint,
    ack: () => once(() => answer(nc, reply, ACK)),
    nak: (delayMs) => once(() => nakHint(nc, reply, delayMs)),
  }
}

/** Under the connection's own inbox prefix, which accounts with narrow permissions rely on; its type does not show it. */
export function freshInbox(nc: NatsConnection): string {
  const options: unknown = 'options' in nc ? nc.options : null
  const own = options instanceof Object && 'inboxPrefix' in options ? options.inboxPrefix : undefined
  return typeof own === 'string' ? createInbox(own) : createInbox()
}
