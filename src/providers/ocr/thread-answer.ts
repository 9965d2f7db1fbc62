import type { CallAnswer } from '../contract.js'
import { ThreadFailure } from './thread-pool.js'

/** Shared by the providers that work in threads of this process: nothing outlives a failed call. */
export function failure(error: unknown): CallAnswer {
  if (!(error instanceof ThreadFailure)) throw error
  const { code, message } = error
  if (code === 'aborted' || code === 'crashed') return { kind: 'executed', code, message, retryable: true, spend: null }
  return { kind: 'not-executed', code, message, retryable: true }
}
