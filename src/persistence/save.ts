/** The one way a record changes: a compare-and-set on its version (S1), and what became of it (S2, S3). */
import { blobsOfSteps } from './blob-references.js'
import { handlesOfSteps } from './call-handles.js'
import type { OutboxEntry, Save, SaveOutcome } from './contract.js'
import { refusedAs } from './failures.js'
import type { Refusal } from './failures.js'
import { writeAll } from './resolve-unknown.js'
import type { Resolved, Trace, TracedWrite } from './resolve-unknown.js'
import type { StoreIo } from './store-io.js'
import { encodeFields, encodeHistoryEntry, encodeOutboxEntry } from './stored-form.js'
import type { StoredHistoryEntry, StoredOutboxEntry } from './stored-form.js'
import type { RecordWrite } from './write-batch.js'

/** Step names and charge keys become paths of the update, so nothing else may pass. */
const NAME = /^[a-z0-9-]{1,40}$/

export const versionAfter = (save: Save): number => save.history.at(-1)?.version ?? NaN

/** What no version check can catch. Null when the save is sound. */
export const faultIn = (save: Save): Refusal | null => {
  const name = [...Object.keys(save.steps), ...Object.keys(save.charges)].find((one) => !NAME.test(one))
  if (name !== undefined)
    return refusedAs(
      'bad-name',
      `A step or charge has a name of ${name.length} characters that is not [a-z0-9-]{1,40}.`,
    )
  const inOrder = save.history.every(
    ({ version, writer }, at) => version === save.expectedVersion + at + 1 && writer === save.writer,
  )
  return inOrder && save.history.length > 0
    ? null
    : refusedAs(
        'invalid-save',
        `The history of the save of ${save.id} does not continue version ${save.expectedVersion}.`,
      )
}

export type EncodedSave = {
  fields: { [field: string]: unknown }
  history: StoredHistoryEntry[]
  outbox: StoredOutboxEntry[]
}

/** Throws what `JSON.stringify` throws. */
export const encodeSave = (save: Save): EncodedSave => ({
  fields: encodeFields(save.set),
  history: save.history.map(encodeHistoryEntry),
  outbox: save.outbox.map(encodeOutboxEntry),
})

const setOf = (save: Save, encoded: EncodedSave): { [path: string]: unknown } => {
  const set = encoded.fields
  set['version'] = versionAfter(save)
  for (const step in save.steps) set[`steps.${step}`] = save.steps[step]
  for (const key in save.charges) set[`charges.${key}`] = save.charges[key]
  return set
}

const oldestAt = (outbox: readonly OutboxEntry[]): Date =>
  outbox.reduce((oldest, { at }) => (at < oldest ? at : oldest), outbox[0]!.at)

/** Throws what `JSON.stringify` throws. */
export const updateOf = (save: Save, sinks: readonly string[]): RecordWrite => {
  const encoded = encodeSave(save)
  const update: { [operator: string]: { [path: string]: unknown } } = {
    $set: setOf(save, encoded),
    $push: { history: { $each: encoded.history } },
  }
  const charges = Object.values(save.charges)
  const blobs = blobsOfSteps(save.steps)
  const handles = handlesOfSteps(save.steps)
  if (charges.length + blobs.length + handles.length > 0)
    update['$addToSet'] = {
      ...(charges.length > 0 && { chargedAt: { $each: charges.map(({ at }) => at) } }),
      ...(blobs.length > 0 && { blobs: { $each: blobs } }),
      ...(handles.length > 0 && { handles: { $each: handles } }),
    }
  if (save.outbox.length > 0) {
    update['$push']!['outbox'] = { $each: encoded.outbox }
    const oldest = oldestAt(save.outbox)
    update['$min'] = Object.fromEntries(sinks.map((sink) => [`unsent.${sink}`, oldest]))
  }
  return { updateOne: { filter: { _id: save.id, version: save.expectedVersion }, update } }
}

const judgeSave =
  (save: Save) =>
  (trace: Trace | null): 'ours' | 'unmoved' | 'moved' => {
    if (!trace) return 'moved'
    if (trace.writers.includes(save.writer)) return 'ours'
    return trace.version === save.expectedVersion ? 'unmoved' : 'moved'
  }

export const assertOneSaveEach = (saves: readonly Save[]): void => {
  if (new Set(saves.map(({ id }) => id)).size < saves.length)
    throw new Error('Two saves of one batch name the same record. A record has one mailbox: save one after the other.')
}

const outcomeOf = (resolved: Resolved): SaveOutcome => {
  if (resolved.kind === 'done') return { kind: 'saved' }
  return resolved.kind === 'moved' ? { kind: 'conflict', current: resolved.current } : resolved
}

const traced = (save: Save, sinks: readonly string[]): TracedWrite | Refusal => {
  const fault = faultIn(save)
  if (fault) return fault
  try {
    return { id: save.id, write: updateOf(save, sinks), judge: judgeSave(save) }
  } catch (error) {
    return refusedAs('not-encodable', `The save holds something that is no JSON (${(error as Error).name}).`)
  }
}

export const saveRecords = async (io: StoreIo, saves: readonly Save[]): Promise<SaveOutcome[]> => {
  assertOneSaveEach(saves)
  return writeEncodable(
    io,
    saves.map((save) => traced(save, io.sinks)),
    outcomeOf,
  )
}

/** Writes what could be encoded; the rest already has its answer. */
export const writeEncodable = async <T>(
  io: StoreIo,
  all: readonly (TracedWrite | Refusal)[],
  outcome: (resolved: Resolved) => T,
): Promise<(T | Refusal)[]> => {
  const writes = all.filter((one): one is TracedWrite => 'write' in one)
  const resolved = writes.length > 0 ? await writeAll(io, writes) : []
  let next = 0
  return all.map((one) => ('write' in one ? outcome(resolved[next++]!) : one))
}
