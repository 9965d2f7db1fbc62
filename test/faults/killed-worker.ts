/**
 * What the tests of the adapters share: a worker that gets SIGKILL at a named place, another that goes on, and what the
 * ledger then says of a record's calls.
 */
import { expect } from 'vitest'
import type { AttemptJson, Deployment, NodeOptions, RecordJson, Stop, TestNode } from '../support/deployment.js'
import { expectSound } from '../support/deployment.js'

export const attemptsOf = (record: RecordJson): AttemptJson[] => record.steps['a']!.attempts

/** Runs that the ledger knows of: each attempt that ran or may have. None of these providers honours a key of ours. */
export const inLedger = (record: RecordJson): number =>
  attemptsOf(record).filter(({ outcome, error }) => outcome !== 'failed' && error?.kind !== 'not-executed').length

export const duplicatesIn = (record: RecordJson): number =>
  attemptsOf(record).filter(({ possibleDuplicate }) => possibleDuplicate).length

type Order = {
  pipeline: string
  input: unknown
  node?: NodeOptions
  /** As soon as it is submitted. */
  meanwhile?: (id: string) => Promise<unknown>
  /** Once the worker stands at its place; it is killed when this resolves. */
  before?: (id: string) => Promise<unknown>
  /** Once it is dead, and another has started. */
  after?: (id: string) => Promise<unknown>
}

/** `stop`: null kills it wherever it is when `before` resolves. */
export const killAt = async (
  deployment: Deployment,
  api: TestNode,
  stop: Stop | null,
  { pipeline, input, node = {}, meanwhile, before, after }: Order,
): Promise<RecordJson> => {
  const doomed = await deployment.node({ ...node, roles: ['worker'], ...(stop && { stop }) })
  let heir: TestNode | null = null
  try {
    const { body } = await deployment.submit(api, pipeline, input)
    await meanwhile?.(body.id)
    if (stop !== null) await doomed.line(/^REACHED /, { timeoutMs: 20_000 })
    await before?.(body.id)
    await doomed.kill()
    heir = await deployment.node({ ...node, roles: ['worker'] })
    await after?.(body.id)
    const record = await deployment.settled(api, body.id, 50_000)
    expectSound(record)
    return record
  } finally {
    // A test that fails must not lend its workers to the next one.
    await Promise.all([doomed.kill(), heir?.kill()])
  }
}

/** Another worker alone, from submission to the end. */
export const runWell = async (
  deployment: Deployment,
  api: TestNode,
  { pipeline, input, node = {}, meanwhile }: Omit<Order, 'before' | 'after'>,
): Promise<RecordJson> => {
  const worker = await deployment.node({ ...node, roles: ['worker'] })
  try {
    const { body } = await deployment.submit(api, pipeline, input)
    await meanwhile?.(body.id)
    const record = await deployment.settled(api, body.id)
    expectSound(record)
    expect(record.status).toBe('completed')
    return record
  } finally {
    await worker.kill()
  }
}

export const hasHandle = (deployment: Deployment, api: TestNode) => (id: string) =>
  deployment.until(api, id, (record) => attemptsOf(record)[0]?.handle != null)

/** One charge where there is a result, none where there is not. */
export const expectCharged = (record: RecordJson): void =>
  expect(Object.keys(record.charges)).toEqual(record.status === 'completed' ? ['a'] : [])
