/**
 * A small deployment for tests: Endstate processes (test/support/node.mjs) on the shared servers, in a database and
 * under a prefix of their own, with a provider process as the independent witness of what was called.
 */
import { join } from 'node:path'
import type { Db } from 'mongodb'
import { expect } from 'vitest'
import type { BudgetOptions } from '../../src/config/budgets.js'
import type { FaultpointName } from '../../src/simulation/faultpoints.js'
import type { Child } from './processes.js'
import { startChild, waitFor } from './processes.js'
import { freshDb, freshNats, testMongoUrl, testNatsUrl } from './servers.js'

/** As the adapter takes it, where that is plain data; a secret is `{ secret: NAME }`. */
export type TestProvider = {
  [option: string]: unknown
  /** Default `http`. */
  adapter?: 'http' | 'openai' | 'anthropic' | 'kserve' | 'replicate' | 'cog'
  url?: string
  slots?: number
  recovery?: 'idempotent' | 'retrievable' | 'job' | 'in-flight' | 'blind'
  keyTtl?: string
  cost?: 'paid' | 'free'
  longestRun?: string
  spendMax?: { amount: string; currency: string }
  responseBytesMax?: number
  limits?: { requestsPerMinute?: number; tokensPerMinute?: number }
}

export type TestPipeline = {
  name: string
  maxWait?: string
  lease?: { sendWithin: string; failover: string }
  steps: {
    name: string
    use: string[]
    deadline?: string
    attempts?: number
    backoff?: { initial: string; max: string }
    onUncertain?: unknown
    price?: { fixed: string; currency: string }
    fuse?: boolean
  }[]
  price?: { fixed: string; currency: string }
  revision?: number
}

export type Stop = { point: FaultpointName; event?: string; record?: string; nth?: number }

export type NodeOptions = {
  roles?: ('api' | 'worker' | 'sweeper')[]
  stop?: Stop
  mongoUrl?: string
  natsUrl?: string
  pipelines?: TestPipeline[]
  providers?: { [name: string]: TestProvider }
  mongoOptions?: { [name: string]: unknown }
  carryOverAfterMs?: number
  publicUrl?: string
  port?: number
  secrets?: { [name: string]: string }
}

export type TestNode = Child & { url: string }

export type AttemptJson = {
  n: number
  provider: string
  requestKey: string
  model: string | null
  outcome: string | null
  possibleDuplicate: boolean
  spend: { amount: string; basis: string } | null
  error: { code: string; kind: string } | null
  handle: string | null
  request: { sha256: string; blob?: string } | null
  evidence: { [name: string]: unknown } | null
  usage: { [unit: string]: number } | null
}
export type RecordJson = {
  id: string
  version: number
  status: string
  state: unknown
  pipeline: string
  pipelineVersion: string
  source: string
  acceptedAt: string
  settlesBy: string
  settledAt: string | null
  wakeAt: string | null
  reason: { code: string; message: string } | null
  steps: {
    [step: string]: {
      attempts: AttemptJson[]
      result: { attempt: number; output?: unknown; link?: string; bytes: number; sha256: string } | null
      discarded: { attempt: number; reason: string; bytes: number; sha256: string; output?: unknown }[]
    }
  }
  charges: { [key: string]: { amount: string; currency: string } }
}

export type Deployment = {
  natsUrl: string
  database: string
  /** Its database, when it runs on the shared MongoDB. */
  db: Db
  prefix: string
  node(options?: NodeOptions): Promise<TestNode>
  submit(
    node: TestNode,
    pipeline: string,
    input: unknown,
    key?: string,
    source?: string,
  ): Promise<{ status: number; body: { id: string; duplicate?: boolean; [fact: string]: unknown } }>
  read(node: TestNode, id: string): Promise<RecordJson>
  settled(node: TestNode, id: string, timeoutMs?: number): Promise<RecordJson>
  /** Waits until the record is as it should be. */
  until(node: TestNode, id: string, is: (record: RecordJson) => boolean): Promise<RecordJson>
  eventually(is: () => Promise<boolean>, what: string): Promise<void>
  dispose(): Promise<void>
}

export const startDeployment = async (
  defaults: {
    providers: { [name: string]: TestProvider }
    pipelines: TestPipeline[]
    sources?: string[]
    budgets?: BudgetOptions[]
    secrets?: { [name: string]: string }
    /** Url of a module that exports `make(es)`, which answers pipelines: those that are no plain data. */
    module?: string
  },
  /** Servers of the test's own, which it stops and starts. */
  servers: { mongoUrl?: string; natsUrl?: string } = {},
): Promise<Deployment> => {
  const db = await freshDb()
  const nats = await freshNats()
  const urls = { mongoUrl: testMongoUrl(), natsUrl: testNatsUrl(), ...servers }
  const nodes: TestNode[] = []

  const json = async <T>(url: string, init?: RequestInit): Promise<{ status: number; body: T }> => {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(30_000) })
    return { status: response.status, body: (await response.json()) as T }
  }
  const read = async (node: TestNode, id: string) => (await json<RecordJson>(`${node.url}/v1/records/${id}`)).body

  return {
    natsUrl: urls.natsUrl,
    database: db.db.databaseName,
    db: db.db,
    prefix: nats.prefix,
    async node(options = {}) {
      const setting = {
        ...defaults,
        ...urls,
        ...options,
        database: db.db.databaseName,
        prefix: nats.prefix,
        roles: options.roles ?? ['api', 'worker', 'sweeper'],
      }
      const child = startChild(join(import.meta.dirname, 'node.mjs'), { env: { TEST_NODE: JSON.stringify(setting) } })
      const ready = JSON.parse((await child.line(/^READY /, { timeoutMs: 30_000 })).slice('READY '.length)) as {
        url: string
      }
      const node = Object.assign(child, { url: ready.url })
      nodes.push(node)
      return node
    },
    submit: (node, pipeline, input, key, source) =>
      json(`${node.url}/v1/records`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(key !== undefined && { 'idempotency-key': key }),
          ...(source !== undefined && { 'endstate-source': source }),
        },
        body: JSON.stringify({ pipeline, input }),
      }),
    read,
    async settled(node, id, timeoutMs = 30_000) {
      let last: RecordJson | null = null
      await waitFor(
        async () => {
          last = await read(node, id)
          return last.status !== 'processing'
        },
        { timeoutMs, what: () => `record ${id} to settle; it is ${JSON.stringify(last, null, 1)}` },
      )
      return last as unknown as RecordJson
    },
    async until(node, id, is) {
      let last: RecordJson | null = null
      await waitFor(async () => is((last = await read(node, id))), {
        timeoutMs: 30_000,
        what: () => `record ${id} to be as expected; it is ${JSON.stringify(last, null, 1)}`,
      })
      return last as unknown as RecordJson
    },
    eventually: async (is, what) => void (await waitFor(is, { timeoutMs: 20_000, what: () => what })),
    async dispose() {
      await Promise.all(nodes.map((node) => node.kill()))
      await db.dispose()
      await nats.dispose()
    },
  }
}

/** P2 to P5 on a settled record, as a customer, an accountant and an auditor would check it. */
export const expectSound = (record: RecordJson): void => {
  expect(record.status, record.id).not.toBe('processing')
  expect(record.wakeAt).toBeNull()
  expect(Date.parse(record.settledAt!)).toBeLessThanOrEqual(Date.parse(record.settlesBy))
  for (const [name, step] of Object.entries(record.steps)) {
    const succeeded = step.attempts.filter(({ outcome }) => outcome === 'succeeded')
    expect(step.attempts.map(({ n }) => n)).toEqual(step.attempts.map((_, index) => index + 1))
    for (const { outcome } of step.attempts) expect(outcome, name).not.toBeNull()
    if (step.result) expect(succeeded.map(({ n }) => n)).toContain(step.result.attempt)
    if (record.status === 'completed') expect(step.result, name).not.toBeNull()
    // Every success but the authoritative one is kept as discarded (P4).
    expect(step.discarded.length).toBe(succeeded.length - (step.result ? 1 : 0))
  }
}
