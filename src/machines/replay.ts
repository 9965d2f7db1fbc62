/**
 * A record's history, played again through the machine it is pinned to: what `audit` checks and how the console travels
 * in time. Pure. Owns no judgement about charges or attempts; it says where history and snapshot do not fit.
 *
 * H1 The history alone gives every state: facts through the machine, outages leave it, a changed pipeline carries it
 *    over, a forced settlement replaces it.
 * H2 It starts at version 1. What was moved to the archive comes in as part of `doc.history`.
 */
import type { AnyMachineSnapshot } from 'xstate'
import { advance, persist, restore, start, stateLabel } from './advance.js'
import { carrySnapshot } from './carry-snapshot.js'
import type { CompiledPipeline } from './compiled.js'
import { asDelivered, forcedSnapshot } from './decide.js'
import type { RecordEvent } from './events.js'
import type { HistoryEntry, Payload, PayloadRef, RecordDocument } from './record.js'

export type Divergence = {
  /** Of the history entry; the document's own for the snapshot. */
  version: number
  what: 'start' | 'version' | 'from' | 'to' | 'pipeline' | 'machine' | 'forced-snapshot' | 'snapshot'
  expected: string
  found: string
}

/** `snapshot` is null when the history could not be played to its end. */
export type Replay = { snapshot: unknown; divergences: Divergence[] }

/** A result's output, for guards. Without it, what the document holds inline is used. */
export type PayloadOf = (step: string, payload: Payload | PayloadRef) => unknown

export type PipelineByVersion = (version: string) => CompiledPipeline | undefined

type Course = {
  compiled: CompiledPipeline
  snapshot: AnyMachineSnapshot
  /** Outputs so far, by step. */
  outputs: { [step: string]: unknown }
  lastProvider: Map<string, string>
}

/** Plain data, whatever the order of its keys. */
const sameJson = (a: unknown, b: unknown): boolean => {
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return a === b
  const [left, right] = [Object.entries(a), b as { [name: string]: unknown }]
  return (
    Array.isArray(a) === Array.isArray(b) &&
    left.length === Object.keys(right).length &&
    left.every(([name, value]) => name in right && sameJson(value, right[name]))
  )
}

const keptPayload = (doc: RecordDocument, event: RecordEvent & { type: 'CALL_SUCCEEDED' }): Payload | PayloadRef => {
  const kept = doc.steps[event.step]
  const places = [kept?.result, kept?.candidate, ...(kept?.discarded ?? [])]
  return places.find((place) => place?.attempt === event.attempt)?.payload ?? event.result
}

const inlineOf: PayloadOf = (_step, payload) => {
  if (!('inline' in payload)) return undefined
  try {
    return JSON.parse(payload.inline) as unknown
  } catch {
    return undefined
  }
}

/** The outputs that came with an event: of the steps with a result, and of the answer at hand (decide's delivery). */
const learn = (course: Course, doc: RecordDocument, event: RecordEvent, payloadOf: PayloadOf) => {
  if (event.type === 'ATTEMPT_STARTED') course.lastProvider.set(event.step, event.provider)
  if (event.type === 'RETRY') course.lastProvider.clear()
  if (event.type !== 'CALL_SUCCEEDED') return course.outputs
  const known = { ...course.outputs }
  if (!(event.step in known)) known[event.step] = payloadOf(event.step, keptPayload(doc, event))
  if (doc.steps[event.step]?.result?.attempt === event.attempt) course.outputs = known
  return known
}

const play = (
  course: Course,
  doc: RecordDocument,
  { event, version }: HistoryEntry,
  pipelineByVersion: PipelineByVersion,
  payloadOf: PayloadOf,
): Divergence | null => {
  const diverges = (what: Divergence['what'], expected: string, found: string) => ({ version, what, expected, found })
  if (event.type === 'RECORD_ACCEPTED' || event.type === 'OUTAGE_OBSERVED') return null
  if (event.type === 'PIPELINE_CHANGED') {
    const to = pipelineByVersion(event.to)
    if (!to) return diverges('pipeline', event.to, 'unknown')
    const carried = carrySnapshot(persist(course.compiled.machine, course.snapshot), to, (step) =>
      course.lastProvider.get(step),
    )
    if ('impossible' in carried) return diverges('pipeline', event.to, carried.impossible)
    course.compiled = to
    course.snapshot = carried.snapshot
    return null
  }
  if (event.type === 'SETTLED_BY_FORCE') {
    const before = persist(course.compiled.machine, course.snapshot)
    course.snapshot = restore(course.compiled.machine, forcedSnapshot(event.snapshot))
    return sameJson(before, event.snapshot)
      ? null
      : diverges('forced-snapshot', stateLabel((before as { value?: unknown }).value), labelOf(event.snapshot))
  }
  const outputs = learn(course, doc, event, payloadOf)
  course.snapshot = advance(course.compiled.machine, course.snapshot, asDelivered(event, { outputs })).snapshot
  return null
}

const labelOf = (snapshot: unknown): string => stateLabel((snapshot as { value?: unknown } | null)?.value ?? null)

/** The version that the record was accepted with. */
const firstVersion = (doc: RecordDocument): string =>
  doc.history.map(({ event }) => event).find((event) => event.type === 'PIPELINE_CHANGED')?.from ?? doc.pipelineVersion

/**
 * Never throws: what can't be played is a divergence. Guards over outputs need `payloadOf` where results are blobs, since
 * the history names results by their hash.
 */
export const replay = (
  doc: RecordDocument,
  pipelineByVersion: PipelineByVersion,
  payloadOf: PayloadOf = inlineOf,
): Replay => {
  const divergences: Divergence[] = []
  const compiled = pipelineByVersion(firstVersion(doc))
  const first = doc.history[0]
  if (!compiled || first?.event.type !== 'RECORD_ACCEPTED') {
    const [what, expected, found] = compiled
      ? (['start', 'RECORD_ACCEPTED', first?.event.type ?? 'no history'] as const)
      : (['pipeline', firstVersion(doc), 'unknown'] as const)
    return { snapshot: null, divergences: [{ version: first?.version ?? 0, what, expected, found }] }
  }
  const course: Course = { compiled, snapshot: start(compiled.machine).snapshot, outputs: {}, lastProvider: new Map() }
  for (const [index, entry] of doc.history.entries()) {
    const { version, from, to } = entry
    const compare = (what: Divergence['what'], expected: string, found: string) => {
      if (expected !== found) divergences.push({ version, what, expected, found })
    }
    compare('version', String(index + 1), String(version))
    compare('from', index === 0 ? '' : stateLabel(course.snapshot.value), from)
    try {
      const divergence = play(course, doc, entry, pipelineByVersion, payloadOf)
      if (divergence) divergences.push(divergence)
      if (divergence?.what === 'pipeline') return { snapshot: null, divergences }
    } catch (error) {
      divergences.push({ version, what: 'machine', expected: entry.event.type, found: nameOf(error) })
      return { snapshot: null, divergences }
    }
    compare('to', stateLabel(course.snapshot.value), to)
  }
  const snapshot = persist(course.compiled.machine, course.snapshot)
  compareEnd(doc, course.compiled, snapshot, divergences)
  return { snapshot, divergences }
}

/** Only the error's class: its message may quote the content. */
const nameOf = (error: unknown): string => (error instanceof Error ? error.name : typeof error)

const compareEnd = (
  doc: RecordDocument,
  { version: pinned }: CompiledPipeline,
  snapshot: unknown,
  all: Divergence[],
) => {
  const last = doc.history.at(-1)?.version ?? 0
  const { version } = doc
  if (last !== version) all.push({ version, what: 'version', expected: String(version), found: String(last) })
  if (pinned !== doc.pipelineVersion)
    all.push({ version, what: 'pipeline', expected: pinned, found: doc.pipelineVersion })
  if (!sameJson(snapshot, doc.snapshot))
    all.push({ version, what: 'snapshot', expected: labelOf(snapshot), found: labelOf(doc.snapshot) })
}
