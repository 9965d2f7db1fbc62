/**
 * Builds the request of an attempt before its intent is saved, so that the intent names the exact bytes.
 *
 * F1 A repeat under a request key that may have been sent already sends the same bytes: they are built again and
 *    compared, or read back where they could not be built again. Other bytes are an error, and nothing is sent.
 * F2 Bytes are kept as a blob only where building them twice gives two different things, or the step says so. The first
 *    requests of a step are built twice, then some: what is different once is kept from then on.
 */
import { hash } from 'node:crypto'
import { z } from 'zod'
import type { CompiledPipeline } from '../machines/compiled.js'
import type { AttemptStarted } from '../machines/events.js'
import { stepByName } from '../machines/machine-parts.js'
import type { StepDefinition } from '../machines/pipeline.js'
import type { Attempt, FrozenRequest, RecordDocument } from '../machines/record.js'
import type { BlobStore } from '../persistence/contract.js'
import type { BuiltRequest, Provider, RequestParts } from '../providers/contract.js'
import type { Clock } from './contract.js'
import { inputOf, readOutputs } from './payloads.js'
import { within } from './within.js'

export type Prepared =
  | { ok: true; parts: RequestParts; built: BuiltRequest | null; request: FrozenRequest }
  | { ok: false; code: string; message: string; retryable: boolean }

export type Prepare = (
  doc: RecordDocument,
  compiled: CompiledPipeline,
  intent: Pick<AttemptStarted, 'step' | 'provider' | 'requestKey'>,
) => Promise<Prepared>

export type PrepareDeps = { providers: ReadonlyMap<string, Provider>; blobs: BlobStore; clock: Clock }

const BUILD_MS_MAX = 20_000
/** Larger requests are not built twice to see whether they can be. */
const REBUILT_BYTES_MAX = 256 * 1024
const BODY_BYTES_MAX = 256 * 1024 * 1024

const NOT_BUILT = {
  ok: false,
  code: 'request-not-built',
  message: 'The request could not be built, so nothing was sent.',
  retryable: true,
} as const

const CHANGED = {
  ok: false,
  code: 'request-changed',
  message:
    'The request is not the one that was sent under this key, so nothing was sent. Its step builds other bytes from the ' +
    'same record: raise the revision after a change, or set keepRequest.',
  retryable: false,
} as const

/** Never rejects. */
export const createPrepare = (given: PrepareDeps): Prepare => {
  const deps: Deps = { ...given, builds: new Map() }
  return async (doc, compiled, intent) => {
    const provider = deps.providers.get(intent.provider)
    if (!provider) return NOT_BUILT
    const prepared = prepare(deps, provider, doc, compiled, intent).catch(() => NOT_BUILT)
    return (await within(prepared, BUILD_MS_MAX, deps.clock)) ?? NOT_BUILT
  }
}

/** By pipeline version, step and provider: how many were built, and whether two builds ever differed. */
type Builds = Map<string, { count: number; differ: boolean }>
type Deps = PrepareDeps & { builds: Builds }

const prepare = async (
  deps: Deps,
  provider: Provider,
  doc: RecordDocument,
  compiled: CompiledPipeline,
  intent: Parameters<Prepare>[2],
): Promise<Prepared> => {
  const step = stepByName(compiled.definition, intent.step)
  const parts = await partsOf(deps.blobs, doc, step, intent)
  // An engine inside the worker reads the record itself: what it reads is what is frozen.
  if (!provider.build) return { ok: true, parts, built: null, request: { sha256: fingerprintOf(doc, step) } }
  const built = await provider.build(parts)
  const sha256 = shaOf(built)
  const earlier = sentBefore(doc, intent)
  if (earlier && earlier.sha256 !== sha256) return earlier.blob ? asKept(deps.blobs, parts, built, earlier) : CHANGED // F1
  if (earlier) return { ok: true, parts, built, request: earlier }
  const keeps = step.keepRequest || (await differs(deps.builds, provider, { doc, parts, step, built, sha256 }))
  return { ok: true, parts, built, request: keeps ? await keep(deps.blobs, built, sha256) : { sha256 } }
}

const partsOf = async (
  blobs: BlobStore,
  doc: RecordDocument,
  step: StepDefinition,
  { requestKey }: Parameters<Prepare>[2],
): Promise<RequestParts> => {
  const outputs = step.request ? await readOutputs(blobs, doc) : {}
  return {
    record: doc._id,
    source: doc.source,
    pipeline: doc.pipeline,
    step: step.name,
    requestKey,
    input: inputOf(blobs, doc.input),
    request: step.request?.(outputs as never),
    outputSchema: outputSchemaOf(step),
    outputs,
  }
}

const schemas = new WeakMap<z.ZodType, { [keyword: string]: unknown }>()

/** Empty where the schema can't be written as JSON Schema. */
const outputSchemaOf = ({ output }: StepDefinition): { [keyword: string]: unknown } => {
  let schema = schemas.get(output)
  if (!schema) {
    try {
      schema = z.toJSONSchema(output, { unrepresentable: 'any', io: 'input' }) as { [keyword: string]: unknown }
    } catch {
      schema = {}
    }
    schemas.set(output, schema)
  }
  return schema
}

const shaOf = ({ body }: BuiltRequest): string => hash('sha256', body, 'hex')

const fingerprintOf = (doc: RecordDocument, step: StepDefinition): string => {
  const results = step.request ? Object.values(doc.steps).map(({ result }) => result?.payload.sha256 ?? '') : []
  return hash('sha256', [doc.pipelineVersion, step.name, doc.input.payload.sha256, ...results].join(' '), 'hex')
}

const mayHaveBeenSent = ({ outcome }: Attempt): boolean => outcome === null || outcome === 'uncertain'

const sentBefore = (doc: RecordDocument, { step, requestKey }: Parameters<Prepare>[2]): FrozenRequest | undefined =>
  doc.steps[step]?.attempts.find((attempt) => attempt.requestKey === requestKey && mayHaveBeenSent(attempt))?.request

const asKept = async (
  blobs: BlobStore,
  parts: RequestParts,
  { contentType, spendMax }: BuiltRequest,
  request: FrozenRequest,
): Promise<Prepared> => {
  const chunks: Uint8Array[] = []
  for await (const chunk of blobs.get(request.blob!)) chunks.push(chunk)
  const body = Buffer.concat(chunks)
  if (hash('sha256', body, 'hex') !== request.sha256) return CHANGED
  return { ok: true, parts, built: { body, contentType, ...(spendMax && { spendMax }) }, request }
}

const LOOKED_AT_FIRST = 8
const LOOKED_AT_EVERY = 64

type Build = { doc: RecordDocument; parts: RequestParts; step: StepDefinition; built: BuiltRequest; sha256: string }

/** F2 */
const differs = async (builds: Builds, provider: Provider, build: Build): Promise<boolean> => {
  const { doc, parts, step, built, sha256 } = build
  const matters = provider.terms.recovery === 'idempotent' || provider.terms.recovery === 'in-flight'
  if (!matters || built.body.length > REBUILT_BYTES_MAX) return false
  const key = `${doc.pipelineVersion} ${step.name} ${provider.terms.name}`
  const seen = builds.get(key) ?? { count: 0, differ: false }
  builds.set(key, seen)
  const looks = !seen.differ && (seen.count < LOOKED_AT_FIRST || seen.count % LOOKED_AT_EVERY === 0)
  seen.count += 1
  if (!looks) return seen.differ
  const request = step.request ? { request: step.request(parts.outputs as never) } : {}
  seen.differ = shaOf(await provider.build!({ ...parts, ...request })) !== sha256
  return seen.differ
}

async function* once(bytes: Uint8Array) {
  yield bytes
}

const keep = async (blobs: BlobStore, { body }: BuiltRequest, sha256: string): Promise<FrozenRequest> => {
  const put = await blobs.put(once(typeof body === 'string' ? Buffer.from(body) : body), { bytesMax: BODY_BYTES_MAX })
  return { sha256, blob: put.id }
}
