/**
 * A real Cog server for tests, with a model that writes down its own runs: an independent count of executions. The first
 * start on a machine installs Cog (seconds, see scripts/model-servers/cog.ts): give the hook that starts one
 * INSTALL_MS_MAX.
 */
import { spawn } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { installCog } from '../../scripts/model-servers/cog.js'
import { freePort } from '../../src/embedded/free-port.js'
import { endWithParent, waitFor } from './processes.js'

export const INSTALL_MS_MAX = 300_000
const START_MS_MAX = 60_000
const STOP_MS_MAX = 10_000
const ANSWER_MS_MAX = 5_000
const OUTPUT_CHARS_MAX = 8_000
/** Another process may take a free port before the server does. */
const STARTS_MAX = 3

/** What a real build writes from the model's signature: by it Cog refuses inputs with 422. */
const OPENAPI = {
  openapi: '3.0.2',
  info: { title: 'Cog', version: '0.1.0' },
  paths: {},
  components: {
    schemas: {
      Input: {
        type: 'object',
        properties: {
          key: { type: 'string' },
          seconds: { type: 'number', minimum: 0, maximum: 60 },
          fail: { type: 'string' },
          crash: { type: 'boolean' },
          image: { type: 'string', format: 'uri', nullable: true },
        },
        required: ['key'],
      },
      Output: { type: 'object' },
    },
  },
}

/** What a run of the model wrote: it began, was ended from outside, came to its own end. */
export type RunMark = 'started' | 'cancelled' | 'ended'

export type CogServer = {
  readonly url: string
  /** How often the model's runs with this key came to that point. */
  runs(key: string, mark?: RunMark): Promise<number>
  /** Lets a model that was started with `holdSetup` end its setup. */
  releaseSetup(): Promise<void>
  /** SIGKILL to the server's own process: the model's process lives on, as it does in production. */
  killServer(): Promise<void>
  /** SIGKILL to both, and gone when it resolves. May be called again. */
  stop(): Promise<void>
}

/** `holdSetup`: does not wait until it is ready, and the model's setup does not end. */
export async function startCog({ holdSetup = false }: { holdSetup?: boolean } = {}): Promise<CogServer> {
  const dir = await mkdtemp(join(tmpdir(), 'endstate-cog-'))
  const runsDir = join(dir, 'runs')
  const { predictor, dir: venv } = await installCog()
  await mkdir(runsDir)
  await mkdir(join(dir, '.cog'))
  await copyFile(predictor, join(dir, 'predict.py'))
  await writeFile(join(dir, '.cog', 'openapi_schema.json'), JSON.stringify(OPENAPI))
  if (holdSetup) await writeFile(join(runsDir, 'setup'), '')
  for (let starts = 1; ; starts++) {
    try {
      return await start(dir, runsDir, join(venv, 'bin'), holdSetup)
    } catch (error) {
      if (starts < STARTS_MAX) continue
      await rm(dir, { recursive: true, force: true })
      throw error
    }
  }
}

async function start(dir: string, runsDir: string, bin: string, holdSetup: boolean): Promise<CogServer> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const env = {
    // Cog starts its worker as `python`.
    PATH: `${bin}:${process.env['PATH'] ?? ''}`,
    HOME: process.env['HOME'],
    LANG: 'C.UTF-8',
    PORT: `${port}`,
    RUNS_DIR: runsDir,
    COG_PREDICT_TYPE_STUB: 'predict.py:Predictor',
  }
  const args = ['-m', 'cog.server.http', '--host', '127.0.0.1']
  // A group of its own, because the model runs in a child that outlives its server.
  const child = spawn(join(bin, 'python'), args, { cwd: dir, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  const { pid } = child
  if (pid === undefined) throw new Error('The Cog server could not be started.')
  const ended = endWithParent(pid)
  let output = ''
  let over = false
  let closed = false
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-OUTPUT_CHARS_MAX)))
  child.once('exit', () => {
    over = true
    ended()
  })
  child.once('close', () => (closed = true))

  const killServer = async (): Promise<void> => {
    child.kill('SIGKILL')
    await waitFor(() => over, { timeoutMs: STOP_MS_MAX, what: 'the Cog server to end' })
  }
  const killGroup = async (): Promise<void> => {
    killAll(pid)
    // Also the model's process writes to these pipes, so that it too has ended when they are closed.
    await waitFor(() => closed, { timeoutMs: STOP_MS_MAX, what: 'the Cog server and its model to end' })
  }
  try {
    await waitFor(
      async () => {
        if (over) throw new Error(`The Cog server ended before it was ready:\n${output}`)
        const status = await healthOf(url)
        return status === 'READY' || (holdSetup && status !== null)
      },
      { timeoutMs: START_MS_MAX, what: () => `the Cog server to be ready:\n${output}` },
    )
  } catch (error) {
    await killGroup()
    throw error
  }
  return {
    url,
    async runs(key, mark = 'started') {
      const written = await readFile(join(runsDir, key), 'utf8').catch(() => '')
      return written.split('\n').filter((line) => line === mark).length
    },
    async releaseSetup() {
      await rm(join(runsDir, 'setup'))
      await waitFor(async () => (await healthOf(url)) === 'READY', {
        timeoutMs: START_MS_MAX,
        what: () => `the Cog server to be ready:\n${output}`,
      })
    },
    killServer,
    async stop() {
      await killGroup()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

const healthOf = (url: string): Promise<string | null> =>
  fetch(`${url}/health-check`, { signal: AbortSignal.timeout(ANSWER_MS_MAX) })
    .then((response) => response.json())
    .then(
      (health) => (health as { status: string }).status,
      () => null,
    )

/** The number is the group's own until its last process has been reaped. */
function killAll(group: number): void {
  try {
    process.kill(-group, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
