/** Records and saves for the store's tests, small and complete. */
import type { Charge, OutboxEntry, QueueEntry, RecordDocument, StepRecord } from '../../src/machines/record.js'
import type { RecordEvent } from '../../src/machines/events.js'
import type { HistoryEntry, Save } from '../../src/persistence/contract.js'

export const T0 = Date.UTC(2026, 2, 1, 8)
/** A time `seconds` after the tests' beginning. */
export const at = (seconds: number): Date => new Date(T0 + seconds * 1000)

let writers = 0
export const freshWriter = (): string => `writer-${process.pid}-${(writers += 1)}`

const entry = (version: number, writer: string, event: RecordEvent): HistoryEntry => ({
  version,
  writer,
  at: at(version),
  event,
  from: version === 1 ? '' : 'ready',
  to: 'ready',
  by: 'worker:test',
})

export const record = (id: string, changes: Partial<RecordDocument> = {}): RecordDocument => ({
  _id: id,
  source: 'clinic-a',
  key: id,
  contentHash: `hash-of-${id}`,
  pipeline: 'referral',
  pipelineVersion: 'v1',
  metadata: { ward: '7' },
  simulated: false,
  acceptedAt: at(0),
  via: 'http',
  version: 1,
  status: 'processing',
  generation: 1,
  snapshot: { value: { read: 'ready' }, status: 'active', context: { budgets: { read: 3 } } },
  timers: [{ id: 'root', event: 'xstate.after.maxWait.record', dueAt: at(3600), guards: 'wait' }],
  wakeAt: at(3600),
  queue: [],
  settlesBy: at(7200),
  settledAt: null,
  outagesUntil: at(0),
  reason: null,
  input: {
    mediaType: 'application/json',
    fileName: null,
    payload: { inline: '{"a":1}', sha256: 'f00', bytes: 7 },
    encoding: 'json',
  },
  steps: { read: { attempts: [], result: null, discarded: [], candidate: null } },
  charges: {},
  history: [entry(1, freshWriter(), { type: 'RECORD_ACCEPTED' })],
  outbox: [],
  shard: 0,
  ...changes,
})

export const queued = (provider: string, readyAt: Date, step = 'read'): QueueEntry => ({ provider, step, readyAt })

export const charge = (amount: string, when: Date): Charge => ({ amount, currency: 'EUR', at: when, attempt: 1 })

export const fact = (seq: number, when: Date, data: OutboxEntry['data'] = {}): OutboxEntry => ({
  seq,
  type: 'record.completed',
  at: when,
  data,
  sent: {},
})

export const stepWith = (text: string): StepRecord => ({
  attempts: [
    {
      n: 1,
      generation: 1,
      provider: 'gpt',
      requestKey: 'r.read.gpt.1.0',
      outcome: 'succeeded',
      startedAt: at(1),
      sendBy: at(11),
      endedAt: at(2),
      spend: { amount: '0.02', currency: 'EUR', basis: 'reported' },
      error: null,
      evidence: { status: 200, 'request.id': 'x' },
    },
  ],
  result: { attempt: 1, at: at(2), payload: { inline: text, sha256: 'beef', bytes: text.length } },
  discarded: [],
  candidate: null,
})

export const save = (id: string, expectedVersion: number, changes: Partial<Save> = {}): Save => {
  const writer = changes.writer ?? freshWriter()
  return {
    id,
    expectedVersion,
    writer,
    set: {},
    steps: {},
    charges: {},
    history: [entry(expectedVersion + 1, writer, { type: 'CANCEL', reason: 'asked' })],
    outbox: [],
    ...changes,
  }
}

/** A save of two events, as when a result and the next intent share a write. */
export const fusedSave = (id: string, expectedVersion: number): Save => {
  const writer = freshWriter()
  const events: RecordEvent[] = [
    { type: 'CALL_NOT_SENT', step: 'read', attempt: 1, generation: 1 },
    { type: 'RETRY', reason: 'again' },
  ]
  const history = events.map((event, n) => entry(expectedVersion + 1 + n, writer, event))
  return save(id, expectedVersion, { writer, history })
}

/** What a reader sees after `saved` was applied to `doc`. */
export const applied = (doc: RecordDocument, saved: Save): RecordDocument => ({
  ...doc,
  ...saved.set,
  version: saved.history.at(-1)!.version,
  steps: { ...doc.steps, ...saved.steps },
  charges: { ...doc.charges, ...saved.charges },
  history: [...doc.history, ...saved.history],
  outbox: [...doc.outbox, ...saved.outbox],
})
