/**
 * The auditor's port: reads records of a live deployment, writes nothing, and holds no more than a batch.
 *
 * R1 What is read is what a majority has (majority read concern): nothing that could still be rolled back.
 * R2 A document that can't be read is a row like the others, with its faults; it ends nobody's audit.
 * R3 The submitted content is not read: of an inline input only that it is there.
 */
import type { RecordDocument } from '../machines/record.js'
import type { Outage } from './contract.js'

export type AuditScope =
  /** Every record, by id; of one source by acceptance, newest first. */
  | { kind: 'all'; source?: string }
  /** Newest first, at most `limit`. */
  | { kind: 'unsettled'; source?: string; limit: number }
  /** Accepted at `since` or later, newest first, at most `limit`. */
  | { kind: 'accepted-since'; since: Date; source?: string; limit: number }
  | { kind: 'ids'; ids: readonly string[] }

export type AuditRow = {
  id: string
  /** Null when it can't be decoded. */
  doc: RecordDocument | null
  /** What is wrong with its shape, as paths with reasons and never with values. */
  faults: string[]
  /** The blobs that it names. */
  blobs: string[]
}

/** The server's time, and when nothing could run, up to and with an outage that goes on. */
export type AuditTime = { now: Date; outages: Outage[] }

export interface RecordAudit {
  /** Batches in the scope's order. Throws StoreUnavailable. Ends the cursor when the reader stops or `signal` aborts. */
  read(scope: AuditScope, signal: AbortSignal): AsyncIterable<AuditRow[]>
  /** How many records there are in the scope, as far as it is cheap to know; null where it is not. */
  count(scope: AuditScope): Promise<number | null>
  /** `gapMs`: a longer time without any worker's beat is an outage. */
  time(gapMs: number): Promise<AuditTime>
  /** Those of these blobs that are not there. */
  missingBlobs(ids: readonly string[]): Promise<Set<string>>
}
