/** What the turns of a worker share. */
import type { PipelineSet } from '../machines/compiled.js'
import type { Draft } from '../machines/draft.js'
import type { RecordEvent } from '../machines/events.js'
import type { BlobStore } from '../persistence/contract.js'
import type { Gate } from '../providers/gate.js'
import type { SlotPool } from '../providers/slots.js'
import { applyTo } from './apply.js'
import type { CallRunner } from './call-runner.js'
import type { Clock, HintBus } from './contract.js'
import type { ErrandRunner } from './errands.js'
import type { Logger } from './logger.js'
import type { Prepare } from './prepare.js'
import type { Start } from './starting.js'
import type { TakeTurn } from './turn.js'

export type WorkerDeps = {
  pipelines: PipelineSet
  turns: TakeTurn
  prepare: Prepare
  runCall: CallRunner
  runErrand: ErrandRunner
  gate: Gate
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

export type Context = WorkerDeps & {
  start: Start
  stopping: AbortSignal
  track(work: Promise<void>, what: string): void
  isClosed(): boolean
}

export const apply = ({ blobs }: Pick<WorkerDeps, 'blobs'>, draft: Draft, event: RecordEvent): Promise<boolean> =>
  applyTo(blobs, draft, event)
