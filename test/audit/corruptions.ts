/** One seeded corruption each, as other hands or a bug may leave it: what is broken, and where the audit must point. */
import type { InvariantName } from '../../src/audit/contract.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { noon } from '../machines/pipelines.js'
import { completed, doubted, simulated, waiting } from './audited-records.js'

export type Corruption = {
  invariant: InvariantName
  what: string
  of: (id?: string) => RecordDocument
  corrupt: (doc: RecordDocument) => void
  step?: string
  attempt?: number
}

const first = (doc: RecordDocument) => doc.steps['read']!.attempts[0]!
const charge = { amount: '0.40', currency: 'EUR', at: noon, attempt: 2 }

export const CORRUPTIONS: readonly Corruption[] = [
  {
    invariant: 'unsettled-has-timer',
    what: 'its timers are gone',
    of: waiting,
    corrupt: (doc) => void (doc.timers = []),
  },
  {
    invariant: 'wake-at-is-earliest',
    what: 'it sleeps longer than its timer',
    of: waiting,
    corrupt: (doc) => void (doc.wakeAt = doc.settlesBy),
  },
  {
    invariant: 'wake-at-is-earliest',
    what: 'no sweeper can find it',
    of: waiting,
    corrupt: (doc) => void (doc.wakeAt = null),
  },
  {
    invariant: 'settles-in-time',
    what: 'its time is over',
    of: waiting,
    corrupt: (doc) => void (doc.settlesBy = new Date(noon.getTime() - 60_000)),
  },
  {
    invariant: 'settled-is-quiet',
    what: 'a timer is left',
    of: completed,
    corrupt: (doc) => doc.timers.push({ id: 't', event: 'xstate.after.deadline.record', dueAt: noon, guards: 'wait' }),
  },
  {
    invariant: 'settled-is-quiet',
    what: 'it still waits for a slot',
    of: completed,
    corrupt: (doc) => doc.queue.push({ provider: 'paid', step: 'read', readyAt: noon }),
  },
  {
    invariant: 'settled-is-quiet',
    what: 'nobody knows when it settled',
    of: completed,
    corrupt: (doc) => void (doc.settledAt = null),
  },
  {
    invariant: 'settled-is-quiet',
    what: 'it would be woken',
    of: completed,
    corrupt: (doc) => void (doc.wakeAt = noon),
  },
  {
    invariant: 'settled-is-quiet',
    what: 'it settled while it goes on',
    of: waiting,
    corrupt: (doc) => void (doc.settledAt = noon),
  },
  {
    invariant: 'charges-are-exact',
    what: 'a charge is missing',
    of: completed,
    corrupt: (doc) => void delete doc.charges['read'],
    step: 'read',
    attempt: 2,
  },
  {
    invariant: 'charges-are-exact',
    what: 'a charge has another amount',
    of: completed,
    corrupt: (doc) => void (doc.charges['read']!.amount = '4.00'),
    step: 'read',
    attempt: 2,
  },
  {
    invariant: 'charges-are-exact',
    what: 'an answer and its charge ignore the price',
    of: completed,
    corrupt: (doc) => {
      doc.charges['read']!.amount = '4.00'
      for (const { event } of doc.history)
        if (event.type === 'CALL_SUCCEEDED' && event.step === 'read' && event.attempt === 2)
          event.charge!.amount = '4.00'
    },
    step: 'read',
    attempt: 2,
  },
  {
    invariant: 'charges-are-exact',
    what: 'the record was not charged',
    of: completed,
    corrupt: (doc) => void delete doc.charges['record'],
  },
  {
    invariant: 'charges-are-exact',
    what: 'the record was charged before its end',
    of: waiting,
    corrupt: (doc) => void (doc.charges['record'] = { ...charge, attempt: null }),
  },
  {
    invariant: 'charge-has-result',
    what: 'a step without a result is charged',
    of: doubted,
    corrupt: (doc) => void (doc.charges['read'] = charge),
    step: 'read',
  },
  {
    invariant: 'charge-has-result',
    what: 'nobody knows the step',
    of: completed,
    corrupt: (doc) => void (doc.charges['print'] = charge),
    step: 'print',
  },
  {
    invariant: 'charge-has-result',
    what: 'another attempt is charged',
    of: completed,
    corrupt: (doc) => void (doc.charges['read']!.attempt = 1),
    step: 'read',
  },
  {
    invariant: 'charge-has-result',
    what: 'the record is charged for an attempt',
    of: completed,
    corrupt: (doc) => void (doc.charges['record']!.attempt = 1),
  },
  {
    invariant: 'result-has-success',
    what: 'its attempt failed',
    of: completed,
    corrupt: (doc) => void (doc.steps['read']!.attempts[1]!.outcome = 'failed'),
    step: 'read',
    attempt: 2,
  },
  {
    invariant: 'result-has-success',
    what: 'there is no such attempt',
    of: completed,
    corrupt: (doc) => void (doc.steps['read']!.result!.attempt = 7),
    step: 'read',
    attempt: 7,
  },
  {
    invariant: 'result-has-success',
    what: 'it is another result than was answered',
    of: completed,
    corrupt: (doc) => void (doc.steps['read']!.result!.payload.sha256 = 'other'),
    step: 'read',
    attempt: 2,
  },
  {
    invariant: 'discarded-has-success',
    what: 'its attempt did not answer',
    of: completed,
    corrupt: (doc) => void (first(doc).outcome = 'uncertain'),
    step: 'read',
    attempt: 1,
  },
  {
    invariant: 'discarded-has-success',
    what: 'it is the result itself',
    of: completed,
    corrupt: (doc) => void (doc.steps['read']!.discarded[0]!.attempt = 2),
    step: 'read',
    attempt: 2,
  },
  {
    invariant: 'settled-attempts-closed',
    what: 'a call is open',
    of: completed,
    corrupt: (doc) => void (first(doc).outcome = null),
    step: 'read',
    attempt: 1,
  },
  {
    invariant: 'attempts-in-order',
    what: 'an attempt is gone',
    of: completed,
    corrupt: (doc) => void doc.steps['read']!.attempts.shift(),
    step: 'read',
    attempt: 2,
  },
  {
    invariant: 'attempts-in-order',
    what: 'two calls are open',
    of: completed,
    corrupt: (doc) => {
      for (const attempt of doc.steps['read']!.attempts) Object.assign(attempt, { outcome: null, endedAt: null })
    },
    step: 'read',
  },
  {
    invariant: 'attempts-in-order',
    what: 'an attempt ended without an outcome',
    of: doubted,
    corrupt: (doc) => void (first(doc).outcome = null),
    step: 'read',
    attempt: 1,
  },
  {
    invariant: 'attempts-in-order',
    what: 'an attempt is of an earlier generation than the one before',
    of: completed,
    corrupt: (doc) => void (first(doc).generation = 2),
    step: 'read',
    attempt: 2,
  },
  {
    invariant: 'attempt-has-intent',
    what: 'nothing was written before the call',
    of: doubted,
    corrupt: (doc) => {
      doc.history = doc.history.filter(({ event }) => event.type !== 'ATTEMPT_STARTED')
    },
    step: 'read',
    attempt: 1,
  },
  ...(
    [
      ['provider', 'other'],
      ['requestKey', 'another'],
      ['generation', 4],
      ['sendBy', new Date(0)],
      ['request', { sha256: 'b'.repeat(64) }],
    ] as const
  ).map(([field, value]): Corruption => ({
    invariant: 'attempt-has-intent',
    what: `its ${field} is another than was written`,
    of: doubted,
    corrupt: (doc) => void Object.assign(first(doc), { [field]: value }),
    step: 'read',
    attempt: 1,
  })),
  {
    invariant: 'attempt-has-intent',
    what: 'an intent has no attempt',
    of: doubted,
    corrupt: (doc) => void (doc.steps['read']!.attempts = []),
    step: 'read',
    attempt: 1,
  },
  {
    invariant: 'doubt-has-bound',
    what: 'a doubt costs nothing',
    of: doubted,
    corrupt: (doc) => void (first(doc).spend = null),
    step: 'read',
    attempt: 1,
  },
  {
    invariant: 'doubt-has-bound',
    what: 'a doubt is an estimate',
    of: doubted,
    corrupt: (doc) => void (first(doc).spend!.basis = 'estimated'),
    step: 'read',
    attempt: 1,
  },
  {
    invariant: 'history-contiguous',
    what: 'an entry is gone',
    of: completed,
    corrupt: (doc) => void doc.history.splice(2, 1),
  },
  {
    invariant: 'history-contiguous',
    what: 'the last entry is gone',
    of: completed,
    corrupt: (doc) => void doc.history.pop(),
  },
  {
    invariant: 'history-replays',
    what: 'the snapshot is another',
    of: completed,
    corrupt: (doc) => void ((doc.snapshot as { value: unknown }).value = 'investigation'),
  },
  {
    invariant: 'history-replays',
    what: 'an event was changed',
    of: completed,
    corrupt: (doc) => {
      for (const { event } of doc.history) if (event.type === 'CALL_SUCCEEDED') event.generation = 3
    },
  },
  {
    invariant: 'simulated-stays-inside',
    what: 'a simulated charge looks real',
    of: simulated,
    corrupt: (doc) => void delete doc.charges['read']!.simulated,
    step: 'read',
  },
  {
    invariant: 'simulated-stays-inside',
    what: 'a real charge looks simulated',
    of: completed,
    corrupt: (doc) => void (doc.charges['read']!.simulated = true),
    step: 'read',
  },
  {
    invariant: 'simulated-stays-inside',
    what: 'a fact of it would leave',
    of: simulated,
    corrupt: (doc) => doc.outbox.push({ seq: 1, type: 'CHARGE_WRITTEN', at: noon, data: {}, sent: {} }),
  },
]
