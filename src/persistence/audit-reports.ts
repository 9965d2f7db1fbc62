/** What the audit in the background found last, kept where every process of the deployment can tell it. */
import type { Db } from 'mongodb'
import { z } from 'zod'
import { COLLECTION_OPTIONS, durably } from './collections.js'
import { withDeadline } from './deadline.js'
import { reading } from './failures.js'

const AUDITS = 'audits'
const ID = 'background'
const TIMEOUT_MS = 5_000

const count = z.int().min(0)
const report = z.object({
  at: z.date(),
  records: count,
  unsettled: count,
  open: count,
  broken: z.record(z.string(), count),
  truncated: z.boolean(),
  ms: z.number(),
})
type Report = z.infer<typeof report>

export type AuditReports = { put(report: Report): Promise<void>; last(): Promise<Report | null> }

export const createMongoAuditReports = (db: Db): AuditReports => {
  const audits = db.collection<{ _id: string } & Report>(AUDITS, COLLECTION_OPTIONS)
  return {
    put: (found) =>
      reading('Keeping the audit', async () => {
        await withDeadline('Keeping the audit', TIMEOUT_MS, (signal) => {
          const options = { upsert: true, writeConcern: durably(TIMEOUT_MS), signal }
          return audits.replaceOne({ _id: ID }, report.parse(found), options)
        })
      }),
    last: () =>
      reading('Reading the audit', async () => {
        const options = { maxTimeMS: TIMEOUT_MS, readConcern: { level: 'majority' } } as const
        const found = await withDeadline('Reading the audit', TIMEOUT_MS, (signal) =>
          audits.findOne({ _id: ID }, { ...options, signal }),
        )
        return found ? report.parse(found) : null
      }),
  }
}
