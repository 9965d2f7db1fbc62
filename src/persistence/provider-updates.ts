/**
 * The atomic changes of a provider's shared state, as aggregation pipelines on the server's time. Pure: what each does is
 * told once more, in plain code, by the twin in memory, and one suite compares them.
 *
 * G1 A permit is granted only by moving the bucket's due time: in any span of time at most burst + span / interval.
 * G2 A breaker changes only from the state that the caller saw, so that a late failure can't undo a recovery.
 */
import type { Document } from 'mongodb'
import type { LeaseAsk, PauseAsk, SeenLimits, TripAsk } from './contract.js'

export const PAUSE_MS = 1_000
export const PAUSE_MS_MAX = 60_000
/** A pause that ended longer ago does not make the next one longer. */
export const PAUSES_FORGOTTEN_MS = 120_000
export const OPENINGS_MAX = 20
const PAUSES_MAX = 16

const NOW_MS = { $toDouble: { $toLong: '$$NOW' } }
const orNull = (path: string, otherwise: unknown = null) => ({ $ifNull: [path, otherwise] })
const after = (ms: unknown) => ({ $toDate: { $toLong: { $add: [NOW_MS, ms] } } })
/** Milliseconds since the date at `path`; very long ago when there is none. */
const sinceMs = (path: string) => ({ $subtract: [NOW_MS, { $toDouble: { $toLong: orNull(path, new Date(0)) } }] })

/** G1. `last` tells the caller what it got. */
export const leasePipeline = (ask: LeaseAsk): Document[] => {
  const requestsFrom = { $max: ['$requestsDueMs', NOW_MS] }
  const requestsFree = {
    $floor: {
      $divide: [
        { $subtract: [{ $add: [NOW_MS, ask.requestBurst * ask.requestIntervalMs] }, requestsFrom] },
        ask.requestIntervalMs || 1,
      ],
    },
  }
  const tokensFree = {
    $divide: [
      {
        $subtract: [{ $add: [NOW_MS, ask.tokenBurst * ask.tokenIntervalMs] }, { $max: ['$tokensDueMs', NOW_MS] }],
      },
      ask.tokenIntervalMs || 1,
    ],
  }
  const callsByTokens = {
    $cond: [{ $lte: [tokensFree, 0] }, 0, { $max: [1, { $floor: { $divide: [tokensFree, ask.tokensPerCall] } }] }],
  }
  const probed = {
    $cond: [{ $gte: [sinceMs('$breaker.probedAt'), ask.probeEveryMs] }, 0, orNull('$breaker.probes', 0)],
  }
  const byBreaker = {
    $cond: [
      { $ne: ['$breaker.open', true] },
      ask.want,
      { $cond: [{ $gt: ['$breaker.until', '$$NOW'] }, 0, { $subtract: [ask.probesMax, probed] }] },
    ],
  }
  const byPause = { $cond: [{ $gt: [orNull('$pausedUntil', new Date(0)), '$$NOW'] }, 0, ask.want] }
  const granted = {
    $max: [
      0,
      {
        $min: [
          ask.want,
          ask.requestIntervalMs > 0 ? requestsFree : ask.want,
          ask.tokenIntervalMs > 0 ? callsByTokens : ask.want,
          byBreaker,
          byPause,
        ],
      },
    ],
  }
  const probing = { $and: [{ $eq: ['$breaker.open', true] }, { $gt: ['$last.granted', 0] }] }
  return [
    {
      $set: {
        requestsDueMs: { $subtract: [orNull('$requestsDueMs', 0), ask.returnMs] },
        tokensDueMs:
          ask.tokensUsed > 0 && ask.tokenIntervalMs > 0
            ? { $add: [{ $max: [orNull('$tokensDueMs', 0), NOW_MS] }, ask.tokensUsed * ask.tokenIntervalMs] }
            : orNull('$tokensDueMs', 0),
      },
    },
    { $set: { last: { granted, at: '$$NOW' } } },
    {
      $set: {
        requestsDueMs: {
          $cond: [
            { $gt: ['$last.granted', 0] },
            { $add: [requestsFrom, { $multiply: ['$last.granted', ask.requestIntervalMs] }] },
            '$requestsDueMs',
          ],
        },
        'breaker.probes': { $cond: [probing, { $add: [probed, '$last.granted'] }, orNull('$breaker.probes', 0)] },
        'breaker.probedAt': { $cond: [probing, '$$NOW', orNull('$breaker.probedAt')] },
      },
    },
  ]
}

export const learnPipeline = (limits: Partial<Omit<SeenLimits, 'at'>>): Document[] => [
  {
    $set: {
      ...Object.fromEntries(Object.entries(limits).map(([name, value]) => [`learned.${name}`, value])),
      'learned.at': '$$NOW',
    },
  },
]

/** Refusals of calls that were under way together count once: only a pause after the last one's end makes it longer. */
export const pausePipeline = (ask: PauseAsk): Document[] => {
  const endedMs = sinceMs('$pausedUntil')
  const another = {
    $cond: [{ $gt: [endedMs, PAUSES_FORGOTTEN_MS] }, 1, { $min: [PAUSES_MAX, { $add: [orNull('$pauses', 0), 1] }] }],
  }
  const pauses = { $cond: [{ $lt: [endedMs, 0] }, { $max: [1, orNull('$pauses', 0)] }, another] }
  const grown = {
    $multiply: [ask.jitter, { $min: [PAUSE_MS_MAX, { $multiply: [PAUSE_MS, { $pow: [2, '$pauses'] }] }] }],
  }
  const until = after(ask.forMs ?? { $max: [PAUSE_MS / 4, grown] })
  const cut =
    ask.cutPerMinute === null
      ? orNull('$cut')
      : { $cond: [{ $lt: [sinceMs('$cut.at'), ask.cutEveryMs] }, '$cut', { perMinute: ask.cutPerMinute, at: '$$NOW' }] }
  return [{ $set: { pauses } }, { $set: { pausedUntil: { $max: ['$pausedUntil', until] }, cut } }]
}

/** G2 */
export const tripPipeline = (ask: TripAsk): Document[] => {
  const isOpen = { $eq: ['$breaker.open', true] }
  const asSeen =
    ask.seenUntil === null ? { $not: [isOpen] } : { $and: [isOpen, { $eq: ['$breaker.until', ask.seenUntil] }] }
  const inRow = { $or: [isOpen, { $lt: [sinceMs('$breaker.since'), ask.forgetMs] }] }
  const openings = { $cond: [inRow, { $min: [OPENINGS_MAX, { $add: [orNull('$breaker.openings', 0), 1] }] }, 1] }
  const power = { $pow: [2, { $subtract: ['$trip.openings', 1] }] }
  const cooldown = { $multiply: [ask.jitter, { $min: [ask.cooldownMsMax, { $multiply: [ask.cooldownMs, power] }] }] }
  const opened = {
    open: true,
    since: { $cond: [isOpen, '$breaker.since', '$$NOW'] },
    until: after(cooldown),
    openings: '$trip.openings',
    code: { $literal: ask.code },
    probes: 0,
    probedAt: null,
  }
  return [
    { $set: { trip: { asSeen, openings } } },
    { $set: { breaker: { $cond: ['$trip.asSeen', opened, orNull('$breaker', '$$REMOVE')] } } },
    { $unset: 'trip' },
  ]
}

/** G2: a call that began before it opened says nothing, unless it is time to try again anyway. */
export const recoverPipeline = (beganAt: Date): Document[] => {
  const isLater = { $or: [{ $lte: ['$breaker.until', '$$NOW'] }, { $lt: ['$breaker.since', beganAt] }] }
  const over = { $and: [{ $eq: ['$breaker.open', true] }, isLater] }
  const closed = {
    open: false,
    since: '$$NOW',
    until: null,
    openings: '$breaker.openings',
    code: null,
    probes: 0,
    probedAt: null,
  }
  return [{ $set: { breaker: { $cond: [over, closed, orNull('$breaker', '$$REMOVE')] } } }]
}
