/**
 * Adapters whose calls can't be looked up, through real workers that are killed: Anthropic (paid: the step's policy), and
 * a real MLServer and a real Cog server (free: run again). Each provider's own count is compared with the ledger.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startCog, type CogServer } from '../support/cog-server.js'
import type { Deployment, RecordJson, TestNode } from '../support/deployment.js'
import { startDeployment } from '../support/deployment.js'
import { INSTALL_MS_MAX, startMlserver, type Mlserver } from '../support/model-servers.js'
import { startAnthropicServer, type AnthropicServer } from '../support/protocol/anthropic-server.js'
import { waitFor } from '../support/processes.js'
import { attemptsOf, duplicatesIn, expectCharged, inLedger, killAt, runWell } from './killed-worker.js'

let claude: AnthropicServer
let mlserver: Mlserver
let cog: CogServer
let deployment: Deployment
let api: TestNode
beforeAll(async () => {
  claude = await startAnthropicServer({ apiKey: 'test-key' })
  claude.reply({ kind: 'message', message: { text: '{"risk":"low"}' } })
  mlserver = await startMlserver()
  cog = await startCog()
  const price = { fixed: '0.40', currency: 'EUR' }
  const pipeline = (name: string, use: string[], onUncertain?: unknown) => ({
    name,
    steps: [{ name: 'a', use, price, attempts: 2, deadline: '5s', ...(onUncertain !== undefined && { onUncertain }) }],
  })
  deployment = await startDeployment({
    providers: {
      claude: {
        adapter: 'anthropic',
        baseUrl: claude.url,
        model: 'claude-test',
        apiKey: { secret: 'ANTHROPIC_API_KEY' },
        output: 'json',
        maxOutputTokens: 100,
        prices: { currency: 'USD', inputPerMillion: '3', outputPerMillion: '15' },
        longestRun: '1s',
      },
      mlserver: { adapter: 'kserve', url: mlserver.url, model: mlserver.model, longestRun: '1s' },
      cog: { adapter: 'cog', url: cog.url, longestRun: '1s' },
    },
    pipelines: [
      pipeline('claude-retry', ['claude'], { retry: { duplicateBudget: 1 } }),
      pipeline('claude-investigate', ['claude'], 'investigate'),
      pipeline('claude-fallback', ['claude', 'cog'], 'fallback'),
      pipeline('mlserver', ['mlserver']),
      pipeline('cog', ['cog']),
    ],
    secrets: { ANTHROPIC_API_KEY: 'test-key' },
  })
  api = await deployment.node({ roles: ['api', 'sweeper'] })
}, INSTALL_MS_MAX)
afterAll(async () => {
  await deployment?.dispose()
  await claude.close()
  await mlserver?.stop()
  await cog?.stop()
})

const ANSWERED = { point: 'provider.call.after', event: 'a' } as const
const resultOf = (record: RecordJson) => {
  expect(record.status).toBe('completed')
  expectCharged(record)
  const { attempts, result } = record.steps['a']!
  return { output: result!.output, attempt: attempts.find(({ n }) => n === result!.attempt)! }
}

describe('anthropic', () => {
  const input = { text: 'How high is the risk?' }
  const counting = () => {
    const before = { posts: claude.calls.length, executions: claude.executions }
    return () => ({ posts: claude.calls.length - before.posts, executions: claude.executions - before.executions })
  }
  const USED = { inputTokens: 11, outputTokens: 7 }
  /** 11 at 3 and 7 at 15 dollars a million. */
  const PAID = { amount: '0.000138', currency: 'USD', basis: 'reported' }

  const expectAnswered = (record: RecordJson) => {
    const { output, attempt } = resultOf(record)
    expect(output).toEqual({ risk: 'low' })
    expect(attempt).toMatchObject({ outcome: 'succeeded', model: 'claude-test', usage: USED, spend: PAID })
    expect(attempt.evidence).toMatchObject({
      requestId: expect.stringMatching(/^req_\d+$/) as string,
      model: 'claude-test-20260101',
      finishReason: 'end_turn',
    })
  }
  const expectDoubt = (record: RecordJson) => {
    const [lost] = attemptsOf(record)
    expect(lost).toMatchObject({ outcome: 'uncertain', error: { kind: 'unknown' }, spend: { basis: 'upper-bound' } })
    expect(Number(lost!.spend!.amount)).toBeGreaterThan(Number(PAID.amount))
  }

  it('completes: one POST, and the ledger holds what it used and cost', async () => {
    const count = counting()
    const record = await runWell(deployment, api, { pipeline: 'claude-investigate', input })
    expectAnswered(record)
    expect(count()).toEqual({ posts: 1, executions: inLedger(record) })
  })

  it('SIGKILL between answer and save, policy investigate: no second call, the upper bound is booked', async () => {
    const count = counting()
    const record = await killAt(deployment, api, ANSWERED, { pipeline: 'claude-investigate', input })
    expect(record.status).toBe('investigation')
    expectDoubt(record)
    expectCharged(record)
    expect(inLedger(record)).toBe(1)
    expect(count()).toEqual({ posts: 1, executions: 1 })
  })

  it('SIGKILL between answer and save, policy retry: a second call, and the first may be a duplicate', async () => {
    const count = counting()
    const record = await killAt(deployment, api, ANSWERED, { pipeline: 'claude-retry', input })
    expectAnswered(record)
    expectDoubt(record)
    expect(duplicatesIn(record)).toBe(1)
    expect(inLedger(record)).toBe(2)
    expect(count()).toEqual({ posts: 2, executions: 2 })
  })

  it('SIGKILL between answer and save, policy fallback: another provider, and the first may be a duplicate', async () => {
    const count = counting()
    const record = await killAt(deployment, api, ANSWERED, { pipeline: 'claude-fallback', input: { key: 'fallback' } })
    const { attempt } = resultOf(record)
    expect(attempt).toMatchObject({ n: 2, provider: 'cog' })
    expectDoubt(record)
    expect(duplicatesIn(record)).toBe(1)
    expect(inLedger(record)).toBe(2)
    expect(count()).toEqual({ posts: 1, executions: 1 })
    expect(await cog.runs('fallback')).toBe(1)
  })
})

describe('kserve on a real MLServer', () => {
  const input = () => {
    const { row } = mlserver.known[0]!
    return { inputs: [{ name: 'rows', shape: [1, row.length], datatype: 'FP64', data: row }] }
  }
  const counting = async () => {
    const before = (await mlserver.executions()).succeeded
    return async () => (await mlserver.executions()).succeeded - before
  }
  const expectPredicted = (record: RecordJson) => {
    const { output, attempt } = resultOf(record)
    expect(output).toMatchObject({ modelName: 'breast-cancer', outputs: [{ name: 'predict', shape: [1, 1] }] })
    expect(attempt).toMatchObject({ model: 'breast-cancer', spend: null })
    expect(attempt.evidence).toMatchObject({
      model: 'breast-cancer',
      modelVersion: '1',
      requestId: attempt.requestKey,
    })
  }

  it('completes: one execution by its own counter', async () => {
    const executed = await counting()
    const record = await runWell(deployment, api, { pipeline: 'mlserver', input: input() })
    expectPredicted(record)
    expect(inLedger(record)).toBe(1)
    expect(await executed()).toBe(1)
  })

  it('SIGKILL between answer and save: run again, which costs nothing; the ledger knows of both', async () => {
    const executed = await counting()
    const record = await killAt(deployment, api, ANSWERED, { pipeline: 'mlserver', input: input() })
    expectPredicted(record)
    expect(attemptsOf(record)).toMatchObject([{ outcome: 'uncertain', spend: null }, { outcome: 'succeeded' }])
    expect(duplicatesIn(record)).toBe(0)
    expect(await executed()).toBe(inLedger(record))
  })
})

describe('a real Cog server', () => {
  const expectRun = (record: RecordJson, key: string) => {
    const { output, attempt } = resultOf(record)
    expect(output).toEqual({ key, bytes: null })
    expect(attempt.usage).toMatchObject({ seconds: expect.any(Number) as number })
    expect(attempt.evidence).toMatchObject({ status: 200 })
  }

  it('completes: one run of the model', async () => {
    const record = await runWell(deployment, api, { pipeline: 'cog', input: { key: 'well' } })
    expectRun(record, 'well')
    expect(inLedger(record)).toBe(1)
    expect(await cog.runs('well')).toBe(1)
  })

  it('SIGKILL between answer and save: run again; the ledger knows of both', async () => {
    const record = await killAt(deployment, api, ANSWERED, { pipeline: 'cog', input: { key: 'answered' } })
    expectRun(record, 'answered')
    expect(attemptsOf(record).map(({ outcome }) => outcome)).toEqual(['uncertain', 'succeeded'])
    expect(await cog.runs('answered')).toBe(inLedger(record))
  })

  it('SIGKILL while it runs: Cog ends that run with its connection; repeated under the same key', async () => {
    const record = await killAt(deployment, api, null, {
      pipeline: 'cog',
      input: { key: 'running', seconds: 2 },
      before: () =>
        waitFor(async () => (await cog.runs('running')) === 1, { timeoutMs: 20_000, what: 'the model to run' }),
    })
    expectRun(record, 'running')
    const [first, second] = attemptsOf(record)
    expect(first).toMatchObject({ outcome: 'uncertain', spend: null })
    expect(second!.requestKey).toBe(first!.requestKey)
    expect(await cog.runs('running')).toBe(inLedger(record))
    expect(await cog.runs('running', 'cancelled')).toBe(1)
  })
})
