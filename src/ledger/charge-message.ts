/**
 * A charge as others get it (L1): made of what never changes after the save that wrote it, in one order of fields, so
 * that a repeat has the same bytes.
 */
import { z } from 'zod'
import type { OutboxEntry, UnsentRecord } from '../persistence/contract.js'
import type { ChargeMessage } from './contract.js'

/** The type of the facts that sinks for charges take. */
export const CHARGE_FACT = 'CHARGE_WRITTEN'

const fact = z.object({
  key: z.string(),
  amount: z.string(),
  currency: z.string(),
  attempt: z.number().nullable(),
  simulated: z.boolean().optional(),
})

/** L3. */
export const mayLeave = (record: Pick<UnsentRecord, 'simulated'>, entry: OutboxEntry): boolean =>
  entry.type === CHARGE_FACT && !record.simulated && entry.data['simulated'] !== true

/** Null for a fact that this version can't read. */
export const messageOf = (
  record: Pick<UnsentRecord, 'id' | 'source' | 'pipeline'>,
  entry: OutboxEntry,
): ChargeMessage | null => {
  const parsed = fact.safeParse(entry.data)
  if (!parsed.success) return null
  const { key, amount, currency, attempt } = parsed.data
  const id = `${record.id}/${key}`
  const at = entry.at.toISOString()
  const { id: of, source, pipeline } = record
  const data = { id, record: of, key, source, pipeline, amount, currency, at, attempt }
  return { id, body: JSON.stringify({ type: 'charge.written', timestamp: at, data }) }
}
