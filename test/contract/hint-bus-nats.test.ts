/** What only JetStream can do to hints: consumers and streams deleted or misconfigured, storage wiped, foreign messages. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, RetentionPolicy, type JetStreamManager, type NatsConnection } from 'nats'
import { afterEach, beforeEach, describe, expect, inject, it, onTestFinished } from 'vitest'
import type { Delivery, Hint, HintBus } from '../../src/worker/contract.js'
import { createNatsHintBus, type NatsHintBusOptions } from '../../src/worker/nats-hint-bus.js'
import { workNames, type WorkNames } from '../../src/worker/nats-subjects.js'
import { assertJetStream } from '../../src/worker/nats-work-stream.js'
import { waitFor } from '../support/processes.js'
import { freshNats, startNats, testNatsUrl, type FreshNats, type OwnServer } from '../support/servers.js'

const GPT = { provider: 'gpt' }
const hintFor = (record: string): Hint => ({ type: 'STEP_READY', record, version: 1 })

const warnings: { facts: object; message: string }[] = []
const log: NatsHintBusOptions['log'] = {
  info: () => undefined,
  warn: (facts: object, message?: string) => void warnings.push({ facts, message: message ?? '' }),
  error: () => undefined,
}

const until = async (condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 10_000): Promise<void> => {
  await waitFor(condition, { what, timeoutMs })
}

function takeAll(bus: HintBus): string[] {
  const records: string[] = []
  bus.consume(GPT, {
    free: () => 16,
    onHint(delivery) {
      records.push(delivery.hint.record)
      delivery.ack()
    },
  })
  return records
}

describe('On a shared server', () => {
  let fresh: FreshNats
  let nc: NatsConnection
  let jsm: JetStreamManager
  let names: WorkNames
  let buses: HintBus[]
  const busWith = (options: Partial<NatsHintBusOptions> = {}): HintBus => {
    const bus = createNatsHintBus(nc, { prefix: fresh.prefix, log, ...options })
    buses.push(bus)
    return bus
  }

  beforeEach(async () => {
    warnings.length = 0
    buses = []
    fresh = await freshNats('hints')
    nc = fresh.connection
    jsm = await nc.jetstreamManager()
    names = workNames(fresh.prefix)
  })
  afterEach(async () => {
    for (const bus of buses) await bus.close()
    await fresh.dispose()
  })

  it('makes a deleted consumer anew under a running one', async () => {
    const bus = busWith()
    const records = takeAll(bus)
    await bus.publish(GPT, hintFor('before'))
    await until(() => records.length === 1, 'the hint before')
    await jsm.consumers.delete(names.stream, names.durable(GPT))
    await bus.publish(GPT, hintFor('after'))
    await until(() => records.includes('after'), 'the hint after', 2_500)
  })

  it('makes a deleted stream anew when nobody uses it', async () => {
    const bus = busWith()
    await bus.publish(GPT, hintFor('a'))
    await jsm.streams.delete(names.stream)
    await until(() => jsm.streams.info(names.stream).then(Boolean, () => false), 'the stream', 2_500)
  })

  it('publishes into a stream that is deleted in between', async () => {
    const bus = busWith({ probeEveryMs: 60_000 })
    await bus.publish(GPT, hintFor('a'))
    await jsm.streams.delete(names.stream)
    await Promise.all(Array.from({ length: 50 }, (_, i) => bus.publish(GPT, hintFor(`r-${i}`))))
    expect(await bus.pending(GPT)).toBe(50)
  })

  it('drops what is no hint, and says how often', async () => {
    const bus = busWith({ probeEveryMs: 50 })
    const records = takeAll(bus)
    await bus.publish(GPT, hintFor('first'))
    const js = nc.jetstream()
    const bodies = ['', 'text', '{}', '{"type":"OTHER","record":"r","version":1}', `"${'x'.repeat(5_000)}"`]
    for (const body of bodies) await js.publish(names.subject(GPT), body)
    await bus.publish(GPT, hintFor('last'))
    await until(() => records.includes('last'), 'the last hint')
    await until(async () => (await bus.pending(GPT)) === 0, 'nothing pending')
    expect(records).toEqual(['first', 'last'])
    const counted = (): number =>
      warnings.reduce((sum, { facts }) => sum + ('unreadable' in facts ? Number(facts.unreadable) : 0), 0)
    await until(() => counted() === 5, 'five unreadable messages in the log')
  })

  it('gives hints back when the slots went elsewhere, so that another can take them', async () => {
    const busy = busWith({ probeEveryMs: 100 })
    const other = busWith({ probeEveryMs: 100 })
    let slots = 8
    const taken: Delivery[] = []
    busy.consume(GPT, { free: () => slots, onHint: (delivery) => void taken.push(delivery) })
    // The pull for eight is out when the slots go: what it brings must not be handed over.
    const info = async () => (await jsm.consumers.info(names.stream, names.durable(GPT))).num_waiting
    await until(
      () =>
        info().then(
          (waiting) => waiting > 0,
          () => false,
        ),
      'the pull',
    )
    slots = 0
    await busy.publish(GPT, hintFor('elsewhere'))
    const records = takeAll(other)
    await until(() => records.includes('elsewhere'), 'the hint at the other bus', 8_000)
    expect(taken).toEqual([])
  })

  it('refuses hints of a full queue without failing the others', async () => {
    const bus = busWith({ limits: { messagesPerQueueMax: 3 } })
    for (let i = 0; i < 3; i++) await bus.publish(GPT, hintFor(`${i}`))
    await expect(bus.publish(GPT, hintFor('one too many'))).rejects.toMatchObject({ code: 'bus-unavailable' })
    await bus.publish('timers', hintFor('t'))
    expect(bus.awaySinceMs()).toBeNull()
  })

  it('bounds the publishes in flight', async () => {
    const bus = busWith({ inFlightMax: 10 })
    const outcomes = await Promise.allSettled(Array.from({ length: 30 }, (_, i) => bus.publish(GPT, hintFor(`${i}`))))
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(10)
  })

  it('mends a stream that lost its limits, and keeps those that an operator raised', async () => {
    await jsm.streams.add({ name: names.stream, subjects: names.captures, retention: RetentionPolicy.Workqueue })
    const first = busWith()
    await first.publish(GPT, hintFor('a'))
    await until(async () => (await jsm.streams.info(names.stream)).config.discard === 'new', 'DiscardNew')
    const { config } = await jsm.streams.info(names.stream)
    expect([config.max_msgs > 0, config.max_bytes > 0, config.max_age > 0]).toEqual([true, true, true])
    await jsm.streams.update(names.stream, { max_msgs: config.max_msgs + 1 })
    const second = busWith()
    takeAll(second)
    await until(() => jsm.consumers.info(names.stream, names.durable(GPT)).then(Boolean, () => false), 'the consumer')
    expect((await jsm.streams.info(names.stream)).config.max_msgs).toBe(config.max_msgs + 1)
  })

  it('is away, with the fix in the log, when the stream can not carry hints', async () => {
    await jsm.streams.add({ name: names.stream, subjects: names.captures, retention: RetentionPolicy.Limits })
    const bus = busWith()
    await until(() => bus.awaySinceMs() !== null, 'the bus to say so')
    expect(JSON.stringify(warnings)).toContain('delete the stream')
    await jsm.streams.delete(names.stream)
    await until(() => bus.awaySinceMs() === null, 'the bus to be back')
  })

  it('leaves nothing subscribed after close', async () => {
    const bus = busWith()
    const records = takeAll(bus)
    await bus.publish(GPT, hintFor('a'))
    await until(() => records.length === 1, 'the hint')
    await bus.close()
    await nc.flush()
    const info = await jsm.consumers.info(names.stream, names.durable(GPT))
    expect(info.num_waiting).toBe(0)
  })
})

describe('On a server of its own', () => {
  let server: OwnServer | null = null
  let nc: NatsConnection | null = null
  afterEach(async () => {
    await nc?.close()
    await server?.dispose()
    nc = server = null
  })
  const connectTo = (url: string): Promise<NatsConnection> =>
    connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 50, reconnectJitter: 0, pingInterval: 5_000 })

  it('recovers from a killed server, with a consumer running and hints unacked', async () => {
    server = await startNats()
    nc = await connectTo(server.url)
    const bus = createNatsHintBus(nc, { log, limits: { ackWaitMs: 1_000 } })
    const deliveries: Delivery[] = []
    bus.consume(GPT, { free: () => 8 - deliveries.length, onHint: (delivery) => void deliveries.push(delivery) })
    await bus.publish(GPT, hintFor('held'))
    await until(() => deliveries.length === 1, 'the delivery')
    await server.signal('SIGKILL')
    await until(() => bus.awaySinceMs() !== null, 'the bus to notice')
    deliveries[0]!.ack()
    await server.start()
    await until(() => bus.awaySinceMs() === null, 'the bus to be back')
    await until(() => deliveries.length === 2, 'the redelivery of what was not acked')
    await bus.close()
  })

  it('recovers from a server whose storage was wiped', async () => {
    const storage = await mkdtemp(join(tmpdir(), 'endstate-wiped-'))
    server = await startNats(['--store_dir', storage])
    nc = await connectTo(server.url)
    const bus = createNatsHintBus(nc, { log })
    const records = takeAll(bus)
    await bus.publish(GPT, hintFor('before'))
    await until(() => records.length === 1, 'the hint before')
    await server.stop()
    await rm(storage, { recursive: true })
    await server.start()
    await until(() => bus.awaySinceMs() === null, 'the bus to be back')
    await bus.publish(GPT, hintFor('after'))
    await until(() => records.includes('after'), 'the hint after')
    await bus.close()
    await rm(storage, { recursive: true })
  })

  it('notices a server that hangs, and one that goes on', async () => {
    const own = (server = await startNats())
    nc = await connectTo(own.url)
    const bus = createNatsHintBus(nc, { log, publishTimeoutMs: 500 })
    await bus.publish(GPT, hintFor('a'))
    await own.signal('SIGSTOP')
    onTestFinished(() => own.signal('SIGCONT').catch(() => undefined))
    // The signal takes a moment; the first publish that it catches fails within its limit.
    const fails = (record: string) =>
      bus.publish(GPT, hintFor(record)).then(
        () => null,
        (error: unknown) => error,
      )
    const failure = await waitFor(() => fails('b'), { what: 'a publish that fails', timeoutMs: 3_000 })
    expect(failure).toMatchObject({ code: 'bus-unavailable' })
    await until(() => bus.awaySinceMs() !== null, 'the bus to notice')
    await own.signal('SIGCONT')
    await until(() => bus.awaySinceMs() === null, 'the bus to be back')
    await bus.publish(GPT, hintFor('c'))
    await bus.close()
  })
})

it('works where only its own inboxes may be read', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'endstate-narrow-'))
  const conf = join(dir, 'nats.conf')
  const permissions = 'permissions: { publish: ">", subscribe: ["_INBOX_ours.>", "endstate.submit.>"] }'
  await writeFile(conf, `authorization { users: [{ user: a, password: a, ${permissions} }] }\n`)
  const server = await startNats(['-c', conf])
  const nc = await connect({ servers: server.url, user: 'a', pass: 'a', inboxPrefix: '_INBOX_ours' })
  const bus = createNatsHintBus(nc, { log })
  const records = takeAll(bus)
  await bus.publish(GPT, hintFor('a'))
  await until(() => records.length === 1, 'the hint')
  await bus.close()
  await nc.close()
  await server.dispose()
  await rm(dir, { recursive: true })
})

describe('assertJetStream', () => {
  const assertAt = async (url: string): Promise<string> => {
    const nc = await connect({ servers: url, reconnect: false })
    try {
      await assertJetStream(nc, 2_000)
      return 'content'
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    } finally {
      await nc.close()
    }
  }

  it('is content with a server that can carry hints', async () => {
    expect(await assertAt(testNatsUrl())).toBe('content')
  })

  it('names the fix for a server without JetStream', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'endstate-plain-'))
    const child = spawn(inject('natsServerPath'), ['-a', '127.0.0.1', '-p', '-1', '--ports_file_dir', dir], {
      stdio: 'ignore',
    })
    try {
      const ports = join(dir, `nats-server_${child.pid}.ports`)
      const text = await waitFor(() => readFile(ports, 'utf8').catch(() => ''), { what: 'the server to start' })
      const { nats } = JSON.parse(text) as { nats: string[] }
      expect(await assertAt(nats[0]!)).toMatch(/no JetStream\. Start it with "nats-server -js/)
    } finally {
      child.kill('SIGKILL')
      await once(child, 'exit')
      await rm(dir, { recursive: true })
    }
  })

  it('names the fix for an account without JetStream', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'endstate-account-'))
    const conf = join(dir, 'nats.conf')
    await writeFile(conf, 'accounts { A: { users: [{ user: a, password: a }] } }\nno_auth_user: a\n')
    const server = await startNats(['-c', conf])
    try {
      expect(await assertAt(server.url)).toContain('Add "jetstream: enabled" to the account')
    } finally {
      await server.dispose()
      await rm(dir, { recursive: true })
    }
  })

  it('names the fix for a server that is too old', async () => {
    const old = createServer((socket) => {
      const info = {
        server_id: 'A',
        version: '2.9.10',
        proto: 1,
        headers: true,
        max_payload: 1_048_576,
        jetstream: true,
      }
      socket.write(`INFO ${JSON.stringify(info)}\r\n`)
      socket.on('data', (bytes) => {
        if (bytes.includes('PING')) socket.write('PONG\r\n')
      })
      socket.on('error', () => undefined)
    })
    await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve))
    const { port } = old.address() as AddressInfo
    expect(await assertAt(`127.0.0.1:${port}`)).toContain('is 2.9.10; 2.10 or newer is needed')
    await new Promise((resolve) => old.close(resolve))
  })
})
