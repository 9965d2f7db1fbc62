/** A service process as an operator meets it: it comes up, drains, or says in one message what keeps it from that. */
import { fork, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.js'
import { freePort } from '../../src/embedded/free-port.js'
import { dist, endWithParent, startChild, waitFor } from '../support/processes.js'
import { freshDb, testNatsUrl, uniqueName, type FreshDb } from '../support/servers.js'

const root = resolve(import.meta.dirname, '../..')
/** On a machine with nothing else to do it takes 2 s; test runs share theirs. */
const START_TIMEOUT_MS = 60_000
vi.setConfig({ testTimeout: 150_000 })

let db: FreshDb
let dir: string
beforeAll(async () => {
  db = await freshDb('serve')
  dir = await mkdtemp(join(tmpdir(), 'endstate-serve-'))
})
afterAll(async () => {
  await db.dispose()
  await rm(dir, { recursive: true, force: true })
})

const settings = (change: { [name: string]: string } = {}) => ({
  ENDSTATE_ROLES: 'api',
  ENDSTATE_MONGODB_URL: db.url,
  ENDSTATE_NATS_URL: testNatsUrl(),
  ENDSTATE_PORT: '0',
  ENDSTATE_PREFIX: uniqueName('serve'),
  ENDSTATE_CONFIG: join(root, 'endstate.config.ts'),
  ...change,
})
const start = (change: { [name: string]: string } = {}) => startChild(dist('main.js'), { env: settings(change) })

/** What a process that can't come up says, and how it ends. */
const refusal = async (change: { [name: string]: string }) => {
  const child = start(change)
  const { code } = await child.exit({ timeoutMs: START_TIMEOUT_MS })
  return { code, said: child.errorLines.filter((line) => !line.startsWith('{')).join('\n') }
}

type LogLine = { msg: string; url?: string }
const logLine = (line: string): LogLine | null => (line.startsWith('{') ? (JSON.parse(line) as LogLine) : null)

/** A server program with a data directory of its own, ready when `isReady`. */
const program = async (path: string, args: string[], port: number) => {
  const child = spawn(path, args, { stdio: 'ignore', cwd: dir })
  if (child.pid !== undefined) endWithParent(child.pid)
  const answers = () =>
    fetch(`http://127.0.0.1:${port}`).then(
      () => true,
      (error: { cause?: { code?: string } }) => error.cause?.code !== 'ECONNREFUSED',
    )
  await waitFor(answers, { what: `${path} to listen`, timeoutMs: START_TIMEOUT_MS })
  const ended = new Promise((gone) => child.once('exit', gone))
  return async () => {
    child.kill('SIGKILL')
    await ended
  }
}

describe('a service process', () => {
  it('says where it is, serves, and drains on SIGTERM with exit code 0', async () => {
    const child = start()
    const line = await waitFor(() => child.errorLines.map(logLine).find((one) => one?.msg === 'Endstate is ready.'), {
      what: () => `it to be ready, which said:\n${child.errorLines.join('\n')}`,
      timeoutMs: START_TIMEOUT_MS,
    })
    const response = await fetch(`${line.url}/v1/pipelines`)
    expect(await response.json()).toMatchObject({
      items: [{ name: 'referral' }, { name: 'letter' }, { name: 'second-opinion' }],
    })
    child.signal('SIGTERM')
    expect(await child.exit()).toEqual({ code: EXIT.ok, signal: null })
  })

  it('ends with the supervisor that started it', async () => {
    const child = fork(dist('main.js'), {
      env: { ...settings(), PATH: process.env['PATH'] },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    if (child.pid !== undefined) endWithParent(child.pid)
    let ready = false
    let ended = false
    child.once('message', () => (ready = true))
    child.once('exit', () => (ended = true))
    await waitFor(() => ready, { what: 'it to be ready', timeoutMs: START_TIMEOUT_MS })
    child.disconnect()
    await waitFor(() => ended, { what: 'it to end', timeoutMs: START_TIMEOUT_MS })
    expect(child.exitCode).toBe(EXIT.ok)
  })
})

describe('what keeps it from coming up', () => {
  it('is a setting: named, with its shape', async () => {
    const { code, said } = await refusal({ ENDSTATE_PORT: 'http' })
    expect({ code, said }).toEqual({
      code: EXIT.usage,
      said: 'endstate: ENDSTATE_PORT is "http". Write a whole number from 0 (any free port) to 65535, for example "8080".',
    })
  })

  it('is the config: named, with the line', async () => {
    const config = join(dir, 'broken.config.ts')
    await writeFile(config, "import { endstate } from 'endstate'\n\nendstate.nothing()\n")
    const { code, said } = await refusal({ ENDSTATE_CONFIG: config })
    expect(code).toBe(EXIT.usage)
    expect(said).toContain(`The config ${config}, line 3, can't be used.`)
  })

  it('is a secret of a provider: the variable is named', async () => {
    const config = join(root, 'examples/fallback.config.ts')
    const { code, said } = await refusal({ ENDSTATE_CONFIG: config, ENDSTATE_ROLES: 'worker' })
    expect({ code, said }).toEqual({
      code: EXIT.usage,
      said: 'endstate: The secret TRIAGE_API_KEY is not set. Set the environment variable TRIAGE_API_KEY for processes with the role "worker".',
    })
  })

  it('is a pipeline that need not settle: the state is named', async () => {
    const { code, said } = await refusal({ ENDSTATE_CONFIG: join(root, 'test/fixtures/no-timer.config.ts') })
    expect(code).toBe(EXIT.failed)
    expect(said).toContain('State "waiting" has no timer')
  })

  it('is the port', async () => {
    const other = createServer()
    await new Promise<void>((listening) => other.listen(0, '127.0.0.1', listening))
    const { port } = other.address() as AddressInfo
    const { code, said } = await refusal({ ENDSTATE_PORT: String(port) })
    await new Promise((closed) => other.close(closed))
    expect(code).toBe(EXIT.inUse)
    expect(said).toContain(`Port ${port} on 127.0.0.1 is in use`)
  })

  it('is a MongoDB or a NATS that is not there', async () => {
    const port = await freePort()
    const mongo = await refusal({ ENDSTATE_MONGODB_URL: `mongodb://u:secret@127.0.0.1:${port}/endstate` })
    expect(mongo.code).toBe(EXIT.unreachable)
    expect(mongo.said).toMatch(/^endstate: No MongoDB answers at 127\.0\.0\.1:\d+ within 5 s .*Start it/)
    expect(mongo.said).not.toContain('secret')
    const nats = await refusal({ ENDSTATE_NATS_URL: `nats://u:secret@127.0.0.1:${port}` })
    expect(nats.code).toBe(EXIT.unreachable)
    expect(nats.said).toMatch(
      /^endstate: No NATS answers at nats:\/\/127\.0\.0\.1:\d+ .*Start nats-server with JetStream/,
    )
    expect(nats.said).not.toContain('secret')
  })

  it('is a replica set of another name, told on stdout too with --json', async () => {
    const wrong = new URL(db.url)
    wrong.searchParams.set('replicaSet', 'other')
    const env = settings({ ENDSTATE_MONGODB_URL: wrong.href })
    const child = startChild(dist('cli/main.js'), { args: ['start', '--json'], env })
    expect((await child.exit({ timeoutMs: START_TIMEOUT_MS })).code).toBe(EXIT.unreachable)
    const { error } = JSON.parse(child.lines.join('\n')) as { error: { code: string; message: string } }
    expect(error.code).toBe('mongodb-unreachable')
    expect(error.message).toMatch(/belongs to another replica set .*replicaSet=NAME/)
    expect(child.errorLines).toContain(`endstate: ${error.message}`)
  })

  it('is a MongoDB that is no replica set', async () => {
    const port = await freePort()
    const stop = await program(
      inject('mongodPath'),
      ['--dbpath', dir, '--port', String(port), '--bind_ip', '127.0.0.1'],
      port,
    )
    const { code, said } = await refusal({ ENDSTATE_MONGODB_URL: `mongodb://127.0.0.1:${port}/endstate` })
    await stop()
    expect(code).toBe(EXIT.unreachable)
    expect(said).toMatch(/standalone server.*--replSet/)
  })

  it('is a NATS without JetStream', async () => {
    const port = await freePort()
    const stop = await program(inject('natsServerPath'), ['-a', '127.0.0.1', '-p', String(port)], port)
    const { code, said } = await refusal({ ENDSTATE_NATS_URL: `nats://127.0.0.1:${port}` })
    await stop()
    expect(code).toBe(EXIT.unreachable)
    expect(said).toContain('has no JetStream. Start it with "nats-server -js')
  })
})
