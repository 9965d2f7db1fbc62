/**
 * The shell of the machine: hints in, turns taken, calls made, answers saved.
 *
 * W1 A hint is acked once its turn is saved or found needless; the lease in MongoDB protects the work, not the ack.
 * W2 A slot is held from before the intent is saved until its answer is; so calls never exceed a provider's slots (P8).
 * W3 The next step's intent rides in the save of an answer only where its provider has a free slot here, or is the one
 *    that answered, and nobody waits for one (P12).
 */
import { setMaxListeners } from 'node:events'
import type { CompiledPipeline, PipelineSet } from '../machines/compiled.js'
import { dueTimers, mayFuse, nextIntent } from '../machines/decide.js'
import type { CallIntent, Draft } from '../machines/draft.js'
import type { CallEvent, RecordEvent } from '../machines/events.js'
import type { BlobStore } from '../persistence/contract.js'
import type { Slot, SlotPool } from '../providers/slots.js'
import type { CallRunner } from './call-runner.js'
import type { Clock, Delivery, HintBus, HintConsumer, QueueName } from './contract.js'
import type { Logger } from './logger.js'
import { applyTo } from './apply.js'
import { asUnstorable } from './payloads.js'
import type { TakeTurn, Turn } from './turn.js'

export type WorkerDeps = {
  pipelines: PipelineSet
  turns: TakeTurn
  runCall: CallRunner
  slots: ReadonlyMap<string, SlotPool>
  blobs: BlobStore
  bus: HintBus
  clock: Clock
  log: Logger
  /** May a step of this provider start here at once, or do others wait for it? */
  nobodyWaits(provider: string): boolean
  /** A worker alive can advance records of this version. */
  someoneKnows(pipelineVersion: string): boolean
  /** A hint of this provider's queue was taken here. */
  taken(provider: string): void
  /** One that was taken here is acked or given back. */
  acked?(provider: string): void
  /** A record whose turn the storage refuses for good. */
  settleByForce(record: string, version: number, code: string, message: string): Promise<void>
  timersAtOnceMax: number
}

export type Worker = {
  start(): void
  pause(): Promise<void>
  resume(): void
  /** The handlers of the hint queues: also fed directly when the bus is away. */
  onProviderHint(provider: string, delivery: Delivery): void
  onTimerHint(delivery: Delivery): void
  timersFree(): number
  inFlight(): number
  /** Stops taking hints, waits for what runs up to `drainMs`, then aborts it. */
  close(drainMs: number): Promise<void>
}

export const createWorker = (deps: WorkerDeps): Worker => {
  const consumers: HintConsumer[] = []
  const running = new Set<Promise<void>>()
  const stopping = new AbortController()
  setMaxListeners(0, stopping.signal) // One per call that runs, bounded by the slots.
  let timersRunning = 0
  let closed = false

  const track = (work: Promise<void>, what: string) => {
    const guarded = work
      .catch((error: unknown) => deps.log.error({ error: String(error) }, `${what} failed unexpectedly.`))
      .finally(() => running.delete(guarded))
    running.add(guarded)
  }

  const context: Context = { ...deps, stopping: stopping.signal, track, isClosed: () => closed }
  const timersFree = () => Math.max(0, deps.timersAtOnceMax - timersRunning)

  const onTimerHint = (delivery: Delivery) => {
    timersRunning += 1
    const done = () => {
      timersRunning -= 1
      deps.bus.nudge('timers')
    }
    track(takeTimerTurn(context, delivery).finally(done), 'A timer')
  }
  const onProviderHint = (provider: string, delivery: Delivery) => {
    deps.taken(provider)
    const slot = deps.slots.get(provider)?.acquire()
    if (!slot) {
      deps.acked?.(provider)
      delivery.nak(100)
    } else track(takeSlotTurn(context, provider, slot, delivery), 'A hint')
  }

  const consume = (queue: QueueName, free: () => number, onHint: (delivery: Delivery) => void) => {
    consumers.push(deps.bus.consume(queue, { free: () => (closed ? 0 : free()), onHint }))
  }

  return {
    start() {
      for (const [provider, pool] of deps.slots) {
        consume(
          { provider },
          () => pool.free(),
          (delivery) => onProviderHint(provider, delivery),
        )
        pool.onFree(() => deps.bus.nudge({ provider }))
      }
      consume('timers', timersFree, onTimerHint)
    },
    async pause() {
      await Promise.all(consumers.map((consumer) => consumer.pause()))
    },
    resume() {
      for (const consumer of consumers) consumer.resume()
    },
    onProviderHint,
    onTimerHint,
    timersFree,
    inFlight: () => running.size,
    async close(drainMs) {
      closed = true
      await Promise.all(consumers.map((consumer) => consumer.close()))
      const drained = new AbortController()
      const all = (async () => {
        while (running.size > 0) await Promise.all(running)
        drained.abort()
      })()
      await deps.clock.sleep(drainMs, drained.signal)
      stopping.abort()
      await all
    },
  }
}

type Context = WorkerDeps & {
  stopping: AbortSignal
  track(work: Promise<void>, what: string): void
  isClosed(): boolean
}

/** Slots that go with the intents of a turn, by step: two steps may start at one provider. */
type Held = Map<string, Slot>

const apply = ({ blobs }: Context, draft: Draft, event: RecordEvent): Promise<boolean> => applyTo(blobs, draft, event)

/** A hint of a provider's queue: save the intent under a slot, ack, call. */
const takeSlotTurn = async (context: Context, provider: string, slot: Slot, delivery: Delivery): Promise<void> => {
  let follow: (() => Promise<void>) | undefined
  try {
    const turn = await context.turns(delivery.hint.record, async (draft) => {
      const intent = nextIntent(draft, provider)
      if (intent) await apply(context, draft, intent)
    })
    await acknowledge(context, turn, delivery)
    if (turn.kind !== 'saved') return
    const call = turn.calls.find((each) => each.provider === provider)
    if (call) follow = () => runAndFollow(context, turn, call, slot)
  } finally {
    context.acked?.(provider)
    if (!follow) slot.release()
  }
  await follow?.()
}

/** While two versions run side by side, a hint looks for a worker that knows its record; each miss costs this wait. */
const FOREIGN_NAK_MS = 500

/** W1 */
const acknowledge = async (context: Context, turn: Turn, delivery: Delivery): Promise<void> => {
  if (turn.kind === 'unknown') return delivery.nak(1_000)
  // Left to those who know its version; when nobody does, a hint that comes again and again would only fill the window.
  if (turn.kind === 'foreign' && context.someoneKnows(turn.doc.pipelineVersion)) return delivery.nak(FOREIGN_NAK_MS)
  if (turn.kind === 'refused') await endRefused(context, turn)
  delivery.ack()
}

const endRefused = ({ settleByForce }: Context, turn: Extract<Turn, { kind: 'refused' }>): Promise<void> =>
  settleByForce(turn.doc._id, turn.doc.version, turn.code, `The storage refuses its next state: ${turn.message}`)

/** A chart may set a timer of 0 ms again and again; the rest fires in a turn of its own. */
const TIMERS_PER_TURN_MAX = 32

const takeTimerTurn = async (context: Context, delivery: Delivery): Promise<void> => {
  const held: Held = new Map()
  const turn = await context.turns(delivery.hint.record, async (draft, onAbandon) => {
    for (let fired = 0; fired < TIMERS_PER_TURN_MAX; fired += 1) {
      // T2: read from the draft each time; firing one timer may cancel or set others.
      const due = dueTimers(draft.doc, draft.decider.at)[0]
      if (!due || !(await apply(context, draft, due))) break
    }
    await fuseNext(context, draft, held, onAbandon)
  })
  await acknowledge(context, turn, delivery)
  if (turn.kind === 'saved') followCalls(context, turn, held)
}

/** The slot of a call whose answer is at hand: another step may go on in it, which then gives it back. */
type Own = { provider: string; slot: Slot; handedOn: boolean }

type Taken = { slot: Slot; giveBack(): void }

const takeOver = (own: Own): Taken => {
  own.handedOn = true
  return { slot: own.slot, giveBack: () => void (own.handedOn = false) }
}

const takeFree = (context: Context, provider: string): Taken | null => {
  const slot = context.slots.get(provider)?.acquire()
  return slot ? { slot, giveBack: () => slot.release() } : null
}

/** W3: takes a slot for each waiting step that may start in this same save. */
const fuseNext = async (
  context: Context,
  draft: Draft,
  held: Held,
  onAbandon: (undo: () => void) => void,
  own?: Own,
): Promise<void> => {
  if (context.isClosed()) return
  for (const { provider, step } of draft.doc.queue) {
    if (!mayFuse(draft.compiled, step, provider) || !context.nobodyWaits(provider)) continue
    const taken = own?.provider === provider && !own.handedOn ? takeOver(own) : takeFree(context, provider)
    if (!taken) continue
    onAbandon(() => {
      held.delete(step)
      taken.giveBack()
    })
    const intent = nextIntent(draft, provider)
    // Another step may stand before this one in the provider's line.
    if (intent?.step === step && (await apply(context, draft, intent))) held.set(step, taken.slot)
    else taken.giveBack()
  }
}

type SavedTurn = Extract<Turn, { kind: 'saved' }>

/** Carries out the calls of a turn that hold slots of their own. */
const followCalls = (context: Context, turn: SavedTurn, held: Held): void => {
  for (const call of turn.calls) {
    const slot = held.get(call.step)
    if (!slot) continue
    context.track(runAndFollow(context, turn, call, slot), 'A call')
  }
}

/** Gives the slot back, or hands it on. */
const runAndFollow = async (context: Context, turn: SavedTurn, intent: CallIntent, slot: Slot): Promise<void> => {
  const own: Own = { provider: intent.provider, slot, handedOn: false }
  try {
    const compiled = context.pipelines.byVersion(turn.doc.pipelineVersion) as CompiledPipeline
    const job = { intent, doc: turn.doc, compiled, savedFromMs: turn.savedFromMs, signal: context.stopping }
    const event = await context.runCall(job)
    const answer: Answer = { record: turn.doc._id, event, held: new Map(), own }
    const answered = await saveAnswer(context, answer)
    if (answered.kind === 'saved') followCalls(context, answered, answer.held)
    // A lease that runs out would lead to another call for an answer that no save can hold.
    if (answered.kind === 'refused') await endRefused(context, answered)
  } finally {
    if (!own.handedOn) slot.release()
  }
}

type Answer = { record: string; event: CallEvent; held: Held; own: Own }

const ANSWER_RETRY_MS = 500

/** Keeps at it while the outcome is unknown: the answer was paid for. Ends with the process at the latest. */
const saveAnswer = async (context: Context, answer: Answer): Promise<Turn> => {
  const { record, event, held, own } = answer
  for (;;) {
    const turn = await context.turns(record, async (draft, onAbandon) => {
      if (await apply(context, draft, event)) await fuseNext(context, draft, held, onAbandon, own)
    })
    if (turn.kind === 'refused' && event.type !== 'RESULT_UNSTORABLE') {
      context.log.error({ record, code: turn.code }, 'The storage refuses this answer for good; kept as unstorable.')
      return saveAnswer(context, { ...answer, event: await asUnstorable(context.blobs, event, turn.code) })
    }
    if (turn.kind !== 'unknown' || context.stopping.aborted) return turn
    await context.clock.sleep(ANSWER_RETRY_MS, context.stopping)
  }
}
