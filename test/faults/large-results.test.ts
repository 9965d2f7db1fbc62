/**
 * Results that are hard to keep. Whatever the provider answered was paid for: it becomes the result, or, where no store
 * can hold it, the record goes to a person with its spend and what could be kept. No such result is ever asked for
 * a second time (P3, P4, P6).
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deployment, RecordJson, TestNode, TestPipeline } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import type { ProviderProcess } from '../support/provider-process.js'
import { startProviderProcess } from '../support/provider-process.js'

let provider: ProviderProcess
beforeAll(async () => {
  provider = await startProviderProcess()
})
afterAll(async () => {
  await provider.stop()
})

const MIB = 1024 * 1024
const price = { fixed: '0.40', currency: 'EUR' }
const spendMax = { amount: '0.10', currency: 'EUR' }

type Scene = { deployment: Deployment; node: TestNode }

const scene = async (check: (scene: Scene) => Promise<void>) => {
  await provider.control({ reset: true })
  const blind = { url: `${provider.url}/paid`, cost: 'paid' as const, longestRun: '1s', spendMax }
  const step = { price, deadline: '20s', attempts: 3, onUncertain: { retry: { duplicateBudget: 3 } } }
  const deployment = await startDeployment({
    providers: { paid: { ...blind, responseBytesMax: 128 * MIB }, narrow: { ...blind, responseBytesMax: MIB } },
    pipelines: [
      { name: 'one', steps: [{ name: 'a', use: ['paid'], ...step }] },
      { name: 'narrow', steps: [{ name: 'a', use: ['narrow'], ...step }] },
      {
        name: 'two',
        steps: [
          { name: 'a', use: ['paid'], ...step },
          { name: 'b', use: ['paid'], ...step },
        ],
      },
    ],
  })
  try {
    await check({ deployment, node: await deployment.node() })
  } finally {
    await deployment.dispose()
  }
}

const settleAnyhow = async ({ deployment, node }: Scene, pipeline: string): Promise<RecordJson> => {
  const { body } = await deployment.submit(node, pipeline, { text: 'small' })
  return deployment.settled(node, body.id, 60_000)
}

const settle = async (here: Scene, pipeline: string): Promise<RecordJson> => {
  const record = await settleAnyhow(here, pipeline)
  expectSound(record)
  return record
}

const postsOf = async ({ id }: RecordJson, step: string) => (await provider.counts({ match: `${id}.${step}.` })).posts

const resultBytes = async ({ node }: Scene, { id }: RecordJson, step: string): Promise<Buffer> => {
  const response = await fetch(`${node.url}/v1/records/${id}/steps/${step}/result`)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('application/json')
  return Buffer.from(await response.arrayBuffer())
}

const countBlobs = ({ deployment }: Scene) => deployment.db.collection('blobs.files').countDocuments()

describe('a result of 5 MB', () => {
  it('is kept as a blob, served whole, handed to the next step, and paid for once', () =>
    scene(async (here) => {
      const text = 'x'.repeat(5 * MIB)
      await provider.control({ mode: 'large', bytes: text.length, match: '.a.' })
      // Only a call that carries the large text gets this answer.
      await provider.control({ mode: 'answer', body: { got: 'the text' }, match: text.slice(0, 100_000) })
      const record = await settle(here, 'two')
      expect(record.status).toBe('completed')
      expect(record.steps['b']!.result?.output).toEqual({ got: 'the text' })
      expect(Object.keys(record.charges).sort()).toEqual(['a', 'b'])
      expect([await postsOf(record, 'a'), await postsOf(record, 'b')]).toEqual([1, 1])

      const { result } = record.steps['a']!
      expect(result?.output).toBeUndefined()
      expect(result?.link).toBe(`/v1/records/${record.id}/steps/a/result`)
      const bytes = await resultBytes(here, record, 'a')
      expect(JSON.parse(bytes.toString())).toEqual({ ok: true, text })
      expect(bytes.length).toBe(result?.bytes)
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(result?.sha256)
      // The document stays small: content is never in it, nor in its history.
      const [size] = await here.deployment.db
        .collection('records')
        .aggregate<{ bytes: number }>([{ $project: { bytes: { $bsonSize: '$$ROOT' } } }])
        .toArray()
      expect(size!.bytes).toBeLessThan(64 * 1024)
    }))
})

/** A provider of raw text, which counts its calls: the usual one could not write such an answer either. */
const rawProvider = async (text: string) => {
  let posts = 0
  const server = createServer((req, res) => {
    posts += 1
    req.resume().on('end', () => res.writeHead(200, { 'content-type': 'application/json' }).end(text))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    posts: () => posts,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** The end of every result that could not be kept. */
const expectUnstorable = async (record: RecordJson, code: string, posts?: number) => {
  expect(record.status).toBe('investigation')
  expect(record.reason?.code).toBe(code)
  expect(record.charges).toEqual({})
  const { attempts, result } = record.steps['a']!
  expect(result).toBeNull()
  expect(attempts.map(({ outcome, error }) => [outcome, error?.code])).toEqual([['succeeded', code]])
  expect(attempts[0]!.spend).toMatchObject(spendMax)
  expect(posts ?? (await postsOf(record, 'a'))).toBe(1)
}

describe('a result that cannot be stored', () => {
  it('because it is larger than any result may be: investigation, spend booked, no second call', () =>
    scene(async (here) => {
      await provider.control({ mode: 'large', bytes: 65 * MIB })
      // Nothing of it is kept, so there is nothing discarded either.
      const record = await settleAnyhow(here, 'one')
      await expectUnstorable(record, 'result-too-large')
      expect(record.reason?.message).toContain(`${64 * MIB}`)
      expect(await countBlobs(here)).toBe(0)
    }))

  it('because the database refuses the document: its payload is kept as a blob, no second call', () =>
    scene(async (here) => {
      // As an operator's own validator of the collection might do.
      await here.deployment.db.command({ collMod: 'records', validator: { 'steps.a.result.payload': null } })
      await provider.control({ mode: 'answer', body: { finding: 'kept' } })
      const record = await settle(here, 'one')
      await expectUnstorable(record, 'result-unstorable')
      const [kept] = record.steps['a']!.discarded
      const text = JSON.stringify({ finding: 'kept' })
      expect(kept).toMatchObject({
        attempt: 1,
        bytes: text.length,
        sha256: createHash('sha256').update(text).digest('hex'),
      })
      const chunk = await here.deployment.db.collection('blobs.chunks').findOne<{ data: { buffer: Uint8Array } }>()
      expect(Buffer.from(chunk!.data.buffer).toString()).toBe(text)
      // The reason names the cause, never the content.
      expect(JSON.stringify(record.reason)).not.toContain('kept')
    }))

  it('because it is nested too deep to be written: investigation, spend booked, no second call', () =>
    scene(async (here) => {
      const depth = 100_000
      const raw = await rawProvider('['.repeat(depth) + ']'.repeat(depth))
      try {
        const providers = { paid: { url: raw.url, cost: 'paid' as const, longestRun: '1s', spendMax } }
        const pipelines: TestPipeline[] = [
          { name: 'deep', steps: [{ name: 'a', use: ['paid'], price, attempts: 3, onUncertain: 'investigate' }] },
        ]
        const node = await here.deployment.node({ providers, pipelines })
        const record = await settleAnyhow({ ...here, node }, 'deep')
        await expectUnstorable(record, 'result-not-json', raw.posts())
      } finally {
        await raw.close()
      }
    }))

  it('because the provider answers more than its config takes: nothing more is asked of it', () =>
    scene(async (here) => {
      await provider.control({ mode: 'large', bytes: 2 * MIB })
      const record = await settle(here, 'narrow')
      expect(record.status).toBe('investigation')
      expect(record.charges).toEqual({})
      expect(record.steps['a']!.attempts.map(({ outcome, error }) => [outcome, error?.kind])).toEqual([
        ['failed', 'partial'],
      ])
      expect(record.steps['a']!.attempts[0]!.spend).toMatchObject(spendMax)
      expect(await postsOf(record, 'a')).toBe(1)
    }))
})

const nested = (depth: number): unknown => {
  let value: unknown = 'bottom'
  for (let level = 0; level < depth; level += 1) value = level % 2 ? [value] : { down: value }
  return value
}

describe('a result whose shape a database trips over', () => {
  it.each([
    { what: 'operator names', output: { $ne: 1, $where: 'x', $ref: 'records', $id: 1, $set: { status: 'completed' } } },
    { what: 'dots and empty names', output: { 'a.b': { 'c.': 1 }, '': 2, '.': 3, 'steps.a': null } },
    {
      what: 'names that JavaScript knows',
      output: JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":1},"toString":0,"_bsontype":"x"}'),
    },
    { what: 'depth beyond BSON', output: nested(1_000) },
    { what: 'broken surrogates, zero bytes and large numbers', output: ['\ud800', '\u0000', 1e308, -0.1, 2 ** 53] },
    { what: 'nothing', output: null },
    { what: 'a text', output: '' },
  ])('$what: comes back as it was answered, to the next step too', ({ output }) =>
    scene(async (here) => {
      await provider.control({ mode: 'answer', body: output, match: '.a.' })
      const record = await settle(here, 'two')
      expect(record.status).toBe('completed')
      expect(JSON.stringify(record.steps['a']!.result?.output)).toBe(JSON.stringify(output))
      expect((await resultBytes(here, record, 'a')).toString()).toBe(JSON.stringify(output))
      expect([await postsOf(record, 'a'), await postsOf(record, 'b')]).toEqual([1, 1])
      expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
    }),
  )
})
