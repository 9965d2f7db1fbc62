/**
 * Python environments for the real model servers that tests talk to: installed once into the cache, used by every run.
 *
 * Owns where they live, the lock and the marks; what goes into one is said by mlserver.ts, llama.ts and others.
 *
 * - V1 An environment counts only with its mark, which is written last: one that broke off is made anew.
 * - V2 The directory's name follows from all that goes into it, so a changed version never meets an old installation.
 * - V3 One process at a time installs an environment; the others wait for it, for a bounded time.
 */
import { execFile } from 'node:child_process'
import { hash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { DataDirectoryInUse } from '../../src/embedded/contract.js'
import { lockDataDirectory } from '../../src/embedded/data-lock.js'
import { defaultCacheDir, findOnPath, splitPath } from '../../src/embedded/path.js'

const VENV_MS_MAX = 60_000
const INSTALL_MS_MAX = 240_000
const SCRIPT_MS_MAX = 60_000
const LOCK_WAIT_MS_MAX = 300_000
const LOCK_POLL_MS = 200
const MARK = 'installed.json'

export type Venv = {
  dir: string
  /** Its interpreter; commands that packages bring are next to it. */
  python: string
}

export type VenvOptions = {
  /** `requirements` names every package: nothing else is installed. Quick, and the same everywhere. */
  complete?: boolean
  /** Python code that runs once after the installation, in the environment's directory; what it writes stays there. */
  script?: string
  /** Python 3's minor versions that the packages support. Default 10 to 12. */
  python?: { from: number; to: number }
}

/** ENDSTATE_CACHE, or ~/.cache/endstate. */
export const cacheDir = (): string => process.env['ENDSTATE_CACHE'] ?? defaultCacheDir()

/**
 * The environment `name` with exactly these requirements (pip's form, pinned: `mlserver==1.7.1`); made when it is not
 * there. Throws an Error that says what is missing and what to do.
 */
export async function createVenv(
  name: string,
  requirements: readonly string[],
  options: VenvOptions = {},
): Promise<Venv> {
  const key = hash('sha256', JSON.stringify([requirements, options]), 'hex').slice(0, 12)
  const root = join(cacheDir(), 'model-servers')
  const dir = join(root, `${name}-${key}`)
  const venv: Venv = { dir, python: join(dir, 'bin', 'python') }
  const isThere = () => existsSync(join(dir, MARK)) && existsSync(venv.python)
  if (isThere()) return venv

  // In this process one promise, because the lock is the process's.
  let made = installing.get(dir)
  if (made === undefined) {
    made = lockedInstall(name, venv, isThere, () => install(name, venv, requirements, options))
    installing.set(dir, made)
    void made.finally(() => installing.delete(dir)).catch(() => {})
  }
  await made
  return venv
}

const installing = new Map<string, Promise<void>>()

/** V3 */
async function lockedInstall(
  name: string,
  venv: Venv,
  isThere: () => boolean,
  work: () => Promise<void>,
): Promise<void> {
  const lockDir = `${venv.dir}.lock`
  await mkdir(lockDir, { recursive: true })
  const release = await lock(lockDir, name)
  try {
    if (!isThere()) await work()
  } finally {
    await release()
  }
}

async function install(name: string, venv: Venv, requirements: readonly string[], options: VenvOptions): Promise<void> {
  const startedMs = performance.now()
  const range = options.python ?? { from: 10, to: 12 }
  const python = await findPython(range)
  say(`${name}: installing ${requirements.length} packages into ${venv.dir}`)
  await rm(venv.dir, { recursive: true, force: true })
  const venvArgs = ['-m', 'venv', ...(requirements.length === 0 ? ['--without-pip'] : []), venv.dir]
  await run(name, python, venvArgs, VENV_MS_MAX).catch((error: unknown) => {
    throw new Error(
      `${name}: no Python environment can be made by ${python}. On Debian and Ubuntu: apt-get install python3-venv. ${messageOf(error)}`,
    )
  })
  // Compiled when they are first imported: most of what a package brings never is.
  const pip = ['-m', 'pip', 'install', '--no-input', '--disable-pip-version-check', '--quiet', '--no-compile']
  pip.push('--only-binary=:all:')
  if (options.complete === true) pip.push('--no-deps')
  if (requirements.length > 0) await run(name, venv.python, [...pip, ...requirements], INSTALL_MS_MAX)
  if (options.script !== undefined) await run(name, venv.python, ['-c', options.script], SCRIPT_MS_MAX, venv.dir)
  await writeFile(join(venv.dir, MARK), JSON.stringify({ requirements }, null, 2)) // V1
  say(`${name}: installed in ${Math.round((performance.now() - startedMs) / 1000)} s`)
}

/** The first interpreter on PATH whose version fits. */
async function findPython({ from, to }: { from: number; to: number }): Promise<string> {
  const dirs = splitPath(process.env['PATH'])
  const names = ['python3']
  for (let minor = to; minor >= from; minor--) names.push(`python3.${minor}`)
  const found: string[] = []
  for (const name of names) {
    const path = await findOnPath(name, dirs)
    if (path === null) continue
    const version = (await run(name, path, ['-c', 'import sys; print(sys.version_info[1])'], VENV_MS_MAX)).trim()
    if (Number(version) >= from && Number(version) <= to) return path
    found.push(`3.${version}`)
  }
  const seen = found.length === 0 ? 'no python3' : `Python ${found.join(' and ')}`
  throw new Error(`The model servers for tests need Python 3.${from} to 3.${to} on PATH, and there is ${seen}.`)
}

async function lock(dir: string, name: string): Promise<() => Promise<void>> {
  const deadlineMs = performance.now() + LOCK_WAIT_MS_MAX
  for (;;) {
    try {
      return await lockDataDirectory(dir)
    } catch (error) {
      if (!(error instanceof DataDirectoryInUse)) throw error
      if (performance.now() > deadlineMs)
        throw new Error(`${name}: process ${error.pid} has been installing it for ${LOCK_WAIT_MS_MAX / 1000} s.`)
    }
    await sleep(LOCK_POLL_MS)
  }
}

/** Answers stdout. Throws with the last lines that the command wrote. */
function run(name: string, command: string, args: string[], timeoutMs: number, cwd?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const limits = { timeout: timeoutMs, killSignal: 'SIGKILL' as const, maxBuffer: 1 << 24 }
    execFile(command, args, { ...limits, ...(cwd !== undefined && { cwd }) }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const said = `${stdout}\n${stderr}`.trim().split('\n').slice(-8).join('\n  ')
      const why = error.killed === true ? `took longer than ${timeoutMs / 1000} s` : `failed (${error.code ?? '?'})`
      reject(new Error(`${name}: ${command} ${args.slice(0, 3).join(' ')} ${why}:\n  ${said}`))
    })
  })
}

const say = (message: string): void => void process.stderr.write(`model servers: ${message}\n`)

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
