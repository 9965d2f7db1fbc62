/** Deliveries to a described provider: verified on raw bytes, read only where the description says so. */
import { createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import type { WebhookDelivery, WebhookReader } from '../../src/providers/contract.js'
import { http, type HttpOptions } from '../../src/providers/http.js'
import type { WebhookOptions } from '../../src/providers/http-options.js'
import { env } from '../../src/providers/secret.js'
import { deliveryFor, WEBHOOK_SECRET } from './deliveries.js'

const secret = env('HOOK')
const carries = { header: 'x-callback' }

function readerOf(webhook: WebhookOptions, value = WEBHOOK_SECRET, more: object = {}): WebhookReader {
  const factory = http({
    url: 'http://127.0.0.1:9/jobs',
    cost: 'free',
    recovery: 'job',
    output: '/output',
    job: {
      handle: '/id',
      poll: { url: '/jobs/{handle}', status: '/state', means: { runs: 'running', done: 'succeeded', bad: 'failed' } },
      ...more,
    },
    webhook,
  } as HttpOptions)
  return factory.webhook!('gpt', { secret: () => value })
}

const standard: WebhookOptions = { carries, verify: 'standard-webhooks', secret, body: 'status' }
const done = { state: 'done', output: { text: 'Anna' } }

test('a signed delivery says what a poll would', async () => {
  const read = readerOf(standard)
  expect(await read(deliveryFor(done))).toMatchObject({
    kind: 'answer',
    answer: { kind: 'succeeded', output: { text: 'Anna' } },
  })
  expect(await read(deliveryFor({ state: 'bad' }))).toMatchObject({ kind: 'answer', answer: { kind: 'executed' } })
  expect(await read(deliveryFor({ state: 'runs' }))).toEqual({ kind: 'ask' })
  expect(await read(deliveryFor({ state: 'whatever' }))).toEqual({ kind: 'ask' })
})

test('where the output stands elsewhere, or the body is not to be read, the provider is asked', async () => {
  expect(
    await readerOf(standard, WEBHOOK_SECRET, { result: { url: '/jobs/{handle}/output' } })(deliveryFor(done)),
  ).toEqual({
    kind: 'ask',
  })
  const silent: WebhookOptions = { carries, verify: 'standard-webhooks', secret }
  expect(await readerOf(silent)(deliveryFor(done))).toEqual({ kind: 'ask' })
})

test('an unsigned delivery is never believed', async () => {
  expect(await readerOf({ carries, verify: 'none' })(deliveryFor(done))).toEqual({ kind: 'ask' })
})

const refused = (read: WebhookReader, delivery: WebhookDelivery) => {
  try {
    return { status: 0, news: read(delivery) }
  } catch (error) {
    const { code, status, message } = error as { code: string; status: number; message: string }
    expect(code).toBe('webhook-refused')
    expect(message).not.toContain('Anna')
    return { status }
  }
}

test('changed, late, unsigned or by another key: refused', () => {
  const read = readerOf(standard)
  const good = deliveryFor(done)
  const changed = Buffer.from(good.body)
  changed[changed.length - 3]! ^= 1
  expect(refused(read, { ...good, body: changed })).toEqual({ status: 401 })
  expect(refused(read, { ...good, headers: {} })).toEqual({ status: 401 })
  expect(refused(read, { ...good, headers: { ...good.headers, 'webhook-id': 'msg_2' } })).toEqual({ status: 401 })
  expect(refused(read, deliveryFor(done, new Date(Date.now() - 600_000)))).toEqual({ status: 401 })
  const other = `whsec_${Buffer.from('another key of 32 bytes, or so!!').toString('base64')}`
  expect(refused(readerOf(standard, other), good)).toEqual({ status: 401 })
})

test('bytes that are no UTF-8 are not taken for others that read the same', async () => {
  const read = readerOf(standard)
  const good = deliveryFor({ state: 'done', output: '\ufffd' })
  expect(await read(good)).toMatchObject({ kind: 'answer' })
  const at = good.body.indexOf(0xef)
  const body = Buffer.concat([good.body.subarray(0, at), Buffer.from([0xff]), good.body.subarray(at + 3)])
  expect(refused(read, { ...good, body })).toEqual({ status: 401 })
})

test.each([
  { algorithm: 'sha256', encoding: 'hex', prefix: 'sha256=' },
  { algorithm: 'sha512', encoding: 'base64', prefix: '' },
] as const)('an HMAC by $algorithm in $encoding', ({ algorithm, encoding, prefix }) => {
  const read = readerOf(
    { carries, verify: { hmac: { header: 'X-Signature', algorithm, encoding, prefix } }, secret, body: 'status' },
    'key',
  )
  const sign = (body: Buffer, key = 'key'): WebhookDelivery => ({
    headers: { 'x-signature': prefix + createHmac(algorithm, key).update(body).digest(encoding) },
    body,
  })
  const body = Buffer.from(JSON.stringify(done))
  expect(read(sign(body))).toMatchObject({ kind: 'answer' })
  expect(refused(read, sign(body, 'other'))).toEqual({ status: 401 })
  expect(refused(read, { ...sign(body), body: Buffer.concat([body, Buffer.from(' ')]) })).toEqual({ status: 401 })
  expect(refused(read, { headers: { 'x-signature': '' }, body })).toEqual({ status: 401 })
  expect(refused(read, { headers: {}, body })).toEqual({ status: 401 })
  expect(refused(read, sign(Buffer.from('no JSON')))).toEqual({ status: 400 })
})

test('a secret that is no key is refused when a process starts, and never shown', () => {
  for (const value of ['', 'whsec_'])
    expect(() => readerOf(standard, value), JSON.stringify(value)).toThrow(/Provider gpt can't verify webhooks/)
  const hmac: WebhookOptions = { carries, verify: { hmac: { header: 'x-s', algorithm: 'sha256' } }, secret }
  expect(() => readerOf(hmac, '')).toThrow(/Provider gpt can't verify webhooks/)
})
