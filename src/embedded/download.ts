/**
 * Fetching a file over HTTP with every wait bounded, hashed on the way.
 * D1 A file is at its place only when it is whole and has the expected SHA-256.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rm } from 'node:fs/promises'

/** A host that does not answer must cost seconds, so that the ladder goes on. */
export const ANSWER_TIMEOUT_MS = 5_000
const STALL_TIMEOUT_MS = 15_000
const TEXT_BYTES_MAX = 8 * 1024 * 1024
const FILE_BYTES_MAX = 512 * 1024 * 1024

/** Throws with a short reason when the host does not answer within seconds or answers with an error. */
export async function fetchText(url: string, accept = '*/*'): Promise<string> {
  const response = await request(url, accept, AbortSignal.timeout(ANSWER_TIMEOUT_MS * 2))
  const text = await response.text()
  if (text.length > TEXT_BYTES_MAX) throw new Error(`${url} answered with more than ${TEXT_BYTES_MAX} bytes`)
  return text
}

/** D1. Answers the file's SHA-256. */
export async function fetchFile(url: string, target: string, expectedSha256: string): Promise<void> {
  const stalled = new AbortController()
  let timer = setTimeout(() => stalled.abort(new Error(`${url} did not answer`)), ANSWER_TIMEOUT_MS)
  const file = await open(target, 'w')
  let bytes = 0
  try {
    const response = await request(url, '*/*', stalled.signal)
    if (response.body === null) throw new Error(`${url} answered without a body`)
    const hash = createHash('sha256')
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      clearTimeout(timer)
      timer = setTimeout(() => stalled.abort(new Error(`${url} stopped in the middle`)), STALL_TIMEOUT_MS)
      bytes += chunk.length
      if (bytes > FILE_BYTES_MAX) throw new Error(`${url} is larger than ${FILE_BYTES_MAX} bytes`)
      hash.update(chunk)
      await file.write(chunk)
    }
    requireHash(url, hash.digest('hex'), expectedSha256)
  } catch (error) {
    await rm(target, { force: true })
    throw error
  } finally {
    clearTimeout(timer)
    await file.close()
  }
}

export async function requireFileHash(path: string, expectedSha256: string): Promise<void> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  requireHash(path, hash.digest('hex'), expectedSha256)
}

function requireHash(what: string, found: string, expected: string): void {
  if (found !== expected) throw new Error(`${what} has the SHA-256 ${found}, expected ${expected}`)
}

async function request(url: string, accept: string, signal: AbortSignal): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, { headers: { accept }, signal, redirect: 'follow' })
  } catch (error) {
    if (signal.aborted) throw signal.reason instanceof Error ? signal.reason : error
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    throw new Error(`${url} can't be reached (${cause instanceof Error ? cause.message : String(cause)})`, { cause })
  }
  if (!response.ok) {
    await response.body?.cancel()
    throw new Error(`${url} answered ${response.status}`)
  }
  return response
}
