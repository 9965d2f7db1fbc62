/**
 * A record in the hand of its decider: the loaded document, the events applied to it so far, and what has to be saved
 * and done for them. Several events may share one save (an answer and the next step's intent); each has its own
 * history entry and version.
 *
 * D1 The loaded document is never changed; what changed is copied first.
 * D2 What the draft asks to be done (`calls`) may happen only after its save is confirmed.
 */
import type { AnyMachineSnapshot } from 'xstate'
import { contextOf, persist, restore } from './advance.js'
import type { CompiledPipeline } from './compiled.js'
import type { HistoryEntry, MutableFields, OutboxEntry, RecordDocument, StepRecord, Timer } from './record.js'
import { isSettled } from './record.js'

/** Ask a provider, once the save is confirmed. */
export type CallIntent = {
  step: string
  attempt: number
  generation: number
  provider: string
  requestKey: string
  sendBy: Date
  /** What it may cost at most, where that is known better than by the provider's terms. */
  spendMax?: { amount: string; currency: string }
}

/** Ask a provider about a call, or to end one that nobody needs any more. Starts nothing; may be lost or repeated. */
export type Errand = { kind: 'ask' | 'cancel'; step: string; attempt: number }

/** Who decides, and when by the server's clock. */
export type Decider = { at: Date; by: string; writer: string; facts: boolean }

export type Draft = {
  compiled: CompiledPipeline
  decider: Decider
  /** As loaded; its version is what the save expects. */
  base: RecordDocument
  doc: RecordDocument
  snapshot: AnyMachineSnapshot
  touchedSteps: Set<string>
  touchedCharges: Set<string>
  history: HistoryEntry[]
  outbox: OutboxEntry[]
  calls: CallIntent[]
  errands: Errand[]
  /** Steps of the event at hand that were entered with a result already there. */
  reused: string[]
}

/** The shape of a save, as the record store takes it. */
export type DraftSave = {
  id: string
  expectedVersion: number
  writer: string
  set: MutableFields
  steps: RecordDocument['steps']
  charges: RecordDocument['charges']
  history: HistoryEntry[]
  outbox: OutboxEntry[]
}

/** Throws when the snapshot does not fit the machine. */
export const openDraft = (compiled: CompiledPipeline, base: RecordDocument, decider: Decider): Draft => ({
  compiled,
  decider,
  base,
  doc: { ...base, steps: { ...base.steps }, charges: { ...base.charges } },
  snapshot: restore(compiled.machine, base.snapshot),
  touchedSteps: new Set(),
  touchedCharges: new Set(),
  history: [],
  outbox: [],
  calls: [],
  errands: [],
  reused: [],
})

/** As deep as an attempt's fields, which are what changes in place. */
const copyOf = (step: StepRecord | undefined): StepRecord => ({
  attempts: step ? step.attempts.map((attempt) => ({ ...attempt })) : [],
  result: step?.result ?? null,
  discarded: step ? [...step.discarded] : [],
  candidate: step?.candidate ?? null,
})

/** The step's part of the document, ready to be changed (D1). */
export const editStep = (draft: Draft, name: string): StepRecord => {
  if (!draft.touchedSteps.has(name)) {
    draft.doc.steps[name] = copyOf(draft.doc.steps[name])
    draft.touchedSteps.add(name)
  }
  return draft.doc.steps[name]!
}

/** The next fact of a record, `before` others that are not in its outbox yet. Numbers only grow. */
export const factAfter = (
  doc: RecordDocument,
  at: Date,
  before: number,
  type: string,
  data: { [name: string]: unknown },
): OutboxEntry => {
  const seq = (doc.outbox.at(-1)?.seq ?? doc.version * 16) + before + 1
  return { seq, type, at, data, sent: {} }
}

/** What is simulated never leaves. */
export const addFact = (draft: Draft, type: string, data: { [name: string]: unknown }): void => {
  if (draft.decider.facts && !draft.doc.simulated)
    draft.outbox.push(factAfter(draft.doc, draft.decider.at, draft.outbox.length, type, data))
}

const earliest = (timers: readonly Timer[]): Date | null =>
  timers.reduce<Date | null>((first, { dueAt }) => (first === null || dueAt < first ? dueAt : first), null)

/** Brings the derived fields in line after each applied event. */
export const settleDerived = (draft: Draft): void => {
  const { doc } = draft
  if (isSettled(doc.status)) {
    doc.timers = []
    doc.queue = []
    doc.settledAt ??= draft.decider.at
  }
  doc.wakeAt = earliest(doc.timers)
  doc.generation = contextOf(draft.snapshot).generation
}

/** Null when nothing was applied. */
export const closeDraft = (draft: Draft): { save: DraftSave; next: RecordDocument } | null => {
  if (draft.history.length === 0) return null
  const { doc, base } = draft
  doc.snapshot = persist(draft.compiled.machine, draft.snapshot)
  const pick = <T>(all: { [name: string]: T }, names: Set<string>) =>
    Object.fromEntries([...names].map((name) => [name, all[name]!]))
  const save: DraftSave = {
    id: base._id,
    expectedVersion: base.version,
    writer: draft.decider.writer,
    set: {
      status: doc.status,
      generation: doc.generation,
      snapshot: doc.snapshot,
      timers: doc.timers,
      wakeAt: doc.wakeAt,
      queue: doc.queue,
      settlesBy: doc.settlesBy,
      settledAt: doc.settledAt,
      outagesUntil: doc.outagesUntil,
      reason: doc.reason,
      pipelineVersion: doc.pipelineVersion,
    },
    steps: pick(doc.steps, draft.touchedSteps),
    charges: pick(doc.charges, draft.touchedCharges),
    history: draft.history,
    outbox: draft.outbox,
  }
  const next = { ...doc, history: [...base.history, ...draft.history], outbox: [...base.outbox, ...draft.outbox] }
  return { save, next }
}
