/** Invariants about getting to an end (P2): who is not settled will be woken in time, who is settled is left alone. Pure. */
import type { RecordDocument } from '../machines/record.js'
import { isSettled } from '../machines/record.js'
import { TIMER_SLACK_MS } from '../machines/verify.js'
import type { Outage } from '../persistence/contract.js'
import type { AuditView, Fault } from './contract.js'

const timeOf = (date: Date | null): string => date?.toISOString() ?? 'none'

export const unsettledHasTimer = ({ status, timers, snapshot }: RecordDocument): Fault[] =>
  isSettled(status) || timers.length > 0
    ? []
    : [{ expected: 'at least one timer', found: `no timer in state ${stateOf(snapshot)}` }]

const stateOf = (snapshot: unknown): string =>
  JSON.stringify((snapshot as { value?: unknown } | null)?.value ?? null).slice(0, 200)

export const wakeAtIsEarliest = ({ status, timers, wakeAt }: RecordDocument): Fault[] => {
  if (isSettled(status) || timers.length === 0) return []
  const earliest = new Date(Math.min(...timers.map(({ dueAt }) => dueAt.getTime())))
  return wakeAt?.getTime() === earliest.getTime()
    ? []
    : [{ expected: `wakeAt ${timeOf(earliest)}`, found: `wakeAt ${timeOf(wakeAt)}` }]
}

/** By how much outages that the record has not observed yet will move its end; as `observeOutages` does. */
const shiftMs = (outages: readonly Outage[], since: Date): number => {
  let shift = 0
  let until = since.getTime()
  for (const { from, to } of outages.toSorted((a, b) => a.from.getTime() - b.from.getTime())) {
    const overlap = Math.max(0, to.getTime() - Math.max(from.getTime(), until))
    shift += overlap
    if (overlap > 0) until = to.getTime()
  }
  return shift
}

export const settlesInTime = (doc: RecordDocument, { time }: AuditView): Fault[] => {
  if (isSettled(doc.status)) return []
  const latest = new Date(doc.settlesBy.getTime() + shiftMs(time.outages, doc.outagesUntil))
  return time.now.getTime() <= latest.getTime() + TIMER_SLACK_MS
    ? []
    : [{ expected: `settled by ${timeOf(latest)}`, found: `not settled at ${timeOf(time.now)}` }]
}

export const settledIsQuiet = (doc: RecordDocument): Fault[] => {
  const faults: Fault[] = []
  const { status, timers, queue, wakeAt, settledAt } = doc
  if (!isSettled(status)) {
    if (settledAt !== null) faults.push({ expected: 'no settledAt', found: `settledAt ${timeOf(settledAt)}` })
    return faults
  }
  if (timers.length > 0) faults.push({ expected: 'no timers', found: `${timers.length} timer(s)` })
  if (queue.length > 0) faults.push({ expected: 'no queue', found: `${queue.length} step(s) waiting for a slot` })
  if (wakeAt !== null) faults.push({ expected: 'no wakeAt', found: `wakeAt ${timeOf(wakeAt)}` })
  if (settledAt === null) faults.push({ expected: 'settledAt', found: 'none' })
  return faults
}
