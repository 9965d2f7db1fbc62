/**
 * HTTP/1.1 as text, for the faulty server: requests out of a socket's bytes, and answers into the exact bytes that a
 * fault cuts. Only what adapters send: one request at a time per connection, a body by length or in chunks.
 */
import type { ProtocolRequest, ProtocolResponse } from './subject.js'

export const REQUEST_BYTES_MAX = 64 * 1024 * 1024

/** Null until a whole request has come. Throws for what is no request. */
export function takeRequest(received: Buffer): { request: ProtocolRequest; rest: Buffer } | null {
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd < 0) return null
  const [first = '', ...lines] = received.subarray(0, headEnd).toString('latin1').split('\r\n')
  const [method = '', path = ''] = first.split(' ')
  const headers: { [name: string]: string } = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim()
  }
  const taken = takeBody(received.subarray(headEnd + 4), headers)
  return taken && { request: { method, path, headers, body: taken.body }, rest: taken.rest }
}

function takeBody(bytes: Buffer, headers: { [name: string]: string }): { body: Buffer; rest: Buffer } | null {
  if (!/chunked/i.test(headers['transfer-encoding'] ?? '')) {
    const length = Number(headers['content-length'] ?? 0)
    if (bytes.length < length) return null
    return { body: Buffer.from(bytes.subarray(0, length)), rest: Buffer.from(bytes.subarray(length)) }
  }
  const chunks: Buffer[] = []
  for (let at = 0; ;) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) return null
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString('latin1'), 16)
    const end = lineEnd + 2 + size + 2
    if (bytes.length < end) return null
    if (size === 0) return { body: Buffer.concat(chunks), rest: Buffer.from(bytes.subarray(end)) }
    chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = end
  }
}

/** `contentEnd`: where the last byte ends that means anything; what follows only closes the framing. */
export type AnswerBytes = { bytes: Buffer; headEnd: number; contentEnd: number }

export function answerBytes({ status, headers = {}, json, body }: ProtocolResponse): AnswerBytes {
  const content = json === undefined ? Buffer.from(body ?? '') : Buffer.from(JSON.stringify(json))
  const told = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  if (json !== undefined) told['content-type'] ??= 'application/json'
  const chunked = (told['content-type'] ?? '').startsWith('text/event-stream')
  const bodiless = status === 204 || status === 304
  if (chunked) told['transfer-encoding'] = 'chunked'
  else if (!bodiless) told['content-length'] = String(content.length)
  const lines = Object.entries(told).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = Buffer.from(`HTTP/1.1 ${status} x\r\n${lines.join('')}\r\n`, 'latin1')
  const before = chunked ? Buffer.from(`${content.length.toString(16)}\r\n`) : Buffer.alloc(0)
  const after = Buffer.from(chunked ? '\r\n0\r\n\r\n' : '')
  const blank = /\s*$/.exec(content.toString('latin1'))?.[0].length ?? 0
  return {
    bytes: Buffer.concat(bodiless ? [head] : [head, before, content, after]),
    headEnd: head.length,
    contentEnd: head.length + before.length + content.length - blank,
  }
}
