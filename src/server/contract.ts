/**
 * What the HTTP side needs from the rest of the program. It reads records, hands submissions to accept(), and
 * decides nothing about either.
 */
import type { Context } from 'koa'
import type { AuditLine, AuditReport } from '../audit/contract.js'
import type { Accept } from '../ingest/contract.js'
import type { CompiledPipeline, PipelineSet } from '../machines/compiled.js'
import type { RecordEvent } from '../machines/events.js'
import type { PathPart } from '../machines/longest-path.js'
import type { RecordDocument } from '../machines/record.js'
import type { BlobStore, RecordStore } from '../persistence/contract.js'
import type { WebhookDelivery } from '../providers/contract.js'
import type { ProviderReports } from '../providers/gate.js'
import type { Clock, WebhookTaken } from '../worker/contract.js'

/** Who is asking. `sees: 'own'` keeps a source to its own records (P12). */
export type Identity = { source: string; sees: 'own' | 'all' }

/** The part of a pino logger that is used here. Never given a body, a header or a file name. */
export type Log = {
  error(facts: { [name: string]: unknown }, message: string): void
  warn(facts: { [name: string]: unknown }, message: string): void
}

export type MachineDescription = {
  /** The chart as XState's JSON. */
  xstate: unknown
  /** The chart as a Mermaid state diagram. */
  mermaid: string
  /** The longest way to an end, where `verify` has found it. */
  path?: PathPart[]
}

export type ServerDeps = {
  accept: Accept
  store: Pick<RecordStore, 'load' | 'list' | 'charges' | 'ledger' | 'ledgerAttempts'>
  blobs: Pick<BlobStore, 'get'>
  pipelines: PipelineSet
  describeMachine(pipeline: CompiledPipeline): MachineDescription
  /** `degraded` names what is away while records still settle, such as `nats`. */
  readiness(): Promise<{ ok: boolean; degraded: string[] }>
  /**
   * The record once it has settled, as a majority has it. Null when nobody knows: after `timeoutMs`, when `signal` aborts,
   * or when it may have settled; then the record is read.
   */
  settled(id: string, options: { signal: AbortSignal; timeoutMs: number }): Promise<RecordDocument | null>
  /**
   * Applies one event to a record. `moved`: it was not at the expected version; `impossible`: why no machine takes it.
   * Throws StoreUnavailable when that can't be done now.
   */
  deliver(
    id: string,
    event: RecordEvent,
    by: string,
    options?: { expectedVersion?: number },
  ): Promise<{ doc: RecordDocument; applied: boolean; moved: boolean; impossible?: string }>
  /** Takes a provider's delivery. Throws WebhookRefused, StoreUnavailable. */
  webhook(provider: string, token: string | null, delivery: WebhookDelivery): Promise<WebhookTaken>
  /** How providers do; absent where nobody knows: then there is no /v1/providers and no /metrics. */
  providers?: ProviderReports
  /** Judges every record; absent where there is no auditor: then there is no /v1/reports/audit. */
  audit?(options: { source?: string; allBlobs: boolean; signal: AbortSignal }): AsyncIterable<AuditLine>
  /** What the audit in the background found last; null before its first pass. */
  audited?(): Promise<AuditReport | null>
  clock: Clock
  log: Log
  /** Throws Problem when nobody may ask in this way. */
  identify(ctx: Context): Identity | Promise<Identity>
}
