/**
 * A record at its acceptance: version 1, its first steps waiting for a slot, its deadline set. Pure.
 */
import { persist, start, stateLabel } from './advance.js'
import type { CompiledPipeline } from './compiled.js'
import { carryOut } from './decide.js'
import type { Draft } from './draft.js'
import { settleDerived } from './draft.js'
import type { RecordDocument, RecordInput } from './record.js'

export type NewRecordFacts = {
  id: string
  source: string
  key: string | null
  contentHash: string
  via: string
  metadata: { [name: string]: string }
  input: RecordInput
  /** Server time of acceptance. */
  at: Date
  writer: string
  by: string
  shard: number
  outagesUntil: Date
  simulated: boolean
}

export const newRecord = (compiled: CompiledPipeline, facts: NewRecordFacts): RecordDocument => {
  const { machine, definition, version, worstCaseMs } = compiled
  const begun = start(machine)
  const doc: RecordDocument = {
    _id: facts.id,
    source: facts.source,
    key: facts.key,
    contentHash: facts.contentHash,
    pipeline: definition.name,
    pipelineVersion: version,
    metadata: facts.metadata,
    simulated: facts.simulated,
    acceptedAt: facts.at,
    via: facts.via,
    version: 1,
    status: 'processing',
    generation: 1,
    snapshot: null,
    timers: [],
    wakeAt: null,
    queue: [],
    settlesBy: new Date(facts.at.getTime() + worstCaseMs),
    settledAt: null,
    outagesUntil: facts.outagesUntil,
    reason: null,
    input: facts.input,
    steps: Object.fromEntries(
      definition.steps.map(({ name }) => [name, { attempts: [], result: null, discarded: [], candidate: null }]),
    ),
    charges: {},
    history: [],
    outbox: [],
    shard: facts.shard,
  }
  const draft: Draft = {
    compiled,
    decider: { at: facts.at, by: facts.by, writer: facts.writer, facts: false },
    base: doc,
    doc,
    snapshot: begun.snapshot,
    touchedSteps: new Set(),
    touchedCharges: new Set(),
    history: [],
    outbox: [],
    calls: [],
    errands: [],
    reused: [],
  }
  carryOut(draft, { type: 'RECORD_ACCEPTED' }, begun.actions)
  settleDerived(draft)
  doc.snapshot = persist(machine, begun.snapshot)
  const to = stateLabel(begun.snapshot.value)
  doc.history = [
    { version: 1, writer: facts.writer, at: facts.at, event: { type: 'RECORD_ACCEPTED' }, from: '', to, by: facts.by },
  ]
  return doc
}
