/**
 * What every hint bus must do, on memory and on a real nats-server: the worker and the simulation rely on the same
 * behaviour.
 */
import { connect, type NatsConnection } from 'nats'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Delivery, Hint, HintBus, HintConsumer, QueueName } from '../../src/worker/contract.js'
import { createMemoryHintBus } from '../../src/worker/memory-hint-bus.js'
import { createNatsHintBus } from '../../src/worker/nats-hint-bus.js'
import { workNames } from '../../src/worker/nats-subjects.js'
import { waitFor } from '../support/processes.js'
import { startNats, uniqueName, type OwnServer } from '../support/servers.js'

const ACK_WAIT_MS = 1_000
const GPT: QueueName = { provider: 'gpt' }
const OCR: QueueName = { provider: 'ocr' }

type World = {
  bus: HintBus
  /** The bus loses its queues while everything runs. */
  wipe(): Promise<void>
  goAway(): Promise<void>
  comeBack(): Promise<void>
  dispose(): Promise<void>
}

async function memoryWorld(): Promise<World> {
  const bus = createMemoryHintBus({ ackWaitMs: ACK_WAIT_MS })
  return {
    bus,
    wipe: async () => bus.wipe(),
    goAway: async () => bus.setAway(true),
    comeBack: async () => bus.setAway(false),
    dispose: () => bus.close(),
  }
}

async function natsWorld(server: OwnServer): Promise<World> {
  const nc = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50, reconnectJitter: 0 })
  const prefix = uniqueName('bus')
  const limits = { ackWaitMs: ACK_WAIT_MS }
  const bus = createNatsHintBus(nc, { prefix, limits, publishTimeoutMs: 1_000, log: quiet })
  return {
    bus,
    wipe: () => deleteStream(nc, workNames(prefix).stream),
    goAway: () => server.stop(),
    comeBack: () => server.start(),
    async dispose() {
      await bus.close()
      await nc.close()
    },
  }
}

async function deleteStream(nc: NatsConnection, name: string): Promise<void> {
  const manager = await nc.jetstreamManager()
  await manager.streams.delete(name)
}

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }

let counter = 0
const hintFor = (record = `record-${counter++}`): Hint => ({ type: 'STEP_READY', record, version: 1 })

type Taker = HintConsumer & { taken: Delivery[]; records(): string[]; slots: number; most: number }

/** Holds a slot for each delivery until `release`. */
function take(bus: HintBus, queue: QueueName, slots = 1_000): Taker {
  const taken: Delivery[] = []
  const consumer = bus.consume(queue, {
    free: () => taker.slots - taken.length,
    onHint(delivery) {
      taken.push(delivery)
      taker.most = Math.max(taker.most, taken.length)
    },
  })
  const taker: Taker = { ...consumer, taken, slots, most: 0, records: () => taken.map(({ hint }) => hint.record) }
  return taker
}

/** Acks at once and keeps nothing busy. */
function takeAll(bus: HintBus, queue: QueueName): { hints: Hint[]; consumer: HintConsumer } {
  const hints: Hint[] = []
  const consumer = bus.consume(queue, {
    free: () => 64,
    onHint(delivery) {
      hints.push(delivery.hint)
      delivery.ack()
    },
  })
  return { hints, consumer }
}

async function until(condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 10_000): Promise<void> {
  await waitFor(condition, { timeoutMs, what })
}

describe.each(['memory', 'nats'] as const)('The hint bus on %s', (kind) => {
  let server: OwnServer | null = null
  let world: World
  let bus: HintBus

  beforeAll(async () => {
    if (kind === 'nats') server = await startNats()
  })
  afterAll(async () => {
    await server?.dispose()
  })
  beforeEach(async () => {
    world = server === null ? await memoryWorld() : await natsWorld(server)
    bus = world.bus
  })
  afterEach(async () => {
    await world.dispose()
  })

  it('carries a hint as it was given, and forgets it after the ack', async () => {
    const { hints } = takeAll(bus, GPT)
    const hint: Hint = { type: 'RECORD_ACCEPTED', record: 'a', version: 7 }
    await bus.publish(GPT, hint)
    await until(() => hints.length === 1, 'the hint')
    expect(hints).toEqual([hint])
    await until(async () => (await bus.pending(GPT)) === 0, 'nothing pending')
  })

  it('keeps queues apart', async () => {
    const gpt = takeAll(bus, GPT)
    const timers = takeAll(bus, 'timers')
    await bus.publish('timers', hintFor('t'))
    await bus.publish(OCR, hintFor('o'))
    await bus.publish(GPT, hintFor('g'))
    await until(() => gpt.hints.length > 0 && timers.hints.length > 0, 'both hints')
    expect(gpt.hints.map(({ record }) => record)).toEqual(['g'])
    expect(timers.hints.map(({ record }) => record)).toEqual(['t'])
    expect(await bus.pending(OCR)).toBe(1)
  })

  it('keeps hints for a consumer that comes later', async () => {
    await bus.publish(GPT, hintFor('early'))
    expect(await bus.pending(GPT)).toBe(1)
    const { hints } = takeAll(bus, GPT)
    await until(() => hints.length === 1, 'the early hint')
  })

  it('never takes a repeated hint for the same one', async () => {
    const { hints } = takeAll(bus, GPT)
    const hint = hintFor()
    await Promise.all([bus.publish(GPT, hint), bus.publish(GPT, hint), bus.publish(GPT, hint)])
    await until(() => hints.length === 3, 'three hints')
  })

  it('delivers again after a nak, and not before its delay', async () => {
    const taker = take(bus, GPT)
    await bus.publish(GPT, hintFor('n'))
    await until(() => taker.taken.length === 1, 'the first delivery')
    taker.taken[0]!.nak()
    await until(() => taker.taken.length === 2, 'the second delivery')
    const nakedAtMs = performance.now()
    taker.taken[1]!.nak(300)
    await until(() => taker.taken.length === 3, 'the third delivery')
    expect(performance.now() - nakedAtMs).toBeGreaterThanOrEqual(290)
    expect(taker.records()).toEqual(['n', 'n', 'n'])
    taker.taken[2]!.ack()
    await until(async () => (await bus.pending(GPT)) === 0, 'nothing pending')
  })

  it('delivers again when no ack came in time', async () => {
    const taker = take(bus, GPT)
    await bus.publish(GPT, hintFor('silent'))
    await until(() => taker.taken.length === 2, 'the second delivery')
    expect(taker.records()).toEqual(['silent', 'silent'])
  })

  it('never delivers more than the free slots', async () => {
    const taker = take(bus, GPT, 5)
    for (let i = 0; i < 30; i++) await bus.publish(GPT, hintFor())
    const seen = new Set<string>()
    await until(() => {
      for (const delivery of taker.taken.splice(0)) {
        seen.add(delivery.hint.record)
        delivery.ack()
      }
      bus.nudge(GPT)
      return seen.size === 30
    }, '30 hints through 5 slots')
    expect(taker.most).toBeLessThanOrEqual(5)
  })

  it('waits for a slot, and goes on at a nudge', async () => {
    const taker = take(bus, GPT, 0)
    const other = takeAll(bus, OCR)
    await bus.publish(GPT, hintFor('waits'))
    await bus.publish(OCR, hintFor('sentinel'))
    await until(() => other.hints.length === 1, 'the other queue')
    expect(taker.taken).toEqual([])
    taker.slots = 1
    bus.nudge(GPT)
    await until(() => taker.taken.length === 1, 'the hint after the nudge')
  })

  it('delivers nothing while paused, and everything after resume', async () => {
    const taker = take(bus, GPT)
    const other = takeAll(bus, OCR)
    await bus.publish(GPT, hintFor('before'))
    await until(() => taker.taken.length === 1, 'the hint before the pause')
    taker.taken[0]!.ack()
    await taker.pause()
    for (let i = 0; i < 3; i++) await bus.publish(GPT, hintFor())
    bus.nudge(GPT)
    await until(async () => (await bus.pending(GPT)) === 3, 'three pending hints')
    await bus.publish(OCR, hintFor('sentinel'))
    await until(() => other.hints.length === 1, 'the other queue')
    expect(taker.taken.length).toBe(1)
    taker.resume()
    await until(() => taker.taken.length === 4, 'the three hints')
  })

  it('gives nothing to a closed consumer', async () => {
    const closed = take(bus, GPT)
    await closed.close()
    const open = takeAll(bus, GPT)
    for (let i = 0; i < 5; i++) await bus.publish(GPT, hintFor())
    await until(() => open.hints.length === 5, 'five hints at the open consumer')
    expect(closed.taken).toEqual([])
  })

  it('shares a queue among consumers without giving a hint to two', async () => {
    const takers = [take(bus, GPT, 3), take(bus, GPT, 3)]
    const seen: string[] = []
    for (let i = 0; i < 40; i++) await bus.publish(GPT, hintFor(`s-${i}`))
    await until(() => {
      for (const taker of takers) {
        for (const delivery of taker.taken.splice(0)) {
          seen.push(delivery.hint.record)
          delivery.ack()
        }
      }
      bus.nudge(GPT)
      return seen.length >= 40
    }, '40 hints')
    expect(new Set(seen).size).toBe(40)
    expect(seen.length).toBe(40)
    expect(takers.map(({ most }) => most > 0)).toEqual([true, true])
  })

  it('carries thousands at once', async () => {
    const { hints } = takeAll(bus, GPT)
    const records = Array.from({ length: 3_000 }, (_, i) => `many-${i}`)
    await Promise.all(records.map((record) => bus.publish(GPT, hintFor(record))))
    await until(() => hints.length >= 3_000, '3000 hints')
    expect(new Set(hints.map(({ record }) => record)).size).toBe(3_000)
  })

  it('goes on when it has lost its queues under a running consumer', async () => {
    const { hints } = takeAll(bus, GPT)
    await bus.publish(GPT, hintFor('before'))
    await until(() => hints.length === 1, 'the hint before')
    await world.wipe()
    await until(
      () =>
        bus.publish(GPT, hintFor('after')).then(
          () => true,
          () => false,
        ),
      'a publish that works again',
      3_000,
    )
    await until(() => hints.some(({ record }) => record === 'after'), 'the hint after', 3_000)
    await until(() => bus.awaySinceMs() === null, 'the bus to say that it works', 3_000)
  })

  it('says that it is away, refuses at once, and goes on when it is back', async () => {
    const { hints } = takeAll(bus, GPT)
    await bus.publish(GPT, hintFor('before'))
    await until(() => hints.length === 1, 'the hint before')
    expect(bus.awaySinceMs()).toBeNull()
    await world.goAway()
    await until(() => bus.awaySinceMs() !== null, 'the bus to notice', 5_000)
    await expect(bus.publish(GPT, hintFor())).rejects.toMatchObject({ code: 'bus-unavailable' })
    await world.comeBack()
    await until(() => bus.awaySinceMs() === null, 'the bus to be back')
    await bus.publish(GPT, hintFor('after'))
    await until(() => hints.some(({ record }) => record === 'after'), 'the hint after')
  })

  it('refuses everything after close', async () => {
    await bus.close()
    await expect(bus.publish(GPT, hintFor())).rejects.toMatchObject({ code: 'bus-unavailable' })
  })

  it('refuses a queue name that is no provider', async () => {
    await expect(bus.publish({ provider: 'a.>' }, hintFor())).rejects.toThrow('1 to 40')
  })
})
