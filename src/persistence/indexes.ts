/**
 * The indexes of every collection. Partial ones hold only what their query asks for, so that a million settled
 * records cost the sweeper nothing; a query uses one only if it contains the index's filter.
 */
import type { Db, IndexDescription } from 'mongodb'
import { BLOB_CHUNKS } from './blob-collections.js'
import { COLLECTION_OPTIONS, RECORDS } from './collections.js'
import { MEMBERS } from './heartbeat-collections.js'
import { BUDGETS, BUDGETS_KEPT_SECONDS, HEALTH_KEPT_SECONDS, PROVIDER_HEALTH } from './provider-collections.js'
import { DEFAULT_SINKS } from './store-io.js'

export const INDEX = {
  due: 'due',
  queue: 'queue',
  pipelineVersion: 'pipeline-version',
  list: 'list',
  source: 'list-source',
  status: 'list-status',
  pipeline: 'list-pipeline',
  charges: 'charges',
  sourceCharges: 'charges-source',
  blobs: 'blobs',
  handles: 'handles',
  unsent: (sink: string) => `unsent-${sink}`,
} as const

const PROCESSING = { status: 'processing' }
const CHARGED = { chargedAt: { $exists: true } }
const NEWEST_FIRST = { acceptedAt: -1, _id: -1 } as const

const recordIndexes = (sinks: readonly string[]): IndexDescription[] => [
  { name: INDEX.due, key: { wakeAt: 1, _id: 1, shard: 1 }, partialFilterExpression: PROCESSING },
  {
    name: INDEX.queue,
    key: { 'queue.provider': 1, source: 1, 'queue.readyAt': 1, _id: 1 },
    partialFilterExpression: PROCESSING,
  },
  {
    name: INDEX.pipelineVersion,
    key: { pipelineVersion: 1, wakeAt: 1, _id: 1 },
    partialFilterExpression: PROCESSING,
  },
  { name: INDEX.list, key: NEWEST_FIRST },
  { name: INDEX.source, key: { source: 1, ...NEWEST_FIRST } },
  { name: INDEX.status, key: { status: 1, ...NEWEST_FIRST } },
  { name: INDEX.pipeline, key: { pipeline: 1, ...NEWEST_FIRST } },
  { name: INDEX.charges, key: { chargedAt: -1 }, partialFilterExpression: CHARGED },
  { name: INDEX.sourceCharges, key: { source: 1, chargedAt: -1 }, partialFilterExpression: CHARGED },
  { name: INDEX.blobs, key: { blobs: 1 }, partialFilterExpression: { blobs: { $exists: true } } },
  { name: INDEX.handles, key: { handles: 1 }, partialFilterExpression: { handles: { $exists: true } } },
  ...sinks.map((sink) => ({
    name: INDEX.unsent(sink),
    key: { [`unsent.${sink}`]: 1, _id: 1 } as const,
    partialFilterExpression: { [`unsent.${sink}`]: { $exists: true } },
  })),
]

/** Members that have not beaten for this long are forgotten. */
const MEMBER_KEPT_SECONDS = 24 * 3600

/** Building an index over many records takes time; the server goes on with it when the client gives up. */
const BUILD_TIMEOUT_MS = 10 * 60_000

/** An index of the same name but another form is there. */
export class IndexConflict extends Error {
  readonly code = 'index-conflict'
}

const CONFLICT_CODES = new Set<unknown>([85, 86])

const create = async (db: Db, collection: string, indexes: IndexDescription[]): Promise<void> => {
  try {
    await db.collection(collection, COLLECTION_OPTIONS).createIndexes(indexes, { maxTimeMS: BUILD_TIMEOUT_MS })
  } catch (error) {
    if (!CONFLICT_CODES.has((error as { code?: unknown }).code)) throw error
    const names = indexes.map(({ name }) => name).join(', ')
    throw new IndexConflict(
      `The collection ${db.databaseName}.${collection} has an index in another form than this version of Endstate needs. ` +
        `Expected: ${names}. Drop the one that MongoDB names (${(error as Error).message}) and start again.`,
      { cause: error },
    )
  }
}

/** Makes the indexes that are missing; those that are there cost nothing. */
export const ensureIndexes = async (db: Db, options: { sinks?: readonly string[] } = {}): Promise<void> => {
  await create(db, RECORDS, recordIndexes(options.sinks ?? DEFAULT_SINKS))
  await create(db, MEMBERS, [{ name: 'forget', key: { at: 1 }, expireAfterSeconds: MEMBER_KEPT_SECONDS }])
  await create(db, PROVIDER_HEALTH, [{ name: 'forget', key: { at: 1 }, expireAfterSeconds: HEALTH_KEPT_SECONDS }])
  await create(db, BUDGETS, [{ name: 'forget', key: { day: 1 }, expireAfterSeconds: BUDGETS_KEPT_SECONDS }])
  await create(db, BLOB_CHUNKS, [{ name: 'files_id_1_n_1', key: { files_id: 1, n: 1 }, unique: true }])
}
