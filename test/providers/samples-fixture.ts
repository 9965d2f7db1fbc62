/** Calls of the reading and extracting providers as the worker makes them, on the samples and on bytes. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { aRequest } from './call-inputs.js'
import type { CallRequest } from '../../src/providers/contract.js'

export const sample = (name: string): Promise<Uint8Array> =>
  readFile(join(import.meta.dirname, '..', '..', 'samples', name))

export const callWith = (bytes: Uint8Array | null, request?: unknown): CallRequest => ({
  ...aRequest(),
  record: 'r-1',
  pipeline: 'referral',
  step: 'read',
  attempt: 1,
  requestKey: 'k-1',
  deadlineMs: 30_000,
  input: {
    mediaType: 'application/octet-stream',
    fileName: null,
    sha256: '',
    bytesTotal: bytes?.length ?? 0,
    bytes: () => (bytes === null ? Promise.reject(new Error('storage is away')) : Promise.resolve(bytes)),
    json: () => Promise.reject(new Error('no JSON')),
  },
  request,
  outputs: {},
})
