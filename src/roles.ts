/**
 * What each role runs, and what the roles of a process share: `worker` takes hints and makes calls, `sweeper` feeds and sweeps, `api` takes submissions from
 * NATS beside HTTP. Any mix of roles may share a process; any number of processes may share a database.
 */
import type { NatsConnection } from 'nats'
import { createBackgroundAudit } from './audit/background.js'
import type { AuditDeps } from './audit/pass.js'
import type { EndstateConfig } from './config/builder.js'
import type { CompiledSet } from './config/pipelines.js'
import type { RoleName } from './config/settings.js'
import { createNatsIngest } from './ingest/nats.js'
import type { Accept } from './ingest/contract.js'
import { startLedger } from './ledger/start.js'
import { forceSettle } from './machines/decide.js'
import type { RecordDocument, RecordError } from './machines/record.js'
import { isSettled } from './machines/record.js'
import type { AuditReports } from './persistence/audit-reports.js'
import type { RecordWriter } from './persistence/contract.js'
import type { Gate } from './providers/gate.js'
import { createSlotPools } from './providers/slots.js'
import type { Ports } from './simulation/ports.js'
import { createAlarms } from './worker/alarms.js'
import { createCallRunner } from './worker/call-runner.js'
import type { CallRunnerDeps } from './worker/call-runner.js'
import type { Clock, Ids } from './worker/contract.js'
import { createDirectHints, isAway } from './worker/direct-hints.js'
import { createErrandRunner } from './worker/errands.js'
import { createFeeder } from './worker/feeder.js'
import { createForeignKeeper } from './worker/foreign.js'
import { createGarbageKeeper } from './worker/garbage.js'
import type { Liveness } from './worker/liveness.js'
import type { LoadView } from './worker/load-view.js'
import type { Logger } from './worker/logger.js'
import type { Mailboxes } from './worker/mailbox.js'
import type { RecentRecords } from './worker/recent-records.js'
import type { SettledWaiters } from './worker/settled-waiters.js'
import { createPrepare } from './worker/prepare.js'
import { createSweeper, shardsFor } from './worker/sweeper.js'
import type { TakeTurn } from './worker/turn.js'
import { createWorker } from './worker/worker.js'

export type Role = RoleName

/** What the roles of one process share. */
export type Shared = {
  config: EndstateConfig
  roles: readonly Role[]
  nats: NatsConnection
  secret(name: string): string
  /** Someone wants to hear of charges: saves write facts into the outbox. */
  facts: boolean
  prefix: string
  carryOverAfterMs: number
  pipelines: CompiledSet
  ports: Ports
  clock: Clock
  ids: Ids
  log: Logger
  memberId: string
  liveness: Liveness
  closing: AbortSignal
  records: RecordWriter
  recent: RecentRecords
  mailboxes: Mailboxes
  loadView: LoadView
  /** May a call start now, as far as all workers know together. */
  gate: Gate
  /** Where a provider may tell of a job's end; null when nothing can reach us. */
  webhookUrl: NonNullable<CallRunnerDeps['webhookUrl']>
  turns: TakeTurn
  /** Called with each record that this process has saved. */
  onSaved(listener: (after: RecordDocument) => void): void
  waiters: SettledWaiters
  /** The audit in the background; null when it is off. */
  auditing?: { deps: AuditDeps; reports: AuditReports; recordsPerSecond: number } | null
}

const TIMERS_AT_ONCE_MAX = 128
const HINTS_WHILE_DOWN = 4
const TIMER_HINTS_MAX = 2_000
const DRAIN_MS = 25_000

type Stop = () => Promise<void>

/** Answers how to stop, in reverse order of the start. */
export const startRoles = async (shared: Shared, accept: Accept): Promise<Stop> => {
  const { roles } = shared
  const stops: Stop[] = []
  // First, because it throws where a secret is missing: nothing else runs by then.
  if (roles.includes('sweeper')) stops.push(startLedgerOf(shared))
  if (roles.includes('worker')) stops.push(startWorker(shared))
  if (roles.includes('sweeper')) stops.push(startSweeper(shared))
  if (roles.includes('sweeper') && shared.auditing) stops.push(startAudit(shared, shared.auditing))
  if (roles.includes('api')) stops.push(await startIngest(shared, accept))
  return async () => {
    for (const stop of stops.reverse()) await stop()
  }
}

const startIngest = async (shared: Shared, accept: Accept): Promise<Stop> => {
  const ingest = await createNatsIngest({
    nc: shared.nats,
    accept,
    prefix: shared.prefix,
    sources: shared.config.sources,
    log: shared.log,
  })
  return () => ingest.close()
}

/** Steps that became ready by this save are hinted at once, where nobody waits before them. */
export const hintReady = (
  shared: Pick<Shared, 'loadView' | 'ports'>,
  before: RecordDocument,
  after: RecordDocument,
): void => {
  const { loadView, ports } = shared
  const knew = new Set(before.queue.map(({ step, readyAt }) => `${step} ${readyAt.getTime()}`))
  for (const { provider, step, readyAt, held } of after.queue) {
    if (held || knew.has(`${step} ${readyAt.getTime()}`) || !loadView.mayHint(provider)) continue
    loadView.hinted(provider)
    const hint = { type: 'STEP_READY', record: after._id, version: after.version } as const
    void ports.bus.publish({ provider }, hint).catch(() => undefined) // The feeder finds it (P9).
  }
}

/** D4, as long as the record is still at the version that was seen. */
const settleByForce = async (
  shared: Shared,
  by: string,
  id: string,
  version: number,
  error: RecordError,
  isOthers: (doc: RecordDocument) => boolean = () => false,
): Promise<void> => {
  const { records, clock, ids, log, pipelines } = shared
  const doc = await records.load(id, { majority: true })
  if (!doc || doc.version !== version || isSettled(doc.status) || isOthers(doc)) return
  const decider = { at: clock.now(), by, writer: ids.writer(), facts: shared.facts }
  const outcome = await records.save(
    forceSettle(doc, error, decider, pipelines.byVersion(doc.pipelineVersion)?.terms).save,
  )
  log.error({ record: id, code: error.code, outcome: outcome.kind }, 'A record was settled by force.')
}

const startWorker = (shared: Shared): Stop => {
  const by = `worker:${shared.memberId}`
  const { ports, pipelines, clock, log, loadView, liveness, gate } = shared
  const slots = createSlotPools(ports.providers.values())
  const { providers, blobs } = ports
  const calling = { providers, blobs, clock, gate, random: Math.random, storageRetryMs: 500 }
  const nothing = () => {}
  const alarms = createAlarms((doc) => {
    const hint = { type: 'TIMER_DUE', record: doc._id, version: doc.version } as const
    if (worker.timersFree() > 0) worker.onTimerHint({ hint, ack: nothing, nak: nothing })
  })
  shared.onSaved((after) => alarms.set(after, clock.now()))
  const worker = createWorker({
    pipelines,
    turns: shared.turns,
    prepare: createPrepare({ providers: ports.providers, blobs: ports.blobs, clock }),
    runCall: createCallRunner({ ...calling, webhookUrl: shared.webhookUrl }),
    runErrand: createErrandRunner(calling),
    gate,
    slots,
    blobs: ports.blobs,
    bus: ports.bus,
    clock,
    log,
    nobodyWaits: (provider) => loadView.nobodyWaits(provider),
    someoneKnows: (version) => liveness.members().some((member) => member.pipelines.includes(version)),
    taken: (provider) => loadView.taken(provider),
    acked: (provider) => loadView.acked(provider),
    settleByForce: (id, version, code, message) =>
      settleByForce(shared, by, id, version, { code, message, kind: 'unknown' }),
    timersAtOnceMax: TIMERS_AT_ONCE_MAX,
  })
  const stopDirect = startDirect(shared, worker, (provider) => slots.get(provider)?.free() ?? 0)
  worker.start()
  return async () => {
    await stopDirect()
    alarms.close()
    await worker.close(DRAIN_MS)
  }
}

/** P9: while the bus is away, this process reads due and waiting records itself. */
const startDirect = (
  shared: Shared,
  worker: ReturnType<typeof createWorker>,
  free: (provider: string) => number,
): Stop => {
  const { ports, clock, log } = shared
  const direct = createDirectHints({
    onProviderHint: (provider, delivery) => worker.onProviderHint(provider, delivery),
    onTimerHint: (delivery) => worker.onTimerHint(delivery),
    providerFree: free,
    timersFree: () => worker.timersFree(),
  })
  const feeder = createFeeder({
    providers: Object.keys(shared.config.providers),
    store: ports.store,
    leases: { lease: async () => isAway(ports.bus.awaySinceMs(), clock) },
    holder: shared.memberId,
    publish: (queue, hint) => direct.publishTo(queue === 'timers' ? '' : queue.provider, hint),
    pending: async () => 0,
    window: free,
    versions: () => shared.pipelines.all().map(({ version }) => version),
    holding: () => {},
    clock,
    log,
  })
  const sweeper = createSweeper({
    store: ports.store,
    publish: (hint) => direct.publishTimer(hint),
    pending: async () => (isAway(ports.bus.awaySinceMs(), clock) ? 0 : Infinity),
    pendingMax: TIMERS_AT_ONCE_MAX,
    shards: () => ({ from: 0, to: 256 }),
    workersAlive: () => false, // Never gives up: that is the sweeper role's to decide.
    givesUp: async () => {},
    clock,
    log,
  })
  feeder.start()
  sweeper.start()
  return async () => {
    await Promise.all([feeder.close(), sweeper.close()])
  }
}

/** Charges leave by one process at a time, whichever has the lease. */
const startLedgerOf = ({ config, ports, clock, log, nats, prefix, secret, memberId }: Shared): Stop =>
  startLedger({
    sinks: config.charges ?? { nats: false, webhook: null },
    store: ports.store,
    clock,
    log,
    nats,
    prefix,
    secret,
    lease: (name, forMs) => ports.heartbeats.lease(name, memberId, forMs),
  })

const CANNOT_ADVANCE: RecordError = {
  code: 'cannot-advance',
  message: 'Its timers were due again and again, and no worker could advance it.',
  kind: 'unknown',
}

const startSweeper = (shared: Shared): Stop => {
  const { ports, clock, log, liveness, loadView, ids, records } = shared
  const by = `sweeper:${shared.memberId}`
  const feeder = createFeeder({
    providers: Object.keys(shared.config.providers),
    store: ports.store,
    leases: ports.heartbeats,
    holder: shared.memberId,
    publish: (queue, hint) => ports.bus.publish(queue, hint),
    pending: (provider) => ports.bus.pending({ provider }),
    // While a provider is down its records only learn so, or fall back: a few at a time, or each would be saved each time.
    window: (provider) => Math.min(loadView.window(provider), shared.gate.hold(provider) ? HINTS_WHILE_DOWN : Infinity),
    versions: () => liveness.members().flatMap(({ pipelines }) => pipelines),
    holding: (waiting) => {
      loadView.hold(waiting)
      liveness.update({ waiting })
    },
    clock,
    log,
  })
  const foreign = createForeignKeeper({
    pipelines: shared.pipelines,
    store: ports.store,
    records,
    mailboxes: shared.mailboxes,
    members: () => liveness.members(),
    clock,
    ids,
    by,
    log,
    afterMs: shared.carryOverAfterMs,
    facts: shared.facts,
    saved: (before, after) => hintReady(shared, before, after),
  })
  const sweeper = createSweeper({
    store: ports.store,
    publish: (hint) => ports.bus.publish('timers', hint),
    pending: () => ports.bus.pending('timers'),
    pendingMax: TIMER_HINTS_MAX,
    shards: () => shardsFor(shared.memberId, liveness.members()),
    workersAlive: () => liveness.members().some(({ roles }) => roles.includes('worker')),
    givesUp: ({ id, version }) => settleByForce(shared, by, id, version, CANNOT_ADVANCE, foreign.isForeign),
    clock,
    log,
  })
  const garbage = createGarbageKeeper({
    blobs: ports.blobs,
    isReferenced: (blobIds) => ports.store.referencedBlobs(blobIds),
    isLeader: () => ports.heartbeats.lease('garbage', shared.memberId, 30_000),
    clock,
    log,
  })
  loadView.onRefused((provider) => feeder.wake(provider))
  feeder.start()
  sweeper.start()
  foreign.start()
  garbage.start()
  return async () => {
    await Promise.all([feeder.close(), sweeper.close(), foreign.close(), garbage.close()])
  }
}

const startAudit = (shared: Shared, { deps, reports, recordsPerSecond }: NonNullable<Shared['auditing']>): Stop => {
  const audit = createBackgroundAudit({
    audit: deps,
    recordsPerSecond,
    leads: (forMs) => shared.ports.heartbeats.lease('audit', shared.memberId, forMs),
    report: (found) => reports.put(found),
    clock: shared.clock,
    log: shared.log,
  })
  audit.start()
  return () => audit.close()
}
