/**
 * The provider's port: one call, one answer, and what may be asked about a call afterwards.
 *
 * An adapter makes exactly one request that can start work (a POST or PUT) per `call`, and none in `ask`. It decides
 * where it is born what a failure means; deadlines, schema checks, limits and bookkeeping belong to the call layer, and
 * what happens next to the machine.
 */
import type { Evidence, RecordStatus, Spend, Usage } from '../machines/record.js'
import type { ProviderTerms } from '../machines/pipeline.js'

export type CallInput = {
  mediaType: string
  fileName: string | null
  bytesTotal: number
  /** Of the content's bytes, hex. */
  sha256: string
  /** The whole input; bounded by the pipeline's inputBytesMax. Throws when storage is away (kind `not-executed`). */
  bytes(): Promise<Uint8Array>
  /** The parsed JSON, for JSON inputs; throws for others. */
  json(): Promise<unknown>
}

/** What an adapter builds a request from: the same for every attempt under one requestKey. */
export type RequestParts = {
  record: string
  /** Who submitted the record. */
  source: string
  pipeline: string
  step: string
  requestKey: string
  input: CallInput
  /** What the step's `request` function built; undefined when it has none. */
  request: unknown
  /** The step's output schema as JSON Schema, for providers that can be told the form of an answer. */
  outputSchema: { [keyword: string]: unknown }
  /** Outputs of the steps that have a result, by step name; only for steps with a `request` function. */
  outputs: { [step: string]: unknown }
}

/** The bytes of a request, frozen before the intent is saved: a repeat under the same key sends the same. */
export type BuiltRequest = {
  body: string | Uint8Array
  contentType: string
  /** What this call may cost at most, where the body tells better than the terms. */
  spendMax?: { amount: string; currency: string }
}

/** How far a running call has come. */
export type Progress = {
  /** The provider's own id of this call: saved at once, so that the call can be found again. */
  handle?: string
  outputTokens?: number
  /** 0 to 1. */
  fraction?: number
}

export type CallRequest = RequestParts & {
  attempt: number
  generation: number
  deadlineMs: number
  /** What `build` answered; null for adapters without one. */
  built: BuiltRequest | null
  /** Where the provider may tell us of a job's end; it carries our token. Null when nothing can reach us. */
  webhookUrl: string | null
  /** May be called at any time before the answer; never throws. */
  onProgress(progress: Progress): void
}

/** What rate headers, or a refusal, tell about the provider's limits. */
export type LearnedLimits = {
  requestsPerMinute?: number
  tokensPerMinute?: number
  requestsRemaining?: number
  tokensRemaining?: number
  /** Nothing should be sent for so long. */
  pauseMs?: number
}

/** `model`, `finishReason` and the provider's `requestId` go into the evidence, where there are such. */
type Told = { evidence?: Evidence | null; usage?: Usage | null; limits?: LearnedLimits | null; handle?: string }

/**
 * - `accepted`: it was taken as a job; the result comes later, by `ask` or a webhook.
 * - `not-executed`: refused, at capacity, connection never made. Safe to repeat.
 * - `executed`: ran and answered with an error. `rejects`: the input can never be processed.
 * - `partial`: ran, and the result is unusable (cut, truncated).
 * - `unknown`: timed out or reset after sending.
 */
export type CallAnswer = Told &
  (
    | { kind: 'succeeded'; output: unknown; spend: Spend | null }
    | { kind: 'accepted'; handle: string; pollAfterMs?: number }
    | {
        kind: 'not-executed'
        code: string
        message: string
        retryable: boolean
        retryAfterMs?: number
        rejects?: boolean
      }
    | {
        kind: 'executed' | 'partial'
        code: string
        message: string
        retryable: boolean
        retryAfterMs?: number
        rejects?: boolean
        spend?: Spend | null
      }
    | { kind: 'unknown'; code: string; message: string }
  )

/** An attempt about which nobody knows, or whose job runs. */
export type Question = {
  record: string
  step: string
  attempt: number
  generation: number
  requestKey: string
  /** The provider's own id; null when it never reached us. Then it is found by the requestKey or not at all. */
  handle: string | null
  startedAt: Date
  sendBy: Date
  deadlineMs: number
}

/**
 * - `succeeded`, `executed`, `partial`, `not-executed`: what became of the call, for certain.
 * - `accepted`: it exists and still runs (or waits).
 * - `missing`: no trace of it (yet).
 * - `unknown`: the question itself got no answer.
 */
export type AskAnswer = (CallAnswer & { fraction?: number }) | (Told & { kind: 'missing' })

export interface Provider {
  readonly terms: ProviderTerms
  /** Calls at once per worker process. */
  readonly slots: number
  /**
   * The bytes to send: deterministic, without network. A throw means that nothing was sent. Absent: the call is made
   * from the input, the request and the outputs as they are (engines inside the worker).
   */
  build?(parts: RequestParts): Promise<BuiltRequest>
  /** Never throws for what the provider does; a throw counts as `unknown`. Must settle soon after `signal` aborts. */
  call(request: CallRequest, signal: AbortSignal): Promise<CallAnswer>
  /** Looks up a call, starting nothing. For `retrievable` and `job`. Same rules as `call`. */
  ask?(question: Question, signal: AbortSignal): Promise<AskAnswer>
  /** Asks to end a job that nobody needs any more. Advisory: the job may end well all the same. */
  cancel?(question: Question, signal: AbortSignal): Promise<void>
  /** Is the provider (and its model) ready? For the health report; throws nothing. */
  ready?(signal: AbortSignal): Promise<{ ready: boolean; detail: string }>
  close(): Promise<void>
}

/** A delivery to `POST /v1/webhooks/{provider}`, as it came. Header names in lower case. */
export type WebhookDelivery = { headers: { [name: string]: string }; body: Uint8Array }

/**
 * News of the call that the delivery's URL names, or whose id is `handle`, for providers with one URL for all their
 * deliveries. `ask`: trust nothing in it, ask the provider now.
 */
export type WebhookNews = { kind: 'answer'; answer: AskAnswer } | { kind: 'ask'; handle?: string }

/** Thrown for a delivery whose signature or form is wrong. */
export class WebhookRefused extends Error {
  readonly code = 'webhook-refused'
  readonly status: 400 | 401
  constructor(status: 400 | 401, message: string) {
    super(message)
    this.status = status
  }
}

/** Verifies a delivery on its raw bytes and reads it. Throws WebhookRefused. */
export type WebhookReader = (delivery: WebhookDelivery) => WebhookNews | Promise<WebhookNews>

/** A record that another record's step has submitted. */
export type ChildSubmission = {
  source: string
  pipeline: string
  key: string
  json: unknown
  metadata: { [name: string]: string }
}
/** `outputs`: of the steps that have a result, by step name. */
export type ChildRecord = { status: RecordStatus; outputs(): Promise<{ [step: string]: unknown }> }

/** The way back into Endstate, for steps whose work is other records. */
export type RecordsAccess = {
  /** As every submission: the same source and key are the same record. Throws Refusal. */
  submit(child: ChildSubmission): Promise<void>
  /** In the order of the keys; null where there is none. */
  load(source: string, keys: readonly string[]): Promise<(ChildRecord | null)[]>
}

export type ProviderDeps = { secret(name: string): string; records?: RecordsAccess }

/** What a config names: made once per worker process, secrets resolved then. */
export type ProviderFactory = {
  /** `name` is the config's key. */
  terms(name: string): ProviderTerms
  slots: number
  /** Limits that the account is known to have; more are learned. */
  limits?: { requestsPerMinute?: number; tokensPerMinute?: number }
  create(name: string, deps: ProviderDeps): Provider
  /** In processes that take webhooks; absent for providers that send none. */
  webhook?(name: string, deps: ProviderDeps): WebhookReader
}
