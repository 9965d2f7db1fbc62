/** The stages of an aggregation that turn records into explained attempts and charges. The rule is ledger-rule.ts's. */
import type { Document } from 'mongodb'
import { INDEX } from './indexes.js'
import type { LedgerQuery } from './ledger-contract.js'

/** Through an index, whichever fits the filter. */
export const ledgerIndex = ({ source, pipeline }: LedgerQuery): string =>
  source !== undefined ? INDEX.source : pipeline !== undefined ? INDEX.pipeline : INDEX.list

export const ledgerMatch = ({ from, to, source, pipeline }: LedgerQuery): Document => ({
  acceptedAt: { $gte: from, $lt: to },
  simulated: false,
  ...(source !== undefined && { source }),
  ...(pipeline !== undefined && { pipeline }),
})

const orNull = (path: string) => ({ $ifNull: [path, null] })
const isSet = (path: string) => ({ $ne: [orNull(path), null] })

/** One document per record: what is needed of its steps and charges, and nothing of its content. */
const slim: Document = {
  $project: {
    source: 1,
    pipeline: 1,
    acceptedAt: 1,
    steps: {
      $map: {
        input: { $objectToArray: '$steps' },
        as: 's',
        in: { step: '$$s.k', result: orNull('$$s.v.result.attempt'), attempts: '$$s.v.attempts' },
      },
    },
    charges: { $objectToArray: '$charges' },
  },
}

const attemptEntries = {
  $reduce: {
    input: '$steps',
    initialValue: [],
    in: {
      $concatArrays: [
        '$$value',
        {
          $map: {
            input: '$$this.attempts',
            as: 'a',
            in: {
              step: '$$this.step',
              result: '$$this.result',
              n: '$$a.n',
              provider: '$$a.provider',
              wasFree: { $eq: ['$$a.free', true] },
              outcome: orNull('$$a.outcome'),
              startedAt: '$$a.startedAt',
              spend: orNull('$$a.spend'),
              kind: orNull('$$a.error.kind'),
              error: orNull('$$a.error.code'),
              possibleDuplicate: { $eq: ['$$a.possibleDuplicate', true] },
              sameRun: isSet('$$a.evidence.sameRunAs'),
              wasUncertain: { $eq: ['$$a.evidence.wasUncertain', true] },
            },
          },
        },
      ],
    },
  },
}

const first = (input: unknown, as: string, cond: Document) => ({ $first: { $filter: { input, as, cond } } })

const chargeEntries = {
  $map: {
    input: '$charges',
    as: 'c',
    in: {
      $let: {
        vars: { of: first('$steps', 's', { $eq: ['$$s.step', '$$c.k'] }) },
        in: {
          $let: {
            vars: { by: first({ $ifNull: ['$$of.attempts', []] }, 'a', { $eq: ['$$a.n', '$$c.v.attempt'] }) },
            in: {
              isCharge: true,
              provider: orNull('$$by.provider'),
              spend: { amount: '$$c.v.amount', currency: '$$c.v.currency' },
            },
          },
        },
      },
    },
  },
}

/** As it was when the attempt was made; of older attempts, as it is now. */
const isFree = (free: readonly string[]) => ({
  $or: ['$e.wasFree', { $in: ['$e.provider', free.map((name) => ({ $literal: name }))] }],
})
const amount = { $toDecimal: { $ifNull: ['$e.spend.amount', '0'] } }
const isOpen = { $in: ['$e.outcome', [null, 'uncertain']] }
const noSpend = { $eq: ['$e.spend', null] }

/** The value of the first case that holds. */
const firstOf = (cases: readonly [holds: unknown, value: unknown][], otherwise: unknown): unknown =>
  cases.reduceRight<unknown>((rest, [holds, value]) => ({ $cond: [holds, value, rest] }), otherwise)

const isCharge = { $eq: ['$e.isCharge', true] }
const isUncertain = { $eq: ['$e.outcome', 'uncertain'] }

const explanation = firstOf(
  [
    [isCharge, 'charge'],
    [{ $eq: ['$e.outcome', null] }, 'running'],
    [{ $eq: ['$e.result', '$e.n'] }, 'result'],
    [
      isUncertain,
      firstOf(
        [
          ['$free', 'free-failure'],
          ['$e.sameRun', 'same-run'],
        ],
        'unknown',
      ),
    ],
    [{ $and: [noSpend, { $not: ['$costless'] }] }, 'unknown'],
    [{ $eq: ['$e.result', null] }, { $cond: ['$costless', 'free-failure', 'orphan'] }],
    [{ $and: ['$costless', { $eq: ['$e.outcome', 'failed'] }] }, 'free-failure'],
  ],
  'superseded',
)

const doubt = firstOf(
  [
    [{ $or: ['$free', isCharge] }, null],
    ['$e.possibleDuplicate', { $cond: [isOpen, 'possible-duplicate', 'duplicate'] }],
    [isUncertain, { $cond: ['$e.sameRun', 'prevented', null] }],
    [{ $and: ['$e.wasUncertain', { $not: [isOpen] }, { $ne: ['$e.kind', 'not-executed'] }] }, 'prevented'],
  ],
  null,
)

const explained = (free: readonly string[]): Document[] => [
  { $set: { free: isFree(free) } },
  {
    $set: {
      costless: {
        $or: ['$free', { $eq: ['$e.kind', 'not-executed'] }, { $and: [{ $not: [noSpend] }, { $eq: [amount, 0] }] }],
      },
    },
  },
  { $set: { entry: explanation, doubt } },
  {
    $set: {
      unpriced: {
        $and: [{ $not: [{ $in: ['$entry', ['charge', 'running', 'same-run']] }] }, { $not: ['$costless'] }, noSpend],
      },
    },
  },
]

const ofProvider = ({ provider }: LedgerQuery): Document[] =>
  provider === undefined ? [] : [{ $match: { 'e.provider': provider } }]

/** Groups of one query; `limit` bounds them. */
export const groupStages = (query: LedgerQuery, limit: number): Document[] => [
  { $match: ledgerMatch(query) },
  slim,
  { $project: { source: 1, pipeline: 1, e: { $concatArrays: [attemptEntries, chargeEntries] } } },
  { $unwind: '$e' },
  ...ofProvider(query),
  ...explained(query.free),
  {
    $group: {
      _id: {
        source: '$source',
        pipeline: '$pipeline',
        provider: '$e.provider',
        currency: orNull('$e.spend.currency'),
        entry: '$entry',
        basis: orNull('$e.spend.basis'),
        doubt: '$doubt',
        unpriced: '$unpriced',
      },
      count: { $sum: 1 },
      amount: { $sum: amount },
    },
  },
  { $limit: limit },
]

export type AttemptPlace = { step: string; n: number }

/** Attempts of the records that `where` names besides, newest record first; within a record by step and number. */
export const attemptStages = (
  query: LedgerQuery,
  where: Document,
  only: Document,
  after: AttemptPlace | null,
  limit: number,
): Document[] => [
  { $match: { $and: [ledgerMatch(query), where] } },
  { $sort: { acceptedAt: -1, _id: -1 } },
  slim,
  {
    $project: {
      source: 1,
      pipeline: 1,
      acceptedAt: 1,
      e: { $sortArray: { input: attemptEntries, sortBy: { step: 1, n: 1 } } },
    },
  },
  { $unwind: '$e' },
  ...ofProvider(query),
  ...(after
    ? [{ $match: { $or: [{ 'e.step': { $gt: after.step } }, { 'e.step': after.step, 'e.n': { $gt: after.n } }] } }]
    : []),
  ...explained(query.free),
  ...(Object.keys(only).length > 0 ? [{ $match: only }] : []),
  { $limit: limit },
]
