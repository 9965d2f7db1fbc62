/**
 * From what is stored to what the API shows. Pure; nothing is left out silently but inline inputs and the
 * machine's own bookkeeping, which have routes of their own.
 */
import { recordCan } from '../machines/actions.js'
import type { CompiledPipeline, PipelineSet } from '../machines/compiled.js'
import type { Price, RecordPrice } from '../machines/pipeline.js'
import type {
  Attempt,
  DiscardedResult,
  HistoryEntry,
  RecordDocument,
  StepRecord,
  StepResult,
} from '../machines/record.js'
import type { ChargeRow, LedgerAttempt } from '../persistence/contract.js'
import type { LedgerAttemptJson } from './report-schemas.js'
import type { ChargeRowJson, HistoryEntryJson, PipelineJson, RecordJson } from './schemas.js'

type StepJson = RecordJson['steps'][string]

export const recordPath = (id: string): string => `/v1/records/${id}`

/** `pipelines`: whose machines are asked what a person may do. */
export const recordView = (doc: RecordDocument, pipelines: PipelineSet): RecordJson =>
  recordWith(doc, pipelines, 'inline')

/** As lists show it: outputs by link only, because those of a page of records are megabytes that few want. */
export const recordRowView = (doc: RecordDocument, pipelines: PipelineSet): RecordJson =>
  recordWith(doc, pipelines, 'link')

type Outputs = 'inline' | 'link'

function recordWith(doc: RecordDocument, pipelines: PipelineSet, outputs: Outputs): RecordJson {
  const { payload, mediaType, fileName } = doc.input
  return {
    id: doc._id,
    version: doc.version,
    status: doc.status,
    state: stateOf(doc),
    pipeline: doc.pipeline,
    pipelineVersion: doc.pipelineVersion,
    source: doc.source,
    key: doc.key,
    metadata: doc.metadata,
    acceptedAt: doc.acceptedAt.toISOString(),
    settlesBy: doc.settlesBy.toISOString(),
    settledAt: isoOrNull(doc.settledAt),
    wakeAt: isoOrNull(doc.wakeAt),
    generation: doc.generation,
    simulated: doc.simulated,
    reason: doc.reason,
    can: recordCan(doc, pipelines),
    input: { mediaType, fileName, bytes: payload.bytes, sha256: payload.sha256, link: `${recordPath(doc._id)}/input` },
    steps: mapValues(doc.steps, (step, name) => stepView(step, `${recordPath(doc._id)}/steps/${name}/result`, outputs)),
    waitingFor: doc.queue.map(({ provider, step, readyAt, held }) => ({
      provider,
      step,
      readyAt: readyAt.toISOString(),
      held: held ?? null,
    })),
    charges: mapValues(doc.charges, ({ amount, currency, at, attempt, simulated }) => ({
      amount,
      currency,
      at: at.toISOString(),
      attempt,
      simulated: simulated ?? doc.simulated,
    })),
  }
}

/** The state value of the stored snapshot; a snapshot that holds none is shown as its status. */
function stateOf(doc: RecordDocument): RecordJson['state'] {
  const { snapshot } = doc
  if (snapshot !== null && typeof snapshot === 'object' && 'value' in snapshot) {
    const { value } = snapshot
    if (typeof value === 'string') return value
    if (value !== null && typeof value === 'object') return value as { [region: string]: unknown }
  }
  return doc.status
}

function stepView(step: StepRecord, link: string, outputs: Outputs): StepJson {
  return {
    attempts: step.attempts.map(attemptView),
    result: step.result && resultView(step.result, link, outputs),
    discarded: step.discarded.map((discarded) => discardedView(discarded, outputs)),
    candidate: step.candidate && resultView(step.candidate, null, outputs),
  }
}

function attemptView(attempt: Attempt): StepJson['attempts'][number] {
  return {
    n: attempt.n,
    generation: attempt.generation,
    provider: attempt.provider,
    model: attempt.model ?? null,
    requestKey: attempt.requestKey,
    outcome: attempt.outcome,
    startedAt: attempt.startedAt.toISOString(),
    sendBy: attempt.sendBy.toISOString(),
    endedAt: isoOrNull(attempt.endedAt),
    spend: attempt.spend,
    spendMax: attempt.spendMax ?? null,
    request: attempt.request ?? null,
    handle: attempt.handle ?? null,
    usage: (attempt.usage as { [unit: string]: number } | undefined) ?? null,
    progress: progressView(attempt.progress),
    possibleDuplicate: attempt.possibleDuplicate ?? false,
    error: attempt.error,
    evidence: attempt.evidence,
  }
}

function progressView(progress: Attempt['progress']): StepJson['attempts'][number]['progress'] {
  if (!progress) return null
  const { at, outputTokens, fraction } = progress
  return { at: at.toISOString(), outputTokens: outputTokens ?? null, fraction: fraction ?? null }
}

function resultView(
  { attempt, at, payload }: StepResult,
  link: string | null,
  outputs: Outputs,
): NonNullable<StepJson['result']> {
  const { bytes, sha256 } = payload
  const shown = { attempt, at: at.toISOString(), bytes, sha256 }
  if ('inline' in payload && outputs === 'inline') return { ...shown, output: JSON.parse(payload.inline) as unknown }
  return link === null ? shown : { ...shown, link }
}

function discardedView(
  { attempt, generation, at, payload, reason }: DiscardedResult,
  outputs: Outputs,
): StepJson['discarded'][number] {
  const { bytes, sha256 } = payload
  const shown = { attempt, generation, at: at.toISOString(), reason, bytes, sha256 }
  if ('inline' in payload && outputs === 'inline') return { ...shown, output: JSON.parse(payload.inline) as unknown }
  return shown
}

export function historyView({ version, at, event, from, to, by, reused }: HistoryEntry): HistoryEntryJson {
  return { version, at: at.toISOString(), event, from, to, by, ...(reused && { reused }) }
}

export function chargeView(row: ChargeRow): ChargeRowJson {
  const { record, key, source, pipeline, amount, currency, at, attempt, simulated } = row
  return {
    record,
    key,
    source,
    pipeline,
    amount,
    currency,
    at: at.toISOString(),
    attempt,
    simulated: simulated ?? false,
  }
}

export function ledgerAttemptView({ acceptedAt, startedAt, ...rest }: LedgerAttempt): LedgerAttemptJson {
  return { ...rest, acceptedAt: acceptedAt.toISOString(), startedAt: startedAt.toISOString() }
}

export function pipelineView({ definition, version, worstCaseMs }: CompiledPipeline): PipelineJson {
  return {
    name: definition.name,
    version,
    revision: definition.revision,
    description: definition.description,
    accepts: [...definition.accepts],
    inputBytesMax: definition.inputBytesMax,
    worstCaseMs,
    price: priceView(definition.price),
    steps: definition.steps.map((step) => ({
      name: step.name,
      description: step.description,
      use: [...step.use],
      deadlineMs: step.deadlineMs,
      attempts: step.attempts,
      price: priceView(step.price),
    })),
  }
}

function priceView(price: Price | RecordPrice | null): PipelineJson['price'] {
  if (price === null) return null
  const { currency } = price
  if ('fixed' in price) return { amount: price.fixed, currency, form: 'fixed' }
  if ('perPage' in price) return { amount: null, currency, form: 'perPage', perPage: price.perPage }
  if ('amount' in price) return { amount: null, currency, form: 'amount' }
  return { amount: null, currency, form: 'perMillionTokens', perMillionTokens: price.perMillionTokens }
}

function isoOrNull(date: Date | null): string | null {
  return date === null ? null : date.toISOString()
}

function mapValues<A, B>(values: { [name: string]: A }, map: (value: A, name: string) => B): { [name: string]: B } {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value, name)]))
}
