/**
 * Group commit: one record at a time for the caller, batches underneath. Concurrent writes share a round trip and a
 * journal flush, which is where the time of a majority write goes.
 *
 * G1 Each kind (insert, save, load) has its own queue and `inFlightMax` batches in flight. A batch starts at the end of
 *    the turn in which one of those is free, so that all who are woken by one answer share the next batch.
 * G2 Never two operations of one record in one batch, nor of one kind under way at once.
 * G3 A save whose outcome is unknown is sent again as it is, apart from fresh saves so that it can't hold them up,
 *    until `saveUnknownLimitMs` has passed or `closing` aborts; then the caller gets `unknown`.
 * G4 No caller waits for ever: the store bounds each batch, this bounds the repeats.
 */
import type { InsertOutcome, RecordDocument, RecordStore, RecordWriter, Save, SaveOutcome } from './contract.js'
import { StoreUnavailable } from './contract.js'
import { pause } from './deadline.js'

export type GroupCommitOptions = {
  batchMax?: number
  inFlightMax?: number
  /** How long an unknown save is sent again before its caller hears of it. */
  saveUnknownLimitMs?: number
  /** The same for an insert, whose submitter is waiting. */
  insertUnknownLimitMs?: number
  /** Ends repeats at once. */
  closing?: AbortSignal
  /** Runs `start` later in this turn; the simulation gives its own. */
  defer?: (start: () => void) => void
  time?: { monotonicMs(): number; sleep(ms: number, signal?: AbortSignal): Promise<void> }
}

type Item<In, Out> = {
  id: string
  input: In
  resolve(out: Out): void
  reject(error: unknown): void
}

type Lane<In, Out> = { add(id: string, input: In): Promise<Out> }

type LaneOptions = {
  batchMax: number
  inFlightMax: number
  defer: (start: () => void) => void
}

/** Takes up to `max` items of records that are not `busy`, marks them so, and leaves the rest in their order. G2 */
const takeBatch = <In, Out>(queue: Item<In, Out>[], max: number, busy: Set<string>): Item<In, Out>[] => {
  const batch: Item<In, Out>[] = []
  const left: Item<In, Out>[] = []
  let at = 0
  for (; at < queue.length && batch.length < max; at += 1) {
    const item = queue[at]!
    if (busy.has(item.id)) left.push(item)
    else batch.push(item)
    busy.add(item.id)
  }
  queue.splice(0, at, ...left)
  return batch
}

const createLane = <In, Out>(run: (inputs: In[]) => Promise<Out[]>, options: LaneOptions): Lane<In, Out> => {
  const queue: Item<In, Out>[] = []
  const busy = new Set<string>()
  let inFlight = 0
  let deferred = false

  const runBatch = async (batch: Item<In, Out>[]): Promise<void> => {
    try {
      const outs = await run(batch.map(({ input }) => input))
      batch.forEach(({ resolve }, at) => resolve(outs[at]!))
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
    for (const { id } of batch) busy.delete(id)
    inFlight -= 1
    schedule()
  }
  const start = (): void => {
    deferred = false
    while (inFlight < options.inFlightMax && queue.length > 0) {
      const batch = takeBatch(queue, options.batchMax, busy)
      if (batch.length === 0) return
      inFlight += 1
      void runBatch(batch)
    }
  }
  const schedule = (): void => {
    if (deferred || queue.length === 0 || inFlight >= options.inFlightMax) return
    deferred = true
    options.defer(start)
  }
  return {
    add: (id, input) =>
      new Promise((resolve, reject) => {
        queue.push({ id, input, resolve, reject })
        schedule()
      }),
  }
}

const FIRST_REPEAT_MS = 100
const LONGEST_REPEAT_MS = 2_000

type Repeat = { limitMs: number; closing: AbortSignal | undefined; time: NonNullable<GroupCommitOptions['time']> }

/** G3 */
const untilKnown = async <Out extends { kind: string }>(
  first: Promise<Out>,
  again: () => Promise<Out>,
  { limitMs, closing, time }: Repeat,
): Promise<Out> => {
  let outcome = await first
  if (outcome.kind !== 'unknown') return outcome
  const end = time.monotonicMs() + limitMs
  for (let pauseMs = FIRST_REPEAT_MS; outcome.kind === 'unknown'; pauseMs = Math.min(pauseMs * 2, LONGEST_REPEAT_MS)) {
    const leftMs = end - time.monotonicMs()
    if (leftMs <= 0 || closing?.aborted) break
    await time.sleep(Math.min(pauseMs, leftMs), closing)
    if (closing?.aborted) break
    outcome = await again()
  }
  return outcome
}

/** One record that can't be read must not take the others' answers with it (S4). */
const loadApart = async (
  store: RecordStore,
  ids: string[],
  majority: boolean,
): Promise<(RecordDocument | Error | null)[]> => {
  try {
    return await store.load(ids, { majority })
  } catch (error) {
    if (error instanceof StoreUnavailable || ids.length === 1) return ids.map(() => error as Error)
    return (await Promise.all(ids.map((id) => loadApart(store, [id], majority)))).flat()
  }
}

export const createGroupCommit = (store: RecordStore, options: GroupCommitOptions = {}): RecordWriter => {
  const { closing, time = { monotonicMs: () => performance.now(), sleep: pause } } = options
  const open = new Set<Promise<unknown>>()
  const laneOptions: LaneOptions = {
    batchMax: options.batchMax ?? 64,
    inFlightMax: options.inFlightMax ?? 2,
    defer: options.defer ?? ((start) => void setImmediate(start)),
  }
  const insertBatch = (docs: RecordDocument[]): Promise<InsertOutcome[]> => store.insert(docs)
  const saveBatch = (saves: Save[]): Promise<SaveOutcome[]> => store.save(saves)
  const inserts = createLane(insertBatch, laneOptions)
  const insertsAgain = createLane(insertBatch, laneOptions)
  const saves = createLane(saveBatch, laneOptions)
  const savesAgain = createLane(saveBatch, laneOptions)
  const loads = createLane((ids: string[]) => loadApart(store, ids, false), laneOptions)
  const majorityLoads = createLane((ids: string[]) => loadApart(store, ids, true), laneOptions)

  const tracked = <T>(work: Promise<T>): Promise<T> => {
    open.add(work)
    void work.catch(() => {}).then(() => open.delete(work))
    return work
  }
  const load = async (id: string, majority: boolean): Promise<RecordDocument | null> => {
    const found = await (majority ? majorityLoads : loads).add(id, id)
    if (found instanceof Error) throw found
    return found
  }
  const insertLimit = { limitMs: options.insertUnknownLimitMs ?? 10_000, closing, time }
  const saveLimit = { limitMs: options.saveUnknownLimitMs ?? 120_000, closing, time }
  return {
    insert: (doc) => tracked(untilKnown(inserts.add(doc._id, doc), () => insertsAgain.add(doc._id, doc), insertLimit)),
    save: (save) => tracked(untilKnown(saves.add(save.id, save), () => savesAgain.add(save.id, save), saveLimit)),
    load: (id, loadOptions) => tracked(load(id, loadOptions?.majority ?? false)),
    drain: async () => void (await Promise.allSettled(open)),
  }
}
