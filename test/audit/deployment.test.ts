/** What real workers leave behind is clean: while records are on their way, after a worker was killed, and at the end. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { AuditLine } from '../../src/audit/contract.js'
import type { Deployment, TestNode } from '../support/deployment.js'
import { startDeployment } from '../support/deployment.js'
import { settleAll, submitMany } from '../support/many-records.js'
import type { ProviderProcess } from '../support/provider-process.js'
import { startProviderProcess } from '../support/provider-process.js'

let provider: ProviderProcess
let deployment: Deployment
beforeAll(async () => {
  provider = await startProviderProcess()
  const price = { fixed: '0.40', currency: 'EUR' }
  const of = (path: string) => ({
    url: `${provider.url}/${path}`,
    cost: 'paid' as const,
    spendMax: { amount: '0.10', currency: 'EUR' },
  })
  deployment = await startDeployment({
    providers: {
      keyed: { ...of('keyed'), recovery: 'idempotent', keyTtl: '7d' },
      blind: { ...of('blind'), longestRun: '1s' },
    },
    pipelines: [
      {
        name: 'chain',
        steps: [
          { name: 'a', use: ['keyed'], price },
          { name: 'b', use: ['blind'], price, onUncertain: { retry: { duplicateBudget: 1 } } },
          { name: 'c', use: ['keyed'] },
        ],
        price: { fixed: '1.00', currency: 'EUR' },
      },
    ],
  })
})
afterAll(async () => {
  await deployment.dispose()
  await provider.stop()
})

const audit = async (node: TestNode): Promise<AuditLine & { type: 'end' }> => {
  const text = await (await fetch(`${node.url}/v1/reports/audit?blobs=all`)).text()
  const lines = text.trimEnd().split('\n')
  const parsed = lines.map((line) => JSON.parse(line) as AuditLine)
  expect(parsed.filter(({ type }) => type === 'finding')).toEqual([])
  return parsed.at(-1) as AuditLine & { type: 'end' }
}

it('every record that a killed worker left is clean, then and at its end', async () => {
  const api = await deployment.node({ roles: ['api', 'sweeper'] })
  const doomed = await deployment.node({
    roles: ['worker'],
    stop: { point: 'store.save.before', event: 'CALL_SUCCEEDED:b' },
  })
  const ids = await submitMany(
    deployment,
    api,
    'chain',
    Array.from({ length: 30 }, (_, n) => ({ n })),
  )
  await doomed.line(/^REACHED /, { timeoutMs: 20_000 })
  expect(await audit(api)).toMatchObject({ ok: true, records: 30, notReplayed: { unknownVersion: 0, tooLarge: 0 } })
  await doomed.kill()
  expect(await audit(api)).toMatchObject({ ok: true, records: 30 })
  await deployment.node({ roles: ['worker'] })
  await settleAll(deployment, ids, 60_000)
  expect(await audit(api)).toMatchObject({ ok: true, records: 30, unsettled: 0, replayed: 30 })
}, 120_000)

it('the machine of a pipeline comes with its longest way to an end', async () => {
  const api = await deployment.node({ roles: ['api'] })
  const json = async (path: string) => (await fetch(`${api.url}${path}`)).json()
  const { items } = (await json('/v1/pipelines')) as { items: { name: string; worstCaseMs: number }[] }
  const { path } = (await json('/v1/pipelines/chain/machine')) as { path: { ms: number }[] }
  expect(path.reduce((sum, { ms }) => sum + ms, 0)).toBe(items.find(({ name }) => name === 'chain')?.worstCaseMs)
})
