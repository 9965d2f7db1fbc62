/**
 * The services of docker-compose.yml as processes on this machine: the same commands, roles and settings, with each
 * `host:port` of the file mapped to a free port of 127.0.0.1 and each volume to a folder. A document goes in by the
 * published port and settles; then one MongoDB member and one NATS server are killed, and the next one settles too.
 */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { z } from 'zod'
import { freePort } from '../../src/embedded/free-port.js'
import { startProcess, type Process } from '../../src/embedded/process.js'
import { dist, endWithParent, startChild, waitFor, type Child } from '../support/processes.js'
import { composeFile, ROOT, type ComposeService } from './compose-file.js'

const SETTLE_TIMEOUT_MS = 90_000
const Receipt = z.object({ id: z.string() })
const RecordJson = z.object({ status: z.string(), charges: z.record(z.string(), z.object({ amount: z.string() })) })

const { services } = composeFile()
const named = (pattern: RegExp) => Object.keys(services).filter((name) => pattern.test(name))
const serviceOf = (name: string): ComposeService => {
  const service = services[name]
  if (service === undefined) throw new Error(`docker-compose.yml has no service ${name}.`)
  return service
}

let dir: string
/** `service:port` of the file -> port of this machine. */
const ports = new Map<string, number>()
const servers = new Map<string, Process>()
const nodes = new Map<string, Child>()

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'endstate-compose-'))
  for (const name of named(/^mongo\d$/)) await claim(name, 27017)
  for (const name of named(/^nats\d$/)) for (const port of [4222, 6222, 8222]) await claim(name, port)
  for (const port of [8080, 8081]) await claim('api', port)

  for (const name of named(/^(mongo|nats)\d$/)) await startServer(name)
  const init = startNode('mongo-init')
  expect((await init.exit({ timeoutMs: 70_000 })).code, init.errorLines.join('\n')).toBe(0)
  for (const name of named(/^nats\d$/))
    await waitFor(() => isHealthy(name), { timeoutMs: 30_000, what: `${name} to be healthy` })
  for (const name of ['api', 'worker', 'sweeper', 'gateway']) startNode(name)
  await waitFor(isReady, { timeoutMs: 60_000, what: () => `the API to be ready\n${logs()}` })
}, 200_000)

afterAll(async () => {
  await Promise.all([...nodes.values()].map((node) => node.kill()))
  await Promise.all([...servers.values()].map((server) => server.stop(5_000)))
  await rm(dir, { recursive: true, force: true })
}, 60_000)

describe('the composed services', () => {
  it('take a document in by the published port, settle it and charge it once', async () => {
    const id = await submit('first')
    expect(await settled(id)).toMatchObject({ status: 'completed', charges: { extract: { amount: '0.40' } } })
    expect(await submit('first')).toBe(id)
  }, 120_000)

  it('go on without one MongoDB member and one NATS server', async () => {
    await servers.get('mongo1')?.stop(0)
    await servers.get('nats1')?.stop(0)
    const id = await waitFor(() => submit('second').catch(() => null), {
      timeoutMs: 60_000,
      what: () => `a receipt after the loss\n${logs()}`,
    })
    expect(await settled(id)).toMatchObject({ status: 'completed', charges: { extract: { amount: '0.40' } } })
  }, 200_000)
})

async function claim(name: string, port: number): Promise<void> {
  ports.set(`${name}:${port}`, await freePort())
}

function portOf(name: string, port: number): number {
  const found = ports.get(`${name}:${port}`)
  if (found === undefined) throw new Error(`${name}:${port} is not mapped.`)
  return found
}

/** Every `mongo1:27017` of the file becomes an address of this machine. */
const mapped = (text: string): string =>
  text.replace(
    /\b((?:mongo|nats)\d):(\d+)/g,
    (_all, name: string, port: string) => `127.0.0.1:${portOf(name, Number(port))}`,
  )

/** mongod and nats-server with the file's own arguments; only what a container adds by itself is added here. */
async function startServer(name: string): Promise<void> {
  const { command } = serviceOf(name)
  const data = join(dir, name)
  await mkdir(data)
  const isMongo = name.startsWith('mongo')
  const args = isMongo
    ? command.slice(1).flatMap((arg) => (arg === '--bind_ip_all' ? ['--bind_ip', '127.0.0.1'] : [arg]))
    : command.map((arg) =>
        mapped(arg)
          .replace('--store_dir=/data', `--store_dir=${data}`)
          .replace('0.0.0.0:6222', `127.0.0.1:${portOf(name, 6222)}`)
          .replace('--http_port=8222', `--http_port=${portOf(name, 8222)}`),
      )
  if (isMongo) args.push('--dbpath', data, '--port', String(portOf(name, 27017)), '--nounixsocket')
  else args.push('--addr=127.0.0.1', `--port=${portOf(name, 4222)}`)
  const binary = isMongo ? inject('mongodPath') : inject('natsServerPath')
  const server = await startProcess(binary, args, join(dir, `${name}.log`))
  endWithParent(server.pid)
  servers.set(name, server)
}

/** `node …` with the file's own arguments and environment. */
function startNode(name: string): Child {
  const { command, environment } = serviceOf(name)
  const [program, script = '', ...args] = command
  expect(program).toBe('node')
  const env = Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, mapped(value)]))
  if (env['ENDSTATE_PORT'] !== undefined) env['ENDSTATE_PORT'] = String(portOf('api', Number(env['ENDSTATE_PORT'])))
  if (env['ENDSTATE_CONFIG'] !== undefined) env['ENDSTATE_CONFIG'] = env['ENDSTATE_CONFIG'].replace('/app/', `${ROOT}/`)
  const given =
    name === 'gateway' ? [...args.map((port) => String(portOf('api', Number(port)))), '127.0.0.1'] : args.map(mapped)
  const file = script.startsWith('dist/') ? dist(script.slice('dist/'.length)) : join(ROOT, script)
  const child = startChild(file, { args: given, env, cwd: ROOT })
  nodes.set(name, child)
  return child
}

const logs = (): string =>
  [...nodes].map(([name, node]) => `${name}:\n${[...node.lines, ...node.errorLines].slice(-5).join('\n')}`).join('\n')

async function isHealthy(name: string): Promise<boolean> {
  const url = `http://127.0.0.1:${portOf(name, 8222)}/healthz?js-server-only=true`
  const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => null)
  await answer?.body?.cancel()
  return answer?.ok ?? false
}

/** By the port that the file publishes. */
const published = (path: string): string => {
  const [, outer, inner] = (serviceOf('api').ports[0] ?? '').split(':')
  expect(outer).toBe('8080')
  return `http://127.0.0.1:${portOf('api', Number(inner))}${path}`
}

async function isReady(): Promise<boolean> {
  const answer = await fetch(published('/readyz'), { signal: AbortSignal.timeout(2_000) }).catch(() => null)
  await answer?.body?.cancel()
  return answer?.ok ?? false
}

async function submit(key: string): Promise<string> {
  const form = new FormData()
  form.set('pipeline', 'referral')
  form.set('file', new Blob([await readFile(join(ROOT, 'samples/referral-clean.png'))]), 'referral-clean.png')
  const answer = await fetch(published('/v1/uploads'), {
    method: 'POST',
    body: form,
    headers: { 'idempotency-key': key },
    signal: AbortSignal.timeout(15_000),
  })
  const body: unknown = await answer.json()
  expect(answer.status, JSON.stringify(body)).toBeLessThan(300)
  return Receipt.parse(body).id
}

/** The record once nothing automatic will happen any more. */
const settled = (id: string) =>
  waitFor(
    async () => {
      const answer = await fetch(published(`/v1/records/${id}`), { signal: AbortSignal.timeout(5_000) }).catch(
        () => null,
      )
      if (answer?.ok !== true) {
        await answer?.body?.cancel()
        return null
      }
      const record = RecordJson.parse(await answer.json())
      return record.status === 'processing' ? null : record
    },
    { timeoutMs: SETTLE_TIMEOUT_MS, what: () => `record ${id} to settle\n${logs()}` },
  )
