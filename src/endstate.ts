/**
 * Puts the rooms together: one Endstate in this process, in the roles it is given, on clients that the caller owns.
 * Reads no environment, binds no port, installs no signal handler.
 */
import { setMaxListeners } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { hostname } from 'node:os'
import type { MongoClient } from 'mongodb'
import type { NatsConnection } from 'nats'
import type { EndstateConfig } from './config/builder.js'
import { compileConfig } from './config/pipelines.js'
import type { CompiledSet } from './config/pipelines.js'
import { isOwn, makeProviders, makeWebhookReaders, reportedProviders, secretsOf, slotsOf } from './configured.js'
import { auditLines } from './audit/pass.js'
import type { AuditDeps } from './audit/pass.js'
import { createAccept } from './ingest/accept.js'
import { recordIdOf } from './ingest/content-hash.js'
import type { Accept } from './ingest/contract.js'
import { sinkNames } from './ledger/settings.js'
import { describeMachine } from './machines/describe.js'
import type { OperatorEvent } from './machines/events.js'
import { newRecord } from './machines/new-record.js'
import type { RecordDocument } from './machines/record.js'
import { StoreUnavailable } from './persistence/contract.js'
import { createMongoAuditReports } from './persistence/audit-reports.js'
import { assertDeployment } from './persistence/deployment.js'
import { deploymentSecret } from './persistence/deployment-secret.js'
import { createGroupCommit } from './persistence/group-commit.js'
import { ensureIndexes } from './persistence/indexes.js'
import { createMongoBlobStore } from './persistence/mongo-blob-store.js'
import { createMongoHeartbeats } from './persistence/mongo-heartbeats.js'
import { createMongoRecordAudit } from './persistence/mongo-record-audit.js'
import { createMongoRecordStore } from './persistence/mongo-record-store.js'
import { createMongoProviderStates } from './persistence/provider-states.js'
import type { Provider } from './providers/contract.js'
import { openGate } from './providers/gate.js'
import { createGate } from './providers/gate/create-gate.js'
import { createProviderReports } from './providers/gate/reports.js'
import { createWebhookCalls } from './providers/webhook-calls.js'
import { createServer } from './server/app.js'
import { loopbackIdentity } from './server/identify.js'
import type { Ports } from './simulation/ports.js'
import { createChildRecords } from './worker/child-records.js'
import type { Clock } from './worker/contract.js'
import { createDeliver } from './worker/deliver.js'
import { createIds } from './worker/ids.js'
import { createLiveness } from './worker/liveness.js'
import { createLoadView } from './worker/load-view.js'
import type { Logger } from './worker/logger.js'
import { silent } from './worker/logger.js'
import { createMailboxes } from './worker/mailbox.js'
import { createNatsHintBus } from './worker/nats-hint-bus.js'
import { assertJetStream } from './worker/nats-work-stream.js'
import { readOutputs } from './worker/payloads.js'
import { createRecentRecords } from './worker/recent-records.js'
import { createServerClock } from './worker/server-clock.js'
import { createSettledWaiters } from './worker/settled-waiters.js'
import { createTurns } from './worker/turn.js'
import { createWebhooks } from './worker/webhooks.js'
import { hintReady, startRoles } from './roles.js'
import type { Role, Shared } from './roles.js'

/** A little more than what calls that run are given. */
const CLOSE_MS_MAX = 27_000
const PROVIDER_CLOSE_MS_MAX = 5_000
/** Longer than the minute between two recounts, so that one process keeps it. */
const BUDGETS_LEASE_MS = 2 * 60_000
const CARRY_OVER_AFTER_MS = 10 * 60_000

export type EndstateOptions = {
  mongo: MongoClient
  database: string
  nats: NatsConnection
  roles: readonly Role[]
  /** Subjects and streams lie under it. Default `endstate`. */
  prefix?: string
  /** Where providers reach the API from outside, for webhooks. Without it jobs are polled. */
  publicUrl?: string | null
  /** Records a second that the audit in the background reads, with the role `sweeper`. Default 0: none. */
  auditRate?: number
  secrets(name: string): string | undefined
  log?: Logger
  /** How long records of a pipelineVersion that nobody alive knows are left to others. Default 10 minutes. */
  carryOverAfterMs?: number
  /** Wraps the ports before anything uses them: faultpoints, metrics. */
  decorate?(ports: Ports): Ports
}

export type EndstateInstance = {
  pipelines: CompiledSet
  accept: Accept
  records: {
    /** Null when there is none. */
    get(id: string): Promise<RecordDocument | null>
    /** Ends an unsettled record, and one in investigation. `by` names the person in the history. */
    cancel(id: string, options: { reason: string; by: string }): Promise<RecordDocument | null>
    /** Starts a record in investigation again; steps that have their result are not called again (P3). */
    retry(id: string, options: { reason: string; by: string }): Promise<RecordDocument | null>
    /** Gives up a record in investigation. */
    writeOff(id: string, options: { reason: string; by: string }): Promise<RecordDocument | null>
  }
  handler(req: IncomingMessage, res: ServerResponse): void
  /** Begins to take hints, to sweep and to take submissions from NATS, as the roles say. */
  start(): Promise<void>
  readiness(): Promise<{ ok: boolean; degraded: string[] }>
  /** Stops taking work, waits for what runs (bounded), and leaves the clients open. */
  close(): Promise<void>
}

/**
 * Throws PipelineRefused and ConfigRefused for a config that can't run, DeploymentUnsuitable for a MongoDB that is no
 * replica set or too old, and names what is missing on a NATS without JetStream.
 */
export const createEndstate = async (config: EndstateConfig, options: EndstateOptions): Promise<EndstateInstance> => {
  const pipelines = compileConfig(config)
  const { prefix = 'endstate', log = silent } = options
  const db = options.mongo.db(options.database)
  await assertDeployment(db)
  await assertJetStream(options.nats)
  const sinks = sinkNames(config.charges)
  await ensureIndexes(db, { sinks })

  const closing = new AbortController()
  setMaxListeners(0, closing.signal) // One per save that is sent again, bounded by the calls that run.
  const clock = createServerClock()
  // What it uses is made below: no provider is called before.
  const childRecords = createChildRecords({
    accept: (submission) => accept(submission),
    load: (children) => store.load(children, { majority: true }),
    outputs: (doc) => readOutputs(blobs, doc),
    idOf: recordIdOf,
  })
  const plain: Ports = {
    store: createMongoRecordStore(db, { sinks }),
    blobs: createMongoBlobStore(db),
    heartbeats: createMongoHeartbeats(db),
    states: createMongoProviderStates(db),
    bus: createNatsHintBus(options.nats, { log, prefix }),
    providers: makeProviders(config, options, childRecords),
  }
  const ports = options.decorate?.(plain) ?? plain
  const { store, blobs, bus } = ports
  const auditReports = createMongoAuditReports(db)
  const audit: AuditDeps = {
    reader: createMongoRecordAudit(db),
    blobs,
    pipelines: (version) => pipelines.byVersion(version),
    nowMs: () => clock.monotonicMs(),
  }
  const ids = createIds()
  const webhookCalls = createWebhookCalls(options.publicUrl ?? null, await deploymentSecret(db))
  const memberId = `${hostname()}-${process.pid}-${ids.record().slice(-6)}`
  const runsWorker = options.roles.includes('worker')
  const liveness = createLiveness({
    heartbeats: ports.heartbeats,
    clock,
    log,
    member: {
      id: memberId,
      roles: [...options.roles],
      slots: runsWorker ? slotsOf(config) : {},
      pipelines: runsWorker ? pipelines.all().map(({ version }) => version) : [],
      waiting: [],
    },
  })
  const gate = runsWorker
    ? createGate({
        providers: new Map([...ports.providers].filter(([name]) => isOwn(name))),
        limits: Object.fromEntries(Object.entries(config.providers).map(([name, { limits }]) => [name, limits])),
        budgets: config.budgets ?? [],
        states: ports.states,
        clock,
        random: Math.random,
        processes: () => liveness.members().filter(({ roles }) => roles.includes('worker')).length,
        leads: () => ports.heartbeats.lease('budgets', memberId, BUDGETS_LEASE_MS),
        log,
      })
    : openGate
  const savedListeners = new Set<(after: RecordDocument) => void>()
  const base = {
    config,
    roles: options.roles,
    secret: secretsOf(options),
    facts: sinks.length > 0,
    nats: options.nats,
    prefix,
    carryOverAfterMs: options.carryOverAfterMs ?? CARRY_OVER_AFTER_MS,
    pipelines,
    ports,
    clock,
    ids,
    log,
    memberId,
    liveness,
    closing: closing.signal,
    records: createGroupCommit(store, { closing: closing.signal }),
    recent: createRecentRecords(2_000),
    mailboxes: createMailboxes(),
    loadView: createLoadView({
      providers: Object.keys(config.providers),
      self: memberId,
      bus,
      members: () => liveness.members(),
      clock,
    }),
    gate,
    webhookUrl: ((provider, call) => webhookCalls.urlFor(provider, call)) satisfies Shared['webhookUrl'],
    waiters: createSettledWaiters({ load: async (id) => (await store.load([id]))[0] ?? null, clock }),
    onSaved: (listener: (after: RecordDocument) => void) => void savedListeners.add(listener),
  }
  const turns = createTurns({
    ...base,
    by: `${runsWorker ? 'worker' : 'api'}:${memberId}`,
    facts: base.facts,
    saved: (before, after) => {
      base.waiters.tell(after)
      hintReady(base, before, after)
      for (const listener of savedListeners) listener(after)
    },
  })
  const { auditRate = 0 } = options
  const auditing = auditRate > 0 ? { deps: audit, reports: auditReports, recordsPerSecond: auditRate } : null
  const shared: Shared = { ...base, turns, auditing }
  const deliver = createDeliver({ turns, blobs, bus })
  const webhook = createWebhooks({
    readers: makeWebhookReaders(config, options),
    terms: new Map(Object.entries(config.providers).map(([name, factory]) => [name, factory.terms(name)])),
    readToken: (provider, token) => webhookCalls.read(provider, token),
    pipelines,
    load: (id) => shared.records.load(id),
    findByHandle: (provider, handle) => store.byHandle(provider, handle),
    deliver: async (id, event) => {
      const delivered = await deliver(id, event, `webhook:${event.type === 'CALL_NUDGED' ? 'news' : 'answer'}`)
      return { applied: delivered?.applied ?? false }
    },
    blobs,
    clock,
    random: Math.random,
    signal: closing.signal,
  })
  const accept = createAccept({
    pipelines,
    records: shared.records,
    blobs,
    clock,
    ids,
    makeRecord: newRecord,
    accepted: (doc) => announce(shared, doc, runsWorker),
  })
  const readiness = async () => {
    const fresh = await liveness.fresh(1_000)
    return { ok: fresh !== null, degraded: bus.awaySinceMs() === null ? [] : ['nats'] }
  }
  const server = createServer({
    accept,
    store,
    blobs,
    pipelines,
    describeMachine: (pipeline) => {
      const path = pipelines.byVersion(pipeline.version)?.verification.path
      return { ...describeMachine(pipeline), ...(path && { path }) }
    },
    readiness,
    settled: (id, wait) => shared.waiters.wait(id, wait),
    deliver: async (id, event, by, options) => {
      const delivered = await deliver(id, event, `operator:${by}`, options)
      if (!delivered) throw new StoreUnavailable(`Record ${id} could not be read.`)
      return delivered
    },
    webhook,
    providers: createProviderReports({ providers: reportedProviders(config), states: ports.states, clock }),
    audit: ({ source, ...how }) =>
      auditLines(audit, { ...how, scope: { kind: 'all', ...(source !== undefined && { source }) } }),
    audited: () => auditReports.last(),
    clock,
    log,
    identify: loopbackIdentity,
  })
  const asOperator = (type: OperatorEvent['type']) => {
    return async (id: string, { reason, by }: { reason: string; by: string }) =>
      (await deliver(id, { type, reason }, `operator:${by}`))?.doc ?? null
  }
  let stopRoles = async () => {}
  return {
    pipelines,
    accept,
    records: {
      get: (id) => shared.records.load(id),
      cancel: asOperator('CANCEL'),
      retry: asOperator('RETRY'),
      writeOff: asOperator('WRITE_OFF'),
    },
    handler: (req, res) => server.handler(req, res),
    readiness,
    async start() {
      await liveness.start()
      gate.start()
      shared.loadView.start()
      stopRoles = await startRoles(shared, accept)
    },
    async close() {
      // While storage is away, saves that wait for it must not hold the process longer than calls may.
      const enough = setTimeout(() => closing.abort(), CLOSE_MS_MAX)
      await stopRoles()
      clearTimeout(enough)
      closing.abort()
      await shared.records.drain()
      await gate.close()
      await shared.loadView.close()
      await liveness.close()
      await bus.close()
      await store.close()
      await Promise.all([...ports.providers.values()].map((provider) => closeInTime(provider, clock)))
    },
  }
}

/** A team's adapter may wait for its own connections; the process does not end later for it. */
const closeInTime = async (provider: Provider, { sleep }: Pick<Clock, 'sleep'>): Promise<void> => {
  const enough = new AbortController()
  await Promise.race([provider.close().catch(() => undefined), sleep(PROVIDER_CLOSE_MS_MAX, enough.signal)])
  enough.abort('closed')
}

/** The first hint of a record: the same message, whichever adapter it came by. */
const announce = async (
  { ports, loadView, recent }: Shared,
  doc: RecordDocument,
  runsWorker: boolean,
): Promise<void> => {
  if (runsWorker) recent.put(doc)
  for (const { provider } of doc.queue) {
    if (!loadView.mayHint(provider)) continue
    loadView.hinted(provider)
    await ports.bus.publish({ provider }, { type: 'RECORD_ACCEPTED', record: doc._id, version: doc.version })
  }
}
