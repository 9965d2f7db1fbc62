/**
 * The provider's port: one call, one answer. An adapter makes exactly one request on the wire per call and
 * decides where it is born what a failure means; deadlines, schema checks and bookkeeping belong to the call layer.
 */
import type { Evidence, Spend } from '../machines/record.js'
import type { ProviderTerms } from '../machines/pipeline.js'

export type CallInput = {
  mediaType: string
  fileName: string | null
  bytesTotal: number
  /** The whole input; bounded by the pipeline's inputBytesMax. Throws when storage is away (kind `not-executed`). */
  bytes(): Promise<Uint8Array>
  /** The parsed JSON, for JSON inputs; throws for others. */
  json(): Promise<unknown>
}

export type CallRequest = {
  record: string
  pipeline: string
  step: string
  attempt: number
  requestKey: string
  deadlineMs: number
  input: CallInput
  /** What the step's `request` function built; undefined when it has none. */
  request: unknown
  /** Outputs of the steps that have a result, by step name. */
  outputs: { [step: string]: unknown }
}

/**
 * - `not-executed`: refused, at capacity, connection never made. Safe to repeat with a new key.
 * - `executed`: ran and answered with an error. `rejects`: the input can never be processed.
 * - `partial`: ran, and the result is unusable (cut, truncated).
 * - `unknown`: timed out or reset after sending.
 */
export type CallAnswer =
  | { kind: 'succeeded'; output: unknown; spend: Spend | null; evidence: Evidence | null }
  | {
      kind: 'not-executed'
      code: string
      message: string
      retryable: boolean
      retryAfterMs?: number
      rejects?: boolean
      evidence?: Evidence
    }
  | {
      kind: 'executed' | 'partial'
      code: string
      message: string
      retryable: boolean
      retryAfterMs?: number
      rejects?: boolean
      spend?: Spend | null
      evidence?: Evidence
    }
  | { kind: 'unknown'; code: string; message: string; evidence?: Evidence }

export interface Provider {
  readonly terms: ProviderTerms
  /** Calls at once per worker process. */
  readonly slots: number
  /** Never throws for what the provider does; a throw counts as `unknown`. Must settle soon after `signal` aborts. */
  call(request: CallRequest, signal: AbortSignal): Promise<CallAnswer>
  close(): Promise<void>
}

/** What a config names: made once per worker process, secrets resolved then. */
export type ProviderFactory = {
  /** `name` is the config's key. */
  terms(name: string): ProviderTerms
  slots: number
  create(name: string, deps: { secret(name: string): string }): Provider
}
