/** Many records of one deployment at once: submitted with bounded concurrency, awaited together. */
import { expect } from 'vitest'
import type { Deployment, RecordJson, TestNode } from './deployment.js'
import { waitFor } from './processes.js'

const AT_ONCE = 20

/** Runs `work` for each item, `AT_ONCE` at a time; answers in their order. */
export const inLanes = async <T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> => {
  const results: R[] = []
  for (let from = 0; from < items.length; from += AT_ONCE)
    results.push(...(await Promise.all(items.slice(from, from + AT_ONCE).map(work))))
  return results
}

export const submitMany = (
  deployment: Deployment,
  node: TestNode,
  pipeline: string,
  inputs: readonly unknown[],
  source?: string,
): Promise<string[]> =>
  inLanes(inputs, async (input) => {
    const { status, body } = await deployment.submit(node, pipeline, input, undefined, source)
    expect(status, JSON.stringify(body)).toBe(202)
    return body.id
  })

export const readMany = (deployment: Deployment, node: TestNode, ids: readonly string[]): Promise<RecordJson[]> =>
  inLanes(ids, (id) => deployment.read(node, id))

/** Waits until none of them is processing any more. */
export const settleAll = async (deployment: Deployment, ids: readonly string[], timeoutMs: number): Promise<void> => {
  const records = deployment.db.collection<{ _id: string; status: string }>('records')
  let open = ids.length
  await waitFor(
    async () => {
      open = await records.countDocuments({ _id: { $in: [...ids] }, status: 'processing' })
      return open === 0
    },
    { timeoutMs, what: () => `${open} of ${ids.length} records to settle` },
  )
}

/** The same; answers them in the order of `ids`. */
export const settleMany = async (
  deployment: Deployment,
  node: TestNode,
  ids: readonly string[],
  timeoutMs: number,
): Promise<RecordJson[]> => {
  await settleAll(deployment, ids, timeoutMs)
  return readMany(deployment, node, ids)
}
