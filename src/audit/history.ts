/** Invariants about the record's history (P11), and what other invariants read from it. Pure. */
import type { RecordEvent } from '../machines/events.js'
import type { RecordDocument } from '../machines/record.js'
import { replay } from '../machines/replay.js'
import type { AuditView, Fault } from './contract.js'

export const eventsOf = <T extends RecordEvent['type']>(
  doc: RecordDocument,
  type: T,
): Extract<RecordEvent, { type: T }>[] =>
  doc.history.flatMap(({ event }) => (event.type === type ? [event as Extract<RecordEvent, { type: T }>] : []))

/** The pipelineVersion that was pinned after each entry of the history. */
export const versionsOf = (doc: RecordDocument): string[] => {
  const [change] = eventsOf(doc, 'PIPELINE_CHANGED')
  let version = change?.from ?? doc.pipelineVersion
  return doc.history.map(({ event }) => (version = event.type === 'PIPELINE_CHANGED' ? event.to : version))
}

export const historyContiguous = ({ history, version }: RecordDocument): Fault[] => {
  const gap = history.findIndex((entry, index) => entry.version !== index + 1)
  if (gap >= 0) return [{ expected: `an entry of version ${gap + 1}`, found: `version ${history[gap]!.version}` }]
  const last = history.at(-1)?.version ?? 0
  return last === version ? [] : [{ expected: `entries up to version ${version}`, found: `up to version ${last}` }]
}

/** All versions of its life are in the config: otherwise nobody can play it again. */
export const canReplay = (doc: RecordDocument, { pipelines }: AuditView): boolean =>
  versionsOf(doc).every((version) => pipelines(version) !== undefined)

/** Gaps are named by `historyContiguous`, and a history with a gap can't be played. */
export const historyReplays = (doc: RecordDocument, view: AuditView): Fault[] => {
  if (!canReplay(doc, view) || historyContiguous(doc).length > 0) return []
  const { divergences } = replay(doc, view.pipelines, view.payloadOf)
  return divergences.map(({ version, what, expected, found }) => ({
    expected: `at version ${version}: ${what} ${expected}`,
    found: `${what} ${found}${expected === found ? ', with another context' : ''}`,
  }))
}
