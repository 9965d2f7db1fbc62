/**
 * A protocol that is spoken by a server of its own: what reaches the faulty server is sent on, and its whole answer is
 * what the faults are applied to. For real model servers on this machine.
 */
import { request as httpRequest } from 'node:http'
import type { Protocol, ProtocolRequest, ProtocolResponse } from './subject.js'

const FORWARD_MS_MAX = 60_000
/** They belong to one connection (RFC 9110, 7.6.1), or say where a body ends. */
const OF_THE_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length', 'host', 'date'])

const kept = (headers: { [name: string]: string | string[] | undefined }): { [name: string]: string } =>
  Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !OF_THE_CONNECTION.has(name))
      .map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')]),
  )

/** `url`: the server's origin. Each request has a connection of its own, which is closed after it. */
export const forwardTo =
  (url: string): Protocol =>
  (request) =>
    send(url, request)

function send(url: string, { method, path, headers, body }: ProtocolRequest): Promise<ProtocolResponse> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(FORWARD_MS_MAX)
    const options = { method, headers: { ...kept(headers), 'content-length': body.length }, agent: false, signal }
    const forwarded = httpRequest(new URL(path, url), options, (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.on('error', reject)
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, headers: kept(answer.headers), body: Buffer.concat(chunks) }),
      )
    })
    forwarded.on('error', reject)
    forwarded.end(body)
  })
}
