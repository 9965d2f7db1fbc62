/** The embedded stack as `dev` uses it: in a process that may be killed at any time. */
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { MongoClient } from 'mongodb'
import { connect } from 'nats'
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest'
import { z } from 'zod'
import { endWithParent, startChild, waitFor, type Child } from '../support/processes.js'

const Server = z.object({ url: z.string(), pid: z.number() })
const Given = z.object({ url: z.string(), pid: z.null() })
const Said = z.object({
  up: z
    .object({ mongo: Server, nats: Server })
    .or(z.object({ mongo: Given, nats: Given }))
    .optional(),
  failed: z.object({ code: z.string().optional(), message: z.string(), pid: z.number().optional() }).optional(),
  messages: z.array(z.string()).default([]),
})
type Up = { child: Child; mongo: z.infer<typeof Server>; nats: z.infer<typeof Server>; messages: string[] }

const CHILD = join(import.meta.dirname, 'stack-child.mjs')
let dataDir: string
/** By pid, with the word that it has ended. */
const servers = new Map<number, () => void>()

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'endstate-stack-'))
})
afterEach(async () => {
  // A test that fails in the middle must not leave its servers behind.
  for (const pid of servers.keys()) if (runs(pid)) process.kill(pid, 'SIGKILL')
  await waitFor(() => [...servers.keys()].every((pid) => !runs(pid)), { what: 'the servers to end' })
  for (const ended of servers.values()) ended()
  servers.clear()
  await rm(dataDir, { recursive: true, force: true })
})

/** A zombie that nobody has reaped counts as ended. */
function runs(pid: number): boolean {
  return existsSync(`/proc/${pid}/cmdline`) && !zombie(pid)
}
const zombie = (pid: number) => /\) Z /.test(statOf(pid))
function statOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return ') Z '
  }
}

const optionsOf = (more: object = {}) => ({
  dataDir,
  pathDirs: [dirname(inject('mongodPath')), dirname(inject('natsServerPath'))],
  cacheDir: join(dataDir, 'cache'),
  ...more,
})

async function run(more: object = {}): Promise<{ child: Child; said: z.infer<typeof Said> }> {
  const child = startChild(CHILD, { args: [JSON.stringify(optionsOf(more))] })
  const said = Said.parse(JSON.parse(await child.line(/^\{"(up|failed)"/, { timeoutMs: 50_000 })))
  for (const server of [said.up?.mongo, said.up?.nats]) {
    if (server?.pid == null || servers.has(server.pid)) continue
    servers.set(server.pid, endWithParent(server.pid))
  }
  return { child, said }
}

async function up(more: object = {}): Promise<Up> {
  const { child, said } = await run(more)
  if (said.up === undefined) throw new Error(`The stack did not come up: ${said.failed?.message}`)
  return { child, mongo: Server.parse(said.up.mongo), nats: Server.parse(said.up.nats), messages: said.messages }
}

async function stop({ child, mongo, nats }: Up): Promise<void> {
  child.signal('SIGTERM')
  expect(await child.exit({ timeoutMs: 30_000 })).toEqual({ code: 0, signal: null })
  expect([mongo.pid, nats.pid].filter(runs)).toEqual([])
}

async function withMongo<T>(url: string, use: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = await new MongoClient(url, { serverSelectionTimeoutMS: 5_000 }).connect()
  try {
    return await use(client)
  } finally {
    await client.close()
  }
}

const things = (client: MongoClient) => client.db().collection<{ _id: string }>('things')

describe('a data directory', () => {
  it('keeps its data over a restart, also on other ports', async () => {
    const first = await up()
    await withMongo(first.mongo.url, (client) =>
      things(client).insertOne({ _id: 'kept' }, { writeConcern: { w: 'majority', journal: true } }),
    )
    const connection = await connect({ servers: first.nats.url })
    await (await connection.jetstreamManager()).streams.add({ name: 'kept', subjects: ['kept'] })
    await connection.close()
    await stop(first)

    // The last ports are taken now: the set's only member gets another host.
    const taken = await Promise.all([portOf(first.mongo.url), portOf(first.nats.url)].map(occupy))
    try {
      const second = await up()
      expect(second.mongo.url).not.toBe(first.mongo.url)
      expect(await withMongo(second.mongo.url, (client) => things(client).findOne())).toEqual({ _id: 'kept' })
      const again = await connect({ servers: second.nats.url })
      expect((await (await again.jetstreamManager()).streams.info('kept')).config.name).toBe('kept')
      await again.close()
      await stop(second)
    } finally {
      await Promise.all(taken.map((release) => release()))
    }
  })

  it('belongs to one process: a second one is told the pid, and the first goes on', async () => {
    const first = await up()
    const { child, said } = await run()
    expect(said.failed).toMatchObject({ code: 'data-directory-in-use', pid: first.child.pid })
    expect(said.failed?.message).toContain(`process ${first.child.pid}`)
    expect((await child.exit()).code).toBe(1)
    expect(await withMongo(first.mongo.url, (client) => things(client).countDocuments())).toBe(0)
    await stop(first)
  })

  it('that can’t be one is named, with the way out', async () => {
    const file = join(dataDir, 'a-file')
    await writeFile(file, '')
    const { child, said } = await run({ dataDir: file })
    expect(said.failed?.code).toBe('data-directory-unusable')
    expect(said.failed?.message).toMatch(/^The data directory .*a-file can't be used \(EEXIST.*with --data\.$/)
    expect((await child.exit()).code).toBe(1)
  })

  it('is not held by a lock whose pid is another process now', async () => {
    await writeFile(join(dataDir, 'lock.json'), JSON.stringify({ pid: process.pid, startedAt: '1' }))
    await stop(await up())
    expect(existsSync(join(dataDir, 'lock.json'))).toBe(false)
  })

  it('is refused to a mongod older than its data, by name, and nothing is left running', async () => {
    await stop(await up())
    const file = join(dataDir, 'stack.json')
    const record = z.looseObject({ mongo: z.looseObject({}) }).parse(JSON.parse(await readFile(file, 'utf8')))
    record.mongo['dataVersion'] = '99.0.1'
    await writeFile(file, JSON.stringify(record))
    // No download can help here, so the index is one that does not answer.
    const { child, said } = await run({ indexUrl: 'http://127.0.0.1:9/simple' })
    expect(said.failed?.code).toBe('server-too-old')
    expect(said.failed?.message).toContain('mongod 99.0.1')
    expect(said.failed?.message).toContain(`${inject('mongodPath')} is ${inject('mongodVersion')}`)
    expect((await child.exit({ timeoutMs: 30_000 })).code).toBe(1)
    expect(existsSync(join(dataDir, 'lock.json'))).toBe(false)
  }, 120_000)
})

describe('a killed process', () => {
  it('leaves its servers running, and the next run takes them over with their data', async () => {
    const first = await up()
    await withMongo(first.mongo.url, (client) => things(client).insertOne({ _id: 'kept' }))
    await first.child.kill()
    expect([first.mongo.pid, first.nats.pid].filter(runs)).toHaveLength(2)

    const second = await up()
    expect([second.mongo.pid, second.nats.pid]).toEqual([first.mongo.pid, first.nats.pid])
    expect(second.messages.join('\n')).toContain('left behind by an earlier run')
    expect(await withMongo(second.mongo.url, (client) => things(client).countDocuments())).toBe(1)
    await stop(second)
  })

  it('whose servers do not answer any more has them ended, and new ones take their place', async () => {
    const first = await up()
    await first.child.kill()
    process.kill(first.mongo.pid, 'SIGSTOP')
    const second = await up()
    expect(second.mongo.pid).not.toBe(first.mongo.pid)
    expect(second.messages.join('\n')).toContain(`ending process ${first.mongo.pid}`)
    await stop(second)
  }, 120_000)

  it('that died before it could record its servers has them found all the same', async () => {
    const first = await up()
    await first.child.kill()
    await rm(join(dataDir, 'stack.json'))
    const second = await up()
    expect([first.mongo.pid, first.nats.pid].filter(runs)).toEqual([])
    await stop(second)
  })
})

describe('the servers', () => {
  it('are in sessions of their own and listen on 127.0.0.1 only', async () => {
    const stack = await up()
    for (const { pid, url } of [stack.mongo, stack.nats]) {
      const [, , group, session] = statOf(pid)
        .slice(statOf(pid).lastIndexOf(')') + 2)
        .split(' ')
      expect([group, session]).toEqual([String(pid), String(pid)])
      // Also an address of this machine: whoever listens on all of them would answer.
      expect(await canConnect('127.0.0.2', portOf(url))).toBe(false)
      expect(await canConnect('127.0.0.1', portOf(url))).toBe(true)
    }
    await stop(stack)
  })

  it('that can’t start are explained by the last lines of their log, and the other one is stopped', async () => {
    await mkdir(join(dataDir, 'nats'), { recursive: true })
    // JetStream keeps its files below here.
    await writeFile(join(dataDir, 'nats', 'jetstream'), 'no directory')
    const { child, said } = await run()
    expect(said.failed?.code).toBe('server-not-started')
    expect(said.failed?.message).toContain('nats-server.log')
    expect(said.failed?.message).toMatch(/not a directory/i)
    expect((await child.exit()).code).toBe(1)
    expect(existsSync(join(dataDir, 'lock.json'))).toBe(false)
    expect(await readFile(join(dataDir, 'mongodb', 'mongod.lock'), 'utf8')).toBe('')
  })

  it('that are given by address are used as they are', async () => {
    const { child, said } = await run({ mongoUrl: 'mongodb://db.example/endstate', natsUrl: 'nats://bus.example' })
    expect(said.up).toMatchObject({
      mongo: { url: 'mongodb://db.example/endstate', pid: null },
      nats: { url: 'nats://bus.example', pid: null },
    })
    expect(existsSync(join(dataDir, 'mongodb'))).toBe(false)
    child.signal('SIGTERM')
    expect((await child.exit()).code).toBe(0)
  })
})

const portOf = (url: string): number => Number(new URL(url).port)

function canConnect(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port })
    const answer = (yes: boolean) => {
      socket.destroy()
      resolve(yes)
    }
    socket.once('connect', () => answer(true))
    socket.once('error', () => answer(false))
    socket.setTimeout(2_000, () => answer(false))
  })
}

function occupy(port: number): Promise<() => Promise<void>> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(() => new Promise((done) => server.close(() => done()))))
  })
}
