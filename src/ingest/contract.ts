/**
 * The one way in. Every adapter (web upload, API, NATS, clinic protocols) turns bytes into a Submission
 * and calls the same accept(): check, store, insert, hint, receipt. P1, P7.
 */
import type { RecordStatus } from '../machines/record.js'

export type Submission = {
  source: string
  /** Which adapter: `http`, `upload`, `nats-request`, `nats-stream`, … */
  via: string
  pipeline: string
  /** Idempotency key; null: each submission is its own record. 1..255 visible ASCII characters. */
  key: string | null
  /** What the submitter says it is; the content decides. */
  mediaType: string | null
  fileName: string | null
  metadata: { [name: string]: string }
  content:
    | { json: unknown }
    | { bytes: Uint8Array }
    /** Read once, never held in memory whole when it is large. */
    | { stream: AsyncIterable<Uint8Array> }
  signal?: AbortSignal
}

export type Receipt = { id: string; version: number; status: RecordStatus; settlesBy: string; duplicate: boolean }

/** Refusals by `code`; `status` is HTTP's word for it. The message names what was wrong and what to do. */
export type RefusalCode =
  | 'unknown-pipeline'
  | 'invalid-submission'
  | 'empty-input'
  | 'unsupported-media-type'
  | 'too-large'
  | 'key-conflict'
  | 'too-deep'
  | 'broken-upload'
  | 'upload-aborted'
  | 'unavailable'

export class Refusal extends Error {
  readonly code: RefusalCode
  readonly status: number
  /** Facts for the submitter, such as the first record's id. */
  readonly details: { [name: string]: unknown }
  constructor(code: RefusalCode, status: number, message: string, details: { [name: string]: unknown } = {}) {
    super(message)
    this.code = code
    this.status = status
    this.details = details
  }
}

/** Throws Refusal. A receipt means: a majority has the record in its journal (P1). */
export type Accept = (submission: Submission) => Promise<Receipt>
