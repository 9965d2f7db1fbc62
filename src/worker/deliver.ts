/**
 * One event from outside onto a record: a person's, a webhook's. The machine says whether it is taken.
 *
 * E1 An expected version is compared with what the event is applied to, inside the turn: nothing can come between.
 * E2 A person's action on a settled record of a version that is gone moves it to the version at hand, in the same save.
 */
import { isOperatorEvent } from '../machines/actions.js'
import type { RecordEvent } from '../machines/events.js'
import type { RecordDocument } from '../machines/record.js'
import { isSettled } from '../machines/record.js'
import type { BlobStore } from '../persistence/contract.js'
import { StoreUnavailable } from '../persistence/contract.js'
import { applyTo } from './apply.js'
import type { HintBus } from './contract.js'
import type { TakeTurn, Turn } from './turn.js'

export type Delivered = {
  /** After the event, or as it stood when the event was not applied. */
  doc: RecordDocument
  applied: boolean
  /** Not applied, because the record was not at the expected version. */
  moved: boolean
  /** Why no machine could be asked. */
  impossible?: string
}

export type DeliverOptions = { expectedVersion?: number }

/** Null when there is no such record. Throws StoreUnavailable. */
export type Deliver = (
  id: string,
  event: RecordEvent,
  by: string,
  options?: DeliverOptions,
) => Promise<Delivered | null>

export type DeliverDeps = { turns: TakeTurn; blobs: BlobStore; bus: Pick<HintBus, 'publish'> }

export const createDeliver = ({ turns, blobs, bus }: DeliverDeps): Deliver => {
  /** A worker carries out what the event asks for; lost, timers are found by the sweeper (P9). */
  const tellWorkers = ({ _id: record, version }: RecordDocument) =>
    void bus.publish('timers', { type: 'OPERATOR_ACTED', record, version }).catch(() => undefined)

  const once = async (id: string, event: RecordEvent, by: string, expected: number | undefined) => {
    let applied = false
    let seen: number | null = null
    const turn = await turns(
      id,
      async (draft, onAbandon) => {
        onAbandon(() => void (applied = false))
        seen = draft.base.version
        if (expected !== undefined && seen !== expected) return // E1
        draft.decider = { ...draft.decider, by }
        applied = await applyTo(blobs, draft, event)
      },
      { carriesOver: isOperatorEvent(event) }, // E2
    )
    const doc = docAfter(turn)
    return { turn, doc, applied, seen: seen ?? doc?.version ?? 0 }
  }

  return async (id, event, by, { expectedVersion: expected } = {}) => {
    let done = await once(id, event, by, expected)
    // A copy that this process had kept may be older than what was read elsewhere; now it is gone.
    if (done.doc && !done.applied && done.seen <= (expected ?? done.seen)) done = await once(id, event, by, expected)
    const { turn, doc, applied, seen } = done
    if (doc === null) return null
    if (applied) tellWorkers(doc)
    const impossible = turn.kind === 'foreign' ? turn.impossible : undefined
    const moved = !applied && expected !== undefined && seen !== expected
    return { doc, applied, moved, ...(impossible !== undefined && { impossible }) }
  }
}

const docAfter = (turn: Turn): RecordDocument | null => {
  if (turn.kind === 'saved' || turn.kind === 'unchanged') return turn.doc
  if (turn.kind === 'missing') return null
  if (turn.kind === 'foreign' && isSettled(turn.doc.status)) return turn.doc
  const why = turn.kind === 'foreign' ? 'its pipeline version is not known here, and is left to others' : turn.kind
  throw new StoreUnavailable(`The record could not be changed now (${why}); ask again.`)
}
