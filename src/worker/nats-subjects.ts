/**
 * The names that hints use on NATS: one stream, one subject and one durable consumer per queue.
 *
 * N1 Every subject of a bus lies under its prefix, so several deployments can share one NATS account.
 * N2 Names carry a provider and nothing else: no record, no source, no patient data.
 */
import type { QueueName } from './contract.js'

export type WorkNames = {
  stream: string
  /** What the stream captures. */
  captures: string[]
  subject(queue: QueueName): string
  durable(queue: QueueName): string
}

// No underscore: it stands for the dot in stream names, where two prefixes must not meet.
const PREFIX = /^[a-z0-9-]+(\.[a-z0-9-]+)*$/
const PROVIDER = /^[a-z0-9-]{1,40}$/

export const queueKey = (queue: QueueName): string => (queue === 'timers' ? 'timers' : `work.${providerOf(queue)}`)

function providerOf(queue: { provider: string }): string {
  if (!PROVIDER.test(queue.provider)) {
    throw new Error(`A provider's name is 1 to 40 of a-z, 0-9 and "-"; found ${JSON.stringify(queue.provider)}.`)
  }
  return queue.provider
}

/** Throws when the prefix can't be a NATS subject. */
export function workNames(prefix: string): WorkNames {
  if (!PREFIX.test(prefix)) {
    throw new Error(
      `The NATS subject prefix must be words of a-z, 0-9 and "-" joined by dots; found ${JSON.stringify(prefix)}.`,
    )
  }
  const upper = prefix.toUpperCase().replaceAll('.', '_')
  return {
    stream: `${upper}_WORK`,
    captures: [`${prefix}.work.*`, `${prefix}.timers`],
    subject: (queue) => `${prefix}.${queueKey(queue)}`,
    durable: (queue) => queueKey(queue).replace('.', '-'),
  }
}
