/**
 * The invariants of a record, each by name: what must hold of every record of a live deployment at every moment. Pure.
 * Each record is one document that is changed by one atomic write, so that a read at any moment sees all of it.
 *
 * I1 Whatever a record's life was, it breaks none of them; test/audit breaks each by hand and sees it named.
 */
import {
  attemptHasIntent,
  attemptsInOrder,
  discardedHasSuccess,
  doubtHasBound,
  resultHasSuccess,
  settledAttemptsClosed,
} from './attempts.js'
import { chargeHasResult, chargesAreExact, simulatedStaysInside } from './charges.js'
import type { AuditView, Fault, Finding, Invariant, InvariantName } from './contract.js'
import { historyContiguous, historyReplays } from './history.js'
import { settledIsQuiet, settlesInTime, unsettledHasTimer, wakeAtIsEarliest } from './settling.js'
import type { RecordDocument } from '../machines/record.js'

/** These are judged where the document and its blobs are read (pass.ts). */
type Judged = Exclude<InvariantName, 'document-parses' | 'blobs-exist' | 'results-are-whole'>

const CHECKS: { [name in Judged]: Omit<Invariant, 'name'> } = {
  'unsettled-has-timer': {
    says: 'A record that is not settled has a timer.',
    promise: 'P2',
    check: unsettledHasTimer,
  },
  'wake-at-is-earliest': {
    says: 'wakeAt, by which the sweeper finds a record, is its earliest timer.',
    promise: 'P2',
    check: wakeAtIsEarliest,
  },
  'settles-in-time': {
    says: 'No record is unsettled past its settlesBy, moved by the outages since.',
    promise: 'P2',
    check: settlesInTime,
  },
  'settled-is-quiet': {
    says: 'A settled record has a time at which it settled, and nothing that would wake it.',
    promise: 'P2',
    check: settledIsQuiet,
  },
  'charges-are-exact': {
    says: 'Each result has the charge that its answer and its price ask for, the record its own once it completed.',
    promise: 'P3',
    check: chargesAreExact,
  },
  'charge-has-result': {
    says: 'Each charge is for a result, and for the attempt that gave it.',
    promise: 'P3',
    check: chargeHasResult,
  },
  'result-has-success': {
    says: 'Each result is the answer of an attempt that succeeded.',
    promise: 'P4',
    check: resultHasSuccess,
  },
  'discarded-has-success': {
    says: 'Each result that was kept aside is of another attempt that succeeded.',
    promise: 'P4',
    check: discardedHasSuccess,
  },
  'settled-attempts-closed': {
    says: 'Every attempt of a settled record has an outcome.',
    promise: 'P6',
    check: settledAttemptsClosed,
  },
  'attempts-in-order': {
    says: 'Attempts are numbered 1 to n, and at most one of a step is open.',
    promise: 'P5',
    check: attemptsInOrder,
  },
  'attempt-has-intent': {
    says: 'Every attempt has its intent in the history, with the same provider, requestKey and request.',
    promise: 'P5',
    check: attemptHasIntent,
  },
  'doubt-has-bound': {
    says: 'A paid attempt in doubt carries the most that it may have cost.',
    promise: 'P6',
    check: doubtHasBound,
  },
  'history-contiguous': {
    says: 'The history has an entry for each version of the record.',
    promise: 'P11',
    check: historyContiguous,
  },
  'history-replays': {
    says: 'The history, played through the pinned machine, gives the stored snapshot.',
    promise: 'P11',
    check: historyReplays,
  },
  'simulated-stays-inside': {
    says: 'Charges of simulated records are marked as such, and nothing of them leaves.',
    promise: 'P10',
    check: simulatedStaysInside,
  },
}

export const INVARIANTS: readonly Invariant[] = Object.entries(CHECKS).map(([name, rest]) => ({
  name: name as InvariantName,
  ...rest,
}))

/** More than this of one invariant in one record say nothing new. */
const FAULTS_MAX = 20

const judge = ({ check }: Invariant, doc: RecordDocument, view: AuditView): Fault[] => {
  try {
    return check(doc, view).slice(0, FAULTS_MAX)
  } catch (error) {
    // A document of a shape that nothing makes. The message may quote it.
    return [{ expected: 'a record that can be judged', found: error instanceof Error ? error.name : typeof error }]
  }
}

/** What is broken in a record whose shape is right. */
export const findingsIn = (doc: RecordDocument, view: AuditView): Finding[] =>
  INVARIANTS.flatMap((invariant) =>
    judge(invariant, doc, view).map((fault) => ({ invariant: invariant.name, record: doc._id, ...fault })),
  )
