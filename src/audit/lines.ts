/** The lines of an audit as they travel: what a service writes and who asked it reads. */
import { z } from 'zod'
import { INVARIANT_NAMES } from './contract.js'

const count = z.int().min(0)
const summary = {
  records: count,
  unsettled: count,
  replayed: count,
  notReplayed: z.object({ unknownVersion: count, tooLarge: count }),
  blobs: count,
  findings: count,
  broken: z.record(z.string(), count),
  ms: z.number().min(0),
}

export const auditLineSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('progress'), total: count.nullable(), ...summary }),
  z.object({
    type: z.literal('finding'),
    invariant: z.enum(INVARIANT_NAMES),
    record: z.string(),
    step: z.string().optional(),
    attempt: z.int().optional(),
    expected: z.string(),
    found: z.string(),
  }),
  z.object({ type: z.literal('end'), ok: z.boolean(), ...summary }),
])
