/** Reads whole records by id. */
import type { RecordDocument } from './contract.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'
import type { StoreIo } from './store-io.js'
import { decodeRecord } from './stored-form.js'

/** Answers in the order of `ids`. Throws `StoreUnavailable`, and `RecordUnreadable` for a document of other hands. */
export const loadRecords = (
  io: StoreIo,
  ids: readonly string[],
  options: { majority?: boolean } = {},
): Promise<(RecordDocument | null)[]> =>
  reading('Loading records', async () => {
    const found = await withDeadline('Loading records', io.operationTimeoutMs, (signal) =>
      io.records
        .find(ids.length === 1 ? { _id: ids[0]! } : { _id: { $in: [...ids] } }, {
          readConcern: { level: options.majority ? 'majority' : 'local' },
          maxTimeMS: io.operationTimeoutMs,
          signal,
        })
        .toArray(),
    )
    const byId = new Map(found.map((stored) => [stored._id, stored]))
    return ids.map((id) => {
      const stored = byId.get(id)
      return stored ? decodeRecord(stored) : null
    })
  })
