/** Records with attempts of every kind, small: what a reconciliation must tell apart. */
import fc from 'fast-check'
import type { Attempt, Charge, FailureKind, RecordDocument, Spend, StepRecord } from '../../src/machines/record.js'
import { at, record } from './record-store-documents.js'

export const spend = (amount: string, basis: Spend['basis'] = 'reported', currency = 'USD'): Spend => ({
  amount,
  currency,
  basis,
})

export const attempt = (n: number, changes: Partial<Attempt> = {}): Attempt => ({
  n,
  generation: 1,
  provider: 'gpt',
  requestKey: `r.read.gpt.1.${n}`,
  outcome: 'succeeded',
  startedAt: at(n),
  sendBy: at(n + 5),
  endedAt: at(n + 2),
  spend: null,
  error: null,
  evidence: null,
  ...changes,
})

export const failure = (kind: FailureKind, code = 'failed'): Attempt['error'] => ({ code, message: 'It failed.', kind })

export const stepOf = (attempts: Attempt[], result: number | null = null): StepRecord => ({
  attempts,
  result: result === null ? null : { attempt: result, at: at(9), payload: { inline: '{}', sha256: 'f0', bytes: 2 } },
  discarded: [],
  candidate: null,
})

export const owed = (amount: string, by: number | null, currency = 'EUR'): Charge => ({
  amount,
  currency,
  at: at(9),
  attempt: by,
})

const digits = (max: number) =>
  fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: max }).map((list) => list.join(''))
const amount = fc
  .tuple(fc.integer({ min: 0, max: 999_999_999 }), digits(12))
  .map(([whole, fraction]) => (fraction === '' ? `${whole}` : `${whole}.${fraction}`))
const zeroOr = fc.oneof({ weight: 1, arbitrary: fc.constantFrom('0', '0.00') }, { weight: 4, arbitrary: amount })
const anySpend: fc.Arbitrary<Spend | null> = fc.option(
  fc.record({
    amount: zeroOr,
    currency: fc.constantFrom('USD', 'EUR'),
    basis: fc.constantFrom('reported', 'estimated', 'upper-bound'),
  }),
)
const anyAttempt = (n: number): fc.Arbitrary<Attempt> =>
  fc
    .record({
      provider: fc.constantFrom('gpt', 'claude', 'ocr'),
      outcome: fc.constantFrom('succeeded', 'failed', 'uncertain', null),
      kind: fc.constantFrom('not-executed', 'executed', 'partial', 'unknown', null),
      spend: anySpend,
      possibleDuplicate: fc.boolean(),
      evidence: fc.constantFrom(null, {}, { sameRunAs: 7 }, { wasUncertain: true }, { wasUncertain: false }),
    })
    .map(({ kind, possibleDuplicate, ...rest }) =>
      attempt(n, {
        ...rest,
        error: kind === null ? null : failure(kind as FailureKind),
        ...(possibleDuplicate && { possibleDuplicate }),
      } as Partial<Attempt>),
    )
const anyStep: fc.Arbitrary<StepRecord> = fc
  .integer({ min: 0, max: 4 })
  .chain((count) =>
    fc.tuple(
      fc.tuple(...Array.from({ length: count }, (_, index) => anyAttempt(index + 1))),
      fc.option(fc.integer({ min: 1, max: 4 })),
    ),
  )
  .map(([attempts, result]) => stepOf(attempts as Attempt[], result))
const anyCharge = fc
  .tuple(amount, fc.option(fc.integer({ min: 1, max: 4 })), fc.constantFrom('EUR', 'USD'))
  .map(([sum, by, currency]) => owed(sum, by, currency))

export const anyRecord = (id: string): fc.Arbitrary<RecordDocument> =>
  fc
    .record({
      source: fc.constantFrom('clinic-a', 'clinic-b'),
      pipeline: fc.constantFrom('referral', 'claim'),
      simulated: fc.boolean(),
      second: fc.integer({ min: 0, max: 200_000 }),
      steps: fc.record({ read: anyStep, '2nd': anyStep, extract: anyStep }),
      charges: fc.record({ read: anyCharge, record: anyCharge }, { requiredKeys: [] }),
    })
    .map(({ second, charges, ...rest }) => record(id, { ...rest, charges: { ...charges }, acceptedAt: at(second) }))
