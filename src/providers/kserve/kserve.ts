/**
 * `kserve`: a model behind the Open Inference Protocol over HTTP (also called KServe V2): MLServer, Triton, OpenVINO,
 * TorchServe and others.
 *
 * Owns the requests and what their answers prove; the bytes and the tensors are in inference.ts and tensor.ts.
 *
 * - K1 One POST per call. The id that it carries is told back and nothing more: the same id runs again, so the recovery
 *   is `blind`.
 * - K2 A refusal counts as not executed in the server's own words, `{"error": …}`. A 503 of something in front of it
 *   proves nothing: a mesh answers so, too, when the connection broke after the request went through.
 * - K3 A 500 stays in doubt. Servers answer so to a wrong shape (MLServer does), and when a model failed in mid-run.
 *
 * Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
 */
import { z } from 'zod'
import type { Evidence } from '../../machines/record.js'
import type { CallAnswer, CallRequest, Provider, ProviderDeps, ProviderFactory, RequestParts } from '../contract.js'
import type { Failure, StatusRules } from '../http-certainty.js'
import { openSession, parseJsonBody, readOutcome, type HttpSession, type Reading } from '../http-session.js'
import { readInference, writeRequest, type KserveAnswer } from './inference.js'
import { readKserveOptions, type KserveOptions, type KserveSettings } from './kserve-options.js'
import { createReadiness } from './readiness.js'

export type { KserveOptions } from './kserve-options.js'

/**
 * A provider on a server of the Open Inference Protocol. The step's `request` gives `{ inputs: [tensor(…)] }`; without
 * one, a record whose input is JSON is taken for such a request itself.
 *
 * Throws TypeError when an option is not valid. Secrets are resolved in `create`.
 */
export function kserve(options: KserveOptions): ProviderFactory {
  const settings = readKserveOptions(options)
  return {
    slots: settings.slots,
    terms: (name) => ({ name, ...settings.terms }),
    create: (name, deps) => createKserveProvider(name, settings, deps),
  }
}

function createKserveProvider(name: string, settings: KserveSettings, deps: ProviderDeps): Provider {
  const session = openSession(name, settings, deps)
  const anyVersion = `${session.basePath}/v2/models/${encodeURIComponent(settings.model)}`
  const model =
    settings.version === null ? anyVersion : `${anyVersion}/versions/${encodeURIComponent(settings.version)}`
  return {
    terms: { name, ...settings.terms },
    slots: settings.slots,
    build: async (parts) => ({ body: await build(parts), contentType: 'application/json' }),
    call: (request, signal) => infer(session, `${model}/infer`, settings, request, signal),
    ready: createReadiness(session, { server: `${session.basePath}/v2/health/ready`, model, anyVersion }),
    close() {
      session.close()
      return Promise.resolve()
    },
  }
}

async function build({ requestKey, request, input }: RequestParts): Promise<string> {
  return writeRequest(requestKey, request === undefined ? await input.json() : request)
}

async function infer(
  session: HttpSession,
  path: string,
  settings: KserveSettings,
  { built, requestKey }: CallRequest,
  signal: AbortSignal,
): Promise<CallAnswer> {
  const { body, contentType } = built!
  const statuses: StatusRules = {
    notExecuted: new Set([503]),
    executed: new Set(),
    retryable: null,
    rejects: settings.rejects,
  }
  const outcome = await session.exchange({ method: 'POST', path, body, contentType, signal })
  const reading = readOutcome(outcome, { statuses, cutIsUnknown: false })
  return reading.ok ? readAnswer(reading, requestKey, settings) : refusalOf(reading.failure, reading.body)
}

/** A 2xx: it ran. What is wrong with the answer was so for the same input the last time, too. */
function readAnswer(
  { body, evidence, limits }: Extract<Reading, { ok: true }>,
  requestKey: string,
  { output, model }: KserveSettings,
): CallAnswer {
  const told = { evidence: { ...evidence, model } as Evidence, limits }
  const json = parseJsonBody(body)
  if (json === undefined)
    return { kind: 'partial', code: 'not-json', message: 'The answer is no JSON.', retryable: true, ...told }
  const reading = readInference(json, requestKey)
  if (!reading.ok) {
    const { code, message } = reading
    return { kind: 'partial', code, message, retryable: code === 'wrong-id', ...told }
  }
  const { answer, id } = reading
  told.evidence['model'] = answer.modelName
  if (answer.modelVersion !== null) told.evidence['modelVersion'] = answer.modelVersion
  if (id !== null) told.evidence['requestId'] ??= id
  return map(answer, output, told)
}

function map(
  answer: KserveAnswer,
  output: KserveSettings['output'],
  told: Pick<CallAnswer, 'evidence' | 'limits'>,
): CallAnswer {
  try {
    return { kind: 'succeeded', output: output === undefined ? answer : output(answer), spend: null, ...told }
  } catch {
    const message = "The provider's output function threw on this answer."
    return { kind: 'partial', code: 'output-threw', message, retryable: false, ...told }
  }
}

const ErrorAnswer = z.object({ error: z.string() })

/** What the server says in words is not repeated: it may quote the input. */
function refusalOf(failure: Failure, body: Buffer | null): CallAnswer {
  const status = failure.evidence?.['status']
  const isOwn = body !== null && ErrorAnswer.safeParse(parseJsonBody(body)).success
  if (status === 503 && !isOwn) {
    const { evidence, limits } = failure
    const message = 'Something in front of the server answered with status 503.' // K2
    return { kind: 'unknown', code: 'http-503', message, ...(evidence && { evidence }), ...(limits && { limits }) }
  }
  if (status === 503)
    return { ...failure, code: 'not-ready', message: 'The server takes no requests now (status 503).' }
  if (status === 404 && isOwn) {
    const message = 'The server does not have this model, or not in this version (status 404).'
    return { ...failure, code: 'model-unknown', message }
  }
  if (status === 400 || status === 422) {
    const message = `The server refuses the input (status ${status}): check names, shapes and datatypes of its tensors.`
    return { ...failure, code: 'input-refused', message }
  }
  if (status === 500) {
    const message = 'The server failed on this request (status 500). Some answer so to a tensor of a wrong shape.' // K3
    return { ...failure, message }
  }
  return failure
}
