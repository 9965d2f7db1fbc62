/**
 * The record store's port. MongoDB is the truth (P9); memory is its twin for tests and simulation.
 * One conformance suite (test/contract) runs over both.
 *
 * Invariants of every adapter:
 * S1 A save applies entirely or not at all, and only where `_id` and `version` both match.
 * S2 `saved`, `inserted` are answered only when a majority has it in its journal.
 * S3 An outcome that is not known is found out (re-read with majority, look for the writer token);
 *    version unmoved means: send the same bytes and token again. Nothing is decided anew.
 * S4 One record's failure never changes the answer for another record of the same batch.
 */
import type {
  Charge,
  HistoryEntry,
  MutableFields,
  OutboxEntry,
  RecordDocument,
  RecordStatus,
} from '../machines/record.js'

import type { Doubt, Explanation, LedgerAttempt, LedgerGroup, LedgerQuery } from './ledger-contract.js'

export type { MutableFields }

/**
 * One compare-and-set. `history` holds one entry per event of the save (a fused save has two), each with
 * its own version; all carry the same `writer`. The document's new version is that of the last entry.
 */
export type Save = {
  id: string
  expectedVersion: number
  writer: string
  set: Partial<MutableFields>
  /** Steps and charges that changed, whole, by name. */
  steps: RecordDocument['steps']
  charges: RecordDocument['charges']
  history: HistoryEntry[]
  outbox: OutboxEntry[]
}

/**
 * - `conflict`: another version is there; `current` is what a majority read found (null: no such record).
 * - `refused`: this save can never succeed (too large, refused by the server's validator).
 * - `unknown`: the store could not be asked within the limit. The caller must not act on it and must not
 *   decide anew before it has seen the document; sending the same Save again is always safe.
 */
export type SaveOutcome =
  | { kind: 'saved' }
  | { kind: 'conflict'; current: RecordDocument | null }
  | { kind: 'refused'; code: string; message: string }
  | { kind: 'unknown'; message: string }

export type InsertOutcome =
  | { kind: 'inserted' }
  | { kind: 'exists'; current: RecordDocument }
  | { kind: 'refused'; code: string; message: string }
  | { kind: 'unknown'; message: string }

export type RecordFilter = {
  source?: string
  pipeline?: string
  status?: RecordStatus
}

/** Newest first. `next` is opaque; null at the end. */
export type Page<T> = { items: T[]; next: string | null }

export type DueRecord = { id: string; version: number; wakeAt: Date }
export type WaitingRecord = { id: string; version: number; source: string; readyAt: Date }
export type ChargeRow = Charge & { record: string; key: string; source: string; pipeline: string }

export type ChargeFilter = {
  source?: string
  pipeline?: string
  from?: Date
  to?: Date
  key?: string
  currency?: string
  simulated?: boolean
}

/** A record's facts that a sink has not got, in their order. What is beside them never changes. */
export type UnsentRecord = {
  id: string
  source: string
  pipeline: string
  simulated: boolean
  /** Of its oldest fact that is left: the place in the sink's queue. */
  at: Date
  entries: OutboxEntry[]
}

export interface RecordStore {
  /** Answers in the order of `docs`. Two docs with one id in one batch: the first wins, the second `exists`. */
  insert(docs: readonly RecordDocument[]): Promise<InsertOutcome[]>
  /** Answers in the order of `saves`. Throws if two saves name one record: one mailbox per record. */
  save(saves: readonly Save[]): Promise<SaveOutcome[]>
  /** Answers in the order of `ids`, null where there is none. Majority read concern with `majority`. Throws StoreUnavailable. */
  load(ids: readonly string[], options?: { majority?: boolean }): Promise<(RecordDocument | null)[]>

  /** Unsettled records whose wakeAt <= now, by (wakeAt, _id), after the cursor, in the shard range [from, to). */
  due(query: {
    now: Date
    after: { wakeAt: Date; id: string } | null
    shards: { from: number; to: number }
    limit: number
  }): Promise<DueRecord[]>
  /** Sources with at least one record waiting for this provider, in name order, after `after`. */
  waitingSources(provider: string, limit: number, after?: string): Promise<string[]>
  /** Records of one source and of these pipelineVersions that wait for this provider, oldest readyAt first, up to `readyBefore`. */
  waiting(
    provider: string,
    source: string,
    query: {
      readyBefore: Date
      after: { readyAt: Date; id: string } | null
      limit: number
      /** Any when not given. */
      versions?: readonly string[]
    },
  ): Promise<WaitingRecord[]>
  /** Ids of unsettled records pinned to a pipelineVersion that is not in `known`, oldest wakeAt first. */
  unknownVersions(known: readonly string[], limit: number): Promise<string[]>

  /** Those of these blobs that a record names. */
  referencedBlobs(ids: readonly string[]): Promise<Set<string>>
  /** The record with a call of which this is the provider's own id; null when there is none. */
  byHandle(provider: string, handle: string): Promise<string | null>

  list(filter: RecordFilter, page: { limit: number; token: string | null }): Promise<Page<RecordDocument>>
  /** `from` and `to` are both inside. */
  charges(filter: ChargeFilter, page: { limit: number; token: string | null }): Promise<Page<ChargeRow>>
  /** Sums of charges and attempts, by what is alike. Throws LedgerTooLarge. */
  ledger(query: LedgerQuery): Promise<LedgerGroup[]>
  /** The attempts behind the sums, newest record first. */
  ledgerAttempts(
    query: LedgerQuery,
    only: { explanation?: Explanation; doubt?: Doubt },
    page: { limit: number; token: string | null },
  ): Promise<Page<LedgerAttempt>>
  counts(): Promise<{ [status in RecordStatus]: number }>

  /** Records with facts that `sink` has not got, oldest first, by (at, id) after the cursor. */
  unsent(sink: string, limit: number, after?: { at: Date; id: string } | null): Promise<UnsentRecord[]>
  /**
   * Marks that these facts are about to be sent, by the server's time, before they are. Keeps the time of the first
   * attempt in doubt; `anew` begins again, where it is certain that none arrived.
   */
  markSending(sink: string, sending: readonly { id: string; seq: number; anew?: boolean }[]): Promise<void>
  markSent(sink: string, sent: readonly { id: string; seq: number }[]): Promise<void>

  close(): Promise<void>
}

/**
 * One record at a time for the caller, batches underneath (group commit): up to `batchMax` operations of one
 * kind in a batch, two batches in flight, and never two operations of one record in the same batch.
 */
export interface RecordWriter {
  insert(doc: RecordDocument): Promise<InsertOutcome>
  save(save: Save): Promise<SaveOutcome>
  load(id: string, options?: { majority?: boolean }): Promise<RecordDocument | null>
  /** Resolves when everything given so far has been answered. */
  drain(): Promise<void>
}

/** Input and result bytes too large for the document. */
export interface BlobStore {
  /**
   * Streams bytes in; resolves when a majority has all of them. Throws `BlobTooLarge` past `bytesMax` and
   * leaves nothing behind; the same when the stream breaks or `signal` aborts.
   */
  put(
    bytes: AsyncIterable<Uint8Array>,
    options: { bytesMax: number; signal?: AbortSignal },
  ): Promise<{ id: string; sha256: string; bytes: number }>
  /** Throws `BlobMissing`. */
  get(id: string): AsyncIterable<Uint8Array>
  remove(id: string): Promise<void>
  /** Removes blobs older than `before` that `isReferenced` does not know, at most `limit`. Answers how many. */
  collectGarbage(
    before: Date,
    isReferenced: (ids: readonly string[]) => Promise<Set<string>>,
    limit: number,
  ): Promise<number>
}

/** A gap in which no worker process or no MongoDB majority was up. */
export type Outage = { from: Date; to: Date }

/** The deployment's heartbeat (design: outages are measured). Times are the database server's. */
export interface Heartbeats {
  /**
   * Records that process `member` is alive, with what it offers. The first beat after a gap of more than
   * `gapMs` since any worker's last beat records an outage, atomically. Answers the server's time and the outages
   * that began in the last `keepMs`.
   */
  beat(member: Member, options: { gapMs: number; keepMs: number }): Promise<{ now: Date; outages: Outage[] }>
  /** Members whose last beat is younger than `withinMs`, by id. */
  members(withinMs: number): Promise<(Member & { at: Date })[]>
  leave(id: string): Promise<void>
  /** Takes or keeps the named lease for `holder`. True while held. */
  lease(name: string, holder: string, forMs: number): Promise<boolean>
}

export type Member = {
  id: string
  roles: string[]
  /** Slots per provider that this process offers. */
  slots: { [provider: string]: number }
  /** pipelineVersions that this process can advance. */
  pipelines: string[]
  /** Providers for which this process, as the feeder, holds records back: nobody may jump their queue. */
  waiting: string[]
}

export class StoreUnavailable extends Error {
  readonly code = 'store-unavailable'
}
/** More than one answer may hold, or may take. */
export class LedgerTooLarge extends Error {
  readonly code = 'ledger-too-large'
  constructor(why: string, options?: ErrorOptions) {
    super(`${why} Ask for one source or pipeline, or a shorter time.`, options)
  }
}
export class BlobTooLarge extends Error {
  readonly code = 'blob-too-large'
  readonly bytesMax: number
  constructor(bytesMax: number) {
    super(`The content is larger than the limit of ${bytesMax} bytes.`)
    this.bytesMax = bytesMax
  }
}
export class BlobMissing extends Error {
  readonly code = 'blob-missing'
}

export type { HistoryEntry, OutboxEntry, RecordDocument }
export type { AuditRow, AuditScope, AuditTime, RecordAudit } from './audit-contract.js'
export { DOUBTS, EXPLANATIONS } from './ledger-contract.js'
export type { Doubt, Explanation, LedgerAttempt, LedgerGroup, LedgerQuery } from './ledger-contract.js'
export { LATENCY_BOUNDS_MS } from './provider-states-contract.js'
export type {
  BreakerState,
  CounterKey,
  Grant,
  HealthCounts,
  HealthMinute,
  LeaseAsk,
  Meter,
  PauseAsk,
  ProviderState,
  ProviderStates,
  Reserved,
  SeenLimits,
  Settlement,
  SpendRow,
  TripAsk,
} from './provider-states-contract.js'
