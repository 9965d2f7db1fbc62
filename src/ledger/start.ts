/** One relay per sink that the config names; for processes with the role `sweeper`. */
import type { ChargeSink, ChargeSinks } from './contract.js'
import { createNatsSink } from './nats-sink.js'
import type { NatsSinkDeps } from './nats-sink.js'
import { createRelay } from './relay.js'
import type { RelayDeps } from './relay.js'
import { createWebhookSink } from './webhook-sink.js'

const LEASE_MS = 30_000

export type LedgerDeps = Pick<RelayDeps, 'store' | 'clock' | 'log'> &
  NatsSinkDeps & {
    sinks: ChargeSinks
    secret(name: string): string
    lease(name: string, forMs: number): Promise<boolean>
  }

const leaseOf = (sink: string): string => `sink-${sink}`

/** Answers how to stop. Throws when a secret is missing or unfit. */
export const startLedger = (deps: LedgerDeps): (() => Promise<void>) => {
  const { sinks, store, clock, log, nats, prefix } = deps
  const made: ChargeSink[] = []
  if (sinks.nats) made.push(createNatsSink({ nats, prefix }))
  if (sinks.webhook)
    made.push(createWebhookSink(sinks.webhook, { secret: (name) => deps.secret(name), now: () => clock.now() }))
  const relays = made.map((sink) =>
    createRelay({
      sink,
      store,
      clock,
      log,
      random: Math.random,
      isLeader: () => deps.lease(leaseOf(sink.name), LEASE_MS),
    }),
  )
  for (const relay of relays) relay.start()
  return async () => {
    await Promise.all(relays.map((relay) => relay.close()))
    // Another process may go on at once; where that can't be said, it waits for the lease's end.
    await Promise.allSettled(made.map(({ name }) => deps.lease(leaseOf(name), 1)))
  }
}
