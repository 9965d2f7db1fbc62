/** The command line: what it takes, what it says, and the exit code it ends with. */
import { createServer } from 'node:http'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT, EXIT_CODES } from '../../src/cli/exit-codes.js'
import { runCli } from '../../src/cli/program.js'
import { memoryIo } from './cli-io.js'

const root = resolve(import.meta.dirname, '../..')
const run = async (args: string[], env: { [name: string]: string } = {}, cwd?: string) => {
  const io = memoryIo(env, cwd)
  const exitCode = await runCli(args, io)
  return { exitCode, stdout: io.stdout.join('\n'), stderr: io.stderr.join('\n') }
}

describe('help', () => {
  it('names every command and every exit code', async () => {
    const { exitCode, stdout } = await run(['--help'])
    expect(exitCode).toBe(EXIT.ok)
    for (const name of [
      'dev',
      'start',
      'demo',
      'verify',
      'submit',
      'list',
      'show',
      'watch',
      'charges',
      'report',
      'providers',
    ])
      expect(stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'))
    for (const { code, meaning } of EXIT_CODES) expect(stdout).toContain(`${code}`.padEnd(5) + meaning)
  })

  it('explains exit codes and settings as topics', async () => {
    expect((await run(['help', 'exit-codes'])).stdout).toContain('The port or the data directory is in use.')
    expect((await run(['settings'])).stdout).toContain('ENDSTATE_MONGODB_URL')
  })
})

describe('usage', () => {
  it.each([
    [['cook'], "unknown command 'cook'"],
    [['submit', 'a.png'], "required option '--pipeline <name>'"],
    [['submit', '--pipeline', 'p'], "missing required argument 'file'"],
    [['list', '--status', 'odd'], 'Allowed choices are processing'],
    [['watch', 'x', '--timeout', 'soon'], 'Write a number of milliseconds'],
    [['list', '--url', 'nope'], '--url or ENDSTATE_URL is "nope"'],
    [['submit', 'a', 'b', '--pipeline', 'p', '--key', 'k'], 'one by one'],
    [['submit', '/nowhere.png', '--pipeline', 'p'], '/nowhere.png can’t be submitted: there is no such file'],
    [['start', '--port', '99999'], 'ENDSTATE_PORT is "99999"'],
    [['start', '--roles', 'cook'], 'ENDSTATE_ROLES is "cook"'],
    [['start'], 'ENDSTATE_MONGODB_URL is not set'],
    [['verify', '--config', 'nowhere.ts'], 'nowhere.ts'],
  ])('%j is refused with the reason', async (args, reason) => {
    const { exitCode, stderr, stdout } = await run(args)
    expect({ exitCode, stdout }).toEqual({ exitCode: EXIT.usage, stdout: '' })
    expect(stderr).toContain(reason.replace('’', "'"))
  })

  it('with --json is told on stdout too', async () => {
    const { exitCode, stdout } = await run(['list', '--json', '--status', 'odd'])
    expect(exitCode).toBe(EXIT.usage)
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'usage' } })
  })
})

describe('a service', () => {
  let url: string
  let server: ReturnType<typeof createServer>
  let dir: string
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'endstate-cli-'))
    await writeFile(join(dir, 'a.png'), 'x')
    server = createServer((_request, response) => response.end('<html>'))
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(async () => {
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
    await rm(dir, { recursive: true })
  })

  it.each([[['list']], [['show', 'x']], [['watch', 'x']], [['submit', 'a.png', '--pipeline', 'p']]])(
    'that is something else is named by %j',
    async (args) => {
      const files = args.map((arg) => (arg === 'a.png' ? join(dir, arg) : arg))
      const { exitCode, stderr } = await run([...files, '--url', url])
      expect(exitCode).toBe(EXIT.unreachable)
      expect(stderr).toContain(`Something else than Endstate answers at ${url}`)
    },
  )

  it.each([[['list']], [['show', 'x']], [['watch']], [['submit', 'a.png', '--pipeline', 'p']]])(
    'that is not there is told by %j, with how to start one',
    async (args) => {
      const closed = createServer()
      await new Promise<void>((listening) => closed.listen(0, '127.0.0.1', listening))
      const { port } = closed.address() as AddressInfo
      await new Promise((done) => closed.close(done))
      const files = args.map((arg) => (arg === 'a.png' ? join(dir, arg) : arg))
      const { exitCode, stderr } = await run(files, { ENDSTATE_URL: `http://127.0.0.1:${port}` })
      expect(exitCode).toBe(EXIT.unreachable)
      expect(stderr).toMatch(/No Endstate answers at .*ECONNREFUSED.*endstate dev/)
    },
  )
})

describe('verify', () => {
  it('says what was proved of the shipped config, in human units', async () => {
    const { exitCode, stdout } = await run(['verify'], {}, root)
    expect(exitCode).toBe(EXIT.ok)
    expect(stdout).toMatch(/Pipeline referral \(\w{12}\) always settles, at the latest 1 h \d+ min after acceptance/)
    expect(stdout).toMatch(/read\.calling +at most .* The intent is saved/)
    expect(stdout).toMatch(
      /longest way to an end takes [\d.]+ s:\n {2}read\.ready +deadline: [\d.]+ s +then read\.calling/,
    )
  })

  it('reads ENDSTATE_CONFIG and answers JSON', async () => {
    const { exitCode, stdout } = await run(
      ['verify', '--json'],
      { ENDSTATE_CONFIG: 'examples/fallback.config.ts' },
      root,
    )
    expect(exitCode).toBe(EXIT.ok)
    const answer = JSON.parse(stdout) as {
      ok: boolean
      pipelines: { name: string; worstCaseMs: number; path: { ms: number }[] }[]
    }
    expect(answer).toMatchObject({ ok: true, pipelines: [{ name: 'claim', ok: true }] })
    expect(answer.pipelines[0]?.worstCaseMs).toBeGreaterThan(30 * 60_000)
    const [claim] = answer.pipelines
    expect(claim?.path.reduce((sum, { ms }) => sum + ms, 0)).toBe(claim?.worstCaseMs)
  })

  it('refuses a machine that need not settle, names the state, and still shows the others', async () => {
    const config = resolve(import.meta.dirname, '../fixtures/no-timer.config.ts')
    const { exitCode, stdout } = await run(['verify', '--config', config])
    expect(exitCode).toBe(EXIT.failed)
    expect(stdout).toMatch(/Pipeline fine .* always settles/)
    expect(stdout).toMatch(/Pipeline waits-for-ever is refused:\n {2}- State "waiting" has no timer/)
  })
})
