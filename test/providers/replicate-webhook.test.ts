/**
 * Replicate's webhooks, on the raw bytes that the protocol server signs by hand: each way in which a delivery may be
 * wrong, and that a right one says the same as a look-up.
 */
import { createServer } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WebhookRefused } from '../../src/providers/contract.js'
import type { WebhookDelivery, WebhookNews } from '../../src/providers/contract.js'
import { replicate } from '../../src/providers/replicate/replicate.js'
import { env } from '../../src/providers/secret.js'
import { MODEL, startReplicateServer, type ReplicateServer } from '../support/protocol/replicate-server.js'
import { apiKey, ask, createProvider, createReader, secrets } from './replicate-rig.js'

let server: ReplicateServer
let id: string
beforeEach(async () => {
  server = await startReplicateServer()
  id = server.add({ webhook: 'https://es.example/v1/webhooks/rep?t=1', webhook_events_filter: ['completed'] }).id
  server.succeed(id, { text: 'grüße 你' }, 2)
})
afterEach(() => server.close())

const read = createReader()

async function refusal(delivery: WebhookDelivery): Promise<{ status: number; message: string }> {
  const thrown = await Promise.resolve(delivery)
    .then(read)
    .then(
      () => new Error('It was accepted.'),
      (error: unknown) => error,
    )
  if (!(thrown instanceof WebhookRefused)) throw thrown
  return { status: thrown.status, message: thrown.message }
}

const ago = (ms: number): Date => new Date(Date.now() - ms)

describe('a delivery that is signed', () => {
  test('says what a look-up says, and names the prediction', async () => {
    const news = await read(server.deliveryOf(id))
    expect(news).toMatchObject({
      kind: 'answer',
      answer: {
        kind: 'succeeded',
        handle: id,
        output: { text: 'grüße 你' },
        usage: { seconds: 2 },
        spend: { amount: '0.002', currency: 'USD', basis: 'reported' },
        evidence: { via: 'webhook', predictionId: id },
      },
    })
    const provider = createProvider(server)
    const asked = await ask(provider, { handle: id })
    await provider.close()
    expect((news as { answer: object }).answer).toEqual({ ...asked, evidence: { via: 'webhook', predictionId: id } })
  })

  test('may come again, and says the same', async () => {
    const delivery = server.deliveryOf(id)
    expect(await read(delivery)).toEqual(await read(delivery))
  })

  test('may be a few minutes old', async () => {
    expect(await read(server.deliveryOf(id, { at: ago(4 * 60_000) }))).toMatchObject({ kind: 'answer' })
  })

  test('may carry several signatures, of which one is ours', async () => {
    const { headers, body } = server.deliveryOf(id)
    const other = server.deliveryOf(id, { key: 'whsec_b3RoZXI=' }).headers['webhook-signature']
    const both = `v2,abc ${other} ${headers['webhook-signature']}`
    expect(await read({ headers: { ...headers, 'webhook-signature': both }, body })).toMatchObject({ kind: 'answer' })
  })

  test.each([
    ['failed', { kind: 'executed', code: 'prediction-failed' }],
    ['canceled', { kind: 'executed', code: 'prediction-canceled' }],
    ['processing', { kind: 'accepted' }],
  ] as const)('of a prediction that is %s', async (status, answer) => {
    server.change(id, { status })
    expect(await read(server.deliveryOf(id))).toMatchObject({ kind: 'answer', answer: { ...answer, handle: id } })
  })

  test('with a state that nobody has documented asks for a look-up', async () => {
    server.change(id, { status: 'paused' as never })
    expect(await read(server.deliveryOf(id))).toEqual({ kind: 'ask' } satisfies WebhookNews)
  })

  test('and is no prediction is refused', async () => {
    server.change(id, { status: undefined as never })
    expect(await refusal(server.deliveryOf(id))).toMatchObject({ status: 400 })
  })
})

describe('a delivery is refused', () => {
  test('when any one byte of its body was changed', async () => {
    const { headers, body } = server.deliveryOf(id)
    for (let at = 0; at < body.length; at++) {
      const changed = Uint8Array.from(body)
      changed[at] = (changed[at] ?? 0) ^ 1
      const { status } = await refusal({ headers, body: changed })
      // 400 where it is no UTF-8 any more.
      expect([400, 401]).toContain(status)
    }
    expect(await read({ headers, body })).toMatchObject({ kind: 'answer' })
  })

  test('when bytes were added, or it is empty', async () => {
    const { headers, body } = server.deliveryOf(id)
    expect(await refusal({ headers, body: Buffer.concat([body, Buffer.from('\n')]) })).toMatchObject({ status: 401 })
    const marked = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), body])
    expect(await refusal({ headers, body: marked })).toMatchObject({ status: 401 })
    expect(await refusal({ headers, body: new Uint8Array() })).toMatchObject({ status: 401 })
  })

  test('when a byte that is no text stands where a replacement character was signed', async () => {
    server.succeed(id, 'a\uFFFDb')
    const { headers, body } = server.deliveryOf(id)
    const at = Buffer.from(body).indexOf('\uFFFD')
    const changed = Buffer.concat([body.slice(0, at), Buffer.from([0xff]), body.slice(at + 3)])
    expect(await read({ headers, body })).toMatchObject({ kind: 'answer' })
    expect(await refusal({ headers, body: changed })).toMatchObject({ status: 400 })
  })

  test('when it was signed with another key', async () => {
    expect(await refusal(server.deliveryOf(id, { key: 'whsec_b3RoZXI=' }))).toMatchObject({ status: 401 })
  })

  test('when it is stale, or from the future', async () => {
    expect(await refusal(server.deliveryOf(id, { at: ago(6 * 60_000) }))).toMatchObject({ status: 401 })
    expect(await refusal(server.deliveryOf(id, { at: ago(-6 * 60_000) }))).toMatchObject({ status: 401 })
  })

  test('when its time was renewed, or its id changed, without signing anew', async () => {
    const { headers, body } = server.deliveryOf(id, { at: ago(6 * 60_000) })
    const now = String(Math.floor(Date.now() / 1000))
    expect(await refusal({ headers: { ...headers, 'webhook-timestamp': now }, body })).toMatchObject({ status: 401 })
    const fresh = server.deliveryOf(id)
    const renamed = { ...fresh.headers, 'webhook-id': 'msg_other' }
    expect(await refusal({ headers: renamed, body: fresh.body })).toMatchObject({ status: 401 })
  })

  test.each(['webhook-id', 'webhook-timestamp', 'webhook-signature'])('without %s', async (name) => {
    const { headers, body } = server.deliveryOf(id)
    const { [name]: _left, ...others } = headers
    expect(await refusal({ headers: others, body })).toMatchObject({ status: 401 })
  })

  test('in words that quote nothing of it', async () => {
    const { headers, body } = server.deliveryOf(id)
    const { message } = await refusal({ headers: { ...headers, 'webhook-id': 'msg_secret' }, body })
    expect(message).not.toContain('secret')
    expect(message).not.toContain('grüße')
  })
})

test('the protocol server sends what the reader accepts', async () => {
  const got: WebhookDelivery[] = []
  const receiver = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      got.push({ headers: req.headers as { [name: string]: string }, body: Buffer.concat(chunks) })
      res.writeHead(204).end()
    })
  })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const { port } = receiver.address() as { port: number }
  server.change(id, { webhook: `http://127.0.0.1:${port}/hook` })
  expect(await server.deliver(id)).toBe(204)
  expect(await read(got[0]!)).toMatchObject({ kind: 'answer', answer: { kind: 'succeeded' } })
  receiver.closeAllConnections()
  await new Promise((resolve) => receiver.close(resolve))
})

test('a config without the signing secret takes no webhooks, and one with another kind of secret does not start', () => {
  expect(replicate({ model: MODEL, apiKey }).webhook).toBeUndefined()
  const { webhook } = replicate({ model: MODEL, apiKey, webhookSecret: env('REPLICATE_API_TOKEN') })
  expect(() => webhook?.('rep', secrets)).toThrow('the secret REPLICATE_API_TOKEN is no signing secret')
})
