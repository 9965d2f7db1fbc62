/**
 * A person starts records in investigation again, also after the config was edited and every process restarted. The
 * provider's own count says whether a step that has its result was called again (P3).
 */
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { runCli } from '../../src/cli/program.js'
import { EXIT } from '../../src/cli/exit-codes.js'
import { memoryIo } from '../cli/cli-io.js'
import type { Deployment, RecordJson, TestNode, TestPipeline } from '../support/deployment.js'
import { expectSound, startDeployment } from '../support/deployment.js'
import type { ProviderProcess } from '../support/provider-process.js'
import { startProviderProcess } from '../support/provider-process.js'

let provider: ProviderProcess
let deployment: Deployment
const dispose: (() => Promise<void>)[] = []
beforeAll(async () => {
  provider = await startProviderProcess()
  const blind = { cost: 'paid' as const, longestRun: '2s', spendMax: { amount: '0.10', currency: 'EUR' } }
  deployment = await startDeployment({
    providers: { model: { url: provider.url, slots: 4, ...blind } },
    pipelines: [flow()],
  })
  dispose.push(deployment.dispose, provider.stop)
})
afterAll(async () => {
  for (const each of dispose) await each()
})
beforeEach(() => provider.control({ reset: true }))
vi.setConfig({ testTimeout: 120_000 })

type Step = TestPipeline['steps'][number]
const eur = (fixed: string) => ({ fixed, currency: 'EUR' })
const step = (name: string, price: string, more: Partial<Step> = {}): Step => ({
  name,
  use: ['model'],
  price: eur(price),
  attempts: 1,
  onUncertain: 'investigate',
  ...more,
})
const flow = (more: Partial<TestPipeline> = {}): TestPipeline => ({
  name: 'flow',
  steps: [step('a', '0.20'), step('b', '0.40')],
  ...more,
})

/** Step `a` is done, step `b` was refused for good. */
const investigated = async (node: TestNode): Promise<RecordJson> => {
  await provider.control({ mode: 'status', status: 422, match: '"outputs"', times: 1 })
  const { body } = await deployment.submit(node, 'flow', { scan: 1 })
  const record = await deployment.settled(node, body.id)
  expect(record.status).toBe('investigation')
  expect(record.steps['a']!.result).not.toBeNull()
  return record
}

const act = async (node: TestNode, { id, version }: RecordJson, action: string) => {
  const response = await fetch(`${node.url}/v1/records/${id}/${action}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'if-match': `"${version}"` },
    body: JSON.stringify({ reason: 'The model was mended.' }),
  })
  return { status: response.status, body: (await response.json()) as RecordJson & { code: string; detail: string } }
}

type Entry = { version: number; event: { type: string; from?: string; to?: string }; by: string; reused?: string[] }
const historyOf = async (node: TestNode, { id }: RecordJson) => {
  const response = await fetch(`${node.url}/v1/records/${id}/history?limit=200`)
  return ((await response.json()) as { items: Entry[] }).items
}
const since = async (node: TestNode, { id, version }: RecordJson) =>
  (await historyOf(node, { id } as RecordJson)).filter((entry) => entry.version > version)

const postsOf = async ({ id }: RecordJson) => [
  (await provider.counts({ match: `${id}.a.` })).posts,
  (await provider.counts({ match: `${id}.b.` })).posts,
]
const amounts = ({ charges }: RecordJson) =>
  Object.fromEntries(Object.entries(charges).map(([key, { amount }]) => [key, amount]))

const expectCompleted = async (node: TestNode, before: RecordJson, charges: { [key: string]: string }) => {
  const after = await deployment.settled(node, before.id)
  expectSound(after)
  expect(after.status).toBe('completed')
  // Called once, and its result is the first one; b was called again.
  expect(await postsOf(before)).toEqual([1, 2])
  expect(after.steps['a']).toEqual(before.steps['a'])
  expect(after.charges['a']).toEqual(before.charges['a'])
  expect(amounts(after)).toEqual(charges)
  return after
}

it('a retry calls the step that failed and no other, and the history says whose result was there', async () => {
  const node = await deployment.node()
  const before = await investigated(node)
  expect(await act(node, before, 'retry')).toMatchObject({ status: 200, body: { status: 'processing', generation: 2 } })
  await expectCompleted(node, before, { a: '0.20', b: '0.40' })
  const [retry] = await since(node, before)
  expect(retry).toMatchObject({ event: { type: 'RETRY' }, by: 'operator:local', reused: ['a'] })
  await node.kill()
})

it('also by the command, which shows the way and what can be done', async () => {
  const node = await deployment.node()
  const before = await investigated(node)
  const cli = async (...args: string[]) => {
    const io = memoryIo({ ENDSTATE_URL: node.url })
    return { exitCode: await runCli(args, io), out: io.stdout.join('\n'), err: io.stderr.join('\n') }
  }
  const { id, version } = before
  const shown = await cli('show', id)
  for (const action of ['cancel', 'retry', 'write-off'])
    expect(shown.out).toContain(`endstate ${action} ${id} --reason TEXT --if-version ${version}`)

  const early = await cli('retry', id, '--reason', 'Mended.', '--if-version', String(version - 1))
  expect(early).toMatchObject({ exitCode: EXIT.moved, out: '' })
  expect(early.err).toContain(`is at version ${version}, not ${version - 1}: 1 change(s) since`)

  const retried = await cli('retry', id, '--reason', 'Mended.', '--if-version', String(version))
  expect(retried.exitCode).toBe(EXIT.ok)
  expect(retried.out).toMatch(/RETRY reused a +operator:local/)
  await expectCompleted(node, before, { a: '0.20', b: '0.40' })

  const done = await cli('write-off', id, '--reason', 'Too late.', '--json')
  expect(done.exitCode).toBe(EXIT.failed)
  expect(JSON.parse(done.out)).toMatchObject({ error: { code: 'action-refused' } })
  expect((await cli('show', id)).out).not.toContain('What a person can do now')
  expect((await cli('retry', id)).exitCode).toBe(EXIT.usage)
  expect((await cli('retry', id, '--reason', 'x', '--if-version', 'new')).exitCode).toBe(EXIT.usage)
  await node.kill()
})

const edits: [string, TestPipeline][] = [
  ['its functions', flow({ revision: 2 })],
  [
    'prices and deadlines',
    flow({ steps: [step('a', '0.30', { deadline: '5s' }), step('b', '0.55', { deadline: '5s' })] }),
  ],
  ['an added step', flow({ steps: [step('a', '0.20'), step('b', '0.55'), step('c', '0.05')] })],
]
it.each(edits)('after an edit of %s a retry moves it to the new version first, in one save', async (_, edited) => {
  const node = await deployment.node()
  const before = await investigated(node)
  await node.kill()
  const after = await deployment.node({ pipelines: [edited] })
  const shown = await deployment.read(after, before.id)
  expect(shown).toEqual({ ...before, can: { cancel: true, retry: true, writeOff: true } })

  const { status, body } = await act(after, before, 'retry')
  expect({ status, code: body.code, detail: body.detail }).toEqual({ status: 200 })
  expect(body.pipelineVersion).not.toBe(before.pipelineVersion)
  const prices = Object.fromEntries(edited.steps.map(({ name, price }) => [name, price!.fixed]))
  const done = await expectCompleted(after, before, { ...prices, a: '0.20' })
  expect(Date.parse(done.settledAt!)).toBeLessThanOrEqual(Date.parse(body.settlesBy))
  const [changed, retry] = await since(after, before)
  expect(changed).toMatchObject({
    version: before.version + 1,
    event: { type: 'PIPELINE_CHANGED', from: before.pipelineVersion, to: body.pipelineVersion },
  })
  expect(retry).toMatchObject({
    version: before.version + 2,
    event: { type: 'RETRY' },
    by: 'operator:local',
    reused: ['a'],
  })
  await after.kill()
})

it('a record whose running step is gone goes to a person, whose retry goes on in the new version', async () => {
  const node = await deployment.node()
  await provider.control({ mode: 'hang', match: '"outputs"', times: 1 })
  const { body } = await deployment.submit(node, 'flow', { scan: 2 })
  await deployment.eventually(async () => (await provider.hanging()) === 1, 'step b to be called')
  await node.kill()
  const edited = flow({ steps: [step('a', '0.20'), step('c', '0.05')] })
  const after = await deployment.node({ pipelines: [edited], carryOverAfterMs: 200 })
  const before = await deployment.settled(after, body.id)
  expect(before).toMatchObject({ status: 'investigation', reason: { code: 'pipeline-unknown' } })
  expect(await act(after, before, 'retry')).toMatchObject({ status: 200 })
  const done = await deployment.settled(after, body.id)
  expect(done).toMatchObject({ status: 'completed', wakeAt: null, reason: null })
  expect(Date.parse(done.settledAt!)).toBeLessThanOrEqual(Date.parse(done.settlesBy))
  expect(amounts(done)).toEqual({ a: '0.20', c: '0.05' })
  // What may have run keeps its upper bound, and is not called again: no step needs it.
  expect(done.steps['b']!.attempts).toMatchObject([{ outcome: 'uncertain', spend: { basis: 'upper-bound' } }])
  expect(await postsOf(before)).toEqual([1, 1])
  expect((await since(after, before))[1]).toMatchObject({ event: { type: 'RETRY' }, reused: ['a'] })
  await after.kill()
})

it('after its pipeline was renamed nothing can be done, and the refusal says why', async () => {
  const node = await deployment.node()
  const before = await investigated(node)
  await node.kill()
  const after = await deployment.node({ pipelines: [flow({ name: 'river' })] })
  for (const action of ['retry', 'cancel', 'write-off']) {
    const { status, body } = await act(after, before, action)
    expect({ status, code: body.code }).toEqual({ status: 409, code: 'action-refused' })
    expect(body.detail).toContain(`pipeline version ${before.pipelineVersion} is gone. No pipeline is called "flow"`)
  }
  expect(await deployment.read(after, before.id)).toEqual({ ...before, can: null })
  // When the pipeline comes back, so does what can be done.
  const back = await deployment.node()
  expect((await act(back, before, 'retry')).status).toBe(200)
  await expectCompleted(back, before, { a: '0.20', b: '0.40' })
  await after.kill()
  await back.kill()
})
