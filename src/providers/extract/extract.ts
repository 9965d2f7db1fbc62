/**
 * The provider that finds the fields of a referral in pages that were read, or in text that was typed: free, blind, in
 * this process's own threads. It is given what the step's `request` builds, `{ pages }` or `{ text }`; a step without one
 * hands on the record's JSON input.
 */
import { freeBlindTerms } from '../../machines/pipeline.js'
import type { CallAnswer, CallRequest, Provider, ProviderFactory } from '../contract.js'
import { failure } from '../ocr/thread-answer.js'
import { createThreadPool, type ThreadPool } from '../ocr/thread-pool.js'
import { ExtractRequest, ExtractText, type ExtractOutput } from './extract-output.js'
import { pagesOfText } from './text-page.js'

export type ExtractOptions = {
  /** Documents at once, each in its own thread. */
  slots?: number
}

const SLOTS = 2
const LONGEST_RUN_MS = 5_000
const JSON_TYPE = /^application\/(json|[\w.-]+\+json)(;|$)/

export function extract({ slots = SLOTS }: ExtractOptions = {}): ProviderFactory {
  const terms: ProviderFactory['terms'] = (name) => freeBlindTerms(name, LONGEST_RUN_MS)
  const create = (name: string): Provider => {
    const entry = new URL('./extract-thread.js', import.meta.url)
    const pool = createThreadPool<ExtractRequest, ExtractOutput>(entry, null, slots)
    return {
      terms: terms(name),
      slots,
      call: (request, signal) => call(pool, request, signal),
      close: () => pool.close(),
    }
  }
  return { terms, slots, create }
}

async function call(
  pool: ThreadPool<ExtractRequest, ExtractOutput>,
  request: CallRequest,
  signal: AbortSignal,
): Promise<CallAnswer> {
  const built = request.request
  const given = built === undefined ? await pagesOfInput(request) : parse(built, "The step's request must build", false)
  if ('answer' in given) return given.answer
  try {
    const output = await pool.run(given, signal)
    return { kind: 'succeeded', output, spend: null, evidence: { fields: output.fields.length } }
  } catch (error) {
    return failure(error)
  }
}

async function pagesOfInput({ input }: CallRequest): Promise<ExtractRequest | { answer: CallAnswer }> {
  if (!JSON_TYPE.test(input.mediaType)) {
    const message = `The input is ${input.mediaType}: a step without a "request" takes JSON. Write one that builds { pages }.`
    return { answer: { kind: 'not-executed', code: 'invalid-request', message, retryable: false } }
  }
  const json = await input.json().catch(() => undefined)
  if (json !== undefined) return parse(json, 'The input must be', true)
  const message = 'The input could not be loaded.'
  return { answer: { kind: 'not-executed', code: 'input-unavailable', message, retryable: true } }
}

/** `rejects`: it is the record's input that is wrong, and no config can mend that. */
function parse(value: unknown, must: string, rejects: boolean): ExtractRequest | { answer: CallAnswer } {
  const typed = value !== null && typeof value === 'object' && 'text' in value && !('pages' in value)
  const parsed = typed ? ExtractText.safeParse(value) : ExtractRequest.safeParse(value)
  if (parsed.success) return 'text' in parsed.data ? { pages: pagesOfText(parsed.data.text) } : parsed.data
  const paths = [...new Set(parsed.error.issues.map((issue) => issue.path.join('.') || 'request'))].slice(0, 5)
  const message = `${must} { pages } as the read step answers them, or { text }; wrong: ${paths.join(', ')}.`
  return { answer: { kind: 'not-executed', code: 'invalid-request', message, retryable: false, rejects } }
}
