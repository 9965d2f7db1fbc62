/**
 * Turns what a batch's answers prove into outcomes: reads, judges by the writer token, sends again (S3).
 *
 * R1 A batch that was applied whole costs no read.
 * R2 Judged is only what a majority has: a token found there is ours for good; a version that moved past ours without
 *    the token can never match again; an unmoved version means the same bytes and token are sent again.
 * R3 A write that is there but not yet with a majority looks unmoved; its resend matches nothing and it is read again.
 * R4 Ends by `resolveTimeoutMs`; while the others of the batch have their answers, already by `stragglerTimeoutMs`.
 */
import { deadlineIn, pause, withDeadline } from './deadline.js'
import { nameOf } from './failures.js'
import type { Refusal } from './failures.js'
import { loadRecords } from './load.js'
import type { RecordDocument } from './contract.js'
import type { StoreIo } from './store-io.js'
import { RecordUnreadable } from './stored-form.js'
import { sendBatch } from './write-batch.js'
import type { RecordWrite, Sent } from './write-batch.js'

/** What a majority has of a record: enough to judge a write by. */
export type Trace = { version: number; writers: readonly string[] }
export type Judgement = 'ours' | 'unmoved' | 'moved'

export type TracedWrite = {
  id: string
  write: RecordWrite
  judge(trace: Trace | null): Judgement
}

export type Resolved =
  { kind: 'done' } | { kind: 'moved'; current: RecordDocument | null } | Refusal | { kind: 'unknown'; message: string }

type Pending = { index: number; traced: TracedWrite; message: string }

const FIRST_PAUSE_MS = 10
const LONGEST_PAUSE_MS = 500

const readTraces = async (io: StoreIo, ids: readonly string[]): Promise<Map<string, Trace>> => {
  const found = await withDeadline('A majority read of records', io.operationTimeoutMs, (signal) =>
    io.records
      .find(
        { _id: { $in: [...ids] } },
        {
          projection: { version: 1, 'history.writer': 1 },
          readConcern: { level: 'majority' },
          maxTimeMS: io.operationTimeoutMs,
          signal,
        },
      )
      .toArray(),
  )
  return new Map(
    found.map((doc) => [doc._id, { version: doc.version, writers: doc.history.map(({ writer }) => writer) }]),
  )
}

const movedTo = (current: RecordDocument | null): Resolved => ({ kind: 'moved', current })

/** One document that can't be read is no reason to leave the others without an answer (S4). */
const loadEach = async (io: StoreIo, ids: readonly string[]): Promise<Resolved[]> => {
  try {
    return (await loadRecords(io, ids, { majority: true })).map(movedTo)
  } catch (error) {
    if (!(error instanceof RecordUnreadable)) throw error
    if (ids.length === 1) return [{ kind: 'unknown', message: error.message }]
    const half = Math.ceil(ids.length / 2)
    return [...(await loadEach(io, ids.slice(0, half))), ...(await loadEach(io, ids.slice(half)))]
  }
}

/** Writes what was found out into `outcomes`; answers what is still to be done. */
const judgeAll = async (io: StoreIo, pending: readonly Pending[], outcomes: (Resolved | null)[]) => {
  const traces = await readTraces(
    io,
    pending.map(({ traced }) => traced.id),
  )
  const unmoved: Pending[] = []
  const moved: Pending[] = []
  for (const one of pending) {
    const judgement = one.traced.judge(traces.get(one.traced.id) ?? null)
    if (judgement === 'ours') outcomes[one.index] = { kind: 'done' }
    else (judgement === 'moved' ? moved : unmoved).push(one)
  }
  if (moved.length > 0) {
    const ids = moved.map(({ traced }) => traced.id)
    const found = await loadEach(io, ids)
    moved.forEach((one, at) => (outcomes[one.index] = found[at]!))
  }
  return unmoved
}

const takeAnswers = (pending: readonly Pending[], sent: readonly Sent[], outcomes: (Resolved | null)[]): Pending[] => {
  const unclear: Pending[] = []
  pending.forEach((one, at) => {
    const answer = sent[at]!
    if (answer.kind === 'unclear') unclear.push({ ...one, message: answer.message })
    else outcomes[one.index] = answer.kind === 'applied' ? { kind: 'done' } : answer
  })
  return unclear
}

/** Answers in the order of `writes`. Never rejects. */
export const writeAll = async (io: StoreIo, writes: readonly TracedWrite[]): Promise<Resolved[]> => {
  const outcomes: (Resolved | null)[] = writes.map(() => null)
  const all = writes.map((traced, index): Pending => ({ index, traced, message: '' }))
  const send = (some: readonly Pending[]) =>
    sendBatch(
      io,
      some.map(({ traced }) => traced.write),
    )
  const limit = deadlineIn(io.resolveTimeoutMs)
  let unclear = takeAnswers(all, await send(all), outcomes)
  const stragglerLimit = deadlineIn(io.stragglerTimeoutMs)
  let pauseMs = FIRST_PAUSE_MS
  while (unclear.length > 0) {
    let readError: string | null = null
    try {
      unclear = await judgeAll(io, unclear, outcomes)
      if (unclear.length > 0) unclear = takeAnswers(unclear, await send(unclear), outcomes)
    } catch (error) {
      readError = nameOf(error)
      unclear = unclear.filter(({ index }) => outcomes[index] === null)
    }
    const { leftMs } = unclear.length < writes.length ? stragglerLimit : limit
    if (unclear.length === 0) break
    if (leftMs() <= 0 || io.closed.aborted) {
      for (const { index, message } of unclear)
        outcomes[index] = { kind: 'unknown', message: `The outcome could not be found out: ${readError ?? message}.` }
      break
    }
    await pause(Math.min(pauseMs, Math.max(1, leftMs())), io.closed)
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
  }
  return outcomes as Resolved[]
}
