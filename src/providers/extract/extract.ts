/**
 * The provider that finds the fields of a referral in pages that were read: free, blind, in this process's own
 * threads. Its input is what the step's `request` builds: `{ pages }`.
 */
import type { CallAnswer, CallRequest, Provider, ProviderFactory } from '../contract.js'
import { failure } from '../ocr/thread-answer.js'
import { createThreadPool, type ThreadPool } from '../ocr/thread-pool.js'
import { ExtractRequest, type ExtractOutput } from './extract-output.js'

export type ExtractOptions = {
  /** Documents at once, each in its own thread. */
  slots?: number
}

const SLOTS = 2
const LONGEST_RUN_MS = 5_000

export function extract({ slots = SLOTS }: ExtractOptions = {}): ProviderFactory {
  const terms: ProviderFactory['terms'] = (name) => ({
    name,
    recovery: 'blind',
    cost: 'free',
    longestRunMs: LONGEST_RUN_MS,
    keyTtlMs: 0,
    spendMax: null,
  })
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
  { request }: CallRequest,
  signal: AbortSignal,
): Promise<CallAnswer> {
  const parsed = ExtractRequest.safeParse(request)
  if (!parsed.success) {
    const paths = [...new Set(parsed.error.issues.map((issue) => issue.path.join('.') || 'request'))].slice(0, 5)
    const message = `The step's request must build { pages } as the read step answers them; wrong: ${paths.join(', ')}.`
    return { kind: 'not-executed', code: 'invalid-request', message, retryable: false }
  }
  try {
    const output = await pool.run(parsed.data, signal)
    return { kind: 'succeeded', output, spend: null, evidence: { fields: output.fields.length } }
  } catch (error) {
    return failure(error)
  }
}
