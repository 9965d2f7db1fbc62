/**
 * Whole processes on ports in memory: the roles as `createEndstate` starts them, over one store, bus and clock that all
 * processes of a test share.
 */
import type { EndstateConfig } from '../../src/config/builder.js'
import type { Compiled } from '../../src/machines/compile.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { createGroupCommit } from '../../src/persistence/group-commit.js'
import { createMemoryBlobStore } from '../../src/persistence/memory-blob-store.js'
import { createMemoryProviderStates } from '../../src/persistence/memory-provider-states.js'
import { createMemoryHeartbeats } from '../../src/persistence/memory-heartbeats.js'
import type { NatsConnection } from 'nats'
import type { Role, Shared } from '../../src/roles.js'
import { hintReady, startRoles } from '../../src/roles.js'
import { createIds } from '../../src/worker/ids.js'
import { createLiveness } from '../../src/worker/liveness.js'
import { createLoadView } from '../../src/worker/load-view.js'
import { createMailboxes } from '../../src/worker/mailbox.js'
import { createMemoryHintBus } from '../../src/worker/memory-hint-bus.js'
import type { MemoryHintBusOptions } from '../../src/worker/memory-hint-bus.js'
import { openGate } from '../../src/providers/gate.js'
import { createRecentRecords } from '../../src/worker/recent-records.js'
import { createSettledWaiters } from '../../src/worker/settled-waiters.js'
import { createTurns } from '../../src/worker/turn.js'
import { record, terms } from '../machines/pipelines.js'
import { createHandClock } from './hand-clock.js'
import { createHandProvider } from './hand-provider.js'
import type { HandProvider } from './hand-provider.js'
import { createFaultyStore, createLog } from './scene.js'

export type World = ReturnType<typeof createWorld>

export const createWorld = (options: Pick<MemoryHintBusOptions, 'fate'> = {}) => {
  const clock = createHandClock()
  const faulty = createFaultyStore()
  return {
    clock,
    ...faulty,
    blobs: createMemoryBlobStore({ now: clock.now }),
    heartbeats: createMemoryHeartbeats(clock),
    bus: createMemoryHintBus({ clock, ...options }),
    async insert(pipeline: Compiled, change: Partial<RecordDocument> = {}) {
      await faulty.real.insert([record(pipeline, change)])
    },
    async read(id = 'r1'): Promise<RecordDocument> {
      const [doc] = await faulty.real.load([id])
      if (!doc) throw new Error(`No record ${id} is stored.`)
      return doc
    },
  }
}

export type ProcessOptions = {
  id: string
  roles: readonly Role[]
  pipelines: readonly Compiled[]
  slots?: { [provider: string]: number }
  carryOverAfterMs?: number
}

const setOf = (compiled: readonly Compiled[]): Shared['pipelines'] => ({
  byName: (name) => compiled.find(({ definition }) => definition.name === name),
  byVersion: (version) => compiled.find((each) => each.version === version),
  all: () => [...compiled],
})

/** Starts a process; `close` ends it as `createEndstate().close()` does. */
export const startProcess = async (world: World, options: ProcessOptions) => {
  const { id, roles, pipelines, slots = {} } = options
  const { clock, blobs, bus, heartbeats, store } = world
  const { log, lines } = createLog()
  const runsWorker = roles.includes('worker')
  const used = new Set(pipelines.flatMap(({ definition }) => definition.steps.flatMap(({ use }) => use)))
  const providers = new Map<string, HandProvider>(
    [...used].map((name) => [name, createHandProvider(terms[name]!, slots[name] ?? 2)]),
  )
  const offered = Object.fromEntries([...providers].map(([name, provider]) => [name, provider.slots]))
  const compiled = setOf(pipelines)
  const member = {
    id,
    roles: [...roles],
    slots: runsWorker ? offered : {},
    pipelines: runsWorker ? pipelines.map(({ version }) => version) : [],
    waiting: [],
  }
  const liveness = createLiveness({ heartbeats, clock, log, member })
  const listeners = new Set<(after: RecordDocument) => void>()
  const closing = new AbortController()
  const loadView = createLoadView({
    providers: [...providers.keys()],
    self: id,
    bus,
    members: () => liveness.members(),
    clock,
  })
  const ports = { store, blobs, heartbeats, bus, providers, states: createMemoryProviderStates({ clock }) }
  const base = {
    // Only the names of the providers are read.
    config: { providers: Object.fromEntries(providers), pipelines: [], sources: [] } as unknown as EndstateConfig,
    roles,
    // Only the role api asks for it.
    nats: {} as NatsConnection,
    secret: () => '',
    facts: false,
    prefix: 'endstate',
    carryOverAfterMs: options.carryOverAfterMs ?? 600_000,
    pipelines: compiled,
    ports,
    clock,
    ids: createIds(),
    log,
    memberId: id,
    liveness,
    closing: closing.signal,
    records: createGroupCommit(store, { closing: closing.signal, defer: queueMicrotask, time: clock }),
    recent: createRecentRecords(100),
    mailboxes: createMailboxes(),
    loadView,
    gate: openGate,
    webhookUrl: () => null,
    waiters: createSettledWaiters({ load: async (record) => (await store.load([record]))[0] ?? null, clock }),
    onSaved: (listener: (after: RecordDocument) => void) => void listeners.add(listener),
  }
  const turns = createTurns({
    ...base,
    by: `worker:${id}`,
    facts: false,
    saved: (before, after) => {
      hintReady(base, before, after)
      for (const listener of listeners) listener(after)
    },
  })
  await liveness.start()
  loadView.start()
  const stop = await startRoles({ ...base, turns }, () => Promise.reject(new Error('This process takes nothing in.')))
  return {
    id,
    lines,
    provider: (name: string) => providers.get(name)!,
    providers: () => [...providers.values()],
    async close() {
      await stop()
      closing.abort()
      await base.records.drain()
      await loadView.close()
      await liveness.close()
    },
  }
}
