/**
 * A client as cheap as can be: kept connections, one POST on each at a time, written by hand on net sockets. The load
 * generator shares the machine with what it measures, and node:http's client costs five times as much.
 * It reads answers with a Content-Length only, which is all that both services send.
 */
import { connect } from 'node:net'

const ANSWER_MS_MAX = 30_000
const HEAD_END = Buffer.from('\r\n\r\n')

/** Posts `body` (a string in ASCII) and answers { status, text }. One call at a time. */
export async function openConnection(url, path, headers = '') {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true })
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  const head = `POST ${path} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Type: application/json\r\n${headers}`
  let received = []
  let waiting = null

  const fail = (why) => {
    const { reject } = waiting ?? {}
    waiting = null
    reject?.(new Error(why))
  }
  socket.on('data', (chunk) => {
    received.push(chunk)
    const bytes = received.length === 1 ? chunk : Buffer.concat(received)
    const headEnd = bytes.indexOf(HEAD_END)
    if (headEnd < 0) return
    const answerHead = bytes.latin1Slice(0, headEnd)
    const length = /content-length: (\d+)/i.exec(answerHead)
    if (length === null) return fail('An answer came without a Content-Length.')
    const end = headEnd + 4 + Number(length[1])
    if (bytes.length < end) return void (received = [bytes])
    received = []
    const { resolve } = waiting
    waiting = null
    resolve({ status: Number(answerHead.slice(9, 12)), text: bytes.utf8Slice(headEnd + 4, end) })
  })
  socket.on('error', (error) => fail(`The connection broke: ${error.message}`))
  socket.on('close', () => fail('The service closed the connection.'))
  socket.setTimeout(ANSWER_MS_MAX, () => waiting && socket.destroy(new Error('no answer in time')))
  return {
    post(body) {
      if (socket.destroyed) return Promise.reject(new Error('The service had closed the connection.'))
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject }
        socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`)
      })
    },
    close: () => socket.destroy(),
  }
}
