/**
 * Sends the charges in the outbox to one sink. One process of the deployment at a time (a lease), one relay per sink, so
 * that one sink's trouble never delays another.
 *
 * - R1 At least once, in order per record: a charge is marked as sent only after the sink said that it has it, and the
 *   next one of its record is sent only then. A process that dies in between sends it again, with the same id (L1).
 * - R2 One record's trouble never delays others: it waits alone, with growing pauses and full jitter, and the relay goes
 *   through all others in turn.
 * - R3 A sink that is down is left alone: after FAILURES_MAX failures in a row one charge is tried after each pause, until
 *   one arrives; then all that waited for the sink go at once.
 * - R4 A sink that forgets is told of a charge only under a durable mark, and is asked before a repeat that may be past
 *   its memory; without an answer nothing is sent.
 */
import type { OutboxEntry, RecordStore, UnsentRecord } from '../persistence/contract.js'
import type { Clock } from '../worker/contract.js'
import { mayLeave, messageOf } from './charge-message.js'
import type { ChargeMessage, ChargeSink, LedgerLog, SendOutcome } from './contract.js'
import { createPatience } from './patience.js'

const PAGE = 200
const AT_ONCE_MAX = 16
const IDLE_MS = 1_000
/** A send and its mark end long before this, and so does whatever is still on its way after we gave up on it. */
const ON_ITS_WAY_MS = 60_000

export type RelayDeps = {
  sink: ChargeSink
  store: Pick<RecordStore, 'unsent' | 'markSending' | 'markSent'>
  /** Keeps the lease. */
  isLeader(): Promise<boolean>
  clock: Clock
  /** 0 up to 1. */
  random(): number
  log: LedgerLog
}

export type Relay = {
  start(): void
  /** One page. True when there is more to do at once. */
  passOnce(): Promise<boolean>
  close(): Promise<void>
}

export const createRelay = (deps: RelayDeps): Relay => {
  const { sink, store, clock, log } = deps
  const closing = new AbortController()
  const patience = createPatience({ nowMs: () => clock.monotonicMs(), random: deps.random })
  let cursor: { at: Date; id: string } | null = null
  let loop: Promise<void> = Promise.resolve()

  /** R4. `send`: go on. `wait`: an earlier send may still arrive. */
  const beforeSend = async (
    { id }: UnsentRecord,
    entry: OutboxEntry,
    message: ChargeMessage,
  ): Promise<SendOutcome | 'send' | 'wait'> => {
    if (!sink.forgets) return 'send'
    const nowMs = clock.now().getTime()
    const doubt = entry.sending?.[sink.name]
    const ask = doubt !== undefined && nowMs - doubt.first.getTime() >= sink.forgets.afterMs - ON_ITS_WAY_MS
    if (ask) {
      const leftMs = doubt.last.getTime() + ON_ITS_WAY_MS - nowMs
      if (leftMs > 0) return 'wait'
      const answer = await sink.forgets.ask(message.id, closing.signal)
      if (answer === 'has') return { kind: 'sent' }
      if (answer === 'unknown') return { kind: 'failed', code: 'asked-in-vain' }
    }
    await store.markSending(sink.name, [{ id, seq: entry.seq, anew: ask }])
    return 'send'
  }

  const sendOne = async (record: UnsentRecord, entry: OutboxEntry): Promise<SendOutcome | 'wait'> => {
    const message = messageOf(record, entry)
    if (message === null) return { kind: 'refused', code: 'unreadable-fact' }
    const next = await beforeSend(record, entry, message)
    return next === 'send' ? sink.send(message, closing.signal) : next
  }

  /** R1. What may not leave is marked as done with, without being sent. */
  const sendRecord = async (record: UnsentRecord): Promise<void> => {
    const done: { id: string; seq: number }[] = []
    for (const entry of record.entries.toSorted((a, b) => a.seq - b.seq)) {
      if (closing.signal.aborted) break
      const outcome = mayLeave(record, entry) ? await sendOne(record, entry) : null
      if (outcome === 'wait') break
      if (outcome !== null && outcome.kind !== 'sent') {
        failed(record, outcome)
        break
      }
      if (outcome !== null) patience.arrived(record.id)
      done.push({ id: record.id, seq: entry.seq })
    }
    await store.markSent(sink.name, done)
  }

  const failed = ({ id }: UnsentRecord, outcome: Exclude<SendOutcome, { kind: 'sent' }>) => {
    if (closing.signal.aborted) return
    const { code, kind } = outcome
    const pausedMs = patience.failed(id, outcome)
    if (kind === 'refused') log.warn({ sink: sink.name, record: id, code }, 'A sink refused a charge.')
    if (pausedMs !== null) log.warn({ sink: sink.name, code, pausedMs }, 'A sink takes no charges; they wait.')
  }

  const passOnce = async (): Promise<boolean> => {
    if (!(await deps.isLeader())) {
      cursor = null
      return false
    }
    const page = await store.unsent(sink.name, PAGE, cursor)
    const last = page.at(-1)
    cursor = page.length === PAGE && last ? { at: last.at, id: last.id } : null
    const due = page.filter(({ id }) => patience.isDue(id))
    const lane = async () => {
      for (let record = due.shift(); record && patience.mayStart(); record = due.shift()) await sendRecord(record)
    }
    // R3: after a pause one goes first.
    const lanes = Math.min(AT_ONCE_MAX, due.length, patience.isProbing() ? 1 : Infinity)
    const ends = await Promise.allSettled(Array.from({ length: lanes }, lane))
    // Only now: a lane that goes on beside the next pass could send out of order.
    for (const end of ends) if (end.status === 'rejected') throw end.reason
    return cursor !== null || patience.hasRecovered()
  }

  const run = async () => {
    while (!closing.signal.aborted) {
      let more = false
      try {
        more = await passOnce()
      } catch (error) {
        cursor = null
        log.warn({ sink: sink.name, error: String(error) }, 'Charges could not be read or marked; they wait.')
      }
      if (!more || patience.pausedMs() > 0) await clock.sleep(Math.max(IDLE_MS, patience.pausedMs()), closing.signal)
    }
  }

  return {
    passOnce,
    start() {
      loop = run()
    },
    async close() {
      closing.abort()
      await loop
    },
  }
}
