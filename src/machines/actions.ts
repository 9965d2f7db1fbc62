/**
 * What a person may do to a record. The machine is asked, so that no list of states is kept by hand: a chart that changes
 * changes the answer. Pure; decides and saves nothing.
 */
import type { AnyMachineSnapshot } from 'xstate'
import { activeNodes, restore, stateLabel } from './advance.js'
import { openCarried } from './carry-over.js'
import type { CompiledPipeline, PipelineSet } from './compiled.js'
import type { Decider, Draft } from './draft.js'
import type { OperatorEvent, RecordEvent } from './events.js'
import type { RecordDocument } from './record.js'
import { isSettled } from './record.js'

export type RecordCan = { cancel: boolean; retry: boolean; writeOff: boolean }

/** In the API's words. */
export const OPERATOR_EVENTS: { readonly [action in keyof RecordCan]: OperatorEvent['type'] } = {
  cancel: 'CANCEL',
  retry: 'RETRY',
  writeOff: 'WRITE_OFF',
}

const types: ReadonlySet<string> = new Set(Object.values(OPERATOR_EVENTS))

export const isOperatorEvent = (event: RecordEvent): event is OperatorEvent => types.has(event.type)

/** Opened only to be looked at. */
const nobody = (doc: RecordDocument): Decider => ({ at: doc.acceptedAt, by: '', writer: '', facts: false })

/**
 * A settled record of a version that is gone, in the version of its pipeline that is at hand: an operator's action moves
 * it there first. `impossible` says why it can't.
 */
export const carriedFrom = (
  pipelines: PipelineSet,
  doc: RecordDocument,
  decider: Decider,
): { draft: Draft } | { impossible: string } => {
  const to: CompiledPipeline | undefined = pipelines.byName(doc.pipeline)
  return to ? openCarried(doc, to, decider) : { impossible: `No pipeline is called "${doc.pipeline}" any more.` }
}

/** As an operator's action would find it; null when no machine here takes it, or its snapshot fits none. */
const snapshotOf = (doc: RecordDocument, pipelines: PipelineSet): AnyMachineSnapshot | null => {
  const compiled = pipelines.byVersion(doc.pipelineVersion)
  if (!compiled) {
    if (!isSettled(doc.status)) return null
    const carried = carriedFrom(pipelines, doc, nobody(doc))
    return 'impossible' in carried ? null : carried.draft.snapshot
  }
  try {
    return restore(compiled.machine, doc.snapshot)
  } catch {
    return null
  }
}

const canOf = (snapshot: AnyMachineSnapshot): RecordCan => {
  const can = (action: keyof RecordCan) => snapshot.can({ type: OPERATOR_EVENTS[action], reason: '' } as never)
  return { cancel: can('cancel'), retry: can('retry'), writeOff: can('writeOff') }
}

/** Null when no machine here can tell: the record's version is not known, and it can't be carried over. */
export const recordCan = (doc: RecordDocument, pipelines: PipelineSet): RecordCan | null => {
  const snapshot = snapshotOf(doc, pipelines)
  return snapshot && canOf(snapshot)
}

/** Where a record stands, in words for people: its state, and what the chart says of it. */
export const standingOf = (doc: RecordDocument, pipelines: PipelineSet): string => {
  const snapshot = snapshotOf(doc, pipelines)
  if (!snapshot) return doc.status
  const active = activeNodes(snapshot)
  const leaf = active.find((node) => !active.some(({ parent }) => parent === node))
  const label = stateLabel(snapshot.value)
  const where = label === doc.status ? doc.status : `${doc.status} (${label})`
  return leaf?.description === undefined ? where : `${where}: ${leaf.description}`
}
