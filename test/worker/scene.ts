/**
 * The shell on ports in memory: one store, bus and clock, and what a worker process makes of them. The worker's code is
 * the real one; a test gives time, the providers' answers, and what the storage does wrong.
 */
import { pino } from 'pino'
import type { CompiledPipeline } from '../../src/machines/compiled.js'
import type { RecordDocument } from '../../src/machines/record.js'
import type { BlobStore, Outage, RecordStore, Save, SaveOutcome } from '../../src/persistence/contract.js'
import { createGroupCommit } from '../../src/persistence/group-commit.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import { openGate } from '../../src/providers/gate.js'
import type { Gate } from '../../src/providers/gate.js'
import { createSlotPools } from '../../src/providers/slots.js'
import { createCallRunner } from '../../src/worker/call-runner.js'
import type { Delivery, Hint, HintBus, HintConsumer } from '../../src/worker/contract.js'
import { createErrandRunner } from '../../src/worker/errands.js'
import { createIds } from '../../src/worker/ids.js'
import type { Logger } from '../../src/worker/logger.js'
import { createMailboxes } from '../../src/worker/mailbox.js'
import { createMemoryHintBus } from '../../src/worker/memory-hint-bus.js'
import { createPrepare } from '../../src/worker/prepare.js'
import { createRecentRecords } from '../../src/worker/recent-records.js'
import { createTurns } from '../../src/worker/turn.js'
import { createWorker } from '../../src/worker/worker.js'
import { pipelineSet } from '../ingest/accept-fixture.js'
import { record, terms } from '../machines/pipelines.js'
import { createHandClock, settle } from './hand-clock.js'
import { createHandProvider } from './hand-provider.js'
import type { HandProvider } from './hand-provider.js'

export type LogLine = { level: number; msg: string; [field: string]: unknown }

export const createLog = (): { log: Logger; lines: LogLine[] } => {
  const lines: LogLine[] = []
  const write = (line: string) => void lines.push(JSON.parse(line) as LogLine)
  return { log: pino({ level: 'info', base: null }, { write }), lines }
}

/** What the storage does instead of saving; null: it saves. */
export type SaveFault = (save: Save) => SaveOutcome | Promise<SaveOutcome | null> | null

/** The store, with saves that a test can spoil; `saved` lists what was stored. */
export const createFaultyStore = () => {
  const real = createMemoryRecordStore()
  const saves: Save[] = []
  const faults: SaveFault[] = []
  const saveOne = async (save: Save): Promise<SaveOutcome> => {
    const fault = await faults.shift()?.(save)
    if (fault) return fault
    const [outcome] = await real.save([save])
    if (outcome!.kind === 'saved') saves.push(save)
    return outcome!
  }
  const store: RecordStore = { ...real, save: (all) => Promise.all(all.map(saveOne)) }
  return {
    store,
    real,
    saves,
    /** The next saves meet these, one each. */
    next: (...more: SaveFault[]) => void faults.push(...more),
  }
}

export const unknown: SaveFault = () => ({ kind: 'unknown', message: 'No answer came.' })
export const refused: SaveFault = () => ({ kind: 'refused', code: 'too-large', message: 'The document is too large.' })

type Acknowledged = 'ack' | `nak ${number}`

/** A hint in the worker's hand, and what it answered. */
export const deliveryOf = (record: string, type: Hint['type'] = 'STEP_READY') => {
  const answers: Acknowledged[] = []
  const delivery: Delivery = {
    hint: { type, record, version: 1 },
    ack: () => void answers.push('ack'),
    nak: (delayMs = 0) => void answers.push(`nak ${delayMs}`),
  }
  return { delivery, answers }
}

export type SceneOptions = {
  gate?: Partial<Gate>
  slots?: { [provider: string]: number }
  blobs?: (real: BlobStore) => BlobStore
  /** How long an unknown save is sent again. */
  saveUnknownLimitMs?: number
  timersAtOnceMax?: number
}

export type Scene = ReturnType<typeof createScene>

/** One worker over `compiled`; providers `free`, `keyed`, `paid` and `other` answer by hand. */
export const createScene = (compiled: readonly CompiledPipeline[], options: SceneOptions = {}) => {
  const clock = createHandClock()
  const faulty = createFaultyStore()
  const blobs = options.blobs?.(createMemoryBlobStore({ now: clock.now })) ?? createMemoryBlobStore({ now: clock.now })
  const memoryBus = createMemoryHintBus({ clock })
  const consumers = new Set<HintConsumer>()
  const bus: HintBus = {
    ...memoryBus,
    consume(...consume) {
      const consumer = memoryBus.consume(...consume)
      consumers.add(consumer)
      const close = () => {
        consumers.delete(consumer)
        return consumer.close()
      }
      return { ...consumer, close }
    },
  }
  const ids = createIds()
  const { log, lines } = createLog()
  const providers = new Map<string, HandProvider>(
    Object.values(terms).map((each) => [each.name, createHandProvider(each, options.slots?.[each.name] ?? 2)]),
  )
  const slots = createSlotPools(providers.values())
  const records = createGroupCommit(faulty.store, {
    defer: queueMicrotask,
    time: clock,
    saveUnknownLimitMs: options.saveUnknownLimitMs ?? 0,
  })
  const waiting = new Set<string>()
  /** Versions of workers elsewhere. */
  const known = new Set<string>()
  const forced: { record: string; version: number; code: string; message: string }[] = []
  const taken: string[] = []
  const acked: string[] = []
  const told: RecordDocument[] = []
  const state = { forceFails: false }
  const liveness: { outages: readonly Outage[] | null } = { outages: [] }
  const pipelines = pipelineSet(compiled)
  const recent = createRecentRecords(100)
  const mailboxes = createMailboxes()
  const turns = createTurns({
    pipelines,
    records,
    recent,
    mailboxes,
    liveness: { fresh: async () => liveness.outages },
    clock,
    ids,
    log,
    by: 'worker:test',
    facts: false,
    saved: (_before, after) => void told.push(after),
  })
  const gate: Gate = { ...openGate, ...options.gate }
  const calling = { providers, blobs, clock, gate, random: () => 0.5, storageRetryMs: 500 }
  const worker = createWorker({
    pipelines,
    turns,
    prepare: createPrepare({ providers, blobs, clock }),
    runCall: createCallRunner(calling),
    runErrand: createErrandRunner(calling),
    gate,
    slots,
    blobs,
    bus,
    clock,
    log,
    nobodyWaits: (provider) => !waiting.has(provider),
    taken: (provider) => void taken.push(provider),
    acked: (provider) => void acked.push(provider),
    someoneKnows: (version) => known.has(version),
    settleByForce: async (id, version, code, message) => {
      if (state.forceFails) throw new Error('Away.')
      forced.push({ record: id, version, code, message })
    },
    timersAtOnceMax: options.timersAtOnceMax ?? 4,
  })
  return {
    clock,
    ...faulty,
    blobs,
    bus,
    ids,
    lines,
    pipelines,
    records,
    recent,
    mailboxes,
    turns,
    worker,
    slots,
    liveness,
    waiting,
    known,
    forced,
    state,
    taken,
    acked,
    told,
    provider: (name: string) => providers.get(name)!,
    consumers: () => consumers.size,
    free: (name: string) => slots.get(name)!.free(),
    /** Inserts a record as `accept` would. */
    async insert(change: Partial<RecordDocument> = {}, pipeline = compiled[0]!): Promise<RecordDocument> {
      const doc = record(pipeline as Parameters<typeof record>[0], change)
      await faulty.real.insert([doc])
      return doc
    },
    async read(id = 'r1'): Promise<RecordDocument> {
      const [doc] = await faulty.real.load([id])
      if (!doc) throw new Error(`No record ${id} is stored.`)
      return doc
    },
  }
}

/** Hands the worker a hint of this provider and lets everything happen that needs no time. Answers how it was acknowledged. */
export const hint = async (scene: Scene, provider = 'free', record = 'r1') => {
  const { delivery, answers } = deliveryOf(record)
  scene.worker.onProviderHint(provider, delivery)
  await settle()
  return answers
}

/** The same for a hint of the timers' queue, about this version. */
export const timer = async (scene: Scene, type: Hint['type'] = 'TIMER_DUE', version = 1) => {
  const { delivery, answers } = deliveryOf('r1', type)
  scene.worker.onTimerHint({ ...delivery, hint: { ...delivery.hint, version } })
  await settle()
  return answers
}
