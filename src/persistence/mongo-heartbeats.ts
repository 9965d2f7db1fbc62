/**
 * Heartbeats, members and leases in MongoDB, on the server's time alone.
 *
 * H1 One document holds the last beat of any worker and the outages; one update reads the gap and records the outage,
 *    so that of all processes that come back at once exactly one finds the gap.
 * H2 A beat counts when a majority has it: while there is none, or no worker, the gap grows.
 * H3 A lease changes hands only after its end on the server's clock. It spares double work; no promise rests on it.
 */
import type { Collection, Db, Document } from 'mongodb'
import { z } from 'zod'
import { COLLECTION_OPTIONS, durably } from './collections.js'
import type { Heartbeats, Member, Outage } from './contract.js'
import { withDeadline } from './deadline.js'
import { DUPLICATE_KEY, reading } from './failures.js'
import { DEPLOYMENT, LEASES, MEMBERS } from './heartbeat-collections.js'

/** Role of the processes that advance records; only their absence is an outage. */
export const WORKER_ROLE = 'worker'
/** More outages than this within `keepMs` are joined from the oldest on. */
const OUTAGES_MAX = 1_000
const DEPLOYMENT_ID = 'deployment'

type Named = { _id: string } & Document

const outagesDocument = z.object({ outages: z.array(z.object({ from: z.date(), to: z.date() })) })
const memberDocument = z.object({
  _id: z.string(),
  roles: z.array(z.string()),
  slots: z.record(z.string(), z.number()),
  pipelines: z.array(z.string()),
  waiting: z.array(z.string()),
  at: z.date(),
})
const leaseDocument = z.object({ holder: z.string() })

type Io = { db: Db; timeoutMs: number }

const collection = (io: Io, name: string): Collection<Named> => io.db.collection<Named>(name, COLLECTION_OPTIONS)

/** Two first beats at once: one loses the insert and finds the document on its second try. */
const updateOne = async (io: Io, name: string, id: string, pipeline: Document[]): Promise<Document> => {
  for (let attempt = 1; ; attempt += 1)
    try {
      const updated = await withDeadline(`Updating ${name}`, io.timeoutMs, (signal) => {
        const options = { writeConcern: durably(Math.ceil(io.timeoutMs * 0.8)), signal }
        return collection(io, name).findOneAndUpdate({ _id: id }, pipeline, {
          upsert: true,
          returnDocument: 'after',
          ...options,
        })
      })
      return updated ?? {}
    } catch (error) {
      if ((error as { code?: unknown }).code !== DUPLICATE_KEY || attempt > 1) throw error
    }
}

/** H1 */
const beatPipeline = (gapMs: number, keepMs: number): Document[] => {
  const gap = { $subtract: ['$$NOW', '$lastBeat'] }
  const outage = { $cond: [{ $gt: [gap, gapMs] }, [{ from: '$lastBeat', to: '$$NOW' }], []] }
  const kept = {
    $filter: {
      input: { $ifNull: ['$outages', []] },
      cond: { $gte: ['$$this.to', { $subtract: ['$$NOW', keepMs] }] },
    },
  }
  const outages = { $slice: [{ $concatArrays: [kept, outage] }, -OUTAGES_MAX] }
  return [{ $set: { outages, lastBeat: { $max: ['$lastBeat', '$$NOW'] } } }]
}

const beatAsWorker = async (io: Io, gapMs: number, keepMs: number): Promise<Outage[]> =>
  outagesDocument.parse(await updateOne(io, DEPLOYMENT, DEPLOYMENT_ID, beatPipeline(gapMs, keepMs))).outages

const readOutages = async (io: Io): Promise<Outage[]> => {
  const found = await withDeadline('Reading outages', io.timeoutMs, (signal) => {
    const options = { readConcern: { level: 'majority' }, maxTimeMS: io.timeoutMs, signal } as const
    return collection(io, DEPLOYMENT).findOne({ _id: DEPLOYMENT_ID }, options)
  })
  return found ? outagesDocument.parse(found).outages : []
}

/** `$literal`, because a name that begins with `$` would be read as an expression. */
const memberPipeline = ({ id: _id, ...offer }: Member): Document[] => [
  {
    $set: {
      ...Object.fromEntries(Object.entries(offer).map(([field, value]) => [field, { $literal: value }])),
      at: '$$NOW',
    },
  },
]

const findMembers = async (io: Io, withinMs: number): Promise<(Member & { at: Date })[]> => {
  const pipeline: Document[] = [
    { $match: { $expr: { $gt: ['$at', { $subtract: ['$$NOW', withinMs] }] } } },
    { $sort: { _id: 1 } },
  ]
  const options = { readConcern: { level: 'majority' }, maxTimeMS: io.timeoutMs } as const
  const found = await withDeadline('Reading members', io.timeoutMs, (signal) =>
    collection(io, MEMBERS)
      .aggregate(pipeline, { ...options, signal })
      .toArray(),
  )
  return found.map((document) => {
    const { _id: id, ...rest } = memberDocument.parse(document)
    return { id, ...rest }
  })
}

/** H3: free, run out, or already ours. */
const leasePipeline = (holder: string, forMs: number): Document[] => {
  const me = { $literal: holder }
  const free = { $lte: [{ $ifNull: ['$until', '$$NOW'] }, '$$NOW'] }
  return [
    { $set: { holder: { $cond: [{ $or: [free, { $eq: ['$holder', me] }] }, me, '$holder'] } } },
    { $set: { until: { $cond: [{ $eq: ['$holder', me] }, { $add: ['$$NOW', forMs] }, '$until'] } } },
  ]
}

export const createMongoHeartbeats = (db: Db, options: { operationTimeoutMs?: number } = {}): Heartbeats => {
  const io: Io = { db, timeoutMs: options.operationTimeoutMs ?? 5_000 }
  return {
    beat: (member, { gapMs, keepMs }) =>
      reading('A heartbeat', async () => {
        const works = member.roles.includes(WORKER_ROLE)
        const [present, outages] = await Promise.all([
          updateOne(io, MEMBERS, member.id, memberPipeline(member)),
          works ? beatAsWorker(io, gapMs, keepMs) : readOutages(io),
        ])
        const now = z.date().parse(present['at'])
        return { now, outages: outages.filter(({ to }) => to.getTime() >= now.getTime() - keepMs) }
      }),
    members: (withinMs) => reading('Reading members', () => findMembers(io, withinMs)),
    leave: (id) =>
      reading('Leaving', async () => {
        await withDeadline('Leaving', io.timeoutMs, (signal) => {
          const deleteOptions = { writeConcern: durably(io.timeoutMs), signal }
          return collection(io, MEMBERS).deleteOne({ _id: id }, deleteOptions)
        })
      }),
    lease: (name, holder, forMs) =>
      reading('Taking a lease', async () => {
        const lease = await updateOne(io, LEASES, name, leasePipeline(holder, forMs))
        return leaseDocument.parse(lease).holder === holder
      }),
  }
}
