/**
 * What a provider tells unasked: one delivery, about the call that its URL or its content names.
 *
 * K1 Only a verified delivery counts, and it is answered only after what it says is saved; so a provider that repeats
 *    until it hears 2xx loses nothing.
 * K2 A repeated delivery changes nothing: the attempt is closed, or the question is on its way already.
 * K3 Where the content cannot be trusted, a delivery is only a reason to ask now (CALL_NUDGED).
 */
import type { PipelineSet } from '../machines/compiled.js'
import type { CallEvent } from '../machines/events.js'
import type { Attempt, RecordDocument } from '../machines/record.js'
import type { BlobStore } from '../persistence/contract.js'
import { StoreUnavailable } from '../persistence/contract.js'
import type { ProviderTerms } from '../machines/pipeline.js'
import type { WebhookDelivery, WebhookNews, WebhookReader } from '../providers/contract.js'
import type { Clock, WebhookTaken } from './contract.js'
import { eventOf } from './errands.js'
import { within } from './within.js'

export type WebhookCall = { record: string; step: string; attempt: number; generation: number }

/** Throws WebhookRefused for a delivery that is not what it claims, and StoreUnavailable. */
export type TakeWebhook = (provider: string, token: string | null, delivery: WebhookDelivery) => Promise<WebhookTaken>

export type WebhookDeps = {
  /** By provider; absent for those that send none. */
  readers: ReadonlyMap<string, WebhookReader>
  terms: ReadonlyMap<string, ProviderTerms>
  readToken(provider: string, token: string): WebhookCall | null
  pipelines: PipelineSet
  load(id: string): Promise<RecordDocument | null>
  findByHandle(provider: string, handle: string): Promise<string | null>
  /** Applies one event in a turn and tells a worker. */
  deliver(id: string, event: CallEvent): Promise<{ applied: boolean }>
  blobs: BlobStore
  clock: Clock
  random(): number
  signal: AbortSignal
}

const STORAGE_RETRY_MS = 500
const READ_MS_MAX = 10_000
const STORE_MS_MAX = 15_000

export const createWebhooks = (deps: WebhookDeps): TakeWebhook => {
  return async (provider, token, delivery) => {
    const reader = deps.readers.get(provider)
    const terms = deps.terms.get(provider)
    if (!reader || !terms) return 'unknown-provider'
    const call = token === null ? null : deps.readToken(provider, token)
    if (token !== null && !call) return 'unknown-call'
    const news = await inTime(deps, reader, delivery)
    const found = await (call ? named(deps, provider, call) : byHandle(deps, provider, news))
    if (!found) return 'unknown-call'
    const { doc, attempt, step } = found
    const event = await asEvent(deps, { doc, attempt, step, terms }, news)
    if (!event) return 'known'
    return (await deps.deliver(doc._id, event)).applied ? 'saved' : 'known'
  }
}

/** A team's reader may wait for something, such as a key that it fetches; who delivers does not wait for ever. */
const inTime = async (
  { clock }: WebhookDeps,
  reader: WebhookReader,
  delivery: WebhookDelivery,
): Promise<WebhookNews> => {
  const news = await within(Promise.resolve(reader(delivery)), READ_MS_MAX, clock)
  if (news === undefined) throw new StoreUnavailable('The delivery could not be verified in time; send it again.')
  return news
}

type Found = { doc: RecordDocument; attempt: Attempt; step: string }

const named = async (deps: WebhookDeps, provider: string, call: WebhookCall): Promise<Found | null> => {
  const doc = await deps.load(call.record)
  const attempt = doc?.steps[call.step]?.attempts.find(({ n }) => n === call.attempt)
  if (!doc || attempt?.provider !== provider || attempt.generation !== call.generation) return null
  return { doc, attempt, step: call.step }
}

/** For providers with one URL for all: the verified delivery names the call by the provider's own id. */
const byHandle = async (deps: WebhookDeps, provider: string, news: WebhookNews): Promise<Found | null> => {
  const handle = news.kind === 'ask' ? news.handle : news.answer.handle
  const id = handle === undefined ? null : await deps.findByHandle(provider, handle)
  const doc = id === null ? null : await deps.load(id)
  for (const [step, { attempts }] of Object.entries(doc?.steps ?? {})) {
    const attempt = attempts.find((each) => each.provider === provider && each.handle === handle)
    if (doc && attempt) return { doc, attempt, step }
  }
  return null
}

type About = { doc: RecordDocument; attempt: Attempt; step: string; terms: ProviderTerms }

const asEvent = async (
  deps: WebhookDeps,
  { doc, attempt, step, terms }: About,
  news: WebhookNews,
): Promise<CallEvent | null> => {
  const nudge = { type: 'CALL_NUDGED', step, attempt: attempt.n, generation: attempt.generation } as const
  const compiled = deps.pipelines.byVersion(doc.pipelineVersion)
  // Of a version that this process does not know: a worker that does may ask.
  if (news.kind === 'ask' || !compiled) return nudge
  // Signatures don't cover the URL: a true delivery about one job, sent to the URL of another, is only a reason to ask.
  if (attempt.handle !== undefined && 'handle' in news.answer && news.answer.handle !== attempt.handle) return nudge
  const over = new AbortController()
  const asked = {
    doc,
    compiled,
    step,
    attempt,
    provider: { terms },
    signal: AbortSignal.any([deps.signal, over.signal]),
  }
  const stored = eventOf({ ...deps, storageRetryMs: STORAGE_RETRY_MS }, asked, news.answer)
  const kept = await within(
    stored.then((event) => ({ event })),
    STORE_MS_MAX,
    deps.clock,
  )
  over.abort('ended')
  // K1: what could not be kept is not acknowledged.
  if (kept === undefined || deps.signal.aborted)
    throw new StoreUnavailable('The delivery could not be stored now; send it again.')
  return kept.event
}
