/** The harness itself: what every other test on servers stands on. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { StringCodec } from 'nats'
import { startChild, waitFor } from '../support/processes.js'
import {
  freshDb,
  freshNats,
  startMongo,
  startMongod3,
  startNats,
  type FreshDb,
  type FreshNats,
} from '../support/servers.js'

let mongo: FreshDb
let nats: FreshNats
beforeAll(async () => {
  mongo = await freshDb('harness')
  nats = await freshNats('harness')
})
afterAll(async () => {
  await mongo.dispose()
  await nats.dispose()
})

describe('the shared servers', () => {
  it('write with majority and journal, and know fail points', async () => {
    const things = mongo.db.collection<{ _id: string }>('things')
    await things.insertOne({ _id: 'a' }, { writeConcern: { w: 'majority', journal: true } })
    const failPoint = { configureFailPoint: 'failCommand', mode: 'off' }
    expect(await mongo.client.db('admin').command(failPoint)).toMatchObject({ ok: 1 })
    expect(await things.countDocuments()).toBe(1)
  })

  it('keep JetStream messages', async () => {
    const manager = await nats.connection.jetstreamManager()
    await manager.streams.add({ name: nats.prefix, subjects: [`${nats.prefix}.>`] })
    await nats.connection.jetstream().publish(`${nats.prefix}.one`, StringCodec().encode('hello'))
    expect((await manager.streams.info(nats.prefix)).state.messages).toBe(1)
  })
})

describe('servers of one’s own', () => {
  it('a killed mongod comes back on its port with its data', async () => {
    const own = await startMongo()
    try {
      const { MongoClient } = await import('mongodb')
      const client = await new MongoClient(own.url).connect()
      await client
        .db()
        .collection<{ _id: string }>('things')
        .insertOne({ _id: 'kept' }, { writeConcern: { w: 'majority' } })
      const url = own.url
      await own.signal('SIGKILL')
      await own.start()
      expect(own.url).toBe(url)
      expect(await client.db().collection<{ _id: string }>('things').findOne()).toEqual({ _id: 'kept' })
      await client.close()
    } finally {
      await own.dispose()
    }
  })

  it('a stopped nats-server comes back with its streams', async () => {
    const own = await startNats()
    try {
      const { connect } = await import('nats')
      const connection = await connect({ servers: own.url })
      await (await connection.jetstreamManager()).streams.add({ name: 'kept', subjects: ['kept'] })
      await connection.close()
      await own.stop()
      await own.start()
      const again = await connect({ servers: own.url })
      expect((await (await again.jetstreamManager()).streams.info('kept')).config.name).toBe('kept')
      await again.close()
    } finally {
      await own.dispose()
    }
  })

  it('three members elect another primary on a step-down', async () => {
    const set = await startMongod3()
    try {
      expect(set.pids()).toHaveLength(3)
      await set.stepDown()
    } finally {
      await set.dispose()
    }
  })
})

describe('child processes', () => {
  it('are heard line by line, frozen, thawed and killed', async () => {
    const code = 'let n = 0; setInterval(() => console.log("tick " + ++n), 5)'
    const child = startChild('-e', { args: [code] })
    await child.line(/^tick 3$/)
    child.signal('SIGSTOP')
    const { readFile } = await import('node:fs/promises')
    await waitFor(async () => (await readFile(`/proc/${child.pid}/stat`, 'utf8')).includes(') T '), {
      what: 'the freeze',
    })
    const heard = child.lines.length
    child.signal('SIGCONT')
    await waitFor(() => child.lines.length > heard, { what: 'the thaw' })
    await child.kill()
    expect(await child.exit()).toEqual({ code: null, signal: 'SIGKILL' })
  })

  it('that end too early say what they wrote', async () => {
    const child = startChild('-e', { args: ['console.error("no disk"); process.exit(3)'] })
    await expect(child.line(/ready/)).rejects.toThrow(/"code":3[\s\S]*no disk/)
  })
})
