/** Records with charges in their outbox, as the worker writes them. */
import type { OutboxEntry, RecordDocument } from '../../src/machines/record.js'
import { at, record } from '../contract/record-store-documents.js'

export const chargeFact = (seq: number, key: string, second = seq, data: OutboxEntry['data'] = {}): OutboxEntry => ({
  seq,
  type: 'CHARGE_WRITTEN',
  at: at(second),
  data: { key, amount: '0.40', currency: 'EUR', attempt: 1, ...data },
  sent: {},
})

export const charged = (id: string, keys: readonly string[], changes: Partial<RecordDocument> = {}): RecordDocument =>
  record(id, { outbox: keys.map((key, n) => chargeFact(n + 1, key)), ...changes })

/** `r-1/read`, as it arrives. */
export const bodyOf = (id: string, key: string, second: number): string =>
  JSON.stringify({
    type: 'charge.written',
    timestamp: at(second).toISOString(),
    data: {
      id: `${id}/${key}`,
      record: id,
      key,
      source: 'clinic-a',
      pipeline: 'referral',
      amount: '0.40',
      currency: 'EUR',
      at: at(second).toISOString(),
      attempt: 1,
    },
  })
