/**
 * One turn of a record: load -> decide -> save, until the save is confirmed or there is nothing to do.
 *
 * T1 What a turn returns to be carried out follows a majority-confirmed own save (P5).
 * T2 After a conflict everything is decided again on what is there: facts are applied again, timers are recomputed
 *    from the reloaded document (the `change` function reads them from the draft).
 * T3 A save whose outcome is unknown is never followed by another decision.
 * T4 A record that its machine cannot advance goes to investigation by force, and only that record.
 */
import { carriedFrom } from '../machines/actions.js'
import type { CompiledPipeline, PipelineSet } from '../machines/compiled.js'
import { forceSettle, observeOutages } from '../machines/decide.js'
import type { CallIntent, Decider, Draft, Errand } from '../machines/draft.js'
import { closeDraft, openDraft } from '../machines/draft.js'
import type { RecordDocument, RecordError } from '../machines/record.js'
import { isSettled } from '../machines/record.js'
import type { Outage, RecordWriter, SaveOutcome } from '../persistence/contract.js'
import type { Clock, Ids } from './contract.js'
import type { Liveness } from './liveness.js'
import type { Logger } from './logger.js'
import type { Mailboxes } from './mailbox.js'
import type { RecentRecords } from './recent-records.js'

/** Decides on a draft; may register what to undo when this draft does not become the record. */
export type Change = (draft: Draft, onAbandon: (undo: () => void) => void) => void | Promise<void>

export type Turn =
  | {
      kind: 'saved'
      before: RecordDocument
      doc: RecordDocument
      calls: CallIntent[]
      errands: Errand[]
      savedFromMs: number
    }
  | { kind: 'unchanged'; doc: RecordDocument }
  | { kind: 'missing' }
  /** This process does not know the record's pipelineVersion; `impossible`: nor can it carry the record over to its own. */
  | { kind: 'foreign'; doc: RecordDocument; impossible?: string }
  /** The save can never succeed as it is. */
  | { kind: 'refused'; doc: RecordDocument; code: string; message: string }
  /** Not known, or not allowed to decide now; the sweeper comes back to it. */
  | { kind: 'unknown'; message: string }

export type TurnDeps = {
  pipelines: PipelineSet
  records: RecordWriter
  recent: RecentRecords
  mailboxes: Mailboxes
  liveness: Pick<Liveness, 'fresh'>
  clock: Clock
  ids: Ids
  log: Logger
  /** Name of this process in histories. */
  by: string
  facts: boolean
  /** Told of every confirmed save. */
  saved(before: RecordDocument, after: RecordDocument): void
}

const CONFLICTS_MAX = 32

export type TurnOptions = {
  /**
   * A settled record of a version that this process does not know is carried over to the version at hand, when the change
   * then changes anything: both in one save. At once, because nothing runs that another process would have to end.
   */
  carriesOver?: boolean
}

export type TakeTurn = (record: string, change: Change, options?: TurnOptions) => Promise<Turn>

export const createTurns = (deps: TurnDeps): TakeTurn => {
  return (record, change, options = {}) =>
    deps.mailboxes.run(record, async () => {
      try {
        return await takeTurn(deps, record, change, options)
      } catch (error) {
        return { kind: 'unknown', message: isStorage(error) ? error.message : nameOf(error) }
      }
    })
}

/** The storage's own failures say nothing about the record. */
const isStorage = (error: unknown): error is Error & { code: string } =>
  error instanceof Error && 'code' in error && (error.code === 'store-unavailable' || error.code === 'blob-missing')

const takeTurn = async (
  deps: TurnDeps,
  record: string,
  change: Change,
  { carriesOver = false }: TurnOptions,
): Promise<Turn> => {
  const outages = await deps.liveness.fresh()
  if (outages === null) return { kind: 'unknown', message: 'This process has no fresh heartbeat.' }
  let doc = deps.recent.take(record) ?? (await deps.records.load(record))
  for (let conflicts = 0; conflicts < CONFLICTS_MAX; conflicts += 1) {
    if (doc === null) return { kind: 'missing' }
    const compiled = deps.pipelines.byVersion(doc.pipelineVersion)
    if (!compiled && !isSettled(doc.status)) return { kind: 'foreign', doc }
    // Late answers to a settled record of a version that is gone have no machine to go to; it stays as it is.
    if (!compiled && !carriesOver) return { kind: 'unchanged', doc }
    const undo: (() => void)[] = []
    let kept = false
    try {
      const decided = await decide(deps, compiled, doc, outages, change, (each) => undo.push(each))
      if (decided === null) return { kind: 'unchanged', doc }
      if ('impossible' in decided) return { kind: 'foreign', doc, ...decided }
      const savedFromMs = deps.clock.monotonicMs()
      const outcome = await deps.records.save(decided.save)
      if (outcome.kind === 'saved') {
        kept = !decided.byForce
        return conclude(deps, doc, decided, savedFromMs)
      }
      if (outcome.kind !== 'conflict') return failed(doc, outcome)
      doc = outcome.current
    } finally {
      // Also when something throws, and when what was saved is not this draft (T4).
      if (!kept) for (const each of undo) each()
    }
  }
  return {
    kind: 'unknown',
    message: `The record changed ${CONFLICTS_MAX} times while this process tried to advance it.`,
  }
}

const failed = (doc: RecordDocument, outcome: Exclude<SaveOutcome, { kind: 'saved' | 'conflict' }>): Turn =>
  outcome.kind === 'refused'
    ? { kind: 'refused', doc, code: outcome.code, message: outcome.message }
    : { kind: 'unknown', message: outcome.message }

const conclude = (
  deps: TurnDeps,
  before: RecordDocument,
  { next: doc, calls, errands }: Decided,
  savedFromMs: number,
): Turn => {
  deps.recent.put(doc)
  deps.saved(before, doc)
  return { kind: 'saved', before, doc, calls, errands, savedFromMs }
}

type Decided = {
  save: Parameters<RecordWriter['save']>[0]
  next: RecordDocument
  calls: CallIntent[]
  errands: Errand[]
  byForce: boolean
}

const decide = async (
  deps: TurnDeps,
  compiled: CompiledPipeline | undefined,
  doc: RecordDocument,
  outages: readonly Outage[],
  change: Change,
  onAbandon: (undo: () => void) => void,
): Promise<Decided | { impossible: string } | null> => {
  const decider: Decider = { at: deps.clock.now(), by: deps.by, writer: deps.ids.writer(), facts: deps.facts }
  try {
    const opened = compiled ? { draft: openDraft(compiled, doc, decider) } : carriedFrom(deps.pipelines, doc, decider)
    if ('impossible' in opened) return opened
    const { draft } = opened
    const opening = draft.history.length
    observeOutages(draft, outages)
    await change(draft, onAbandon)
    const closed = draft.history.length > opening ? closeDraft(draft) : null
    return closed && { ...closed, calls: draft.calls, errands: draft.errands, byForce: false }
  } catch (error) {
    if (isStorage(error)) throw error
    if (isSettled(doc.status)) {
      deps.log.error({ record: doc._id, error: nameOf(error) }, 'An event for a settled record failed in its machine.')
      return null
    }
    deps.log.error({ record: doc._id, error: nameOf(error) }, 'The machine cannot advance this record.')
    return {
      ...forceSettle(doc, machineFailure(error), decider, compiled?.terms),
      calls: [],
      errands: [],
      byForce: true,
    }
  }
}

/** Only the error's class: its message may quote the content. */
const nameOf = (error: unknown): string => (error instanceof Error ? error.name : typeof error)

const machineFailure = (error: unknown): RecordError => ({
  code: 'machine-failed',
  message: `The record's machine failed with ${nameOf(error)}; its state before is in the history entry of this event.`,
  kind: 'unknown',
})
