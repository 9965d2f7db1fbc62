/** HTTP by hand, for what an orderly client can't be made to do. */
import { request, type ClientRequest, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'

export type RawAnswer = { status: number; headers: IncomingMessage['headers']; body: string }

export type RawRequest = {
  method?: string
  path: string
  headers?: { [name: string]: string }
  body?: AsyncIterable<Uint8Array | string> | string
}

/** Streams the body with backpressure, stops sending when the answer is there, and closes its connection. */
export function rawRequest(
  url: string,
  { method = 'POST', path, headers = {}, body = '' }: RawRequest,
): Promise<RawAnswer> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const req = request({ hostname, port, method, path, headers, agent: false, setHost: headers['host'] === undefined })
    let answered = false
    req.on('error', (error) => {
      if (!answered) reject(error)
    })
    req.on('response', (res) => {
      answered = true
      let text = ''
      res.setEncoding('utf8')
      res.on('data', (chunk: string) => {
        text += chunk
      })
      res.on('end', () => {
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body: text })
        req.destroy()
      })
      res.on('error', reject)
    })
    void (async () => {
      if (typeof body === 'string') req.write(body)
      else
        for await (const chunk of body) {
          if (answered || req.destroyed) break
          if (!req.write(chunk)) await drained(req)
        }
      req.end()
    })().catch(reject)
  })
}

function drained(req: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      req.off('drain', go).off('close', go)
      resolve()
    }
    req.on('drain', go).on('close', go)
  })
}

/** Sends these bytes on a connection of its own and hands it over. */
export async function rawSocket(url: string, text: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  await new Promise<void>((resolve) => socket.once('connect', resolve))
  await new Promise<void>((resolve) => socket.write(text, () => resolve()))
  return socket
}

export const BOUNDARY = 'endstate-test-boundary'
export const FORM_TYPE = `multipart/form-data; boundary=${BOUNDARY}`

export const field = (name: string, value: string): string =>
  `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`

export const fileHead = (fileName: string, type = 'application/octet-stream'): string =>
  `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="${fileName}"\r\nContent-Type: ${type}\r\n\r\n`

export const FORM_END = `\r\n--${BOUNDARY}--\r\n`

/** A form with these fields and one file, in the given chunks. */
export async function* formOf(
  fields: { [name: string]: string },
  fileName: string,
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array | string> {
  for (const [name, value] of Object.entries(fields)) yield field(name, value)
  yield fileHead(fileName)
  yield* content
  yield FORM_END
}
