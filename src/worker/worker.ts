/**
 * The shell of the machine: hints in, turns taken. What a turn asks for is carried out in calls.ts.
 *
 * W1 A hint is acked once its turn is saved or found needless; the lease in MongoDB protects the work, not the ack.
 */
import { setMaxListeners } from 'node:events'
import { dueTimers } from '../machines/decide.js'
import type { Permit } from '../providers/gate.js'
import type { Slot } from '../providers/slots.js'
import { isSettled } from '../machines/record.js'
import { cancelJobs, endRefused, followTurn, fuseNext, runAndFollow } from './calls.js'
import type { Claims } from './calls.js'
import type { Context, WorkerDeps } from './context.js'
import { apply } from './context.js'
import type { Delivery, HintConsumer, QueueName } from './contract.js'
import { createStart } from './starting.js'
import type { Turn } from './turn.js'

export type { WorkerDeps }

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

  const start = createStart({ ...deps, apply: (draft, event) => apply(deps, draft, event) })
  const context: Context = { ...deps, start, stopping: stopping.signal, track, isClosed: () => closed }
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
    // While a provider is down, its hints are taken all the same: their records fall back, or learn until when they wait.
    const permit = isHeld(deps, provider) ? NO_PERMIT : deps.gate.take(provider)
    const slot = permit && deps.slots.get(provider)?.acquire()
    if (permit && slot) track(takeSlotTurn(context, provider, { slot, permit }, delivery), 'A hint')
    else {
      permit?.giveBack()
      deps.acked?.(provider)
      delivery.nak(100)
    }
  }

  const consume = (queue: QueueName, free: () => number, onHint: (delivery: Delivery) => void) => {
    consumers.push(deps.bus.consume(queue, { free: () => (closed ? 0 : free()), onHint }))
  }

  return {
    start() {
      for (const [provider, pool] of deps.slots) {
        const free = () => (isHeld(deps, provider) ? pool.free() : Math.min(pool.free(), deps.gate.free(provider)))
        consume({ provider }, free, (delivery) => onProviderHint(provider, delivery))
        pool.onFree(() => deps.bus.nudge({ provider }))
      }
      deps.gate.onChange((provider) => deps.bus.nudge({ provider }))
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

/** A short pause is sat out with the hints unread: telling each record of it would cost a save for each. */
const TOLD_MS_MIN = 5_000

const isHeld = ({ gate, clock }: WorkerDeps, provider: string): boolean => {
  const hold = gate.hold(provider)
  return hold !== null && (hold.code === 'provider-down' || hold.until.getTime() - clock.now().getTime() > TOLD_MS_MIN)
}

const NO_PERMIT: Permit = { giveBack: () => {} }

/** A hint of a provider's queue: save the intent under a slot, ack, call. */
const takeSlotTurn = async (
  context: Context,
  provider: string,
  { slot, permit: given }: { slot: Slot; permit: Permit },
  delivery: Delivery,
): Promise<void> => {
  let follow: (() => Promise<void>) | undefined
  let permit: Permit | null = given
  try {
    let started: Awaited<ReturnType<Context['start']>> = null
    const turn = await context.turns(delivery.hint.record, async (draft, onAbandon) => {
      // It came while the provider was down, and is up now: then it starts like any other.
      if (permit === NO_PERMIT && !context.gate.hold(provider)) permit = context.gate.take(provider)
      if (permit) started = await context.start(draft, provider, onAbandon)
    })
    if (permit) await acknowledge(context, turn, delivery)
    else delivery.nak(100)
    if (turn.kind !== 'saved') return
    const { prepared } = (started as Awaited<ReturnType<Context['start']>>) ?? {}
    const call = turn.calls.find((each) => each.provider === provider)
    const own = permit as Permit | null
    if (call && prepared && own) follow = () => runAndFollow(context, turn, call, { slot, permit: own, prepared })
    followTurn(context, { ...turn, calls: [] }, new Map())
  } finally {
    context.acked?.(provider)
    if (!follow) {
      permit?.giveBack()
      slot.release()
    }
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

/** A chart may set a timer of 0 ms again and again; the rest fires in a turn of its own. */
const TIMERS_PER_TURN_MAX = 32

const takeTimerTurn = async (context: Context, delivery: Delivery): Promise<void> => {
  const claims: Claims = new Map()
  let turn = await fireTimers(context, delivery, claims)
  // The record had moved elsewhere since this process last saw it; now it is read anew.
  if (turn.kind === 'unchanged' && turn.doc.version < delivery.hint.version)
    turn = await fireTimers(context, delivery, claims)
  await acknowledge(context, turn, delivery)
  if (turn.kind === 'saved') followTurn(context, turn, claims)
  if (delivery.hint.type === 'OPERATOR_ACTED') endOrphans(context, turn)
}

const fireTimers = (context: Context, delivery: Delivery, claims: Claims): Promise<Turn> =>
  context.turns(delivery.hint.record, async (draft, onAbandon) => {
    for (let fired = 0; fired < TIMERS_PER_TURN_MAX; fired += 1) {
      // T2: read from the draft each time; firing one timer may cancel or set others.
      const due = dueTimers(draft.doc, draft.decider.at)[0]
      if (!due || !(await apply(context, draft, due))) break
    }
    await fuseNext(context, draft, claims, onAbandon)
  })

/** Whoever took the operator's word may make no calls: jobs that it left running are asked to end here. */
const endOrphans = (context: Context, turn: Turn): void => {
  if (turn.kind !== 'saved' && turn.kind !== 'unchanged') return
  if (isSettled(turn.doc.status)) cancelJobs(context, turn.doc)
}
