/**
 * A customer's billing as charges reach it: a real HTTP server that verifies signatures with the official library, keeps
 * what it was given by id, and can be down, refuse, lose its answer or forget.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'

export const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8G'

export type Delivery = { id: string; body: string; answered: Answer }

/** 200 takes it; `cut` takes it and closes without an answer, `silence` leaves the connection open. */
export type Answer = number | 'cut' | 'silence'

export type Receiver = {
  url: string
  askUrl: string
  /** In the order of arrival, whatever was answered. */
  deliveries: Delivery[]
  /** Billed: each id once, until `forget`. */
  billed: string[]
  asked: string[]
  /** How the next ones are answered. */
  answers(answer: (id: string) => Answer): void
  asking(answer: (id: string) => { status: number; body: string }): void
  /** The ids are gone from its memory; what was billed stays billed. */
  forget(): void
  close(): Promise<void>
}

const read = async (req: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

export const startReceiver = async (): Promise<Receiver> => {
  const verifier = new Webhook(SECRET)
  let answer: (id: string) => Answer = () => 200
  const remembered = new Set<string>()
  const state = { deliveries: [] as Delivery[], billed: [] as string[], asked: [] as string[] }
  let askAnswer = (id: string) => ({ status: 200, body: JSON.stringify({ known: state.billed.includes(id) }) })

  const verified = (req: IncomingMessage, body: string): boolean => {
    try {
      verifier.verify(body, req.headers as { [name: string]: string }, { jsonParse: false })
      return true
    } catch {
      return false
    }
  }
  const take = async (req: IncomingMessage, res: ServerResponse) => {
    const body = await read(req)
    if (!verified(req, body)) return void res.writeHead(401).end()
    const id = String(req.headers['webhook-id'])
    const url = new URL(req.url ?? '/', 'http://receiver')
    if (req.method === 'GET') {
      state.asked.push(url.searchParams.get('id') ?? '')
      const told = askAnswer(url.searchParams.get('id') ?? '')
      return void res.writeHead(told.status).end(told.body)
    }
    const answered = answer(id)
    state.deliveries.push({ id, body, answered })
    if ((typeof answered !== 'number' || answered < 300) && !remembered.has(id)) {
      remembered.add(id)
      state.billed.push(id)
    }
    if (answered === 'cut') return void req.socket.destroy()
    if (answered === 'silence') return
    res.writeHead(answered).end()
  }
  const server = createServer((req, res) => void take(req, res).catch(() => req.socket.destroy()))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    ...state,
    url: `${base}/charges`,
    askUrl: `${base}/known`,
    answers: (next) => void (answer = next),
    asking: (next) => void (askAnswer = next),
    forget: () => remembered.clear(),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
