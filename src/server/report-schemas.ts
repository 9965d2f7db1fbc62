/** The shapes of reports. As all shapes of the API: requests are parsed with them, OpenAPI is generated from them. */
import { z } from 'zod'
import { DIMENSIONS } from '../ledger/report.js'
import { DOUBTS, EXPLANATIONS } from '../persistence/contract.js'
import { amount, format, name, next, outcome, page, recordId, spendSchema, time } from './schemas.js'

const dimension = z.enum(DIMENSIONS)
const explanation = z.enum(EXPLANATIONS)
const doubt = z.enum(DOUBTS)
const total = amount.meta({ description: 'Decimal string, exact; margins may be below zero' })

const differenceSchema = z.strictObject({ attempts: z.int(), spend: total }).meta({ id: 'Difference' })

const reportRowSchema = z
  .strictObject({
    day: z.string().optional().meta({ description: 'UTC day on which the records were accepted' }),
    source: name.optional(),
    pipeline: name.optional(),
    provider: z.string().nullable().optional().meta({ description: 'null for charges of whole records' }),
    currency: z.string().nullable().meta({ description: 'null where there is no amount' }),
    charges: z.strictObject({ count: z.int(), amount: total }),
    spend: z
      .strictObject({ reported: total, estimated: total, upperBound: total })
      .meta({ description: 'Upper bounds of what is in doubt stand apart' }),
    margin: total.meta({ description: 'Charges less reported and estimated spend' }),
    marginAtLeast: total.meta({ description: 'The same less the upper bounds' }),
    attempts: z.int(),
    running: z.int(),
    unpriced: z.int().meta({ description: 'Attempts of which nobody told the cost: missing in the spend' }),
    duplicates: z.strictObject({
      prevented: z.int().meta({ description: 'Doubts that were resolved without a second paid run' }),
      possible: z.strictObject({ attempts: z.int(), upperBound: total }),
      certain: differenceSchema,
    }),
    wasted: total.meta({ description: 'Spent on what gave no result: superseded and orphan' }),
    differences: z.strictObject({
      sameRun: differenceSchema,
      superseded: differenceSchema,
      orphan: differenceSchema,
      freeFailure: differenceSchema,
      unknown: differenceSchema,
    }),
    unexplained: differenceSchema.meta({ description: 'The differences that nothing explains: `unknown`' }),
  })
  .meta({ id: 'ReconciliationRow' })

export const reconciliationSchema = z
  .strictObject({
    from: time,
    to: time,
    groupBy: z.array(dimension),
    rows: z.array(reportRowSchema),
    totals: z.array(reportRowSchema).meta({ description: 'One per currency' }),
  })
  .meta({ id: 'Reconciliation' })

const ledgerAttemptSchema = z
  .strictObject({
    record: recordId,
    acceptedAt: time,
    source: name,
    pipeline: name,
    step: name,
    n: z.int(),
    provider: z.string(),
    outcome: outcome.nullable(),
    startedAt: time,
    spend: spendSchema.nullable(),
    error: z.string().nullable().meta({ description: "The failure's code" }),
    explanation,
    doubt: doubt.nullable(),
    unpriced: z.boolean(),
  })
  .meta({ id: 'LedgerAttempt' })

export const ledgerAttemptListSchema = z
  .strictObject({ items: z.array(ledgerAttemptSchema), next })
  .meta({ id: 'LedgerAttemptList' })

const GROUP_BY = new RegExp(`^(${DIMENSIONS.join('|')})(,(${DIMENSIONS.join('|')}))*$`)

export const reconciliationQuery = z.strictObject({
  from: z.iso
    .datetime({ offset: true })
    .optional()
    .meta({ description: 'Accepted at this time or later. Default: 30 days, today included' }),
  to: z.iso.datetime({ offset: true }).optional().meta({ description: 'Accepted before this time. Default: now' }),
  groupBy: z
    .string()
    .regex(GROUP_BY, `must be some of ${DIMENSIONS.join(',')}`)
    .default(DIMENSIONS.join(','))
    .meta({ description: `Some of ${DIMENSIONS.join(',')}` }),
  source: name.optional(),
  pipeline: name.optional(),
  provider: name.optional(),
  explain: z
    .enum(['true', 'false'])
    .optional()
    .meta({ description: 'Instead of the report: the attempts behind it, newest record first' }),
  explanation: explanation.optional().meta({ description: 'With `explain`: only these' }),
  doubt: doubt.optional().meta({ description: 'With `explain`: only these' }),
  format,
  ...page,
})

export type ReconciliationQuery = z.output<typeof reconciliationQuery>
export type ReconciliationJson = z.input<typeof reconciliationSchema>
export type LedgerAttemptJson = z.input<typeof ledgerAttemptSchema>
